import numpy as np
from numpy.typing import NDArray

OK: int
SINK_FAILED: int

class Sink: ...

def hand_over(pixels: NDArray[np.uint8], offsets: NDArray[np.int64], slots: NDArray[np.int64], sink: Sink) -> tuple[int, int]: ...
