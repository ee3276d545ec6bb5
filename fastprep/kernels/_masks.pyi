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
        down: NDArray[np.int64],
        across: NDArray[np.int64] | None,
        start: NDArray[np.int64] | None,
        right: NDArray[np.int64] | None,
        numbers: NDArray[np.int64],
        firsts: NDArray[np.int64],
        needs: NDArray[np.int64],
        target: NDArray[np.uint8],
    ) -> None: ...
