"""One prepared batch, whole or in parts for several devices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep.pipeline.buffers import Lease


class Batch(NamedTuple):
    """One prepared batch.

    Attributes
    ----------
    x : numpy or cupy array, shape (rows, h, w, C) or (rows, C, h, w)
        A view of the leased buffer, finished.
    y : ndarray, shape (rows, ...), or None
    weights : ndarray of float32, shape (rows,), or None
    lease : Lease
        Of the buffer that holds x.
    """

    x: Any
    y: NDArray | None
    weights: NDArray[np.float32] | None
    lease: Lease

    @property
    def item(self) -> Any:
        """What iteration gives: (x, y, weights) less what there is not; x alone for data without labels."""
        if self.y is None:
            return self.x
        return (self.x, self.y) if self.weights is None else (self.x, self.y, self.weights)

    @property
    def parts(self) -> tuple[Batch, ...]:
        """The batch itself, as that of the only device."""
        return (self,)

    @property
    def n_rows(self) -> int:
        """Rows of x."""
        return len(self.x)


class SharedBatch(NamedTuple):
    """One batch in parts, each on a device of its own.

    Attributes
    ----------
    parts : tuple of Batch
        Their rows one after the other are those of the batch. The last ones may have no rows.
    """

    parts: tuple[Batch, ...]

    @property
    def item(self) -> tuple[Any, ...]:
        """What iteration gives: for each part what a batch like it would give."""
        return tuple(part.item for part in self.parts)

    @property
    def n_rows(self) -> int:
        """Rows of all parts."""
        return sum(part.n_rows for part in self.parts)
