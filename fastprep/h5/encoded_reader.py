"""Reader of encoded images: rows of bytes that are decoded one by one, each in the thread that hands it to a sink."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink, hand_over
from fastprep.encoded import decode, is_common, is_plain, part_decoder
from fastprep.encoded.header import Header, Mode
from fastprep.errors import DataError, DecodeError
from fastprep.h5.byte_rows import ByteRows
from fastprep.h5.cache import Scratch
from fastprep.h5.chunks import reading_error
from fastprep.h5.encoded_index import readable_header
from fastprep.h5.handles import Handles
from fastprep.h5.index import ImageIndex
from fastprep.h5.known_headers import KnownHeaders
from fastprep.h5.reader import Reader

_log = logging.getLogger(__name__)

_ROWS_BYTES = 4 << 20  # encoded bytes that are read together
_NO_OFFSET = np.zeros(1, np.int64)


class SizeSink(Sink):
    """A sink that takes no pixels, but the sizes of images that are not decoded for it. Only an `EncodedReader` may have it.

    Parameters
    ----------
    n_slots : int

    Attributes
    ----------
    found : ndarray of int64, shape (n_slots, 2)
        Height and width of the image of each slot, as soon as it was read.
    """

    def __init__(self, n_slots: int) -> None:
        self.found = np.zeros((n_slots, 2), np.int64)


@runtime_checkable
class TakesJpegs(Protocol):
    """A sink that takes JPEGs as they are stored, too, and has them decoded elsewhere."""

    def take_jpegs(
        self, rows: list[NDArray[np.uint8]], slots: NDArray[np.int64], may_take: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Take some of the images that are due.

        Parameters
        ----------
        rows : list of ndarray of uint8
            Their bytes, which are valid during the call only.
        slots : ndarray of int64, shape (n,)
        may_take : ndarray of bool, shape (n,)
            Which are JPEGs of the common kind, and of the size that their slots take.

        Returns
        -------
        ndarray of bool, shape (n,)
            Which were decoded. The pixels of the others are handed over as to any sink.
        """
        ...


class OtherSizeError(Exception):
    """An image that does not have the size that its sink takes: another sample may have come in the place of a damaged one."""


