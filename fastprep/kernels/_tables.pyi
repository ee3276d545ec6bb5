import numpy as np
from numpy.typing import NDArray

class Limits:
    def __init__(
        self,
        *,
        geometry: str,
        image_shape: tuple[int, int, int],
        size: tuple[int, int],
        most_flags: int,
        has_colors: bool = False,
        has_erasures: bool = False,
        farthest: float = 0,
        most_source: float = 0,
        most_mapped: float | None = None,
    ) -> None: ...
    def hold(
        self,
        crops: NDArray,
        boxes: NDArray | None,
        matrices: NDArray | None,
        colors: NDArray | None,
        erasures: NDArray | None,
        n_slots: int,
    ) -> bool: ...

def by_slot(slots: NDArray[np.int32], n_slots: int) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]: ...
