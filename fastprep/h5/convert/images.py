"""The new dataset of images: uint8, written block by block, then read back and compared."""

from __future__ import annotations

import contextlib
import zlib
from types import TracebackType

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.convert.blocks import Part, block_ranges, read_blocks
from fastprep.h5.groups import ImageGroup
from fastprep.h5.index import ImageIndex
from fastprep.h5.metadata import metadata_of
from fastprep.h5.opening import open_images
from fastprep.h5.plausibility import MOST_CHANNELS
from fastprep.h5.reader import Reader
from fastprep.h5.write import ImageWriter
from fastprep.system import Progress

_SAY_AXES = "say that they are channels with axes='NHWC', --axes NHWC of the command"


class InexactError(DataError):
    """A value that uint8 can't hold exactly."""


class Uint8Images:
    """Writes images of any type as uint8, those of one file after those of another. A context manager, which ends its threads.

    Parameters
    ----------
    dataset : h5py.Dataset
        From `fastprep.h5.write.new_images`.
    gzip_level : int or None
        That of the dataset.
    rounded : bool
        Round and clip values, instead of refusing them.
    progress : callable
        Called with "writing", the number of images that are done, and the number of all images.

    Attributes
    ----------
    n_done : int
        Number of images that have been written.
    """

    def __init__(self, dataset: h5py.Dataset, gzip_level: int | None, rounded: bool, progress: Progress) -> None:
        self.n_done = 0
        self._shape = dataset.shape
        self._rounded, self._progress = rounded, progress
        self._writer = ImageWriter(dataset, gzip_level)
        self._checksums = np.empty(self._shape[0], np.uint32)
        self._sums = np.zeros(self._shape[3], np.uint64)
        progress("writing", 0, self._shape[0])

    def __enter__(self) -> Uint8Images:
        self._writer.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.__exit__(kind, error, trace)

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
        OSError, DataError
            If images can't be read or written.
        """
        start = self.n_done
        for first, last, parts in read_blocks(reader, dataset):
            block = np.empty((last - first, *self._shape[1:]), np.uint8)
            for part in parts:
                block[:, part.rows, part.columns] = _to_uint8(part, self._rounded, reader.index, first)
            self._checksums[start + first : start + last] = [zlib.crc32(image.data) for image in block]
            self._sums += block.sum(axis=(0, 1), dtype=np.uint64).sum(axis=0)
            self._writer.write(start + first, block)
            self.n_done = start + last
            self._progress("writing", self.n_done, self._shape[0])

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each channel of all images."""
        n, height, width, _ = self._shape
        return self._sums / np.float64(n * height * width)

    @property
    def checksums(self) -> NDArray[np.uint32]:
        """Checksum of each image."""
        return self._checksums


def store_mean_of(writer: Uint8Images, dataset: h5py.Dataset, is_doubtful: bool) -> tuple[NDArray[np.float64] | None, list[str]]:
    """Store the mean of new images, unless there is one, or the channels are so many that they may be none.

    Parameters
    ----------
    writer : Uint8Images
        Which has written all of them.
    dataset : h5py.Dataset
    is_doubtful : bool
        Whether nobody has named the axes.

    Returns
    -------
    (ndarray of float64, shape (C,), or None; list of str)
        The mean, if it was stored; notes for people.
    """
    if "mean" in dataset.attrs:
        problem = metadata_of(dataset, (dataset.file.filename, str(dataset.name))).mean_problem
        return None, [f"the attribute 'mean' is kept, though no loader takes it: {problem}"] if problem else []
    if len(writer.mean) > MOST_CHANNELS and is_doubtful:
        return None, [f"no mean is stored: it would have {len(writer.mean)} channels, which is unlikely; {_SAY_AXES}"]
    dataset.attrs["mean"] = writer.mean
    return writer.mean, []


def _to_uint8(part: Part, rounded: bool, index: ImageIndex, first: int) -> NDArray[np.uint8]:
    pixels = part.pixels
    if pixels.dtype == np.uint8:
        return pixels
    if rounded:
        if first == 0 and 0 < pixels.max() <= 1 and (pixels % 1 != 0).any():
            problem = "images lie between 0 and 1, and would be rounded to black and white: multiply them by 255 first"
            raise DataError(problem, index.file, index.dataset, sample=0)
        good, problem = ~np.isnan(pixels), "is not a number, and can't be rounded to one"
        whole = np.clip(np.rint(pixels), 0, 255)
    else:
        problem = "is not a whole number from 0 to 255, as uint8 has them"
        whole = pixels
    with np.errstate(invalid="ignore"):
        result = whole.astype(np.uint8)
    if not rounded:
        good = result == pixels  # NaN and values out of range become some other number
    if not good.all():
        where = np.unravel_index(int(np.argmin(good)), good.shape)
        sample, row, column = first + int(where[0]), part.rows.start + int(where[1]), part.columns.start + int(where[2])
        position = f"at row {row}, column {column}, channel {int(where[3])}"
        raise InexactError(f"value {pixels[where]} {position} {problem}", index.file, index.dataset, sample=sample)
    return result


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
    try:
        with contextlib.closing(open_images(temporary, images, axes="NHWC")) as reader:
            n = len(checksums)
            progress("checking", 0, n)
            for first, last in block_ranges(n, 1, reader.index.image_bytes):
                found = [zlib.crc32(image.data) for image in reader.array(np.arange(first, last))]
                wrong = np.flatnonzero(np.array(found, np.uint32) != checksums[first:last])
                if len(wrong):
                    raise DataError("it differs from what was written", temporary, images, sample=first + int(wrong[0]))
                progress("checking", last, n)
    except DataError as error:
        problem = f"reading back what was written: {error.problem}; the disk or the memory may be faulty. Nothing is left of it"
        raise DataError(problem, target, images, error.chunk, error.sample) from error
