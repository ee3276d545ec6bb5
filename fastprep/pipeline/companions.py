"""Labels and weights of a batch, and their place behind x in a buffer on a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset.nested import leaves

ALIGNMENT = 256
"""As of memory from ``cudaMalloc``, which some libraries ask of every array."""


class Rows(NamedTuple):
    """What belongs to the rows of a batch besides x.

    Attributes
    ----------
    samples : ndarray of int64, shape (samples,)
        Ids of the samples that were read; others than were asked for where damaged ones are replaced.
    y : ndarray, shape (rows, ...), a tuple or dict of such, or None
    weights : ndarray of float32, shape (rows,), in the structure of y, or None
    """

    samples: NDArray[np.int64]
    y: Any
    weights: Any


class Placed(NamedTuple):
    """An array behind x in a buffer on a device.

    Attributes
    ----------
    offset : int
        Bytes from the start of the buffer.
    shape : tuple of int
    dtype : dtype
    """

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Companions:
    """The arrays, labels and weights, that go to a device with x, because the consumer wants them there.

    A consumer that copied them itself would do so from pageable memory, and such a copy waits for all that the consumer has
    queued before.

    Parameters
    ----------
    arrays : sequence of ndarray, tuple or dict of ndarray, or None, each array of shape (N, ...)
        The labels, and the weights, of all samples; those of several outputs one after the other.
    dtype_of : callable
        Takes the dtype of an array, and returns the one that the consumer gets; None if the array is to stay on the host.
    """

    def __init__(
        self,
        arrays: Sequence[Any] = (),
        dtype_of: Callable[[np.dtype[Any]], np.dtype[Any] | None] = lambda dtype: dtype,
    ) -> None:
        every = leaves(*arrays)
        self._dtypes = [None if array is None else dtype_of(array.dtype) for array in every]
        self._row_shapes = [() if array is None else array.shape[1:] for array in every]

    def __bool__(self) -> bool:
        """Whether any array goes to the device."""
        return any(dtype is not None for dtype in self._dtypes)

    def place(self, first: int, n_rows: int) -> list[Placed | None]:
        """Return where the arrays of a batch lie.

        Parameters
        ----------
        first : int
            Bytes of the buffer that are taken by x.
        n_rows : int

        Returns
        -------
        list of Placed or None
            In the order of `fastprep.dataset.nested.leaves`; None for one that stays on the host.
        """
        placed: list[Placed | None] = []
        for dtype, row_shape in zip(self._dtypes, self._row_shapes, strict=True):
            if dtype is None:
                placed.append(None)
                continue
            first += -first % ALIGNMENT
            placed.append(Placed(first, (n_rows, *row_shape), dtype))
            first += n_rows * int(np.prod(row_shape, dtype=np.int64)) * dtype.itemsize
        return placed

    def end(self, first: int, n_rows: int) -> int:
        """Return how many bytes x and the arrays of a batch take; see `place`."""
        ends = [place.offset + int(np.prod(place.shape)) * place.dtype.itemsize for place in self.place(first, n_rows) if place]
        return max([first, *ends])
