"""Filter pipelines of datasets: a decoder for each, or the reason why HDF5 has to read the dataset.

imagecodecs decodes, into our memory and without the GIL. This module handles only what HDF5's filters put around the data.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import h5py
import imagecodecs
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

# Numbers: H5Zpublic.h, and the registry at https://github.com/HDFGroup/hdf5_plugins/blob/master/docs/RegisteredFilterPlugins.md
_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3
_LZF, _BLOSC, _LZ4, _BITSHUFFLE, _ZSTD, BLOSC2 = 32000, 32001, 32004, 32008, 32015, 32026
_NAMES = {
    _DEFLATE: "gzip",
    _SHUFFLE: "shuffle",
    _FLETCHER32: "fletcher32",
    4: "szip",
    5: "nbit",
    6: "scale-offset",
    305: "lzo",
    307: "bzip2",
    _LZF: "lzf",
    _BLOSC: "blosc",
    _LZ4: "lz4",
    _BITSHUFFLE: "bitshuffle",
    32013: "zfp",
    _ZSTD: "zstd",
    BLOSC2: "blosc2",
}
_CHECKSUM_BYTES = 4
SLACK_BYTES = 64
"""Bytes by which the output of a stage may exceed a chunk: a checksum that was added before the compression."""


class Unsupported(Exception):
    """The reason why a dataset is left to HDF5."""


class DecodeError(Exception):
    """Bytes of a chunk that do not decode to a chunk."""


@dataclass(frozen=True)
class Filter:
    """One stage of a pipeline.

    Parameters
    ----------
    code : int
        HDF5's number for the filter.
    values : tuple of int
        Its client data in the file.
    """

    code: int
    values: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Common name of the filter."""
        return _NAMES.get(self.code, f"filter {self.code}")


@dataclass(frozen=True)
class Pipeline:
    """The filters of a dataset.

    Parameters
    ----------
    filters : tuple of Filter
        In the order in which they were applied when the file was written.
    """

    filters: tuple[Filter, ...] = ()

    @property
    def can_decode(self) -> bool:
        """Whether `decode` knows all of the filters."""
        return all(stage.code in _DECODERS for stage in self.filters)

    @property
    def names(self) -> str:
        """Names of the filters in the order of writing; "none" if there are no filters."""
        return "+".join(stage.name for stage in self.filters) or "none"

    def decode(self, raw: Bytes, skipped: int, chunk_bytes: int, out: Bytes, spare: Bytes) -> Bytes:
        """Undo the filters of one chunk.

        Parameters
        ----------
        raw : ndarray of uint8, shape (n_stored,)
            The stored bytes of the chunk.
        skipped : int
            The chunk's filter mask: bit i is set if filter i was not applied to it.
        chunk_bytes : int
            Size of the decoded chunk.
        out, spare : ndarray of uint8, shape (chunk_bytes + SLACK_BYTES,)
            Memory to decode into.

        Returns
        -------
        ndarray of uint8, shape (chunk_bytes,)
            Part of `raw`, `out` or `spare`.

        Raises
        ------
        DecodeError
            If the bytes are damaged, or do not give exactly a chunk.
        """
        data = raw
        targets = [spare, out]
        for position in reversed(range(len(self.filters))):
            if skipped >> position & 1:
                continue
            stage = self.filters[position]
            try:
                decoded = _DECODERS[stage.code](data, stage.values, targets[-1])
            except (RuntimeError, ValueError) as error:  # imagecodecs' errors are one or the other
                raise DecodeError(f"{stage.name} data is damaged ({error})") from error
            if stage.code != _FLETCHER32:  # its output is a part of its input
                targets.reverse()
            data = decoded
        if len(data) != chunk_bytes:
            raise DecodeError(f"decoded to {len(data)} bytes, a chunk has {chunk_bytes}")
        return data


