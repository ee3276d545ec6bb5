"""Which datasets of a file may be images, and which their labels: found by shape, type and name, the likeliest first."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import h5py

from fastprep.errors import DataError
from fastprep.h5.byte_types import begins_an_image, has_variable_length, head_of, is_row, is_text
from fastprep.h5.encoded_index import index_encoded, is_encoded
from fastprep.h5.files import HDF5_ERRORS, open_file
from fastprep.h5.flat_rows import shape_of_rows
from fastprep.h5.groups import ImageGroup, get_images
from fastprep.h5.index import ImageIndex, index_images
from fastprep.h5.label_candidates import LabelColumns, label_columns, labels_beside
from fastprep.h5.listing import get_quietly, names_in
from fastprep.h5.metadata import metadata_of
from fastprep.h5.name_pairs import natural_order
from fastprep.h5.name_words import IMAGE_WORDS, LABEL_WORDS, OTHER_WORDS, split_of, words_of
from fastprep.h5.plausibility import AXES, doubt
from fastprep.h5.row_layouts import seems_images
from fastprep.h5.types import FAILURES, number_type
from fastprep.h5.walk import Folder, folders_of, pattern_of, patterns_below

_COLOURS = 4  # channels that an image with channels first has at most
_BANDS = 16  # an image with more channels is rather a stack of grey ones
_SMALLEST = 8  # pixels of a side, unless the name is one of images; smaller are boxes, landmarks, filters
_MOST_OPENED = 12  # candidates that are looked at closely
_MOST_LAYERS = 64  # of what may be a network
_NETWORK = ("keras_version", "layer_names", "model_config")  # attributes
_NETWORK_GROUPS = ("model_weights", "_layer_checkpoint_dependencies", "optimizer/vars")


@dataclass(frozen=True)
class Candidate:
    """Images, with their labels, that a loader takes.

    Attributes
    ----------
    images : str
        Name, as for the argument `images`.
    labels : str or None
        Name, as for the argument `labels`; None if nothing seems to be their labels.
    axes : str or None
        Axes that have to be named; None if they need not be.
    words : str
        Shape and type, for people.
    n : int
        Number of images.
    shape : (int, int, int), or None
        Shape of an image that has to be named, because they are flat rows; None if it need not be.
    why : str
        Why axes or a shape have to be named, or why these were taken; empty if none have to be.
    image_shape : (int, int, int), or None
        Height, width and channels; None for flat rows whose shape only the user knows, which no loader takes without it.
    has_mean : bool
        Whether a mean is stored with the images.
    is_encoded : bool
        Whether the images are encoded; `image_shape` is then that of the first one.
    """

    images: str
    labels: str | None
    axes: str | None
    words: str
    n: int
    shape: tuple[int, int, int] | None = None
    why: str = ""
    image_shape: tuple[int, int, int] | None = None
    has_mean: bool = False
    is_encoded: bool = False

    @property
    def split(self) -> str:
        """Part of the data that the name tells of: "train", "val", "test" or nothing."""
        return split_of(self.images)

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of a loader that name all of this, without those that are None."""
        wanted = {"images": self.images, "labels": self.labels, "axes": self.axes, "shape": self.shape}
        return {name: value for name, value in wanted.items() if value is not None}


class _Name(NamedTuple):
    """What may be images, before it is opened as a loader does."""

    images: str
    is_flat: bool = False

    @property
    def unlikeliness(self) -> tuple[Any, ...]:
        """How unlikely a name is that of images for training; less is likelier."""
        words = words_of(self.images)
        return (
            bool(words & (OTHER_WORDS | LABEL_WORDS)),
            self.is_flat,
            split_of(self.images) in ("val", "test"),
            not words & IMAGE_WORDS,
            split_of(self.images) != "train",
            split_of(self.images) == "test",
            self.images.count("/"),
        )


def find_candidates(path: str | os.PathLike[str]) -> list[Candidate]:
    """Return what may be images in a file, the likeliest first; see `candidates_in`.

    Raises
    ------
    OSError, DataError
        If the file can't be opened.
    """
    with open_file(path) as file:
        return candidates_in(file)


