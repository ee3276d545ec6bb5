"""A prepared batch, whole or in parts for several devices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep.pipeline.buffers import Lease
from fastprep.pipeline.companions import Placed


class Batch(NamedTuple):
    """A prepared batch on one device.

    Attributes
    ----------
    x : numpy or cupy array, shape (rows, h, w, C) or (rows, C, h, w)
        A view of the leased buffer, complete.
    y : ndarray, shape (rows, ...), or None
        Labels; None for images without labels.
    weights : ndarray of float32, shape (rows,), or None
        Sample weights; None if there are none.
    lease : Lease
        Lease of the buffer that holds x.
    replaced : ndarray of bool, shape (samples,), or None
        Samples in whose place others were read, because they are damaged; None if there are none.
    on_device : tuple of Placed or None
        Where y and weights also lie, behind x in a buffer on a device; empty, or None for one of them, if only on the host.
    """

    x: Any
    y: NDArray | None
    weights: NDArray[np.float32] | None
    lease: Lease
    replaced: NDArray[np.bool_] | None = None
    on_device: tuple[Placed | None, ...] = ()

    def hand_out(self) -> Any:
        """Return the batch as plain iteration gives it: (x, y, weights), (x, y) without weights, or x without labels.

        Nothing is known of whoever gets it, so the buffer is used again only after a wait for the whole device.
        """
        self.lease.hand_over()
        if self.y is None:
            return self.x
        return (self.x, self.y) if self.weights is None else (self.x, self.y, self.weights)

    @property
    def companions(self) -> list[tuple[NDArray, Placed | None]]:
        """The labels and the weights, those that there are, each with its place on the device."""
        on_device = self.on_device or (None, None)
        return [(array, place) for array, place in zip((self.y, self.weights), on_device, strict=True) if array is not None]

    @property
    def parts(self) -> tuple[Batch, ...]:
        """The batch itself, as the part of its only device."""
        return (self,)

    @property
    def n_rows(self) -> int:
        """Number of rows of x."""
        return len(self.x)


class SharedBatch(NamedTuple):
    """A prepared batch in parts, each on a device of its own.

    Attributes
    ----------
    parts : tuple of Batch
        Their rows, one part after the other, are the rows of the batch. The last parts may have no rows.
    """

    parts: tuple[Batch, ...]

    def hand_out(self) -> tuple[Any, ...]:
        """Return the batch as plain iteration gives it: a tuple with what `Batch.hand_out` returns for each part."""
        return tuple(part.hand_out() for part in self.parts)

    @property
    def n_rows(self) -> int:
        """Number of rows of all parts."""
        return sum(part.n_rows for part in self.parts)