def pipeline_of(properties: h5py.h5p.PropDCID, element_bytes: int, others: Collection[int] = ()) -> Pipeline:
    """Return the filters of a dataset.

    Parameters
    ----------
    properties : h5py.h5p.PropDCID
        Creation properties of the dataset.
    element_bytes : int
        Size of its numbers, in bytes.
    others : collection of int
        Filters that something else can undo, which `Pipeline.decode` can't.

    Returns
    -------
    Pipeline

    Raises
    ------
    Unsupported
        If HDF5 has to read the dataset.
    ValueError
        If the dataset can't be read at all.
    """
    filters = tuple(Filter(code, values) for code, _, values, _ in map(properties.get_filter, range(properties.get_nfilters())))
    pipeline = Pipeline(filters)
    codes = [stage.code for stage in filters]
    usable = all(code in _DECODERS or code in others for code in codes) and len(set(codes)) == len(codes)
    for stage in filters:
        if stage.code == _BITSHUFFLE and stage.values[2:3] == (0,):
            raise ValueError("bitshuffle has elements of 0 bytes")  # HDF5's filter would divide by zero
        # without values, which HDF5 does not write for rows of variable length, it fails, and each chunk says that it was skipped
        usable = usable and (stage.code != _SHUFFLE or stage.values[:1] in ((element_bytes,), ()))
        usable = usable and (stage.code != _BITSHUFFLE or _bitshuffle_is_known(stage.values))
    if not usable:
        raise Unsupported(f"filters {pipeline.names}")
    return pipeline


def missing_filters(dataset: h5py.Dataset) -> str:
    """Name the filters of a dataset that HDF5 lacks, as a suffix of its error; empty if it has all of them."""
    properties = dataset.id.get_create_plist()
    codes = [properties.get_filter(position)[0] for position in range(properties.get_nfilters())]
    missing = [f"{Filter(code).name} ({code})" for code in codes if not h5py.h5z.filter_avail(code)]
    if not missing:
        return ""
    return f"; HDF5 has no filter {', '.join(missing)} here, which this dataset needs: see the package hdf5plugin"


def _unshuffle(data: Bytes, values: tuple[int, ...], out: Bytes) -> Bytes:
    # shuffle stores the first bytes of all elements, then the second bytes, and so on; bytes that fill no element stay at the end
    if not values:
        raise ValueError("the size of an element is not known")
    element_bytes = values[0]
    n_elements = len(data) // element_bytes
    whole = n_elements * element_bytes
    if len(data) > len(out):
        raise ValueError(f"{len(data)} bytes are more than a chunk")
    out[:whole].reshape(n_elements, element_bytes)[...] = data[:whole].reshape(element_bytes, n_elements).T
    out[whole : len(data)] = data[whole:]
    return out[: len(data)]


def _verify_fletcher32(data: Bytes, values: tuple[int, ...], out: Bytes) -> Bytes:
    if len(data) < _CHECKSUM_BYTES:
        raise ValueError("no checksum")
    body, stored = data[:-_CHECKSUM_BYTES], int.from_bytes(data[-_CHECKSUM_BYTES:].tobytes(), "little")
    computed = imagecodecs.h5checksum_fletcher32(body)
    # HDF5 before 1.6.3 swapped the bytes of each half on little-endian machines; both are accepted, as in H5Zfletcher32.c
    swapped = (computed & 0x00FF00FF) << 8 | (computed >> 8) & 0x00FF00FF
    if stored not in (computed, swapped):
        raise ValueError(f"checksum is {computed:#010x}, stored is {stored:#010x}")
    return body


def _bitshuffle_is_known(values: tuple[int, ...]) -> bool:
    # major and minor version, element size, block size (0: chosen by the library), compression (0: none, 2: LZ4, 3: zstd)
    compression = values[4] if len(values) > 4 else 0
    return len(values) >= 3 and values[2] > 0 and compression in (0, 2, 3)


