"""The new images: encoded, a row of bytes for each, which are decoded and compared before they are written, then read back."""

from __future__ import annotations

import contextlib
import math
import zlib
from dataclasses import dataclass
from typing import Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.encoded import decode
from fastprep.encoded.forms import QUALITY
from fastprep.errors import DataError
from fastprep.h5.byte_rows import ByteRows
from fastprep.h5.convert.images import NewImages, check_same, reading_back
from fastprep.h5.convert.options import Encoding, Loss, Options
from fastprep.h5.convert.stream import SourceImage, each_image
from fastprep.h5.groups import ImageGroup
from fastprep.h5.opening import open_images
from fastprep.h5.reader import Reader
from fastprep.h5.write_encoded import write_row
from fastprep.system import Progress

_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class _Row:
    """An encoded image, and what is known of the pixels that it is decoded to: their shape, and the sums of the channels.

    `size` is that of the source; `squares` and `largest` are the sum of squared differences to it, and the largest difference.
    """

    data: bytes
    shape: tuple[int, ...]
    sums: NDArray[np.uint64]
    size: tuple[int, int]
    is_kept: bool
    squares: int = 0
    largest: int = 0


class EncodedRows(NewImages):
    """Writes images as rows of bytes; see `NewImages`.

    Each image is decoded as a loader decodes it, in the thread that encoded it, and compared with what was encoded.

    Parameters
    ----------
    dataset : h5py.Dataset
        From `fastprep.h5.write_encoded.new_rows`.
    shape, options
        As in `NewImages`.
    order : list of int or None
        Channel of the source for each of the new images; None for all as they are.
    """

    def __init__(
        self, dataset: h5py.Dataset, shape: tuple[int, int, int, int], options: Options, order: list[int] | None = None
    ) -> None:
        super().__init__(dataset, shape, options)
        assert options.encoding is not None
        self._encoding: Encoding = options.encoding
        self._order = order
        self._mode: Literal["RGB", "L"] = "L" if shape[3] == 1 else "RGB"
        self._first_new: tuple[int, ...] | None = None
        self._squares = self._largest = self._n_numbers = 0
        self._worst = 0.0, 0  # mean squared difference, and number of the image

    def append(self, reader: Reader, dataset: h5py.Dataset | ImageGroup) -> None:
        """Write all images of a file; see `NewImages.append`."""
        with contextlib.closing(each_image(self._pool, reader, dataset, self.options, self._row_of)) as rows:
            for row in rows:
                self._write(row)

    @property
    def changes_pixels(self) -> bool:
        """Whether pixels are not those of the source."""
        return super().changes_pixels or self._largest > 0

    @property
    def loss(self) -> Loss | None:
        """What encoding changed; None if no image was encoded with loss."""
        if self._encoding.is_lossless or self.n_kept == self.n_done:
            return None
        return Loss(_psnr(self._squares / self._n_numbers), _psnr(self._worst[0]), self._worst[1], self._largest)

    def _row_of(self, image: SourceImage) -> _Row:
        """Encode an image, in any thread."""
        if image.data is not None and image.kind is not None and self._encoding.keeps(image.kind):
            return _Row(image.data.tobytes(), image.pixels.shape, _sums(image.pixels), image.size, True)
        pixels = image.pixels if self._order is None else np.ascontiguousarray(image.pixels[..., self._order])
        data = self._encoded(pixels)
        decoded = np.asarray(decode(data, self._mode), np.uint8)
        if decoded.shape != pixels.shape:
            raise ValueError(f"encoded and decoded again, it has the shape {decoded.shape} instead of {pixels.shape}")
        difference = np.subtract(decoded, pixels, dtype=np.int16)
        largest = max(int(difference.max()), -int(difference.min()))
        if largest and self._encoding.is_lossless:
            raise ValueError(f"encoded without loss and decoded again, its pixels differ by up to {largest}")
        squares = int(np.square(difference, dtype=np.int32).sum(dtype=np.int64)) if largest else 0
        return _Row(data, decoded.shape, _sums(decoded), image.size, False, squares, largest)

    def _encoded(self, pixels: NDArray[np.uint8]) -> bytes:
        from fastprep.encoded.encode import encode  # with Pillow, which files of pixels do without

        if self._encoding.form == "keep":
            raise ValueError("the images are pixels, which can't be kept as encoded images: encode them as png or jpeg")
        return encode(pixels, self._encoding.form, self._encoding.quality or QUALITY)

    def _write(self, row: _Row) -> None:
        number = self.n_done
        write_row(self.dataset, number, row.data)
        self.checksums[number] = zlib.crc32(row.data)
        self._saw(row.size)
        self._first_new = self._first_new or row.shape
        self.has_sizes = self.has_sizes or row.shape != self._first_new
        self._sums += row.sums
        self.n_pixels += row.shape[0] * row.shape[1]
        self.n_kept += row.is_kept
        if not row.is_kept:
            n_numbers = math.prod(row.shape)
            self._n_numbers += n_numbers
            self._squares += row.squares
            self._largest = max(self._largest, row.largest)
            self._worst = max(self._worst, (row.squares / n_numbers, number), key=lambda worst: worst[0])
        self.n_done = number + 1
        self.options.progress("writing", self.n_done, self.shape[0])


def _sums(pixels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return pixels.sum(axis=0, dtype=np.uint32).sum(axis=0, dtype=np.uint64)


def _psnr(mean_square: float) -> float:
    return math.inf if mean_square == 0 else 10 * math.log10(255**2 / mean_square)


def verify_rows(
    temporary: str, target: str, images: str, checksums: NDArray[np.uint32], channels: int, progress: Progress
) -> None:
    """Read every row back, as a loader reads it, and compare its checksum; its bytes have been decoded before.

    Parameters
    ----------
    temporary, target : str
        Path of the new file, and the one that it is going to have.
    images : str
        Name of the dataset.
    checksums : ndarray of uint32, shape (N,)
    channels : int
        Number of channels that a loader makes of the images.
    progress : callable
        Called with "checking", the number of images that are done, and the number of all images.

    Raises
    ------
    DataError
        If a row differs, or can't be read.
    """
    n = len(checksums)
    progress("checking", 0, n)
    with reading_back(target, images):
        with contextlib.closing(open_images(temporary, images)) as reader:
            index = reader.index
        if index.rows is None or index.shape[0] != n or index.shape[3] != channels:
            raise DataError(f"{n} encoded images of {channels} channels were written, found {index.shape}", temporary, images)
        with contextlib.closing(ByteRows(index.rows)) as rows:
            for first in range(0, n, _ROWS_AT_ONCE):
                last = min(first + _ROWS_AT_ONCE, n)
                check_same(rows.read(np.arange(first, last)), checksums[first:last], first, (temporary, images))
                progress("checking", last, n)
