"""The filter pipeline of a dataset: the decoder for it, or the reason to let HDF5 read it."""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import imagecodecs
import numpy as np
from numpy.typing import NDArray

_DEFLATE, _SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE
# https://support.hdfgroup.org/documentation/hdf5/latest/_h5_z_8h.html and the HDF Group's list of registered filters
_NAMES = {
    1: "gzip",
    2: "shuffle",
    3: "fletcher32",
    4: "szip",
    5: "nbit",
    6: "scale-offset",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32015: "zstd",
    32026: "blosc2",
}


class Unsupported(Exception):
    """Raised with the reason why a dataset is left to HDF5."""


class DecodeError(Exception):
    """Raised when the bytes of a chunk do not decode to a chunk."""


@dataclass(frozen=True)
class Pipeline:
    """gzip, shuffle, shuffle then gzip, or nothing.

    Parameters
    ----------
    codes : tuple of int
        Filter numbers in the order in which they were applied when the file was written.
    element_bytes : int
        Size of the elements that shuffle took apart.
    """

    codes: tuple[int, ...] = ()
    element_bytes: int = 1

    @property
    def names(self) -> str:
        """Names of the filters in the order of writing, "none" where there are none."""
        return "+".join(_NAMES[code] for code in self.codes) or "none"

    def decode(self, raw: NDArray[np.uint8], skipped: int, out: NDArray[np.uint8], spare: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Undo the filters of one chunk.

        Parameters
        ----------
        raw : ndarray of uint8, shape (n_stored,)
            The chunk as it lies in the file.
        skipped : int
            The chunk's filter mask: bit i set means that filter i was not applied to it.
        out, spare : ndarray of uint8, shape (chunk bytes,)
            Memory to decode into.

        Returns
        -------
        ndarray of uint8, shape (chunk bytes,)
            One of `raw`, `out`, `spare`.

        Raises
        ------
        DecodeError
            If the bytes are damaged, or do not give exactly a chunk.
        """
        data = raw
        for position in reversed(range(len(self.codes))):
            if skipped >> position & 1:
                continue
            target = spare if data is out else out
            if self.codes[position] == _DEFLATE:
                data = _inflate(data, target)
            elif self.element_bytes > 1:
                data = _unshuffle(data, self.element_bytes, target)
        if len(data) != len(out):
            raise DecodeError(f"decoded to {len(data)} bytes, a chunk has {len(out)}")
        return data


def pipeline_of(properties: h5py.h5p.PropDCID) -> Pipeline:
    """Describe the filters of a dataset.

    Parameters
    ----------
    properties : h5py.h5p.PropDCID
        Its creation properties.

    Returns
    -------
    Pipeline

    Raises
    ------
    Unsupported
        If HDF5 has to read the dataset.
    """
    filters = [properties.get_filter(k) for k in range(properties.get_nfilters())]
    codes = tuple(code for code, _, _, _ in filters)
    if codes not in ((), (_SHUFFLE,), (_DEFLATE,), (_SHUFFLE, _DEFLATE)):
        raise Unsupported("filters " + "+".join(_NAMES.get(code, str(code)) for code in codes))
    element_bytes = next((values[0] for code, _, values, _ in filters if code == _SHUFFLE), 1)
    return Pipeline(codes, int(element_bytes))


def _inflate(data: NDArray[np.uint8], out: NDArray[np.uint8]) -> NDArray[np.uint8]:
    try:
        return np.asarray(imagecodecs.deflate_decode(data, out=out)).view(np.uint8)  # type: ignore[arg-type]
    except imagecodecs.DeflateError as error:
        raise DecodeError(f"gzip data is damaged ({error})") from error


def _unshuffle(data: NDArray[np.uint8], element_bytes: int, out: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # shuffle stores the first bytes of all elements, then the second bytes, and so on
    if len(data) != len(out) or len(data) % element_bytes:
        raise DecodeError(f"shuffled data has {len(data)} bytes, a chunk has {len(out)}")
    out.reshape(-1, element_bytes)[...] = data.reshape(element_bytes, -1).T
    return out
