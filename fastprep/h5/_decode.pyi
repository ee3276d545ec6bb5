from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink

STATUS_REFUSED: int

class Codecs:
    def __init__(self, addresses: dict[str, int]) -> None: ...
    def can_undo(self, code: int, values: Sequence[int]) -> bool: ...

class Decoder:
    codecs: Codecs
    def __init__(self, codecs: Codecs) -> None: ...

class ChunkPlan:
    chunk_bytes: int
    row_bytes: int
    n_tiles: int
    def __init__(
        self,
        stages: Sequence[tuple[int, Sequence[int]]],
        sides: Sequence[int],
        chunk_sides: Sequence[int],
        element_bytes: int,
        is_swapped: bool,
        slack: int,
        offsets: NDArray[np.int64],
        sizes: NDArray[np.int64],
        masks: NDArray[np.uint32],
    ) -> None: ...
    def raw_bytes(self, rows: NDArray[np.int64]) -> int: ...

def read_rows(
    plan: ChunkPlan,
    decoder: Decoder,
    fd: int,
    mapping: NDArray[np.uint8] | None,
    rows: NDArray[np.int64],
    begins: NDArray[np.int64],
    within: NDArray[np.int64],
    slots: NDArray[np.int64],
    raw: NDArray[np.uint8],
    spare: NDArray[np.uint8],
    out: NDArray[np.uint8],
    images: NDArray[np.uint8],
    sink: Sink,
) -> tuple[int, int, int]: ...
def read_row(
    plan: ChunkPlan,
    decoder: Decoder,
    fd: int,
    mapping: NDArray[np.uint8] | None,
    row: int,
    raw: NDArray[np.uint8],
    spare: NDArray[np.uint8],
    out: NDArray[np.uint8],
    images: NDArray[np.uint8],
) -> int: ...
def undo_filters(
    plan: ChunkPlan, decoder: Decoder, skipped: int, stored: NDArray[np.uint8], spare: NDArray[np.uint8], out: NDArray[np.uint8]
) -> bytes | None: ...
