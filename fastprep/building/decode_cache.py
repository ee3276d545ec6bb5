"""Images that are decoded already, in a hidden work folder: an interrupted build goes on from there."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastprep.building.decode import DecodedImage
from fastprep.building.staging import clear
from fastprep.system.atomic import named_if_full


@dataclass(frozen=True)
class Record:
    """What is known of an image without looking at it again.

    Attributes
    ----------
    place : int
        Its number.
    width, height : int
        Of the source, upright.
    note : str
        See `fastprep.building.decode.DecodedImage`.
    sums, squares : list of int
        Of the values, and of their squares, for each channel.
    digest : str
        BLAKE2b of the pixels.
    """

    place: int
    width: int
    height: int
    note: str
    sums: list[int]
    squares: list[int]
    digest: str


class Decoded:
    """Images of one size in a raw file, each at its place, and a journal of those that are there.

    A line of the journal is written after the pixels, and holds their digest: whatever ended an earlier run, an image counts
    only if its pixels are those that were decoded.

    Parameters
    ----------
    folder : Path
        To keep them in.
    key : str
        Of everything that the pixels depend on; what is there under another key is removed.
    n : int
        Images there will be.
    shape : (int, int, int)
        Of each: height, width, channels.

    Attributes
    ----------
    records : dict of int to Record
        By place, of the images that are there.
    was_stale : bool
        Something under another key was removed.
    """

    def __init__(self, folder: Path, key: str, n: int, shape: tuple[int, int, int]) -> None:
        self._shape, self._bytes = shape, int(np.prod(shape))
        self._lock, self._end, self._folder = threading.Lock(), 0, folder
        name = folder / "key"
        self.was_stale = name.exists() and name.read_text() != key
        if not name.exists() or self.was_stale:
            clear(folder)
            (folder / "pixels").touch()
            (folder / "journal").touch()
            name.write_text(key)  # last: without it everything counts as stale
        self._pixels = os.open(folder / "pixels", os.O_RDWR)
        self._journal = os.open(folder / "journal", os.O_RDWR)
        self.records = {record.place: record for record in self._load() if 0 <= record.place < n}

    def close(self) -> None:
        """Close the files."""
        os.close(self._pixels)
        os.close(self._journal)

    def add(self, place: int, image: DecodedImage) -> None:
        """Keep an image; any thread may.

        Raises
        ------
        OSError
            If the disk is full, say.
        """
        columns = image.pixels.sum(axis=0, dtype=np.uint32)  # numpy lets other threads run meanwhile; bincount would not
        sums = columns.sum(axis=0, dtype=np.uint64).tolist()
        columns = np.square(image.pixels, dtype=np.uint32).sum(axis=0, dtype=np.uint64)
        squares = columns.sum(axis=0, dtype=np.uint64).tolist()
        record = Record(place, image.width, image.height, image.note, sums, squares, _digest(image.pixels))
        with named_if_full(self._folder / "pixels"):
            _write_all(self._pixels, np.ascontiguousarray(image.pixels).reshape(-1).data, place * self._bytes)
        line = json.dumps(asdict(record)).encode() + b"\n"
        with self._lock, named_if_full(self._folder / "journal"):
            _write_all(self._journal, memoryview(line), self._end)
            self._end += len(line)
            self.records[place] = record

    def pixels(self, place: int) -> NDArray[np.uint8]:
        """Return the pixels of an image that is there."""
        content = os.pread(self._pixels, self._bytes, place * self._bytes)
        pixels = np.frombuffer(content, np.uint8)
        return pixels.reshape(self._shape) if len(content) == self._bytes else np.zeros(self._shape, np.uint8)

    def check(self) -> Iterator[int]:
        """Compare all pixels with their digests, and forget what differs; yield how many were compared so far."""
        for done, record in enumerate(list(self.records.values()), 1):
            if _digest(self.pixels(record.place)) != record.digest:
                del self.records[record.place]
            yield done

    def _load(self) -> Iterator[Record]:
        """Read the journal; one that ends within a line is cut there."""
        with open(self._journal, "rb", closefd=False) as file:
            whole = 0
            for line in file:
                try:
                    record = Record(**json.loads(line)) if line.endswith(b"\n") else None
                except (ValueError, TypeError):
                    record = None
                if record is None:
                    break
                whole += len(line)
                yield record
        self._end = whole  # what stands behind is written over
        os.truncate(self._journal, whole)


def _digest(pixels: NDArray[np.uint8]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(pixels).reshape(-1).data, digest_size=16).hexdigest()


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    while len(data):
        n = os.pwrite(descriptor, data, offset)
        data, offset = data[n:], offset + n
