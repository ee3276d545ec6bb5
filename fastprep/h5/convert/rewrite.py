"""Rewriting of an image file in the layout that loads fastest: contiguous uint8, or one gzip chunk for each image."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import zlib
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.convert.blocks import Part, block_ranges, read_blocks
from fastprep.h5.convert.copy import RestCopier, blamed_on
from fastprep.h5.files import get_dataset, open_file
from fastprep.h5.index import ImageIndex
from fastprep.h5.links import records_attribute_order
from fastprep.h5.marks import is_own, mark
from fastprep.h5.metadata import check_one_for_each
from fastprep.h5.other_files import other_files
from fastprep.h5.plausibility import MOST_CHANNELS
from fastprep.h5.reader import Reader, open_images
from fastprep.h5.sources import source_files
from fastprep.h5.unwritten import describe_unwritten
from fastprep.h5.write import ImageWriter, new_file, new_images
from fastprep.system import Progress, check_replaceable, flush_to_disk, whole_file

_MOST_LISTED = 8  # files in an error
_SAY_AXES = "say that they are channels with axes='NHWC', --axes NHWC of the command"


class InexactError(DataError):
    """A value that uint8 can't hold exactly."""


class OtherFilesError(DataError):
    """Images that lie in other files than the one that was named, though nobody asked for those files."""


@dataclass(frozen=True)
class Rewritten:
    """The result of `rewrite`.

    Attributes
    ----------
    source : ImageIndex
        Index of the source images.
    mean : ndarray of float64, shape (C,), or None
        The mean that was computed and stored; None if the source had a mean, which was kept.
    notes : tuple of str
        Descriptions, for people, of what could not be kept unchanged.
    """

    source: ImageIndex
    mean: NDArray[np.float64] | None
    notes: tuple[str, ...]


