import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink

class CopySink(Sink):
    def __init__(self, staging: NDArray[np.uint8], n_bytes: int) -> None: ...

class PackSink(Sink):
    def __init__(
        self,
        staging: NDArray[np.uint8],
        offsets: NDArray[np.int64],
        lengths: NDArray[np.int64],
        sizes: NDArray[np.int64],
    ) -> None: ...

def lie_in(numbers: NDArray[np.int64], stop: int) -> bool: ...
def read_bytes(fd: int, offset: int, buffer: NDArray[np.uint8]) -> int: ...
def read_images(
    fd: int,
    offsets: NDArray[np.int64],
    slots: NDArray[np.int64],
    scratch: NDArray[np.uint8],
    sink: Sink,
    swapped_bytes: int = 0,
) -> tuple[int, int]: ...
def read_ranges(
    fd: int, offsets: NDArray[np.int64], sizes: NDArray[np.int64], out: NDArray[np.uint8], positions: NDArray[np.int64]
) -> tuple[int, int]: ...
