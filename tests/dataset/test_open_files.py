"""Many files as one dataset, of which a handful are open at a time."""

import ctypes
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from many_files import CROP, LAYOUTS, write_many

from fastprep.h5 import handles, verify
from fastprep.loader import Loader

pytestmark = pytest.mark.usefixtures("no_thread_left")

LIBC = ctypes.CDLL(None)
CLONE_FILES = 0x400  # linux/sched.h


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """350 files of every layout, with 1 to 5 images each."""
    sizes = np.random.default_rng(1).integers(1, 6, 350)
    return write_many(tmp_path_factory.mktemp("many"), sizes.tolist(), LAYOUTS)


def n_open_in(folder):
    """Count the descriptors, of this process or of a thread that has its own, that lead to files of a folder."""
    n = 0
    for name in os.listdir("/proc/thread-self/fd"):
        try:
            n += os.path.dirname(os.readlink(f"/proc/thread-self/fd/{name}")) == str(folder)
        except FileNotFoundError:  # closed meanwhile
            continue
    return n


def n_open_at_one_moment(folder):
    """Count in a copy of the table that the kernel makes at one moment; None if it may not make one.

    In the table itself a file can be closed after it was counted, and the next one opened before the last is.
    """
    counted = []

    def count():
        if LIBC.unshare(CLONE_FILES) == 0:
            counted.append(n_open_in(folder))

    thread = threading.Thread(target=count)  # its copy goes when it ends
    thread.start()
    thread.join()
    return counted[0] if counted else None


class Watch:
    """Counts descriptors each time that one was opened, and all the time in a thread."""

    def __init__(self, monkeypatch, folder):
        self.most, self.folder, self._stop = 0, folder, threading.Event()
        self.can_look = n_open_at_one_moment(folder) is not None
        for owner, name in ((handles.OpenFile, "__init__"), (handles.OpenDataset, "__init__"), (verify, "_first_difference")):
            monkeypatch.setattr(owner, name, self._and_look(getattr(owner, name)))

    def _and_look(self, function):
        def wrapped(*arguments):
            result = function(*arguments)
            self.look()
            return result

        return wrapped

    def look(self):
        if self.can_look:
            self.most = max(self.most, n_open_at_one_moment(self.folder))

    def _poll(self):
        while not self._stop.wait(0.0005):
            self.look()

    def __enter__(self):
        self._thread = threading.Thread(target=self._poll)
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize(("io", "limit"), [("pread", 2), ("pread", 5), ("mmap", 4)])
def test_hundreds_of_files_with_a_handful_open(many, monkeypatch, io, limit):
    paths, images = many
    monkeypatch.setattr(handles, "default_limit", lambda: limit)
    with (
        Watch(monkeypatch, paths[0].parent) as watch,
        Loader(paths, 32, CROP, mean=None, shuffle=True, workers=4, io=io) as loader,
    ):
        for _ in range(2):
            seen = []
            for x, y in loader:
                np.testing.assert_array_equal(x, images[y].astype(np.float32))
                seen += y.tolist()
            assert sorted(seen) == list(range(len(images)))
        assert 0 < loader._dataset.handles.n_open <= limit
        loader.close()
        assert n_open_in(paths[0].parent) == 0
    if not watch.can_look:
        pytest.skip("the kernel refuses a thread its own copy of the descriptors (seccomp?): how many were open is unknown")
    assert 1 < watch.most <= limit


LOWERED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
import numpy as np
from fastprep import CenterCrop
from fastprep.loader import Loader
with Loader(sys.argv[1], 16, CenterCrop((6, 5)), mean=None, shuffle=True, workers=3) as loader:
    assert loader._dataset.handles.limit == 5, loader._dataset.handles.limit
    print(sum(int(x.astype(np.int64).sum()) for x, _ in loader))
"""


def test_a_process_that_may_open_few_files(many):
    paths, images = many
    arguments = [sys.executable, "-c", LOWERED, str(paths[0].parent / "*.h5")]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) == images.sum(dtype=np.int64)
