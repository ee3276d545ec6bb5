from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

MARGIN_BEFORE: int
MARGIN_BEHIND: int

class HeapStatus(IntEnum):
    OUTSIDE = ...
    NO_HEAP = ...
    HEAP_SIZE = ...
    BEYOND = ...
    FREE_SPACE = ...
    TWICE = ...
    NO_OBJECT = ...
    LENGTH = ...

class HeapTables:
    n_kept: int
    n_walks: int

def read_rows(
    fd: int,
    file_bytes: int,
    tables: HeapTables,
    references: NDArray[np.uint8],
    samples: NDArray[np.int64],
    out: NDArray[np.uint8],
    starts: NDArray[np.int64],
) -> tuple[int, int, int, int]: ...
