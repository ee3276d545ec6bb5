"""Decoded images in a hidden work folder, from which an interrupted build continues."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.building.decode import DecodedImage
from fastprep.building.staging import clear, open_own
from fastprep.errors import DataError

_STRIP = 1 << 16  # pixels that are summed at a time


@dataclass(frozen=True)
class Record:
    """Facts about a decoded image.

    Attributes
    ----------
    number : int
        Number of the image, 0..n-1.
    width, height : int
        Size of the upright source in pixels.
    note : str
        See `fastprep.building.decode.DecodedImage`.
    sums, squares : list of int
        Sums of the values, and of their squares, for each channel.
    products : list of int
        Sums of the products of the values of two channels: of the first and each later one, of the second and each later one.
    digest : str
        BLAKE2b of the pixels.
    """

    number: int
    width: int
    height: int
    note: str
    sums: list[int]
    squares: list[int]
    products: list[int]
    digest: str

    def to_json(self) -> bytes:
        """Return the line of the journal, in which the number is called "place"."""
        facts = asdict(self)
        return json.dumps({"place": facts.pop("number"), **facts}).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Record:
        """Read a line of the journal.

        Raises
        ------
        ValueError, TypeError
            If it is not such a line.
        """
        facts = json.loads(line)
        if not isinstance(facts, dict) or not isinstance(number := facts.pop("place", None), int):
            raise ValueError("a line of the journal needs the number of an image")
        return cls(number, **facts)


class Cache(ABC):
    """A raw file of what became of images, and a journal of those that are complete.

    A line of the journal is written after the bytes and holds their digest. However an earlier run ended, an image counts only
    if its bytes are those that were written.

    Parameters
    ----------
    folder : Path
        Folder of the two files.
    key : str
        Digest of everything that the bytes depend on. Images under another key are removed.
    n : int
        Number of images in the end.

    Attributes
    ----------
    records : dict of int to Record
        Complete images by their numbers.
    was_stale : bool
        Whether images under another key were removed.
    """

    _kind: type[Record] = Record

    def __init__(self, folder: Path, key: str, n: int) -> None:
        self._lock, self._end, self._folder = threading.Lock(), 0, folder
        name = folder / "key"
        old_key = _read_text(name)
        self.was_stale = old_key not in (None, key)
        if old_key != key:
            clear(folder)
            for new in ("pixels", "journal"):
                os.close(open_own(folder / new, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            with open(open_own(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as file:
                file.write(key)  # last, because everything counts as stale without it
        self._pixels = open_own(folder / "pixels", os.O_RDWR)
        self._journal = open_own(folder / "journal", os.O_RDWR)
        self.records: dict[int, Any] = {record.number: record for record in self._load() if 0 <= record.number < n}

    def close(self) -> None:
        """Close the files."""
        os.close(self._pixels)
        os.close(self._journal)

    @abstractmethod
    def add(self, number: int, image: Any) -> None:
        """Keep an image; may be called from any thread.

        Raises
        ------
        OSError
            If the images can't be written, for example because the disk is full.
        """

    @abstractmethod
    def n_pixels(self, number: int) -> int:
        """Return the number of pixels of a complete image, as a loader will decode it."""

    def check(self) -> Iterator[int]:
        """Compare all images with their digests, and forget those that differ; yield how many were compared so far."""
        for done, record in enumerate(list(self.records.values()), 1):
            if not self._is_whole(record):
                del self.records[record.number]
            yield done

    @abstractmethod
    def _is_whole(self, record: Any) -> bool:
        """Return whether the bytes of an image are those that were written."""

    def _write(self, data: memoryview, offset: int) -> None:
        with _named(self._folder / "pixels"):
            _write_all(self._pixels, data, offset)

    def _read(self, offset: int, n_bytes: int) -> bytes:
        with _named(self._folder / "pixels"):
            return os.pread(self._pixels, n_bytes, offset)

    def _note(self, record: Record) -> None:
        """Write the line of an image whose bytes are written."""
        line = record.to_json()
        with self._lock, _named(self._folder / "journal"):
            _write_all(self._journal, memoryview(line), self._end)
            self._end += len(line)
            self.records[record.number] = record

    def _load(self) -> Iterator[Record]:
        """Read the journal, and cut off an incomplete last line."""
        with open(self._journal, "rb", closefd=False) as file:
            whole = 0
            for line in file:
                try:
                    record = self._kind.from_json(line) if line.endswith(b"\n") else None
                except (ValueError, TypeError):
                    record = None
                if record is None:
                    break
                whole += len(line)
                yield record
        self._end = whole  # the rest is written over
        os.truncate(self._journal, whole)


class Decoded(Cache):
    """Images of one size, in the order of their numbers.

    Parameters
    ----------
    folder, key, n
        See `Cache`.
    shape : (int, int, int)
        Height, width and channels of each image.
    """

    def __init__(self, folder: Path, key: str, n: int, shape: tuple[int, int, int]) -> None:
        self._shape, self._bytes = shape, int(np.prod(shape))
        super().__init__(folder, key, n)

    def add(self, number: int, image: DecodedImage) -> None:
        """Keep an image; see `Cache.add`."""
        record = Record(number, image.width, image.height, image.note, *sums_of(image.pixels), digest_of(image.pixels))
        self._write(np.ascontiguousarray(image.pixels).reshape(-1).data, number * self._bytes)
        self._note(record)

    def n_pixels(self, number: int) -> int:
        """Return the number of pixels of an image, which all have alike."""
        return self._shape[0] * self._shape[1]

    def pixels(self, number: int) -> NDArray[np.uint8]:
        """Return the pixels of a complete image.

        Raises
        ------
        DataError
            If they are not those that were decoded.
        """
        content = self._content(number)
        if digest_of(content) != self.records[number].digest:
            raise DataError("decoded pixels have changed on the disk; run the same command again", str(self._folder / "pixels"))
        return content.reshape(self._shape)

    def _is_whole(self, record: Record) -> bool:
        return digest_of(self._content(record.number)) == record.digest

    def _content(self, number: int) -> NDArray[np.uint8]:
        return np.frombuffer(self._read(number * self._bytes, self._bytes), np.uint8)


def sums_of(pixels: NDArray[np.uint8]) -> tuple[list[int], list[int], list[int]]:
    """Return the sums of pixels, shape (H, W, C), as a `Record` holds them: of values, of their squares, and of products."""
    values = pixels.reshape(-1, pixels.shape[-1])
    sums, squares = np.zeros(values.shape[1]), np.zeros((values.shape[1],) * 2)
    for first in range(0, len(values), _STRIP):
        strip = values[first : first + _STRIP].astype(np.float64)  # releases the GIL; bincount would not
        sums += np.ones(len(strip)) @ strip
        squares += strip.T @ strip  # whole numbers below 2**53, here and above: exact
    products = squares[np.triu_indices(len(squares), 1)]
    return sums.astype(np.int64).tolist(), squares.diagonal().astype(np.int64).tolist(), products.astype(np.int64).tolist()


def digest_of(pixels: NDArray[np.uint8]) -> str:
    """Return the BLAKE2b of pixels."""
    return hashlib.blake2b(np.ascontiguousarray(pixels).reshape(-1).data, digest_size=16).hexdigest()


def _read_text(path: Path) -> str | None:
    """Return the beginning of a file of the work folder; None if it does not exist."""
    try:
        with open(open_own(path, os.O_RDONLY), "rb") as file:
            return file.read(1000).decode("utf-8", "replace")
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in errors of the system, which knows descriptors only."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    while len(data):
        n = os.pwrite(descriptor, data, offset)
        data, offset = data[n:], offset + n
