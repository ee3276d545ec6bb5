"""Rewriting of an image file: contiguous uint8, which loads fastest, one gzip chunk for each image, or encoded images."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Sequence
from typing import Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.h5.axes import check_image_shape
from fastprep.h5.columns import check_rows, find_column, find_quietly
from fastprep.h5.convert.channels import new_order, reorder_attributes, say_decoded_order
from fastprep.h5.convert.combine import combine
from fastprep.h5.convert.copy import RestCopier
from fastprep.h5.convert.mean import store_mean_of
from fastprep.h5.convert.new_dataset import create, facts_of, new_shape, verify, writer_of
from fastprep.h5.convert.objects import LeftOut, blamed_on, free_name, notes_on_name
from fastprep.h5.convert.options import (
    Encoding,
    Options,
    OtherLabels,
    Resize,
    Rewritten,
    check_elsewhere,
    files_elsewhere,
)
from fastprep.h5.convert.rows import write_column, write_file_names
from fastprep.h5.convert.target import check_space, check_target
from fastprep.h5.file_bytes import size_at
from fastprep.h5.files import open_file
from fastprep.h5.groups import ImageGroup, get_images, is_group, names_of_group, owner_of, read_group
from fastprep.h5.heap import HeapPlaces
from fastprep.h5.index import ImageIndex
from fastprep.h5.links import records_attribute_order
from fastprep.h5.marks import mark
from fastprep.h5.metadata import metadata_of
from fastprep.h5.opening import open_images
from fastprep.h5.plausibility import AXES
from fastprep.h5.reader import Reader
from fastprep.h5.unwritten import describe_unwritten
from fastprep.h5.write import new_file
from fastprep.system import Progress, flush_to_disk, whole_file


def rewrite(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    images: str = "images",
    labels: str | OtherLabels | None = None,
    *,
    axes: str | None = None,
    shape: tuple[int, ...] | None = None,
    gzip_level: int | None = None,
    rounded: bool = False,
    from_other_files: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda stage, done, total: None,
    encoding: Encoding | None = None,
    resize: Resize | None = None,
    channel_order: Literal["RGB", "BGR"] | None = None,
) -> Rewritten:
    """Write the images of one or several files to a new file, as uint8 or encoded, with their labels, completely or not at all.

    Every image is read back and compared before the file gets its name.

    Parameters
    ----------
    sources : path, or sequence of paths
        Everything else in a single file is kept. Of several, see `fastprep.h5.convert.combine.combine`.
    target : path
    images : str
        Dataset of any axes, type and layout that `open_images` takes, which becomes (N, H, W, C). Images that have a dataset each
        ("X/", or a pattern) become one dataset, `images`, and their names `file_names`.
    labels : str or callable, optional
        Name of labels that must have a row for each image. Those that have a dataset each ("y/", or a pattern) become one
        dataset, `labels`; and so do those of other files, which a function returns, given the number of images in each file.
        None: labels are not checked.
    axes : str, optional
        Axes of the images, see `open_images`.
    shape : (int, int) or (int, int, int), optional
        Height, width and channels of an image, for a dataset of flat rows.
    gzip_level, rounded, from_other_files, overwrite, progress, encoding, resize, channel_order
        See `fastprep.h5.convert.options.Options`.

    Returns
    -------
    Rewritten

    Raises
    ------
    ValueError
        If options do not go together.
    FileExistsError
        If the target exists and is not to be replaced.
    NotReplacedError
        If the target is to be replaced, but fastprep did not write it, it is a link, or a source takes contents from it.
    OSError
        If a file can't be opened or written, there is too little space on the disk, or the target is a source itself.
    InexactError
        If a value is not an integer in 0..255, naming its position; with `rounded`, if it is NaN.
    OtherFilesError
        If images lie in other files, naming them, and `from_other_files` is False.
    SizesDifferError
        If pixels are to be written, and images have different sizes and are not resized.
    DataError
        If a source is damaged or has no images, labels do not fit, or if an image that is read back differs from the one that was
        written.
    """
    options = Options(gzip_level, rounded, from_other_files, overwrite, progress, encoding, resize, channel_order)
    target, sides = os.fspath(target), check_image_shape(shape)
    paths = [os.fspath(sources)] if isinstance(sources, str | os.PathLike) else [os.fspath(path) for path in sources]
    if len(paths) > 1:
        return combine(paths, target, images, labels, axes=axes, shape=sides, options=options)
    column = labels if isinstance(labels, str) else None
    opened = open_images(paths[0], images, axes=axes, labels=column or "labels", shape=sides, warns=False)
    with contextlib.closing(opened) as reader, open_file(paths[0]) as file:
        dataset = get_images(file, images)
        elsewhere = files_elsewhere(dataset, paths[0])
        check_target(paths, elsewhere, target, options.overwrite)
        check_elsewhere(elsewhere, (paths[0], images), options)
        values, label_names = _labels(file, labels, reader.index.members, reader.index.shape[0])
        check_space(target, _bytes_needed(dataset, size_at(paths[0]), reader, options))
        with whole_file(target, replace=options.overwrite) as temporary:
            is_doubtful = axes is None and sides is None
            done, checksums = _write(file, reader, dataset, temporary, target, (values, label_names), options, is_doubtful)
            flush_to_disk(temporary, forget=True)
            verify(temporary, target, done.images, checksums, done.shape, options)
            check_target((*paths, reader.index.holder), (), target, options.overwrite)  # again: the work may have taken hours
    return done


def _labels(
    file: h5py.File, labels: str | OtherLabels | None, members: Sequence[str], n_images: int
) -> tuple[NDArray | None, list[str]]:
    """Check the labels; return those that become a dataset, and the names of the datasets that they are now."""
    if labels is None:
        return None, []
    if not isinstance(labels, str):
        return labels([n_images]), []
    if find_quietly(file, labels) is None and is_group(labels):
        return read_group(file, labels, members, n_images), names_of_group(file, labels)
    check_rows(find_column(file, labels, "labels").dataset, (file.filename, labels), "label", n_images)
    return None, []


def _write(
    file: h5py.File,
    reader: Reader,
    dataset: h5py.Dataset | ImageGroup,
    temporary: str,
    target: str,
    labels: tuple[NDArray | None, list[str]],
    options: Options,
    is_doubtful: bool,
) -> tuple[Rewritten, NDArray[np.uint32]]:
    """Write the new file; return what was done, and a checksum of each image."""
    index = reader.index
    owner, shape = owner_of(dataset), new_shape(index, index.shape[0], options)
    order, notes = new_order(index, metadata_of(dataset, (file.filename, index.dataset), index.shape[3]), options)
    with blamed_on(file.filename, index.dataset):
        in_order, root = records_attribute_order(owner.id), file["/"].id.get_create_plist()
        orders = root.get_link_creation_order(), root.get_attr_creation_order()
        left_out = LeftOut(file, (*index.members, *labels[1]), owner if isinstance(owner, h5py.Group) else None)
    with new_file(temporary, target, orders) as new:
        mark(new, "convert")
        make = functools.partial(create, new, None, shape, options, in_order)
        is_reordered = index.axes.name not in AXES.values() or dataset.ndim == 2 or _has_other_axes(index, options)
        copier = RestCopier(file, new, dataset, os.path.dirname(target), make, is_reordered, left_out)
        new_dataset = copier.copy_all()
        notes += reorder_attributes(new_dataset, order)
        with writer_of(new_dataset, shape, options, order) as writer:
            writer.append(reader, dataset)
        copier.copy_references()
        if options.encoding is None:
            say_decoded_order(new_dataset, index)
        mean, notes_on_mean = store_mean_of(writer, new_dataset, is_doubtful)
        notes += notes_on_mean
        name, labels_name = index.dataset, None
        if index.members:
            name = copier.name_of_images
            notes += notes_on_name(name, "images")
        if labels[0] is not None:
            labels_name = write_column(new, free_name(new, "labels"), labels[0])
            notes += notes_on_name(labels_name, "labels")
        if index.members:
            write_file_names(new, index.members)
    if index.n_unwritten:
        notes.insert(0, describe_unwritten(index.n_unwritten, index.shape[0], "images"))
    return facts_of(writer, index, mean, (*notes, *copier.notes), name, labels_name), writer.checksums


def _has_other_axes(index: ImageIndex, options: Options) -> bool:
    """Tell whether what the file says of the axes of pixels no longer holds: they are encoded, or their sides are others."""
    return index.rows is None and (options.encoding is not None or options.resize is not None)


def _bytes_needed(dataset: h5py.Dataset | ImageGroup, source_bytes: int, reader: Reader, options: Options) -> int:
    """Return a lower limit of the size of the new file; that of compressed images is not known beforehand."""
    index = reader.index
    is_known = options.gzip_level is None and options.encoding is None
    images = math.prod(new_shape(index, index.shape[0], options)) if is_known else 0
    if isinstance(dataset, ImageGroup):
        return images
    stored = dataset.id.get_storage_size()
    if index.rows is not None and isinstance(index.rows.places, HeapPlaces):  # the dataset itself has the references alone
        stored += index.rows.places.n_bytes or 0
    return images + max(0, source_bytes - stored)
