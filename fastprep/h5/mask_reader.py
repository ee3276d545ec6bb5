"""Reader of encoded masks, such as PNG files: the numbers that are stored, and not their colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprep.encoded import Header, decode_mask, read_mask_header
from fastprep.errors import DecodeError
from fastprep.h5.cache import Scratch
from fastprep.h5.encoded_reader import EncodedReader
from fastprep.h5.handles import Handles
from fastprep.h5.index import ImageIndex
from fastprep.h5.reader import Reader


class MaskReader(EncodedReader):
    """Reads encoded masks of one dataset, as `EncodedReader` reads images.

    Parameters
    ----------
    index : ImageIndex
        One of encoded masks, see `index_encoded`.
    io, handles, scratch
        As in `EncodedReader`.
    """

    _what = "masks"
    _size_rule = "their images have to be encoded, too, and need a crop whose result has one size, such as RandomResizedCrop(224)"

    def _decoded(self, sample: int, data: NDArray[np.uint8]) -> NDArray:
        self._size(sample, data)  # which refuses numbers that do not fit
        try:
            return decode_mask(data).astype(self.index.dtype, copy=False)
        except DecodeError as error:
            raise self._error(sample, error) from error

    def _header(self, sample: int, data: NDArray[np.uint8]) -> Header:
        header = read_mask_header(data)
        if header.dtype.itemsize > self.index.stored_dtype.itemsize:
            raise DecodeError(
                f"it has {header.bits} bits a number, and the masks that were looked at first have 8: store all masks alike"
            )
        return header


def mask_reader_of(
    index: ImageIndex, io: str = "pread", handles: Handles | None = None, scratch: Scratch | None = None
) -> Reader:
    """Return the reader for an index of masks: of numbers, or of encoded masks."""
    return (Reader if index.rows is None else MaskReader)(index, io, handles, scratch)
