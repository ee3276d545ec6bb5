"""The doctor's report: what it says of a file, and that its clock times what it names."""

import functools
import importlib.util
import re
import sys

import fake_cupy
import h5py
import numpy as np
import pytest
from encoded_files import encoded, write_rows
from fake_consumers import LIBRARIES, forget_devices, modules

from fastprep import CenterCrop, doctor, kernels
from fastprep.diagnostics import gpu, lock_share
from fastprep.diagnostics.lock_share import has_global_lock
from fastprep.diagnostics.rates import LIMIT, Rates, advice, measure
from fastprep.kernels.device import Gpu
from fastprep.loader import Loader


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    monkeypatch.setattr(lock_share, "_ROUND_S", 0.01)


def report(capsys, *argv):
    status = doctor.main([*map(str, argv)])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_plain_file(make_file, capsys):
    path, _, _ = make_file(n=40, height=20, width=24)
    status, out, _ = report(capsys, path, "--batch-size", 8, "--rounds", 1)
    assert status == 0
    for said in (
        "crop kernel",
        "40 of 20x24x3, uint8",
        "contiguous",
        "all samples shuffled",
        "crops of 17 pixels",
        "loader, 1 thread",
    ):
        assert said in out
    said = re.search(r"A thread holds Python's lock, .*, for ([\d.]+)% .*:\n  however many .* at most ([\d.,]+) times", out)
    if has_global_lock():
        assert float(said[2]) == pytest.approx(100 / float(said[1]), rel=0.1)
    else:
        assert "This Python has no lock that only one thread has at a time." in out
    assert "* " not in out  # nothing to advise


def test_nothing_is_said_of_the_lock_where_libraries_decode_that_give_it_up(tmp_path, capsys):
    path = write_rows(tmp_path / "rows.h5", encoded(kind="PNG"))
    status, out, _ = report(capsys, path, "--batch-size", 4, "--rounds", 1)
    assert status == 0
    assert "Reading takes" in out
    assert "lock" not in out


def test_chunks_of_several_images(make_file, capsys):
    path, _, _ = make_file(n=4000, height=4, width=4, chunks=(10, 4, 4, 3), compression="gzip")
    _, out, _ = report(capsys, path, "--batch-size", 8, "--rounds", 1)
    assert "chunks shuffled, then the samples in windows of 205 of 400 chunks; up to" in out
    assert "MiB of decoded images in memory" in out
    assert "fastprep.convert" in out


def test_some_of_the_channels(make_file, capsys):
    path, _, _ = make_file(n=10)
    status, out, _ = report(capsys, path, "--batch-size", 4, "--rounds", 1, "--channels", "2,0")
    assert status == 0
    assert "10 of 12x14x3, uint8" in out
    assert "channels        2 are used: 2,0" in out
    status, _, err = report(capsys, path, "--channels", "2,7")
    assert status == 2
    assert "--channels must be numbers from 0 to 2" in err
    assert err.count("\n") == 1


def test_some_of_the_channels_on_a_gpu(make_file, capsys, monkeypatch, stand_in):
    path, _, _ = make_file(n=8)
    monkeypatch.setattr(gpu, "PLAIN_BYTES", 1 << 16)
    status, out, _ = report(capsys, path, "--batch-size", 4, "--rounds", 1, "--channels", "1")
    assert status == 0
    assert "of a plain copy on the device" in out


@pytest.mark.filterwarnings("ignore")
def test_what_hdf5_has_to_read_and_what_is_not_uint8(make_file, capsys):
    path, _, _ = make_file(n=10, dtype="int32", chunks=(1, 12, 14, 3), scaleoffset=0)
    _, out, _ = report(capsys, path, "--batch-size", 4, "--rounds", 1)
    assert "has to be read by HDF5, one thread at a time; `python -m fastprep.convert" in out
    assert "takes 4 bytes in the file" in out


def test_without_a_file(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "N_EXAMPLE", 4)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    status, out, _ = report(capsys, "--batch-size", 2, "--rounds", 1)
    assert status == 0
    assert "4 of 256x256x3, uint8" in out
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_one_line(capsys, tmp_path):
    status, _, err = report(capsys, tmp_path / "none.h5")
    assert status == 2
    assert err.startswith("fastprep.doctor: ")
    assert "none.h5" in err
    assert err.count("\n") == 1


def test_no_option_is_suggested_that_the_command_lacks(tmp_path, capsys):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = np.zeros((30, 16, 16, 3), np.uint8), np.arange(30) % 3
    assert doctor.main([str(path)]) == 2
    assert "; likely --images x (--images takes another name)" in capsys.readouterr().err


@pytest.mark.parametrize("largest", [255, 256])
def test_a_conversion_is_named_only_for_images_that_a_byte_holds(tmp_path, largest):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.full((6, 8, 8, 3), largest, np.uint16)
    with Loader(path, 2, None, labels=None, mean=None) as loader:
        (hint,) = advice(loader, Rates({}, 0, (1, 1)))
    assert hint.startswith("Each value of a pixel takes 2 bytes in the file")
    assert ("fastprep.convert" in hint) == (largest == 255)


def test_rates_are_images_over_seconds(make_file, monkeypatch):
    """With a clock that says one second for everything, the rate is the number of images."""
    path, _, _ = make_file(n=24)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    ticks = iter(np.arange(10_000.0))
    rates = measure(
        lambda n: Loader(path, 5, CenterCrop(4), labels=None, mean=0, shuffle=True, workers=n), 3, 8, clock=lambda: next(ticks)
    )
    assert rates.values.pop(LIMIT) == 10
    assert rates.values == {"crop kernel": 10, "reading": 10, "loader, 1 thread": 10, "loader, 2 threads": 10}
    assert rates.share_read == 0.5


