"""Faults of the machine while a file is read: read again, then raised as what they are, and never taken for damage."""

import contextlib
import errno
import functools
import os
import pickle
import resource

import h5py
import numpy as np
import pytest

from fastprep.errors import DataError
from fastprep.h5 import _decode, _read, files, native, open_images, resident, retries
from fastprep.h5.files import open_file
from fastprep.loader import Loader
from fastprep.system import machine_faults

FAULTS = [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETIMEDOUT]
LAYOUTS = {
    "contiguous": {},
    "gzip": {"chunks": (1, 12, 14, 3), "compression": "gzip"},
    "several an image": {"chunks": (1, 5, 14, 3)},
    "several images": {"chunks": (4, 12, 14, 3), "compression": "gzip"},
    "read by HDF5": {"chunks": (1, 12, 14, 3), "dtype": "int16", "scaleoffset": 0},
}


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(machine_faults, "WAITS", (0.0, 0.0, 0.0))


class Faults:
    """Lets the next reads of images fail with a number of the system's errors."""

    def __init__(self, monkeypatch):
        self.number = self.n_left = self.n_failed = 0
        read_bytes, read_images, by_hdf5 = _read.read_bytes, _read.read_images, h5py.Dataset.__getitem__
        read_row, read_rows = _decode.read_row, _decode.read_rows

        def failing_bytes(*arguments):
            return self.number if self.due() else read_bytes(*arguments)

        def failing_images(descriptor, offsets, slots, *others):
            if self.due():  # in the middle of a batch
                half = len(offsets) // 2
                read_images(descriptor, offsets[:half], slots[:half], *others)
                return self.number, half
            return read_images(descriptor, offsets, slots, *others)

        def failing_row(*arguments):
            return self.number if self.due() else read_row(*arguments)

        def failing_rows(plan, decoder, descriptor, mapping, rows, begins, *others):
            if self.due():
                half = len(rows) // 2
                read_rows(plan, decoder, descriptor, mapping, rows[:half], begins[: half + 1], *others)
                return self.number, half, -1
            return read_rows(plan, decoder, descriptor, mapping, rows, begins, *others)

        def failing_hdf5(*arguments):
            if self.due():
                raise OSError(self.number, f"Can't read data (file read failed: errno = {self.number}, ...)")
            return by_hdf5(*arguments)

        monkeypatch.setattr(resident, "MOST_IMAGE_BYTES", 0)  # these images are small, and would be read together
        monkeypatch.setattr(_read, "read_bytes", failing_bytes)
        monkeypatch.setattr(_read, "read_images", failing_images)
        monkeypatch.setattr(_decode, "read_row", failing_row)
        monkeypatch.setattr(_decode, "read_rows", failing_rows)
        monkeypatch.setattr(h5py.Dataset, "__getitem__", failing_hdf5)

    def due(self):
        self.n_left -= 1
        self.n_failed += self.n_left >= 0
        return self.n_left >= 0


@pytest.fixture
def faults(monkeypatch):
    return Faults(monkeypatch)


@pytest.mark.parametrize("number", FAULTS, ids=errno.errorcode.get)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_fault_that_passes_is_read_over(make_file, faults, layout, number):
    path, images, _ = make_file(n=8, **LAYOUTS[layout])
    with Loader(path, 8, None, mean=None, labels=None, workers=1, on_corrupt="skip") as loader:
        faults.number, faults.n_left = number, 3
        np.testing.assert_array_equal(loader.batch(0, 0), images)
        assert faults.n_failed == 3
        assert loader.stats()["corrupt"] == {"samples": 0, "problems": []}


@pytest.mark.parametrize("number", FAULTS[:3], ids=errno.errorcode.get)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_fault_that_stays_is_an_error_and_no_sample_is_damaged(make_file, faults, layout, number):
    path, images, _ = make_file(n=8, **LAYOUTS[layout])
    with Loader(path, 8, None, mean=None, labels=None, workers=1, on_corrupt="skip") as loader:
        faults.number, faults.n_left = number, 1000
        with pytest.raises(OSError, match=r"images\.h5', dataset 'images', chunk \d, sample \d: ") as caught:
            loader.batch(0, 0)
        assert caught.value.errno == number
        assert not isinstance(caught.value, DataError)
        assert faults.n_failed == 1 + len(machine_faults.WAITS)
        assert loader.stats()["corrupt"]["samples"] == 0
        faults.n_left = 0
        np.testing.assert_array_equal(loader.batch(0, 0), images)  # and goes on when the machine does