def _unbitshuffle(data: Bytes, values: tuple[int, ...], out: Bytes) -> Bytes:
    """Undo bitshuffle, with or without LZ4 or zstd inside.

    Compressed data are: their length (8 bytes, big-endian) and the block length in bytes (4 bytes); for each block, its stored
    length (4 bytes) and its contents; then, uncompressed, the elements that do not fill a group of eight
    (bshuf_h5filter.c and bitshuffle.c of https://github.com/kiyo-masui/bitshuffle).
    """
    element_bytes, block_elements = values[2], values[3] if len(values) > 3 else 0
    compression = values[4] if len(values) > 4 else 0
    if not compression:
        if len(data) > len(out):
            raise ValueError(f"{len(data)} bytes are more than a chunk")
        return _ungroup(data, element_bytes, block_elements, out[: len(data)])
    decompress = imagecodecs.lz4_decode if compression == 2 else imagecodecs.zstd_decode
    header = data[:12].tobytes()
    n_bytes, block_bytes = int.from_bytes(header[:8], "big"), int.from_bytes(header[8:], "big")
    group = 8 * element_bytes
    if n_bytes > len(out) or block_bytes == 0 or block_bytes % group:
        raise ValueError(f"{n_bytes} bytes in blocks of {block_bytes} do not make a chunk")
    block = np.empty(min(block_bytes, n_bytes), np.uint8)  # damaged data may claim blocks of 4 GiB
    start, position = 0, len(header)  # in the decoded, and in the stored data
    while (length := min(block_bytes, (n_bytes - start) // group * group)) > 0:
        stored = int.from_bytes(data[position : position + 4].tobytes(), "big")
        position += 4
        decompressed = np.asarray(decompress(data[position : position + stored], out=block[:length]))
        if len(decompressed) != length:
            raise ValueError(f"a block has {len(decompressed)} bytes instead of {length}")
        _ungroup(decompressed, element_bytes, length // element_bytes, out[start : start + length])
        start, position = start + length, position + stored
    rest = data[position : position + n_bytes - start]
    if len(rest) != n_bytes - start:
        raise ValueError("the data end early")
    out[start:n_bytes] = rest
    return out[:n_bytes]


def _ungroup(data: Bytes, element_bytes: int, block_elements: int, out: Bytes) -> Bytes:
    # imagecodecs takes the element size of an array from its type, and that of plain memory from the argument
    source, target = data.data, out.data
    imagecodecs.bitshuffle_decode(source, itemsize=element_bytes, blocksize=block_elements, out=target)
    return out


def _unblosc(data: Bytes, values: tuple[int, ...], out: Bytes) -> Bytes:
    # Blosc takes the stored length from its own header (bytes 12 to 15, little-endian), and would read beyond the end
    if len(data) < 16 or int.from_bytes(data[12:16].tobytes(), "little") > len(data):
        raise ValueError("the data end early")
    return _decode_whole(partial(imagecodecs.blosc_decode, numthreads=1), data, values, out)


def _unlz4(data: Bytes, values: tuple[int, ...], out: Bytes) -> Bytes:
    # the length comes first, 8 bytes, big-endian; imagecodecs decodes several blocks only into an output of exactly that length
    n_bytes = int.from_bytes(data[:8].tobytes(), "big")
    if n_bytes > len(out):
        raise ValueError(f"{n_bytes} bytes are more than a chunk")
    return _decode_whole(imagecodecs.lz4h5_decode, data, values, out[:n_bytes])


def _decode_whole(decode: Callable[..., Bytes], data: Bytes, values: tuple[int, ...], out: Bytes) -> Bytes:
    return np.asarray(decode(data, out=out)).view(np.uint8)


# Each takes the data, the filter's client data, and memory for the result
_DECODERS: dict[int, Callable[[Bytes, tuple[int, ...], Bytes], Bytes]] = {
    _DEFLATE: partial(_decode_whole, imagecodecs.deflate_decode),
    _SHUFFLE: _unshuffle,
    _FLETCHER32: _verify_fletcher32,
    _LZF: partial(_decode_whole, imagecodecs.lzf_decode),
    _BLOSC: _unblosc,
    _LZ4: _unlz4,
    _BITSHUFFLE: _unbitshuffle,
    _ZSTD: partial(_decode_whole, imagecodecs.zstd_decode),
}
