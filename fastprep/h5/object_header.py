"""How long the texts of an attribute are, by the header of its object: HDF5 reads an attribute only as a whole, unasked.

Sections of the HDF5 File Format Specification: object headers IV.A.1, attribute messages IV.A.2.m, continuations IV.A.2.q.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.h5.file_bytes import FileBytes, bytes_of, has_plain_bytes

_ATTRIBUTE, _CONTINUATION = 0x0C, 0x10  # types of messages
_SHARED = 0x02  # flag of a message that is stored elsewhere
_MOST_BLOCKS, _MOST_BLOCK_BYTES = 256, 2**22


def text_lengths(dataset: h5py.Dataset, name: str, n_values: int) -> NDArray[np.uint32] | None:
    """Lengths of the texts of an attribute as the file claims them, in bytes.

    Parameters
    ----------
    dataset : h5py.Dataset
    name : str
        Name of an attribute of strings of variable length.
    n_values : int
        Number of its strings.

    Returns
    -------
    ndarray of uint32, shape (n_values,), or None
        None where they can't be found: the file is not a plain one, or the attribute is not in the header.
    """
    file = dataset.file
    address_bytes, _ = file.id.get_create_plist().get_sizes()
    if not has_plain_bytes(file) or file.userblock_size or address_bytes != 8:
        return None
    try:
        for message in _messages(bytes_of(file), h5py.h5o.get_info(dataset.id).addr):
            data = _data_of(message, name.encode())
            if data is not None and len(data) >= 16 * n_values:
                rows = np.frombuffer(data, np.uint8, 16 * n_values).reshape(-1, 16)  # length, address of a heap, number in it
                return np.ascontiguousarray(rows[:, :4]).view("<u4").reshape(-1)
    except (struct.error, IndexError, OverflowError, OSError):
        pass
    return None


def _messages(stored: FileBytes, address: int) -> Iterator[bytes]:
    """Yield the attribute messages of an object header, of its continuations, too."""
    start = stored.read(64, address)
    if start[:4] == b"OHDR":
        flags = start[5]
        at = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        blocks = [(address + at + width, int.from_bytes(start[at : at + width], "little"))]
        header, edges, skip = "<BHB", (4, 4), 6 if flags & 4 else 4  # OCHK and a checksum are at the edges of continuations
    else:
        blocks = [(address + 16, struct.unpack_from("<I", start, 8)[0])]
        header, edges, skip = "<HHB", (0, 0), 8
    for number in range(_MOST_BLOCKS):
        if number >= len(blocks):
            return
        offset, n_bytes = blocks[number]
        block = stored.read(min(n_bytes, _MOST_BLOCK_BYTES), offset)
        at = 0
        while at + skip <= len(block):
            kind, size, flags = struct.unpack_from(header, block, at)
            message = block[at + skip : at + skip + size]
            at += skip + size
            if kind == _ATTRIBUTE and not flags & _SHARED:
                yield message
            elif kind == _CONTINUATION:
                first, length = struct.unpack_from("<QQ", message)
                blocks.append((first + edges[0], max(0, length - sum(edges))))


def _data_of(message: bytes, name: bytes) -> bytes | None:
    """Return the values of an attribute message, if the attribute has that name."""
    version = message[0]
    sizes = struct.unpack_from("<HHH", message, 2)
    at = 9 if version == 3 else 8
    if message[at : at + sizes[0]].rstrip(b"\0") != name:
        return None
    padded = [-(-size // 8) * 8 for size in sizes] if version == 1 else sizes
    return message[at + sum(padded) :]
