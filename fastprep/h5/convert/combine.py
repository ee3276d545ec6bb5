"""Many files made one: their images as one dataset, with labels and whatever else has one row for each image."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Sequence

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.columns import find_quietly, has_column, join_columns
from fastprep.h5.convert.alike import AlikeAttributes
from fastprep.h5.convert.channels import new_order, reorder_attributes, say_order
from fastprep.h5.convert.images import SizesDifferError
from fastprep.h5.convert.mean import store_mean_of
from fastprep.h5.convert.new_dataset import create, facts_of, new_shape, verify, writer_of
from fastprep.h5.convert.objects import free_name, notes_on_name
from fastprep.h5.convert.options import Options, OtherLabels, Rewritten, check_elsewhere, files_elsewhere
from fastprep.h5.convert.rows import OtherRows, write_column, write_file_names
from fastprep.h5.convert.target import check_space, check_target
from fastprep.h5.encoded_index import decoded_like
from fastprep.h5.encoded_reader import reader_of
from fastprep.h5.files import open_file
from fastprep.h5.groups import ImageGroup, get_images, is_group, names_of_group, owner_of
from fastprep.h5.index import ImageIndex
from fastprep.h5.marks import mark
from fastprep.h5.metadata import Metadata
from fastprep.h5.survey import FileSurvey, survey
from fastprep.h5.unwritten import describe_unwritten
from fastprep.h5.write import new_file
from fastprep.system import flush_to_disk, whole_file

_DESCRIPTORS = 64  # that are open at a time, at most


def combine(
    paths: Sequence[str],
    target: str,
    images: str,
    labels: str | OtherLabels | None,
    *,
    axes: str | None,
    shape: tuple[int, int, int] | None,
    options: Options,
) -> Rewritten:
    """Write the images of several files to one new file; see `fastprep.h5.convert.rewrite`.

    Kept are images, labels, datasets with one row for each image in every file (once, if all files have the same values), and
    attributes that are the same in all files. Of files of one image each, without an axis N, every dataset is such a row. The
    rest is named in the notes. Images that are one to a file, or to a dataset, get a dataset `file_names` that says where
    each comes from.

    Parameters
    ----------
    paths : sequence of str
    target : str
    images : str
        The new dataset has this name, if it is one of a dataset, and otherwise the name `images`.
    labels : str, callable or None
        The same holds for the name of labels. None: the dataset `labels`, if the first file has it.
    axes, shape, options
        See `fastprep.h5.convert.rewrite`.

    Raises
    ------
    OSError, DataError
        As `fastprep.h5.convert.rewrite`; DataError also if the files do not fit together.
    """
    check_target(paths, (), target, options.overwrite)  # before files are looked at, which may be thousands
    column = labels if isinstance(labels, str) else None
    if labels is None and has_column(paths[0], "labels"):
        column = "labels"
    found: list[FileSurvey] = []
    parts = survey(paths, images, [column] if column is not None else [], [], _DESCRIPTORS, axes, shape)
    with contextlib.closing(parts) as surveyed:
        for part in surveyed:
            _check_alike(part, found[0] if found else part, options)
            found.append(part)
    n_images = sum(part.index.shape[0] for part in found)
    values = _joined_labels(found, column, labels)
    joined = _Joined(images, column, found[0].index)
    elsewhere = [joined.add(path, part) for path, part in zip(paths, found, strict=True)]
    others = [name for names in elsewhere for name in names]
    check_target(paths, others, target, options.overwrite)
    for path, names in zip(paths, elsewhere, strict=True):
        check_elsewhere(names, (path, images), options)
    whole = new_shape(found[0].index, n_images, options)
    check_space(target, math.prod(whole) if options.gzip_level is None and options.encoding is None else 0)
    with whole_file(target, replace=options.overwrite) as temporary:
        with new_file(temporary, target) as new:
            mark(new, "convert")
            done, checksums = joined.write(new, found, whole, values, options, axes is None and shape is None)
        flush_to_disk(temporary, forget=True)
        verify(temporary, target, done.images, checksums, whole, options)
        check_target(paths, others, target, options.overwrite)  # again: the work may have taken hours
    return done


class _Joined:
    """What several files have, and the new file that is made of it."""

    def __init__(self, images: str, labels: str | None, first: ImageIndex) -> None:
        self._images, self._labels = images, labels
        self._is_one_image = first.axes.n_axis is None and not first.members
        self._rows = OtherRows(self._is_one_image)
        self._root, self._own = AlikeAttributes(), AlikeAttributes()
        self._sources: list[str] = []

    def add(self, path: str, part: FileSurvey) -> tuple[str, ...]:
        """Look at what a file has beside its images; return the other files in which its images lie."""
        with open_file(path) as file:
            dataset = get_images(file, self._images)
            elsewhere = files_elsewhere(dataset, path)
            self._rows.add(file, path, part.index.shape[0], self._own_names(file, dataset))
            self._root.add(file, (path, "/"))
            self._own.add(owner_of(dataset), (path, self._images))
        if part.index.members:
            self._sources += [f"{os.path.basename(path)}:{name}" for name in part.index.members]
        elif self._is_one_image:
            self._sources.append(os.path.basename(path))
        return elsewhere

    def _own_names(self, file: h5py.File, dataset: h5py.Dataset | ImageGroup) -> set[str]:
        """Return the names of the datasets that are images or labels."""
        names = list(dataset.names) if isinstance(dataset, ImageGroup) else [self._images]
        if self._labels is not None:
            is_one = find_quietly(file, self._labels) is not None
            names += names_of_group(file, self._labels) if not is_one and is_group(self._labels) else [self._labels]
        return {name.strip("/") for name in names}

    def write(
        self,
        new: h5py.File,
        found: Sequence[FileSurvey],
        shape: tuple[int, int, int, int],
        labels: NDArray | None,
        options: Options,
        is_doubtful: bool,
    ) -> tuple[Rewritten, NDArray[np.uint32]]:
        """Write the new file; return what was done, and a checksum of each image."""
        index = found[0].index
        order, notes = new_order(index, found[0].metadata, options)  # that of all files, see _check_alike
        self._rows.write(new)
        name = free_name(new, "images") if index.members else self._images
        images = create(new, name, shape, options)
        n_unwritten = 0
        with writer_of(images, shape, options, order) as writer:
            for part in found:
                with contextlib.closing(reader_of(part.index)) as reader, open_file(part.index.path) as file:
                    reader.complete()
                    n_unwritten += reader.index.n_unwritten
                    writer.append(reader, get_images(file, self._images))
        with open_file(index.path) as file:
            self._root.copy(file, new)
            self._own.copy(owner_of(get_images(file, self._images)), images)
        notes += reorder_attributes(images, order)
        agreed = _decoded_metadata(found[0]).channel_order  # by all files; those of encoded images may not have the attribute
        if agreed is not None and "channel_order" not in images.attrs:
            say_order(images, agreed)
        mean, notes_on_mean = store_mean_of(writer, images, is_doubtful)
        notes += notes_on_mean
        notes += notes_on_name(name, "images") if index.members else []
        labels_name = None
        if labels is not None:
            wanted = self._labels or "labels"
            wanted = "labels" if is_group(wanted) or ":" in wanted else wanted
            labels_name = write_column(new, free_name(new, wanted), labels)
            notes += notes_on_name(labels_name, wanted)
        if self._sources:
            write_file_names(new, self._sources)
        if n_unwritten:
            notes.append(describe_unwritten(n_unwritten, shape[0], "images"))
        notes += self._rows.notes
        if differing := sorted(self._root.differing | self._own.differing - {"mean", "channel_order"}):
            notes.append(f"attributes that differ between the files are left out: {', '.join(differing)}")
        return facts_of(writer, index, mean, tuple(notes), name, labels_name), writer.checksums


def _joined_labels(found: Sequence[FileSurvey], column: str | None, labels: str | OtherLabels | None) -> NDArray | None:
    if column is None:
        return labels([part.index.shape[0] for part in found]) if callable(labels) else None
    return join_columns([part.labels[column] for part in found], [part.index.file for part in found], column)


def _check_alike(part: FileSurvey, first: FileSurvey, options: Options) -> None:
    """Check that the images of two files can be images of one, and that their channels and classes mean the same."""
    index, wanted = part.index, first.index
    if options.encoding is None and options.resize is None and index.shape[1:] != wanted.shape[1:]:
        problem = f"images are {index.shape[1:]}, in {wanted.file!r} they are {wanted.shape[1:]}"
        raise SizesDifferError(f"{problem}; a file has images of one size", index.file, index.dataset)
    if index.shape[3] != wanted.shape[3]:
        problem = f"images have {index.shape[3]} channels, in {wanted.file!r} they have {wanted.shape[3]}"
        raise DataError(problem, index.file, index.dataset)
    mine, others = _decoded_metadata(part), _decoded_metadata(first)
    for name in ("channel_order", "class_names"):
        one, other = getattr(mine, name), getattr(others, name)
        if one != other:
            raise DataError(f"{name} is {one!r:.200}, in {wanted.file!r} it is {other!r:.200}", index.file, index.dataset)


def _decoded_metadata(part: FileSurvey) -> Metadata:
    return part.metadata if part.index.rows is None else decoded_like(part.index, part.index, part.metadata)[1]
