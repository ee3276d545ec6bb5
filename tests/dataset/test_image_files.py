"""Images of several files."""

import threading
from types import SimpleNamespace

import numpy as np

from fastprep.dataset.image_files import ImageFiles


class Waiting:
    """A reader whose file is completed as soon as three others are, too."""

    def __init__(self, path, barrier):
        self.index, self._barrier = SimpleNamespace(shape=(10,), path=path, is_complete=False), barrier

    def complete(self):
        self._barrier.wait(10)
        self.index.is_complete = True
        raise OSError("comes again when images are read")

    def keep_in(self, cache):
        pass


def test_indexes_of_remote_files_are_completed_several_at_a_time():
    barrier = threading.Barrier(4)
    files = ImageFiles([Waiting(f"s3://b/{k}.h5", barrier) for k in range(6)] + [Waiting("local.h5", barrier)])
    files.complete(np.array([3, 15, 22, 38, 61]))  # of files 0 to 3, and of the local one
    assert [reader.index.is_complete for reader in files.readers] == [True] * 4 + [False] * 3
    files.complete(np.array([3, 15, 22, 38, 45]))  # one alone is completed when it is read
    assert not files.readers[4].index.is_complete
