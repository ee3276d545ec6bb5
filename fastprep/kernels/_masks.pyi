import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink

class MaskSink(Sink):
    def __init__(
        self,
        *,
        sides: tuple[int, int, int],
        size: tuple[int, int],
        steps: tuple[int, int, int],
        item_bytes: int,
        fill: NDArray[np.uint8],
        crops: NDArray[np.int32],
        boxes: NDArray[np.float64] | None,
        sizes: NDArray[np.int64] | None,
        start: NDArray[np.int64] | None,
        right: NDArray[np.int64] | None,
        down: NDArray[np.int64] | None,
        numbers: NDArray[np.int64],
        firsts: NDArray[np.int64],
        places: NDArray[np.int64],
        target: NDArray[np.uint8],
    ) -> None: ...

def stay_inside(
    crops: NDArray[np.int32],
    boxes: NDArray[np.float64] | None,
    sizes: NDArray[np.int64] | None,
    sides: tuple[int, int, int],
    size: tuple[int, int],
) -> bool: ...
