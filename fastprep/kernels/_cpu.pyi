import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink

SOURCE_TYPES: dict[str, int]
TARGET_TYPES: dict[str, int]
VERSIONS: dict[str, int]
MIN_PIXELS: int

def supported_versions() -> list[str]: ...

class CropSink(Sink):
    def __init__(
        self,
        version: int,
        source_type: int,
        target_type: int,
        channels_first: bool,
        stream: bool,
        image_shape: tuple[int, int, int],
        size: tuple[int, int],
        mean_rows: NDArray[np.float32],
        scale_rows: NDArray[np.float32],
        has_scale: bool,
        table: NDArray[np.int32],
        numbers: NDArray[np.int64],
        firsts: NDArray[np.int64],
        target: NDArray[np.uint8],
        target_bytes: int,
        image_row_bytes: int,
    ) -> None: ...
