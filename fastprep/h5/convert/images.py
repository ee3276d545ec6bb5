"""The new images: pixels of uint8, written block by block, then read back and compared."""

from __future__ import annotations

import contextlib
import itertools
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from types import TracebackType

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.convert.blocks import block_ranges, read_blocks
from fastprep.h5.convert.options import Loss, Options
from fastprep.h5.convert.stream import SourceImage, each_image, new_pool, uint8_block
from fastprep.h5.groups import ImageGroup
from fastprep.h5.opening import open_images
from fastprep.h5.reader import Reader
from fastprep.h5.write import ImageWriter
from fastprep.system import Progress


class SizesDifferError(DataError):
    """Images of different sizes, where pixels of one size are to be written."""


class NewImages(ABC):
    """Writes the images of one file after those of another. A context manager, which ends its threads.

    Parameters
    ----------
    dataset : h5py.Dataset
        Where they are written.
    shape : (int, int, int, int)
        Number of images, and the shape of each; that of the first one, if each may have its own.
    options : Options

    Attributes
    ----------
    n_done : int
        Number of images that have been written.
    n_pixels : int
        Number of their pixels.
    had_sizes, has_sizes : bool
        Whether images that were read, and those that were written, have different sizes.
    n_kept : int
        Number of encoded images whose bytes stayed as they were.
    checksums : ndarray of uint32, shape (N,)
        Checksum of what was written for each image.
    """

    def __init__(self, dataset: h5py.Dataset, shape: tuple[int, int, int, int], options: Options) -> None:
        self.n_done = self.n_pixels = self.n_kept = 0
        self.had_sizes = self.has_sizes = False
        self.checksums = np.zeros(shape[0], np.uint32)
        self.dataset, self.shape, self.options = dataset, shape, options
        self._sums = np.zeros(shape[3], np.uint64)
        self._first_size: tuple[int, int] | None = None
        self._pool = new_pool()
        options.progress("writing", 0, shape[0])

    def __enter__(self) -> NewImages:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    @abstractmethod
    def append(self, reader: Reader, dataset: h5py.Dataset | ImageGroup) -> None:
        """Write all images of a file.

        Parameters
        ----------
        reader : Reader
        dataset : h5py.Dataset or ImageGroup
            The open images that the reader is for.

        Raises
        ------
        InexactError
            If a value is not an integer in 0..255, naming its position; with `rounded`, if it is NaN.
        SizesDifferError
            If images have different sizes, and can't have them in the new file.
        OSError, DataError
            If images can't be read, resized, encoded or written.
        """

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each channel over all pixels of all images, as a loader reads them."""
        return self._sums / np.float64(self.n_pixels)

    @property
    def changes_pixels(self) -> bool:
        """Whether pixels are not those of the source."""
        return self.options.resize is not None

    @property
    def loss(self) -> Loss | None:
        """What encoding changed; None if no image was encoded with loss."""
        return None

    def _saw(self, size: tuple[int, int]) -> None:
        """Take note of the size of an image that was read."""
        self._first_size = self._first_size or size
        self.had_sizes = self.had_sizes or size != self._first_size


class Uint8Images(NewImages):
    """Writes images of any type as pixels of uint8; see `NewImages`. The dataset is from `fastprep.h5.write.new_images`."""

    def __init__(self, dataset: h5py.Dataset, shape: tuple[int, int, int, int], options: Options) -> None:
        super().__init__(dataset, shape, options)
        self._writer = ImageWriter(dataset, options.gzip_level)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        self._writer.__exit__(kind, error, trace)

    def append(self, reader: Reader, dataset: h5py.Dataset | ImageGroup) -> None:
        """Write all images of a file; see `NewImages.append`."""
        index = reader.index
        self._saw(index.shape[1:3])
        if index.rows is None and self.options.resize is None:
            for first, last, parts in read_blocks(reader, dataset):
                self._write(uint8_block(index, first, last, parts, self.options.rounded))
            return
        with contextlib.closing(each_image(self._pool, reader, dataset, self.options, self._pixels_of)) as images:
            for first, last in block_ranges(index.shape[0], 1, int(np.prod(self.shape[1:]))):
                block = np.empty((last - first, *self.shape[1:]), np.uint8)
                for row, (pixels, size) in enumerate(itertools.islice(images, last - first)):
                    self._saw(size)
                    if pixels.shape != block.shape[1:]:
                        raise SizesDifferError(_two_sizes(pixels.shape, self.shape), index.file, index.dataset, None, first + row)
                    block[row] = pixels
                self._write(block)

    def _pixels_of(self, image: SourceImage) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        return image.pixels if self.options.resize is not None else image.pixels.copy(), image.size

    def _write(self, block: NDArray[np.uint8]) -> None:
        first, last = self.n_done, self.n_done + len(block)
        self.checksums[first:last] = [zlib.crc32(image.data) for image in block]
        self._sums += block.sum(axis=(0, 1), dtype=np.uint64).sum(axis=0)
        self.n_pixels += block.shape[0] * block.shape[1] * block.shape[2]
        self._writer.write(first, block)
        self.n_done = last
        self.options.progress("writing", last, self.shape[0])


def _two_sizes(shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    sizes = f"{wanted[1]}x{wanted[2]} pixels in the first one, {shape[0]}x{shape[1]} here"
    return f"images have different sizes: {sizes}; a dataset of pixels has images of one size"


def verify_images(temporary: str, target: str, images: str, checksums: NDArray[np.uint32], progress: Progress) -> None:
    """Read every image back, as a loader will read it, and compare its checksum.

    Parameters
    ----------
    temporary, target : str
        Path of the new file, and the one that it is going to have.
    images : str
        Name of the dataset.
    checksums : ndarray of uint32, shape (N,)
    progress : callable
        Called with "checking", the number of images that are done, and the number of all images.

    Raises
    ------
    DataError
        If an image differs, or can't be read.
    """
    n = len(checksums)
    with reading_back(target, images), contextlib.closing(open_images(temporary, images, axes="NHWC")) as reader:
        progress("checking", 0, n)
        for first, last in block_ranges(n, 1, reader.index.image_bytes):
            found = reader.array(np.arange(first, last))
            check_same(found, checksums[first:last], first, (temporary, images))
            progress("checking", last, n)


@contextlib.contextmanager
def reading_back(target: str, images: str) -> Iterator[None]:
    """Say of a DataError that it came when a new file was read back, which is going to have the name `target`."""
    try:
        yield
    except DataError as error:
        problem = f"reading back what was written: {error.problem}; the disk or the memory may be faulty. Nothing is left of it"
        raise DataError(problem, target, images, error.chunk, error.sample) from error


def check_same(found: Iterable[NDArray[np.uint8]], checksums: NDArray[np.uint32], first: int, named: tuple[str, str]) -> None:
    """Compare images, or their bytes, from number `first` on, with the checksums of what was written.

    Raises
    ------
    DataError
        If one differs, naming its number.
    """
    wrong = np.flatnonzero(np.array([zlib.crc32(part.data) for part in found], np.uint32) != checksums)
    if len(wrong):
        raise DataError("it differs from what was written", *named, sample=first + int(wrong[0]))
