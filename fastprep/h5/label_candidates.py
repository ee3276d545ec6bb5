"""Which columns of a file may be the labels of images: one row for each image, and a name that says so."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import h5py

from fastprep.errors import DataError
from fastprep.h5.columns import Column, n_rows_of
from fastprep.h5.files import HDF5_ERRORS, open_file
from fastprep.h5.name_pairs import natural_order
from fastprep.h5.name_words import IMAGE_WORDS, LABEL_WORDS, differ_in_split, words_of
from fastprep.h5.types import dtype_of, number_type
from fastprep.h5.walk import Folder, folders_of, patterns_below

_PAIRS = {
    "x": "y",
    "images": "labels",
    "image": "labels",
    "imgs": "labels",
    "img": "label",
    "data": "labels",
    "features": "labels",
}


@dataclass
class LabelColumns:
    """The columns of a file that may be labels.

    Attributes
    ----------
    by_rows : dict of int to list of (str, h5py.Dataset)
        Names and datasets by their number of rows; of labels that have a dataset each, the first dataset.
    """

    by_rows: dict[int, list[tuple[str, h5py.Dataset]]] = field(default_factory=dict)

    def add(self, name: str, dataset: h5py.Dataset, n_rows: int) -> None:
        """Add a column."""
        self.by_rows.setdefault(n_rows, []).append((name, dataset))

    def best(self, images: str, n: int) -> str | None:
        """Return the column that is likeliest the labels of `n` images; None if there is none that seems to be."""
        return _best(images, self.by_rows.get(n, []))


def label_columns(folders: Sequence[Folder]) -> LabelColumns:
    """Return what may be labels: datasets, fields of records, and groups of one value for each image."""
    columns = LabelColumns()
    for folder in folders:
        if folder.holds_only_datasets and all(dataset.shape == () for _, dataset in folder.datasets):
            columns.add(f"{folder.path}/", folder.datasets[0][1], folder.n_links)
            continue
        for pattern, n, dataset in patterns_below(folder, folders):
            if dataset.shape == ():
                columns.add(pattern, dataset, n)
        for path, dataset in folder.datasets:
            n_rows = n_rows_of(Column(dataset, None))
            if n_rows is None:
                continue
            kind = dtype_of(dataset)
            for name in (kind.names or ()) if kind is not None else ():
                columns.add(f"{path}:{name}", dataset, n_rows)
            is_text = kind is not None and h5py.check_string_dtype(kind) is not None
            if number_type(dataset) is not None or is_text:
                columns.add(path, dataset, n_rows)
    return columns


def labels_beside(file: str, images: str, n: int) -> str | None:
    """Return the labels that a file next to that of the images has, as "FILE:NAME"; None if there is no such file.

    Its name says so: "..._y.h5" beside "..._x.h5", or "..._labels.h5" beside "..._images.h5".
    """
    for other in _other_names(file):
        with contextlib.suppress(DataError, *HDF5_ERRORS), open_file(other) as opened:
            columns = label_columns(list(folders_of(opened)))
            found = columns.best(images, n)
            everything = columns.by_rows.get(n, [])
            if found is None and len(everything) == 1:
                found = everything[0][0]
            if found is not None and not found.endswith("/"):
                return f"{other}:{found}"
    return None


def _other_names(file: str) -> Iterable[str]:
    """Yield the files whose names are that of a file of images, but for one word at an end of it."""
    folder, name = os.path.split(file)
    stem, suffix = os.path.splitext(name)
    for word, label in _PAIRS.items():
        for pattern in (rf"(?<![a-z]){word}$", rf"^{word}(?![a-z])"):
            other = re.sub(pattern, label, stem, count=1, flags=re.IGNORECASE)
            for path in (os.path.join(folder, each + suffix) for each in dict.fromkeys((other, other[:-1] + other[-1:].upper()))):
                if other != stem and os.path.isfile(path):
                    yield path


def _best(images: str, columns: Iterable[tuple[str, h5py.Dataset]]) -> str | None:
    group = images.rstrip("/").rpartition("/")[0] if not images.endswith("/") else ""
    own = words_of(images) - IMAGE_WORDS
    scored = []
    for name, dataset in columns:
        words = words_of(name)
        if name == images or not words & LABEL_WORDS or differ_in_split(name, images):
            continue
        kind = number_type(dataset)
        is_float = kind is not None and kind.kind == "f"
        near = name.rpartition("/")[0] == group
        scored.append(((-len(own & words), name != "labels", -near, is_float, natural_order(name)), name))
    return min(scored)[1] if scored else None
