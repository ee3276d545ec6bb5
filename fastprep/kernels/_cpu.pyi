import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink

SOURCE_TYPES: dict[str, int]
TARGET_TYPES: dict[str, int]
VERSIONS: dict[str, int]
FLAGS: dict[str, int]
MORE_PIXELS: int

def supported_versions() -> list[str]: ...
def stream_bytes() -> int: ...

class CropParameters:
    def __init__(
        self,
        *,
        source_dtype: str,
        dtype: str,
        channels_first: bool,
        image_shape: tuple[int, int, int],
        size: tuple[int, int],
        mean_rows: NDArray[np.float32],
        scale_rows: NDArray[np.float32],
        has_scale: bool,
        steps: tuple[int, int],
        source_channels: int,
        channel_at: NDArray[np.int64],
        crop_bytes: int,
        check_finite: bool,
    ) -> None: ...

class CropSink(Sink):
    def __init__(
        self,
        parameters: CropParameters,
        *,
        version: str,
        stream: bool,
        table: NDArray[np.int32],
        numbers: NDArray[np.int64],
        firsts: NDArray[np.int64],
        target: NDArray[np.uint8],
    ) -> None: ...
