"""A prepared batch, whole or in parts for several devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset.nested import leaves, map_outputs, outputs_of
from fastprep.pipeline.buffers import Lease
from fastprep.pipeline.companions import Placed


class Batch(NamedTuple):
    """A prepared batch on one device.

    Attributes
    ----------
    x : numpy or cupy array, shape (rows, h, w, C) or (rows, C, h, w), or dict of str to such
        A view of the leased buffer, complete; by the names of the inputs, where there are several.
    y : ndarray, shape (rows, ...), a tuple or dict of such, or None
        Labels of each output; None for images without labels.
    weights : ndarray of float32, shape (rows,), in the structure of y, or None
        Sample weights; None if there are none.
    lease : Lease
        Lease of the buffer that holds x.
    replaced : ndarray of bool, shape (samples,), or None
        Samples in whose place others were read, because they are damaged; None if there are none.
    on_device : tuple of Placed or None
        Where each array of y and weights also lies, behind x in a buffer on a device; empty, or None for one of them, if only on
        the host.
    offsets : int, or dict of str to int
        Bytes from the start of the buffer to x.
    """

    x: Any
    y: Any
    weights: Any
    lease: Lease
    replaced: NDArray[np.bool_] | None = None
    on_device: tuple[Placed | None, ...] = ()
    offsets: Any = 0

    def hand_out(self) -> Any:
        """Return the batch as plain iteration gives it: (x, y, weights), (x, y) without weights, or x without labels.

        Nothing is known of whoever gets it, so the buffer is used again only after a wait for the whole device.
        """
        self.lease.hand_over()
        if self.y is None:
            return self.x
        return (self.x, self.y) if self.weights is None else (self.x, self.y, self.weights)

    def convert_x(self, convert: Callable[[tuple[int, ...], str, int], Any], dtype: Any) -> Any:
        """Return x, converted array by array.

        Parameters
        ----------
        convert : callable
            Takes the shape of an array, its type, and the bytes from the start of the buffer to it.
        dtype : str, or dict of str to str
            Type of each array, by its name.

        Returns
        -------
        object, or dict of str to object
        """
        return map_outputs(lambda array, name, offset: convert(array.shape, name, offset), self.x, dtype, self.offsets)

    def convert_companions(self, convert: Callable[[NDArray, Placed | None], Any]) -> list[Any]:
        """Return the labels and the weights, those that there are, converted array by array.

        Parameters
        ----------
        convert : callable
            Takes an array, and its place on the device or None.

        Returns
        -------
        list of object, tuple or dict
            In the structure of y.
        """
        places = iter(self.on_device or [None] * len(leaves(self.y, self.weights)))
        converted = []
        for values in (self.y, self.weights):
            if values is None:
                next(places)
            else:
                converted.append(map_outputs(lambda array: convert(array, next(places)), values))
        return converted

    @property
    def parts(self) -> tuple[Batch, ...]:
        """The batch itself, as the part of its only device."""
        return (self,)

    @property
    def n_rows(self) -> int:
        """Number of rows of x."""
        return len(outputs_of(self.x)[0])

    @property
    def device_number(self) -> int:
        """Number of the CUDA device that x is on."""
        return outputs_of(self.x)[0].device.id


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
