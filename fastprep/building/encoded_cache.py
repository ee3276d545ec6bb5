"""Encoded images that are decoded once already: their files as they are, or JPEGs in the hidden work folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastprep.building.decode_cache import Cache, Record
from fastprep.building.encode import EncodedImage, bytes_digest, read_bytes
from fastprep.errors import DataError


@dataclass(frozen=True)
class EncodedRecord(Record):
    """Facts about an encoded image.

    Attributes
    ----------
    n_pixels : int
        Pixels of the encoded image.
    offset, n_bytes : int
        Where its bytes are: in the work folder, or from 0 in a file of their own.
    bytes_digest : str
        BLAKE2b of the bytes; `digest` is that of the pixels.
    """

    n_pixels: int
    offset: int
    n_bytes: int
    bytes_digest: str


class EncodedImages(Cache):
    """Encoded images, in the order of their numbers.

    Parameters
    ----------
    folder, key, n
        See `Cache`.
    paths : sequence of str, optional
        File of each image, whose bytes are then not copied. By default they are kept in the work folder.
    read : callable
        Function that takes the path of a file and returns its bytes.
    """

    _kind = EncodedRecord

    def __init__(
        self,
        folder: Path,
        key: str,
        n: int,
        paths: Sequence[str] | None = None,
        read: Callable[[str], bytes] = read_bytes,
    ) -> None:
        self._paths, self._read_file = paths, read
        super().__init__(folder, key, n)
        self._n_bytes = max((record.offset + record.n_bytes for record in self.records.values()), default=0)

    def add(self, number: int, image: EncodedImage) -> None:
        """Keep an image; see `Cache.add`."""
        offset, n_bytes = 0, len(image.data)
        if self._paths is None:
            with self._lock:
                offset, self._n_bytes = self._n_bytes, self._n_bytes + n_bytes
            self._write(memoryview(image.data), offset)
        facts = image.width, image.height, image.note, *image.sums, image.digest
        self._note(EncodedRecord(number, *facts, image.n_pixels, offset, n_bytes, bytes_digest(image.data)))

    def n_pixels(self, number: int) -> int:
        """Return the number of pixels that an image is decoded to."""
        n_pixels: int = self.records[number].n_pixels
        return n_pixels

    def data(self, number: int) -> bytes:
        """Return the bytes of a complete image.

        Raises
        ------
        DataError
            If they are not those that were decoded.
        """
        record = self.records[number]
        content = self._content(record)
        if bytes_digest(content) != record.bytes_digest:
            path = str(self._folder / "pixels") if self._paths is None else self._paths[number]
            raise DataError("the image has changed since it was decoded; run the same command again", path)
        return content

    def _is_whole(self, record: EncodedRecord) -> bool:
        return bytes_digest(self._content(record)) == record.bytes_digest

    def _content(self, record: EncodedRecord) -> bytes:
        if self._paths is None:
            return self._read(record.offset, record.n_bytes)
        return self._read_file(self._paths[record.number])
