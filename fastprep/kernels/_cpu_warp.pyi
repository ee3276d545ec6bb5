import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink
from fastprep.kernels._cpu import CropParameters

GEOMETRIES: dict[str, int]
FLAGS: dict[str, int]

class WarpParameters:
    def __init__(
        self,
        *,
        geometry: str,
        has_colors: bool,
        straight: CropParameters,
        turned: CropParameters,
        fill: NDArray[np.float32],
        erase_value: NDArray[np.float32] | None,
    ) -> None: ...

class WarpSink(Sink):
    def __init__(
        self,
        parameters: WarpParameters,
        *,
        version: str,
        stream: bool,
        crops: NDArray[np.int32],
        boxes: NDArray[np.float64] | None,
        matrices: NDArray[np.float64] | None,
        colors: NDArray[np.float32] | None,
        erasures: NDArray[np.int32] | None,
        sizes: NDArray[np.int64] | None,
        numbers: NDArray[np.int64],
        firsts: NDArray[np.int64],
        target: NDArray[np.uint8],
    ) -> None: ...

def most_taps(n_in: int, n_out: int) -> int: ...
def put_taps(
    words: NDArray[np.int32],
    starts: NDArray[np.float64],
    lengths: NDArray[np.float64],
    sides: NDArray[np.int64],
    n_out: int,
    most: int,
) -> None: ...
def blend(
    images: NDArray[np.uint8],
    weights: NDArray[np.float32],
    rectangles: NDArray[np.int32],
    *,
    version: str,
    dtype: str,
    channels_first: bool,
    image_shape: tuple[int, int, int],
) -> None: ...
