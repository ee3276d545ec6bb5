import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink

def hand_over_jpegs(
    rows: list[NDArray[np.uint8]],
    sizes: NDArray[np.int64],
    slots: NDArray[np.int64],
    n_channels: int,
    pixels: NDArray[np.uint8],
    sink: Sink,
) -> tuple[int, int]: ...
def decode_part(data: bytes | NDArray[np.uint8], part: tuple[int, int, int, int], out: NDArray[np.uint8]) -> bool: ...