def test_external_storage_that_goes_away_is_no_damage(make_file, tmp_path):
    _, images, _ = make_file(n=8)
    raw = tmp_path / "raw.bin"
    raw.write_bytes(images.tobytes())
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file.create_dataset("images", images.shape, "uint8", external=[(str(raw), 0, images.nbytes)])
    with Loader(tmp_path / "e.h5", 8, None, mean=None, labels=None, workers=1, on_corrupt="skip") as loader:
        raw.rename(tmp_path / "away")
        with pytest.raises(OSError, match=r"e\.h5', dataset 'images', chunk 0, sample 0: unable to open external raw data file"):
            loader.batch(0, 0)
        assert loader.stats()["corrupt"]["samples"] == 0
        (tmp_path / "away").rename(raw)
        np.testing.assert_array_equal(loader.batch(0, 0), images)


@pytest.mark.parametrize("function", ["cache.Scratch.memory", "filters.Pipeline.decode"])
def test_no_memory_is_no_damage(make_file, monkeypatch, function):
    path, _, _ = make_file(n=8, chunks=(1, 12, 14, 3), compression="gzip")
    if function.startswith("filters"):
        monkeypatch.setattr(native, "codecs", functools.cache(lambda: _decode.Codecs({})))
    with Loader(path, 8, None, mean=None, labels=None, workers=1, on_corrupt="skip") as loader:

        def fail(*arguments):
            raise MemoryError("no memory")

        monkeypatch.setattr(f"fastprep.h5.{function}", fail)
        with pytest.raises(MemoryError):
            loader.batch(0, 0)
        assert loader.stats()["corrupt"]["samples"] == 0


def test_too_many_open_files_are_no_fault_of_the_file(make_file):
    path, _, _ = make_file(n=8, **LAYOUTS["read by HDF5"])
    reader = open_images(path)
    before, taken = resource.getrlimit(resource.RLIMIT_NOFILE), []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(200, before[0]), before[1]))
    try:
        with contextlib.suppress(OSError):
            taken.extend(iter(lambda: os.open(path, os.O_RDONLY), None))  # as many as there can be
        with pytest.raises(OSError, match=r"images\.h5': Too many open files") as caught:
            reader.array(np.arange(8))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in taken:
            os.close(descriptor)
    assert caught.value.errno == errno.EMFILE
    assert len(reader.array(np.arange(8))) == 8


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOMEM], ids=errno.errorcode.get)
def test_a_number_in_the_text_of_hdf5_is_found(number):
    error = KeyError(f"Unable to open object (file read failed: time = now\n, errno = {number}, error message = 'x')")
    with pytest.raises(OSError, match=r"file 'x\.h5', dataset 'images': ") as caught:
        retries.raise_machine_fault(error, "x.h5", "images")
    assert caught.value.errno == number
    assert pickle.loads(pickle.dumps(caught.value)).errno == number
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [OSError("filter returned failure during read"), KeyError("no object, errno = 0"), ValueError()]
)
def test_damage_is_not_a_fault_of_the_machine(error):
    retries.raise_machine_fault(error, "x.h5")


# --- locks


@pytest.fixture
def lockless(monkeypatch):
    """Let HDF5 fail as on a drive without locks, unless it is told to do without."""

    def install(number):
        original = h5py.File

        def open_without_locks(path, mode, locking=None):
            if locking is not False:
                text = f"unable to lock file, errno = {number}, error message = '{os.strerror(number)}'"
                raise OSError(number, f"Unable to synchronously open file ({text})")
            return original(path, mode, locking=False)

        monkeypatch.setattr(files.h5py, "File", open_without_locks)

    return install


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO], ids=errno.errorcode.get)
def test_a_drive_without_locks_is_read_without(make_file, lockless, number):
    path, images, _ = make_file(n=8, **LAYOUTS["read by HDF5"])
    lockless(number)
    with Loader(path, 8, None, mean=None, labels=None) as loader:
        np.testing.assert_array_equal(loader.batch(0, 0), images)


def test_a_lock_that_another_program_may_have_names_the_variable(make_file, lockless):
    path, _, _ = make_file(n=8)
    lockless(errno.EAGAIN)
    problem = "another program has it open for writing .*set HDF5_USE_FILE_LOCKING=FALSE"
    with pytest.raises(DataError, match=problem), open_file(path):
        pass