class EncodedReader(Reader):
    """Reads encoded images of one dataset, as `Reader` reads pixels.

    Parameters
    ----------
    index : ImageIndex
        One with `rows`.
    io : {"pread", "mmap"}
        As in `Reader`; rows of bytes are read by pread in either case.
    handles, scratch
        As in `Reader`.

    Notes
    -----
    A sink with `sizes` is handed images of these sizes; a `SizeSink` learns them. Where a sink has none, an image of another size
    than the first one's is an error.
    """

    _what = "images"
    _size_rule = (
        "they need a crop whose result has one size, such as RandomResizedCrop(224), CenterCrop(224, resize=256) or "
        "Resize((224, 224)), and masks and further inputs that are encoded, too"
    )

    def __init__(
        self, index: ImageIndex, io: str = "pread", handles: Handles | None = None, scratch: Scratch | None = None
    ) -> None:
        super().__init__(index, io, handles, scratch)
        assert index.rows is not None
        self._bytes = ByteRows(index.rows, self._handles, self._scratch)
        self._known = KnownHeaders(index.shape[0])
        self._mode: Mode = "L" if index.shape[3] == 1 else "RGB"
        self._has_warned = False

    def sizes(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return height and width of images, which their headers tell.

        Parameters
        ----------
        samples : ndarray of int64, shape (n,)

        Returns
        -------
        ndarray of int64, shape (n, 2)

        Raises
        ------
        OSError, DataError
            As `read`, if a header can't be read.
        """
        sizes, _, _ = self._known.of(samples)
        if len(unknown := samples[sizes[:, 0] == 0]) == 0:
            return sizes
        for sample, data in self._rows(np.unique(unknown)):
            self._size(sample, data)
        return self._known.of(samples)[0]

    def images(self, samples: NDArray[np.int64]) -> Iterator[NDArray]:
        """Yield images one by one, (H, W, C) each, of any size; each is valid until this thread asks for the next one."""
        for sample, data in self._rows(samples):
            yield self._decoded(sample, data)

    def encoded(self, samples: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Yield the bytes and the pixels of images one by one; both are valid until this thread asks for the next one."""
        for sample, data in self._rows(samples):
            yield data, self._decoded(sample, data)

    def close(self) -> None:
        """Close the files as soon as nobody reads from them. A later read opens them again."""
        super().close()
        self._bytes.close()

    def _read(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: Sink) -> None:
        if isinstance(sink, SizeSink):
            sink.found[slots] = self.sizes(samples)
            return
        first = 0
        for part, rows in self._parts(samples):
            self._hand_over_rows(part, rows, slots[first : first + len(part)], sink)
            first += len(part)

    def _hand_over_rows(
        self, samples: NDArray[np.int64], rows: list[NDArray[np.uint8]], slots: NDArray[np.int64], sink: Sink
    ) -> None:
        """Hand images to a sink: many in one call where they are plain JPEGs of the right size, and the others one by one."""
        if isinstance(sink, TakesJpegs):  # an image is decoded by the same decoder each time it is read, the first time included
            self._look_at(samples, rows)
        sizes, is_plain, is_common = self._known.of(samples)
        wanted = self.index.shape[1:3] if sink.sizes is None else sink.sizes[slots]
        has_size = (sizes == wanted).all(axis=1)
        if isinstance(sink, TakesJpegs):
            left = np.flatnonzero(~sink.take_jpegs(rows, slots, is_common & has_size))
            samples, slots, sizes, has_size = samples[left], slots[left], sizes[left], has_size[left]
            rows, is_plain = [rows[k] for k in left], is_plain[left]
        is_plain = is_plain & has_size & (part_decoder() is not None)
        k = 0
        for end in [*np.flatnonzero(~is_plain).tolist(), len(rows)]:  # between these all are plain
            while k < end:
                k += self._hand_over_plain(samples[k:end], rows[k:end], sizes[k:end], slots[k:end], sink)
                if k < end:  # this one is not decoded there
                    self._hand_over_one(int(samples[k]), rows[k], slots[k : k + 1], sink)
                    k += 1
            if k < len(rows):
                self._hand_over_one(int(samples[k]), rows[k], slots[k : k + 1], sink)
                k += 1

    def _hand_over_plain(
        self,
        samples: NDArray[np.int64],
        rows: list[NDArray[np.uint8]],
        sizes: NDArray[np.int64],
        slots: NDArray[np.int64],
        sink: Sink,
    ) -> int:
        """Hand plain JPEGs to a sink, up to one that is not decoded so; return how many those are."""
        decode_parts = part_decoder()
        assert decode_parts is not None
        n_channels = self.index.shape[3]
        memory = self._scratch.memory("pixels", int((sizes[:, 0] * sizes[:, 1]).max()) * n_channels)
        status, n_done = decode_parts(rows, sizes, slots, n_channels, memory, sink)
        if status:
            raise reading_error(self.index, status, int(samples[n_done]))
        return n_done

    def _hand_over_one(self, sample: int, data: NDArray[np.uint8], slot: NDArray[np.int64], sink: Sink) -> None:
        pixels = self._decoded(sample, data)
        if sink.sizes is not None:
            if pixels.shape[:2] != tuple(sink.sizes[slot[0]]):
                raise OtherSizeError(sample)
        elif pixels.shape != self.index.shape[1:]:
            raise self._error(sample, self._another_size(pixels.shape))
        status, _ = hand_over(pixels.reshape(-1).view(np.uint8), _NO_OFFSET, slot, sink)
        if status:
            raise reading_error(self.index, status, sample)

    def _rows(self, samples: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield each sample and its bytes."""
        for part, rows in self._parts(samples):
            yield from zip(part.tolist(), rows, strict=True)

    def _parts(self, samples: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], list[NDArray[np.uint8]]]]:
        """Yield samples and their bytes, a few MiB of which are read together."""
        if len(samples) == 0:
            return
        assert self.index.rows is not None
        self.ask_for(samples)  # all of them, before they are read in parts
        lengths = self.index.rows.places.lengths(samples)
        if lengths is None:
            parts = [samples[k : k + 1] for k in range(len(samples))]
        else:
            ends = np.cumsum(np.clip(lengths, 0, self.index.rows.file_bytes))  # a damaged one is an error when it is read
            parts = np.split(samples, np.flatnonzero(np.diff(ends // _ROWS_BYTES)) + 1)
        for part in parts:
            yield part, self._bytes.read(part)

    def _decoded(self, sample: int, data: NDArray[np.uint8]) -> NDArray:
        height, width = self._size(sample, data)
        n_channels = self.index.shape[3]
        out = self._scratch.memory("pixels", height * width * n_channels).reshape(height, width, n_channels)
        try:
            decode(data, self._mode, out)
        except DecodeError as error:
            raise self._error(sample, error) from error
        return out

    def _size(self, sample: int, data: NDArray[np.uint8]) -> tuple[int, int]:
        """Return height and width of an image; its header is read once."""
        height, width = self._known.size(sample)
        if height:
            return height, width
        try:
            header = self._header(sample, data)
        except DecodeError as error:
            raise self._error(sample, error) from error
        self._known.enter(sample, header.upright, is_plain(header, self._mode), is_common(header, self._mode))
        return header.upright

    def _look_at(self, samples: NDArray[np.int64], rows: list[NDArray[np.uint8]]) -> None:
        """Read the headers of images, as far as that was not done; those that can't be read are errors when they are decoded."""
        for k in np.flatnonzero(self._known.of(samples)[0][:, 0] == 0).tolist():
            with contextlib.suppress(DataError):
                self._size(int(samples[k]), rows[k])

    def _header(self, sample: int, data: NDArray[np.uint8]) -> Header:
        """Return the header of an image that can be handed on; a DecodeError says why it can't be."""
        header = readable_header(data)
        if self._mode == "L" and header.channels > 2 and not (self._has_warned or self.index.channels_are_said):
            self._has_warned = True
            _log.warning(
                "%s: images of %r become grey: those that were looked at first are, but image %d is in colour",
                self.index.file,
                self.index.dataset,
                sample,
            )
        return header

    def _another_size(self, shape: tuple[int, ...]) -> str:
        height, width = self.index.shape[1:3]
        sizes = f"{height}x{width} pixels in the first one, {shape[0]}x{shape[1]} here"
        return f"{self._what} have different sizes: {sizes}; {self._size_rule}"

    def _error(self, sample: int, problem: object) -> DataError:
        assert self.index.rows is not None
        if isinstance(problem, DecodeError) and (advice := self.index.rows.places.advice):
            problem = f"{problem}; {advice}"
        return DataError(str(problem), self.index.file, self.index.name_of(sample), None, sample)

    def _extents(self, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._bytes.extents(samples)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.index, self.io, self._handles, self._scratch), {"_cache": self._cache}


def reader_of(index: ImageIndex, io: str = "pread", handles: Handles | None = None, scratch: Scratch | None = None) -> Reader:
    """Return the reader for an index: of pixels, or of encoded images."""
    return (Reader if index.rows is None else EncodedReader)(index, io, handles, scratch)
