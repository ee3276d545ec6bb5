"""One loader in many threads, and many loaders at once: every batch is that of a single thread, bit for bit.

With Python's global lock, threads take turns as often as they can; without it they run side by side. FASTPREP_TESTS=all has each
test go on for twenty rounds.
"""

import gc
import os
import sys
import threading
import weakref
from itertools import chain

import h5py
import hdf5plugin
import numpy as np
import pytest
from encoded_files import encoded, write_rows
from optional_libraries import needs
from threads import copied, number_of, one_by_one, same, together, until_none_is_left

from fastprep import Mask, RandomCrop, RandomResizedCrop
from fastprep.loader import Loader

pytestmark = pytest.mark.usefixtures("no_thread_left", "often")

ROUNDS = range(20 if os.environ.get("FASTPREP_TESTS") == "all" else 1)
N, BATCH = 96, 5
CROP = RandomCrop(7, mirror=True)
LAYOUTS = {
    "small, kept in memory": {},
    "larger, read from the file": {"height": 48, "width": 48},
    "gzip": {"chunks": (1, 12, 14, 3), "compression": "gzip", "shuffle": True},
    "gzip, in windows": {"chunks": (8, 12, 14, 3), "compression": "gzip"},
    "lzf, in windows": {"chunks": (5, 12, 14, 3), "compression": "lzf", "fletcher32": True},
    "split": {"chunks": (4, 5, 14, 2), "compression": "gzip"},
    "lz4": {"chunks": (1, 12, 14, 3), **hdf5plugin.LZ4()},
    "zstd": {"chunks": (4, 12, 14, 3), **hdf5plugin.Zstd()},
    "blosc": {"chunks": (1, 12, 14, 3), **hdf5plugin.Blosc()},
    "blosc2": {"chunks": (1, 12, 14, 3), **hdf5plugin.Blosc2()},
    "bitshuffle": {"chunks": (1, 12, 14, 3), **hdf5plugin.Bitshuffle()},
    "by HDF5": {"chunks": (8, 12, 14, 3), "dtype": "int16", "scaleoffset": 0},
}


