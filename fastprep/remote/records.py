"""Records of the blocks that a mirror holds: a table in a file of its own, shared by the processes that read the mirror."""

from __future__ import annotations

import json
import mmap
import os
import time
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 18
"""Bytes of a block, the unit of what is fetched, kept and let go of."""

HEADER_BYTES = 4096
_RECORD = np.dtype([("crc", "<u4"), ("check", "<u4"), ("used", "<u8")])
_VERSION = 2


def n_blocks(n_bytes: int) -> int:
    """Return the number of blocks of a file."""
    return -(-n_bytes // BLOCK)


class Records:
    """A record for each block: the checksum of its bytes, a checksum of the record itself, and when it was last used.

    A record is written after its block. One that is torn, or belongs to another version of the file, fails its own checksum and
    counts for no block.

    Parameters
    ----------
    descriptor : int
        Of the file of the table, open for reading and writing.
    facts : dict
        What tells the version of the file; JSON can hold it.
    n_bytes : int
        Size of the file.
    """

    def __init__(self, descriptor: int, facts: dict[str, Any], n_bytes: int) -> None:
        header = _header(facts)
        size = HEADER_BYTES + max(1, n_blocks(n_bytes)) * _RECORD.itemsize
        if os.pread(descriptor, HEADER_BYTES, 0) != header or os.fstat(descriptor).st_size != size:
            os.ftruncate(descriptor, 0)
            os.ftruncate(descriptor, size)
            os.pwrite(descriptor, header, 0)
        self._map = mmap.mmap(descriptor, size)
        self._table = np.frombuffer(self._map, _RECORD, max(1, n_blocks(n_bytes)), HEADER_BYTES)
        self._seed = zlib.crc32(header)

    def checks(self, blocks: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return the checksums of records, 0 where there is no block. They are as they stand in the table."""
        return self._table["check"][blocks]

    def is_sound(self, block: int) -> bool:
        """Tell whether the record of a block is what was written as a whole."""
        return bool(self._table["check"][block] == self._check(block, int(self._table["crc"][block])))

    def crc(self, block: int) -> int:
        """Return the checksum of a block's bytes, as the record has it."""
        return int(self._table["crc"][block])

    def write(self, block: int, crc: int) -> int:
        """Record a block that has been written; return the record's own checksum."""
        check = self._check(block, crc)
        self._table["crc"][block] = crc
        self._table["used"][block] = _now()
        self._table["check"][block] = check
        return check

    def clear(self, block: int) -> None:
        """Record that a block is not there."""
        self._table["check"][block] = 0

    def touch(self, blocks: NDArray[np.int64]) -> None:
        """Note that blocks are used now."""
        self._table["used"][blocks] = _now()

    def held(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Return the blocks that are there by their records, and when each was last used."""
        blocks = np.flatnonzero(self._table["check"])
        return blocks, self._table["used"][blocks]

    def _check(self, block: int, crc: int) -> int:
        return zlib.crc32(block.to_bytes(8, "little") + crc.to_bytes(4, "little"), self._seed) or 1


def read_facts(descriptor: int) -> dict[str, Any] | None:
    """Return the facts in the header of a table; None if it is none of this version."""
    header = os.pread(descriptor, HEADER_BYTES, 0)
    try:
        facts = json.loads(header.rstrip(b"\0"))
    except ValueError:
        return None
    return facts["file"] if isinstance(facts, dict) and "file" in facts and _header(facts["file"]) == header else None


def _header(facts: dict[str, Any]) -> bytes:
    text = json.dumps({"fastprep blocks": _VERSION, "block": BLOCK, "file": facts}, sort_keys=True).encode()
    if len(text) > HEADER_BYTES:
        raise ValueError(f"an address and its ETag take {len(text)} bytes, more than {HEADER_BYTES}")
    return text.ljust(HEADER_BYTES, b"\0")


def _now() -> int:
    """Return the time in microseconds: of blocks that are used within a second, too, it counts which was used last."""
    return time.time_ns() // 1000