def seems_network(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file holds the weights of a Keras network.

    Raises
    ------
    OSError, DataError
        If the file can't be opened.
    """
    with open_file(path) as file:
        return holds_network(file)


def candidates_in(file: h5py.File) -> list[Candidate]:
    """Return what may be images in an open file, the likeliest first.

    All have been opened as a loader does, but for flat rows whose shape nothing tells, which come last.
    """
    if holds_network(file):
        return []
    folders = list(folders_of(file))
    columns = label_columns(folders)
    names = list(dict.fromkeys([*_groups(folders), *_patterns(folders)]))
    taken = {name.images for name in names}
    for folder in folders:
        for path, dataset in folder.datasets:
            is_one_of_many = f"{folder.path}/" in taken or pattern_of(path) in taken
            if not is_one_of_many and (_may_be(path, dataset) or _may_be_encoded(path, dataset)):
                names.append(_Name(path))
            elif _may_be_flat(path, dataset):
                names.append(_Name(path, True))
    found = []
    for name in sorted(names, key=_order)[:_MOST_OPENED]:
        candidate = _flat(file, name.images, columns) if name.is_flat else _opened(file, name.images, columns)
        if candidate is not None:
            found.append((name, candidate))
    found.sort(key=lambda pair: (pair[1].image_shape is None, pair[1].labels is None, pair[0].unlikeliness))
    return [candidate for _, candidate in found]


def holds_network(file: h5py.File) -> bool:
    """Tell whether a file holds the weights of a Keras network, whose ranks are those of images."""
    with contextlib.suppress(*FAILURES):
        if any(name in file.attrs for name in _NETWORK) or any(name in file for name in _NETWORK_GROUPS):
            return True
        layers = file.get("layers")
        return isinstance(layers, h5py.Group) and any(
            isinstance(get_quietly(layers, name + b"/vars"), h5py.Group) for name in names_in(layers, _MOST_LAYERS)
        )
    return False


def _order(name: _Name) -> tuple[Any, ...]:
    return name.unlikeliness, natural_order(name.images)


def _opened(file: h5py.File, name: str, columns: LabelColumns) -> Candidate | None:
    """Return the candidate of a name; None if a loader would refuse it, whatever axes are named."""
    with contextlib.suppress(DataError, *HDF5_ERRORS):
        dataset = get_images(file, name)
        if is_encoded(dataset):
            return _candidate(file, dataset, index_encoded(dataset, (file.filename, name)), columns, None, None, "")
        sides = dataset.shape[0], *sorted(dataset.shape[1:], reverse=True)
        n_labels = next((side for side in sides if columns.best(name, side)), None)
        why, likely = doubt(dataset, n_labels) if dataset.ndim in AXES else ("", ())
        if isinstance(dataset, ImageGroup):
            likely = tuple(axes for axes in likely if axes[0] == "N")
        for axes in (None, *likely):
            with contextlib.suppress(DataError, *HDF5_ERRORS):
                index = index_images(dataset, (file.filename, name), axes, n_labels)
                if axes is None and index.axes.must_be_said:
                    axes, why = index.axes.name, f"{index.axes.why}, and {n_labels:,} labels say which axis is N"
                return _candidate(file, dataset, index, columns, axes, None, why if axes else "")
    return None


def _flat(file: h5py.File, name: str, columns: LabelColumns) -> Candidate | None:
    """Return the candidate of a dataset of flat rows."""
    with contextlib.suppress(DataError, *HDF5_ERRORS):
        dataset = get_images(file, name)
        n, length = dataset.shape
        is_turned = columns.best(name, n) is None and columns.best(name, length) is not None
        n, length = (length, n) if is_turned else (n, length)
        shape = shape_of_rows(dataset, length)
        if shape is None:
            words = f"{n:,} rows of {length} numbers, {number_type(dataset)}"
            return Candidate(name, columns.best(name, n), None, words, n)
        sides, is_planar, why = shape
        axes = {(False, False): None, (False, True): "NCHW", (True, False): "HWCN", (True, True): "CHWN"}[is_turned, is_planar]
        index = index_images(dataset, (file.filename, name), axes, None, sides)
        return _candidate(file, dataset, index, columns, axes, sides, why)
    return None


def _candidate(
    file: h5py.File,
    dataset: h5py.Dataset | ImageGroup,
    index: ImageIndex,
    columns: LabelColumns,
    axes: str | None,
    shape: tuple[int, int, int] | None,
    why: str,
) -> Candidate:
    n, height, width, channels = index.shape
    name = index.dataset
    labels = columns.best(name, n) or labels_beside(file.filename, name, n)
    size = f"{height}x{width}x{channels}"
    words = f"{n:,} of {size}, {index.stored_dtype}" if index.rows is None else f"{n:,} encoded, the first of {size}"
    has_mean = metadata_of(dataset, (file.filename, name), channels).mean is not None
    return Candidate(name, labels, axes, words, n, shape, why, index.shape[1:], has_mean, index.rows is not None)


def _may_be(name: str, dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset may be images, of at least two pixels a side, or eight if the name is not one of images."""
    if number_type(dataset) is None or dataset.ndim not in (3, 4):
        return False
    is_named = words_of(name) & IMAGE_WORDS and not words_of(name) & (OTHER_WORDS | LABEL_WORDS)
    return min(sorted(dataset.shape)[-2:]) >= (2 if is_named else _SMALLEST)


def _may_be_encoded(name: str, dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset may be encoded images; texts of variable length are only if the name is one of images."""
    if is_text(dataset.id.get_type()) and dataset.id.get_type().is_variable_str():
        return dataset.ndim == 1 and bool(words_of(name) & IMAGE_WORDS)
    return seems_images(dataset)


def _may_be_flat(name: str, dataset: h5py.Dataset) -> bool:
    kind, words = number_type(dataset), words_of(name)
    if kind is None or dataset.ndim != 2 or words & (OTHER_WORDS | LABEL_WORDS) or min(dataset.shape) < 2:
        return False
    if words & IMAGE_WORDS:
        return max(dataset.shape) >= _SMALLEST**2
    return kind.kind in "iu" and shape_of_rows(dataset, dataset.shape[1]) is not None


def _groups(folders: Sequence[Folder]) -> Iterator[_Name]:
    """Yield groups whose datasets may be one image each."""
    for folder in folders:
        if folder.holds_only_datasets and _is_image(folder.datasets[0][1]) and folder.are_alike() and _are_numbered(folder):
            yield _Name(f"{folder.path}/")


def _are_numbered(folder: Folder) -> bool:
    """Tell whether the names in a group are those of images, and not of an image and what belongs to it."""
    names = [path.rpartition("/")[2] for path, _ in folder.datasets]
    if any(words_of(name) & (OTHER_WORDS | LABEL_WORDS) or split_of(name) for name in names):
        return False
    return len(names) > 2 or all(any(letter.isdigit() for letter in name) for name in names)


def _patterns(folders: Sequence[Folder]) -> Iterator[_Name]:
    """Yield patterns such as "*/image", where groups have the same datasets, of one image each."""
    for folder in folders:
        for pattern, _, dataset in patterns_below(folder, folders):
            if _is_image(dataset):
                yield _Name(pattern)


def _is_image(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset may be one image, as pixels or encoded."""
    shape = dataset.shape
    if is_row(dataset):
        return _is_encoded_image(dataset)
    if number_type(dataset) is None or len(shape) not in (2, 3) or min(sorted(shape)[-2:]) < 2:
        return False
    return len(shape) == 2 or shape[0] <= _COLOURS or shape[2] <= _BANDS


def _is_encoded_image(dataset: h5py.Dataset) -> bool:
    """Tell whether one row of bytes may be an image: by its first bytes, or, if they are in the heap, by its type."""
    if has_variable_length(dataset.id.get_type()):
        return not is_text(dataset.id.get_type())
    with contextlib.suppress(*HDF5_ERRORS):
        return begins_an_image(head_of(dataset))
    return False
