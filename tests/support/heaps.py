"""Heaps of HDF5 made by hand, and the bytes of a file that make up its references and its heaps."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from fastprep.h5._heap import MARGIN_BEFORE, MARGIN_BEHIND, HeapTables, read_rows

HEADER = 16
GUARD = 64


def collection(*objects: tuple[int, bytes | int], size: int | None = None, free: int | None = None, n_bytes: int = 256) -> bytes:
    """Return a collection of `n_bytes`. An object is its number, and its bytes or only the size that its header claims."""
    parts = []
    for number, content in objects:
        claimed, content = (content, b"") if isinstance(content, int) else (len(content), content)
        parts.append(struct.pack("<HHIQ", number, 0, 0, claimed) + content + bytes(-len(content) % 8))
    used = HEADER + sum(map(len, parts))
    if (rest := n_bytes - used) >= HEADER or free is not None:
        parts.append(struct.pack("<HHIQ", 0, 0, 0, rest if free is None else free))
    head = b"GCOL\x01\0\0\0" + struct.pack("<Q", n_bytes if size is None else size)
    return (head + b"".join(parts)).ljust(n_bytes, b"\0")[:n_bytes]


def reference(length: int, address: int, number: int) -> bytes:
    """Return a reference as files have it."""
    return struct.pack("<IQI", length, address, number)


def read(path: Path, references: bytes, samples=None, tables: HeapTables | None = None, file_bytes: int | None = None):
    """Read rows of a file that need not be HDF5. Memory beside that of the rows must stay as it is.

    Returns the rows up to the first that fails, and its status with the numbers that belong to it.
    """
    lengths = np.frombuffer(references, "<u4")[::4].astype(np.int64)
    samples = np.arange(len(lengths)) if samples is None else np.asarray(samples)
    room = (lengths[samples] + MARGIN_BEFORE + MARGIN_BEHIND + 7) // 8 * 8
    around = np.full(int(room.sum()) + 2 * GUARD, 0xA5, np.uint8)
    out = around[GUARD:-GUARD]
    starts = np.cumsum(room) - room + MARGIN_BEFORE
    with open(path, "rb") as file:
        size = path.stat().st_size if file_bytes is None else file_bytes
        status, position, first, second = read_rows(
            file.fileno(),
            size,
            HeapTables() if tables is None else tables,
            np.frombuffer(references, np.uint8),
            samples,
            out,
            starts,
        )
    assert (around[:GUARD] == 0xA5).all()
    assert (around[-GUARD:] == 0xA5).all()
    rows = [out[start : start + lengths[s]].tobytes() for start, s in zip(starts[:position], samples, strict=False)]
    return rows, (status, first, second)


def structure(content: bytes, offset: int, n_rows: int) -> np.ndarray:
    """Tell which bytes of a whole file are references, from `offset` on, or headers in the collections that they lead to."""
    inside = np.zeros(len(content), bool)
    inside[offset : offset + 16 * n_rows] = True
    addresses = {struct.unpack_from("<IQI", content, offset + 16 * k)[1] for k in range(n_rows)}
    for address in addresses - {0}:
        end = address + struct.unpack_from("<Q", content, address + 8)[0]
        inside[address : address + HEADER] = True
        place = address + HEADER
        while end - place >= HEADER:
            number, _, _, size = struct.unpack_from("<HHIQ", content, place)
            inside[place : place + HEADER] = True
            place = end if number == 0 else place + HEADER + (size + 7) // 8 * 8
    return inside