@pytest.fixture
def often():
    """Let another thread run as often as can be, where only one can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def make_numbered(make_file):
    """Return a function that writes a file whose labels are the numbers of its images, and returns its path."""

    def make(**layout):
        path, _, _ = make_file(n=N, **layout)
        with h5py.File(path, "r+") as file:
            file["labels"][:] = np.arange(N)
        return path

    return make


def loader_of(path, crop=CROP, **options):
    return Loader(path, BATCH, crop, **{"mean": None, "shuffle": True, "seed": 3, "workers": 2, **options})


def epochs_of(loader, n):
    """Return copies of the batches of the next epochs of a loader."""
    return [[copied(batch) for batch in loader] for _ in range(n)]


def check_side_by_side(make, n_threads=4, n_epochs=2):
    """Check that threads that iterate over one loader, from its first moment on, get the epochs of one thread, each once."""
    with make() as alone:
        wanted = one_by_one(alone, n_threads * n_epochs)
    for _ in ROUNDS:
        with make() as loader:
            came = together(*[lambda loader=loader: epochs_of(loader, n_epochs)] * n_threads)
        numbers = [[number_of(batches, wanted) for batches in epochs] for epochs in came]
        assert sorted(chain(*numbers)) == list(range(n_threads * n_epochs))
        assert all(of_thread == sorted(of_thread) for of_thread in numbers)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_threads_iterate_over_one_loader_each_over_epochs_of_its_own(make_numbered, layout):
    path = make_numbered(**LAYOUTS[layout])
    check_side_by_side(lambda: loader_of(path))


def test_mapped_files(make_numbered):
    path = make_numbered(height=48, width=48)
    check_side_by_side(lambda: loader_of(path, io="mmap"))


@pytest.mark.parametrize("kind", ["PNG", pytest.param("JPEG", marks=needs("simplejpeg"))])
def test_encoded_images_of_different_sizes(tmp_path, kind):
    path = write_rows(tmp_path / "encoded.h5", encoded(33, kind))
    check_side_by_side(lambda: loader_of(path, RandomResizedCrop(9, mirror=True)), n_threads=3)


def test_masks(tmp_path, rng):
    path = tmp_path / "masks.h5"
    with h5py.File(path, "w") as file:
        file["images"] = rng.integers(0, 256, (33, 12, 14, 3), np.uint8)
        file.create_dataset("masks", data=rng.integers(0, 5, (33, 12, 14), np.uint8), chunks=(3, 12, 14), compression="gzip")
    check_side_by_side(lambda: loader_of(path, labels=Mask("masks")))


def test_several_files_most_of_which_are_closed(make_numbered, monkeypatch):
    monkeypatch.setattr("fastprep.h5.handles._MOST", 2)
    paths = [make_numbered(name=f"{k}.h5", chunks=(8, 12, 14, 3), compression="gzip") for k in range(3)]
    check_side_by_side(lambda: loader_of(paths), n_threads=3, n_epochs=1)


@pytest.mark.parametrize("layout", ["small, kept in memory", "gzip, in windows", "zstd", "by HDF5"])
def test_sixteen_workers(make_numbered, layout):
    path = make_numbered(**LAYOUTS[layout])
    with loader_of(path) as alone:
        wanted = one_by_one(alone, 3)
    for _ in ROUNDS:
        with loader_of(path, workers=16) as loader:
            assert [number_of(batches, wanted) for batches in epochs_of(loader, 3)] == [0, 1, 2]


def test_threads_share_an_iterator_each_batch_of_which_goes_to_one_of_them(make_numbered):
    path = make_numbered()
    with loader_of(path) as loader:
        wanted = one_by_one(loader, 1)[0]
        for _ in ROUNDS:
            loader.set_epoch(0)
            iterator = iter(loader)
            parts = together(*[lambda iterator=iterator: [copied(batch) for batch in iterator]] * 4)
            steps = [[next(k for k, batch in enumerate(wanted) if same(batch, own)) for own in part] for part in parts]
            assert sorted(chain(*steps)) == list(range(len(wanted)))
            assert all(of_thread == sorted(of_thread) for of_thread in steps)


@pytest.mark.parametrize("layout", ["small, kept in memory", "gzip, in windows", "blosc2"])
def test_loaders_of_one_file_in_as_many_threads(make_numbered, layout):
    """Each opens the file, iterates, is closed in the middle of an epoch, and goes on with the next one."""
    path = make_numbered(**LAYOUTS[layout])
    with loader_of(path) as alone:
        wanted = one_by_one(alone, 3)

    def use():
        with loader_of(path) as loader:
            first = epochs_of(loader, 1)
            next(iter(loader))
            loader.close()
            return [number_of(batches, wanted) for batches in [*first, *epochs_of(loader, 1)]]

    for _ in ROUNDS:
        assert together(*[use] * 6) == [[0, 2]] * 6


def test_a_loader_that_others_close_all_the_time(make_numbered):
    """An iteration ends with the error that says so, or with its last batch; what came is right."""
    path, n_epochs = make_numbered(chunks=(8, 12, 14, 3), compression="gzip"), 30
    with loader_of(path) as loader:
        wanted, is_over, said = one_by_one(loader, n_epochs), threading.Event(), set()

        def read():
            for epoch in range(n_epochs):
                came = []
                try:
                    for batch in loader:
                        came.append(copied(batch))
                except RuntimeError as error:
                    said.add(str(error))
                else:
                    assert len(came) == len(loader)
                assert all(map(same, came, wanted[epoch]))

        def read_on():
            try:
                for _ in ROUNDS:
                    loader.set_epoch(0)
                    read()
            finally:
                is_over.set()

        def close():
            while not is_over.wait(0.002):
                loader.close()

        together(read_on, close)
        assert all("the loader was closed" in text for text in said)
        loader.set_epoch(0)
        assert number_of(epochs_of(loader, 1)[0], wanted[:1]) == 0


def test_states_that_are_taken_in_the_middle_of_an_epoch_by_another_thread(make_numbered):
    path = make_numbered()
    with loader_of(path) as loader, loader_of(path) as resumed:
        wanted = list(chain(*one_by_one(loader, 2)))
        for _ in ROUNDS:
            loader.set_epoch(0)
            states, is_over = [], threading.Event()

            def read(loader=loader, is_over=is_over):
                epochs_of(loader, 2)
                is_over.set()

            def save(loader=loader, is_over=is_over, states=states):
                while not is_over.is_set():
                    states.append(loader.state_dict())

            together(read, save)
            places = [state["epoch"] * N + state["seen"] for state in states]
            assert places == sorted(places)
            assert {state["seen"] % BATCH for state in states} == {0}
            for state in states[:: max(1, len(states) // 5)]:
                resumed.load_state_dict(state)
                step = state["epoch"] * len(loader) + state["seen"] // BATCH
                if step < len(wanted):
                    assert same(copied(next(iter(resumed))), wanted[step])


def test_loaders_that_are_forgotten_while_other_threads_collect_garbage(make_numbered):
    path = make_numbered(chunks=(8, 12, 14, 3), compression="gzip")
    with loader_of(path) as alone:
        wanted = one_by_one(alone, 1)[0]
    left, is_over = weakref.WeakSet(), threading.Event()

    def use_and_forget():
        for _ in range(6 * len(ROUNDS)):
            loader = loader_of(path)
            left.add(loader)
            iterator = iter(loader)
            loader.myself = [loader, iterator]  # a cycle, which is collected on any thread
            for k in range(3):
                assert same(copied(next(iterator)), wanted[k])

    def collect():
        while not is_over.wait(0.001):
            gc.collect(0)

    collector = threading.Thread(target=collect)
    collector.start()
    together(*[use_and_forget] * 3)
    is_over.set()
    collector.join()
    gc.collect()
    assert not list(left)
    until_none_is_left()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_is_forked_while_threads_iterate_reads_all_of_it(make_numbered):
    path = make_numbered(chunks=(8, 12, 14, 3), compression="gzip")
    with loader_of(path) as loader:
        wanted, is_over = one_by_one(loader, 1)[0], threading.Event()
        busy = [threading.Thread(target=lambda: [epochs_of(loader, 1) for _ in iter(is_over.is_set, True)]) for _ in range(3)]
        for thread in busy:
            thread.start()
        try:
            for _ in range(3 * len(ROUNDS)):
                child = os.fork()
                if child == 0:
                    loader.set_epoch(0)
                    is_right = all(map(same, map(copied, loader), wanted))
                    os._exit(0 if is_right else 1)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        finally:
            is_over.set()
            for thread in busy:
                thread.join()