def rewrite(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    images: str = "images",
    labels: str | None = None,
    *,
    axes: str | None = None,
    gzip_level: int | None = None,
    rounded: bool = False,
    from_other_files: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> Rewritten:
    """Write the images of a file as uint8 to a new file, with everything else in it, completely or not at all.

    Every image is read back and compared before the file gets its name.

    Parameters
    ----------
    source, target : str or path
    images : str
        Dataset of shape (N, H, W, C), or (N, H, W), which becomes (N, H, W, 1), of any type and layout that `open_images` takes.
    labels : str, optional
        Dataset that must have a row for each image. None: labels are not checked.
    axes : {"NHWC", "NHW"}, optional
        Axes of the images. None takes them for one of these, if their shape makes that plausible.
    gzip_level : int, optional
        1..9: one gzip chunk for each image. None: contiguous.
    rounded : bool
        Round to the nearest whole number, ties to even, and clip to 0..255, instead of refusing what is not exact.
    from_other_files : bool
        Copy images that lie in other files, to which an external link, a virtual dataset or external storage leads, instead of
        refusing them: the author of the source chose those files, and everybody who gets the target can read what was in them.
    overwrite : bool
        Replace an existing target, if fastprep wrote it.
    progress : callable
        Called with "writing" or "checking", the number of images that are done, and the number of all images.

    Returns
    -------
    Rewritten

    Raises
    ------
    FileExistsError
        If the target exists and `overwrite` is False.
    NotReplacedError
        If the target is to be replaced, but fastprep did not write it, it is a link, or the source takes contents from it.
    OSError
        If a file can't be opened or written, there is too little space on the disk, or the target is the source itself.
    InexactError
        If a value is not an integer in 0..255, naming its position; with `rounded`, if it is NaN.
    OtherFilesError
        If images lie in other files, naming them, and `from_other_files` is False.
    DataError
        If the source is damaged or has no images, or if an image that is read back differs from the one that was written.
    """
    source, target = os.fspath(source), os.fspath(target)
    opened = open_images(source, images, axes=axes, labels=labels or "labels")
    with contextlib.closing(opened) as reader, open_file(source) as file:
        dataset = get_dataset(file, images)
        elsewhere = other_files(dataset, source)
        _check_target((source, *elsewhere), target, overwrite)
        if elsewhere and not from_other_files:
            raise OtherFilesError(f"the images lie in other files: {_listed(elsewhere)}", source, images)
        if labels is not None:
            check_one_for_each(get_dataset(file, labels, "labels"), (file.filename, labels), "label", len(dataset))
        _check_space(dataset, os.path.getsize(source), target, gzip_level is not None)
        with blamed_on(source, images):
            in_order, root = records_attribute_order(dataset.id), file["/"].id.get_create_plist()
            orders = root.get_link_creation_order(), root.get_attr_creation_order()
        with whole_file(target, replace=overwrite) as temporary:
            with new_file(temporary, target, orders) as new:
                mark(new, "convert")
                create = functools.partial(new_images, new, None, reader.index.shape, gzip_level, in_order)
                copier = RestCopier(file, new, dataset, os.path.dirname(target), create)
                new_dataset = copier.copy_all()
                mean, checksums = _write(reader, dataset, new_dataset, gzip_level, rounded, progress)
                copier.copy_references()
                if mean is not None and len(mean) > MOST_CHANNELS and axes is None:
                    del new_dataset.attrs["mean"]
                    note = f"no mean is stored: it would have {len(mean)} channels, which is unlikely; {_SAY_AXES}"
                    copier.notes.insert(0, note)
                    mean = None
            flush_to_disk(temporary, forget=True)
            _verify(temporary, target, images, checksums, progress)
            _check_target((source, reader.index.holder), target, overwrite)  # again: the work may have taken hours
    index = reader.index
    if index.n_unwritten:
        copier.notes.insert(0, describe_unwritten(index.n_unwritten, index.shape[0], "images"))
    return Rewritten(index, mean, tuple(copier.notes))


def _write(
    reader: Reader,
    dataset: h5py.Dataset,
    new_dataset: h5py.Dataset,
    gzip_level: int | None,
    rounded: bool,
    progress: Progress,
) -> tuple[NDArray[np.float64] | None, NDArray[np.uint32]]:
    """Write the images; return their mean, if it was computed, and a checksum of each image."""
    n, height, width, channels = reader.index.shape
    checksums, sums = np.empty(n, np.uint32), np.zeros(channels, np.uint64)
    keeps_mean = "mean" in dataset.attrs
    progress("writing", 0, n)
    with ImageWriter(new_dataset, gzip_level) as writer:
        for first, last, parts in read_blocks(reader, dataset):
            block = np.empty((last - first, height, width, channels), np.uint8)
            for part in parts:
                block[:, part.rows, part.columns] = _to_uint8(part, rounded, reader.index, first)
            checksums[first:last] = [zlib.crc32(image.data) for image in block]
            if not keeps_mean:
                sums += block.sum(axis=(0, 1), dtype=np.uint64).sum(axis=0)
            writer.write(first, block)
            progress("writing", last, n)
    if keeps_mean:
        return None, checksums
    mean = sums / np.float64(n * height * width)
    new_dataset.attrs["mean"] = mean
    return mean, checksums


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


def _verify(temporary: str, target: str, images: str, checksums: NDArray[np.uint32], progress: Progress) -> None:
    """Read every image back, as a loader will read it, and compare its checksum."""
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


def _listed(files: tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in files[:_MOST_LISTED]) + (", ..." if len(files) > _MOST_LISTED else "")


def _check_target(sources: tuple[str, ...], target: str, overwrite: bool) -> None:
    if not os.path.basename(target):
        raise IsADirectoryError(f"the name of a file to write is needed, found {target!r}")
    if os.path.isdir(target):
        raise IsADirectoryError(f"{target!r} is a folder; the name of a file is needed")
    if os.path.exists(target) and any(os.path.exists(name) and os.path.samefile(name, target) for name in sources):
        raise shutil.SameFileError(f"{target!r} is the file that the images are read from; a file is not converted in place")
    check_replaceable(target, asked=overwrite, is_own=is_own, inputs=source_files(sources[0]))


def _check_space(dataset: h5py.Dataset, source_bytes: int, target: str, compressed: bool) -> None:
    """Check that the disk has room for a lower limit of what is needed; the size of compressed images is not known beforehand."""
    images = 0 if compressed else int(np.prod(dataset.shape, dtype=object))
    rest = max(0, source_bytes - dataset.id.get_storage_size())
    folder = os.path.dirname(os.path.abspath(target))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    total, _, free = shutil.disk_usage(folder)
    if total and images + rest > free:  # systems such as /proc have no room to count; writing there says what is wrong
        raise OSError(f"{target!r} needs {(images + rest) / 1e6:,.0f} MB, but {folder!r} has {free / 1e6:,.0f} MB free")