# --- on a GPU, or what stands in for one


def test_what_is_missing_for_a_gpu_is_one_line(make_file, capsys, monkeypatch):
    path, _, _ = make_file()
    monkeypatch.setitem(sys.modules, "cupy", None)
    _, out, _ = report(capsys, path, "--batch-size", 4, "--rounds", 1)
    (line,) = (line for line in out.splitlines() if line.startswith("  GPU"))
    assert "none to use: cupy can't be imported" in line
    assert "install fastprep[gpu]" in line


def test_a_gpu(make_file, capsys, monkeypatch, stand_in):
    path, _, _ = make_file(n=8)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(gpu, "PLAIN_BYTES", 1 << 16)
    status, out, _ = report(capsys, path, "--batch-size", 4, "--rounds", 1)
    assert status == 0
    for said in (
        "cuda:0, stand-in, compute capability 9.0, of 1",
        "for CUDA 12.9",
        "NVRTC 12.9",
        "1.0 GiB, 0.5 free",
        "sees no GPU" if importlib.util.find_spec("tensorflow") else "can't be used: No module named 'tensorflow'",
        "640 random crops, every bit as on the CPU",
        "of a plain copy to the device",
        "of a plain copy on the device",
    ):
        assert said in out
    assert "hand-over" not in out  # to TensorFlow, which sees no GPU
    assert out.index("loader, 1 thread") < out.index("compute capability")


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_hand_over_to_kerass_backend_is_timed(make_file, capsys, monkeypatch, stand_in, library):
    path, _, _ = make_file(n=8)
    monkeypatch.setattr(gpu, "PLAIN_BYTES", 1 << 16)
    name, make, _ = LIBRARIES[library]
    monkeypatch.setenv("KERAS_BACKEND", name)
    forget_devices()
    with modules(**{name: make(stand_in)}):
        status, out, _ = report(capsys, path, "--batch-size", 4, "--rounds", 1)
    forget_devices()
    assert status == 0
    assert f"{library:15} 1.0 (stand-in), sees 1 GPU" in out
    assert re.search(rf"hand-over to {library} +\d+\.\d\d of the time of copy and kernel", out)


def test_bits_that_differ_are_found(stand_in, monkeypatch):
    assert gpu.differences(Gpu(0), 12) == (12 * 16, [])
    right = fake_cupy.Kernel.run

    def one_bit_wrong(self, machine, device):
        right(self, machine, device)
        address, shape, dtype = self.arrays[4]
        machine.content(address, shape, dtype, device).view(np.uint8).flat[-1] ^= 1

    monkeypatch.setattr(fake_cupy.Kernel, "run", one_bit_wrong)
    assert len(gpu.differences(Gpu(0), 12)[1]) == 12


def test_figures_are_bytes_over_seconds(stand_in, monkeypatch):
    """With a clock that says one second for each lot of copies and launches."""
    monkeypatch.setattr(gpu, "PLAIN_BYTES", 1 << 16)
    spec, ticks = kernels.CropSpec((12, 14, 3), "uint8", (5, 6), dtype="float16"), iter(np.arange(1000.0))
    figures = gpu.measure(Gpu(0), spec, 4, np.zeros((40, 4), np.int32), 2, clock=lambda: next(ticks))
    n = gpu.REPEATS
    crops = 40 * 5 * 6 * 3
    assert figures == gpu.Figures(n * 2**16, 2 * n * 2**16, n * 4 * 12 * 14 * 3, n * (crops + 2 * crops), 2 / n)


@pytest.mark.parametrize("l2_bytes", [0, 1 << 12, 1 << 15, 1 << 20])
def test_no_launch_finds_its_batch_in_the_cache(stand_in, monkeypatch, l2_bytes):
    """Before each launch, twice as much as the cache holds was touched elsewhere since its images and its result were."""
    stand_in.l2_bytes = l2_bytes
    monkeypatch.setattr(gpu, "PLAIN_BYTES", 1 << 10)
    touched, launched = [], []

    def noting(original):
        def copy(self, target, source, stream):
            original(self, target, source, stream)
            touched.append((target.data.ptr, target.nbytes))

        return copy

    def launch(self, grid, block, arguments):
        launched.append((len(touched), [arguments[0].data.ptr, arguments[4].data.ptr]))
        touched.extend((array.data.ptr, array.nbytes) for array in (arguments[0], arguments[4]))

    for name in ("copy", "copy_on_device"):
        monkeypatch.setattr(Gpu, name, noting(getattr(Gpu, name)))
    monkeypatch.setattr(stand_in.cupy.RawModule, "get_function", lambda self, name: functools.partial(launch, self))
    spec, table = kernels.CropSpec((12, 14, 3), "uint8", (5, 6)), np.zeros((4, 4), np.int32)
    gpu.measure(Gpu(0), spec, 4, table, 2)
    assert len(launched) == 3 * gpu.REPEATS
    for k, addresses in launched:
        for address in addresses:
            last = max((j for j in range(k) if touched[j][0] == address), default=None)
            if last is not None:
                assert sum(dict(touched[last + 1 : k]).values()) >= 2 * l2_bytes
