import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink
from fastprep.kernels._cpu import CropParameters

class StandardSink(Sink):
    def __init__(
        self,
        parameters: CropParameters,
        made: Sink,
        image: NDArray[np.float32],
        *,
        version: str,
        stream: bool,
        erase_value: NDArray[np.float32] | None,
        erasures: NDArray[np.int32] | None,
        numbers: NDArray[np.int64],
        firsts: NDArray[np.int64],
        target: NDArray[np.uint8],
    ) -> None: ...
