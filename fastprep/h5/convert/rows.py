"""Datasets with one row for each image: labels, names of files, and what else several files have beside their images."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g
from numpy.typing import NDArray

from fastprep.h5.convert.alike import AlikeAttributes, have_same_values
from fastprep.h5.convert.objects import blamed_on
from fastprep.h5.convert.references import places_of
from fastprep.h5.files import open_file
from fastprep.h5.header_checks import check_whole
from fastprep.h5.links import walk
from fastprep.h5.other_files import other_files
from fastprep.h5.types import dtype_of
from fastprep.h5.write import write_texts

_BLOCK_BYTES = 8 << 20
_MOST_LISTED = 8


def write_column(file: h5py.File, name: str, values: NDArray) -> str:
    """Write labels, numbers or texts, as a new dataset; return its name."""
    if values.dtype == object:
        write_texts(file, name, list(values))
    else:
        file.create_dataset(name, data=values)
    return name


def write_file_names(file: h5py.File, names: Sequence[str]) -> None:
    """Write where each image comes from, as `file_names`, unless the file has such a dataset."""
    if "file_names" not in file:
        write_texts(file, "file_names", [name.encode("utf-8", "replace").decode() for name in names])


@dataclass
class _Rows:
    """A dataset that files have at the same path: its type, the shape of a row, and in how many files it has been found."""

    row_shape: tuple[int, ...]
    dtype: np.dtype
    kind: Any
    layout: dict[str, Any]
    attributes: AlikeAttributes = field(default_factory=AlikeAttributes)
    n_files: int = 0


class OtherRows:
    """The datasets beside the images that have one row for each image in every file; they are joined, file after file.

    One of which every file has the same values is kept once.

    Parameters
    ----------
    is_one_image : bool
        Whether each file has a single image without an axis for its number: then a whole dataset is a row.

    Attributes
    ----------
    n_rows : int
        Number of images of all files.
    """

    def __init__(self, is_one_image: bool) -> None:
        self.n_rows = 0
        self._is_one_image = is_one_image
        self._files: list[tuple[str, int]] = []
        self._found: dict[str, _Rows] = {}
        self._joined: set[str] = set()
        self._once: set[str] = set()
        self._left_out: set[str] = set()

    def add(self, file: h5py.File, path: str, n_images: int, ignored: Collection[str]) -> None:
        """Look at the datasets of one more file, `ignored` left out, which are images or labels."""
        is_first = not self._files
        self._files.append((path, n_images))
        self.n_rows += n_images
        with blamed_on(path, "/"):
            for link in walk(h5g.open(file.id, b"/")):
                name = os.fsdecode(link.path)
                if isinstance(link.item, h5g.GroupID):
                    self._left_out |= {f"attributes of the group {name!r}"} if h5a.get_num_attrs(link.item) else set()
                elif name not in ignored:
                    is_kept = isinstance(link.item, h5d.DatasetID) and self._add(
                        h5py.Dataset(link.item), name, n_images, is_first
                    )
                    self._left_out |= set() if is_kept else {repr(name)}

    def _add(self, dataset: h5py.Dataset, name: str, n_images: int, is_first: bool) -> bool:
        shape, dtype = dataset.shape, dtype_of(dataset)
        has_rows = shape is not None and (self._is_one_image or (len(shape) > 0 and shape[0] == n_images))
        if not has_rows or dtype is None or places_of(dataset.id.get_type()) or other_files(dataset, dataset.file.filename):
            return False
        row_shape = shape if self._is_one_image else shape[1:]
        if is_first:
            self._found[name] = _Rows(row_shape, dtype, dataset.id.get_type(), self._layout(dataset))
        rows = self._found.get(name)
        common = None if rows is None or rows.row_shape != row_shape else _common_type(rows, dtype, dataset.id.get_type())
        if rows is None or common is None:
            return False
        rows.dtype = common
        rows.n_files += 1
        rows.attributes.add(dataset, (dataset.file.filename, name))
        return True

    def _layout(self, dataset: h5py.Dataset) -> dict[str, Any]:
        """Return how the joined dataset is stored: compressed if this one is."""
        if dataset.chunks is None or not dataset.id.get_create_plist().get_nfilters():
            return {}
        return {"chunks": (1, *dataset.chunks) if self._is_one_image else dataset.chunks, "compression": "gzip", "shuffle": True}

    def write(self, target: h5py.File) -> None:
        """Write the joined datasets, those of the first file first, in blocks."""
        kept = {name: rows for name, rows in self._found.items() if rows.n_files == len(self._files)}
        self._left_out |= {repr(name) for name in self._found if name not in kept}
        self._once = self._same_in_all(list(kept))
        self._joined = set(kept) - self._once
        new = {name: self._create(target, name, rows) for name, rows in kept.items()}
        start = 0
        for number, (path, n_images) in enumerate(self._files if kept else []):
            with open_file(path) as file:
                for name, dataset in new.items():
                    with blamed_on(path, name):
                        if number == 0 or name in self._joined:
                            self._copy(file[name], dataset, start)
                        if number == 0:
                            kept[name].attributes.copy(file[name], dataset)
            start += n_images
        differing = {name: rows.attributes.differing for name, rows in kept.items() if rows.attributes.differing}
        self._left_out |= {f"attribute {attribute!r} of {name!r}" for name, those in differing.items() for attribute in those}

    def _create(self, target: h5py.File, name: str, rows: _Rows) -> h5py.Dataset:
        layout = dict(rows.layout)
        shape = (self._files[0][1] if name in self._once else self.n_rows, *rows.row_shape)
        if layout:
            layout["chunks"] = tuple(min(side, length) for side, length in zip(layout["chunks"], shape, strict=True))
        return target.create_dataset(name, shape, rows.dtype, **layout)

    def _copy(self, source: h5py.Dataset, target: h5py.Dataset, start: int) -> None:
        _check_readable(source)
        for block in _blocks(source.shape, _BLOCK_BYTES // max(1, target.dtype.itemsize)):
            place = (start, *block) if self._is_one_image else (slice(start + block[0].start, start + block[0].stop), *block[1:])
            target[place] = _as(source[block], target.dtype)

    def _same_in_all(self, names: Sequence[str]) -> set[str]:
        """Return the datasets that say the same in every file, such as a list of names: they are not rows of its images.

        Those of which all rows are the same are not among them: they may be rows as well, and say as much as such.
        """
        (first_path, n_images), *others = self._files or [("", 0)]
        if self._is_one_image or not others or any(n != n_images for _, n in others):
            return set()
        same = set(names)
        with open_file(first_path) as first:
            for path, _ in others:
                with open_file(path) as file:
                    same &= {name for name in same if _are_same(first[name], file[name], path)}
                if not same:
                    break
            return {name for name in same if _has_different_rows(first[name], first_path)}

    @property
    def notes(self) -> list[str]:
        """Description of what was joined, kept once, or left out, for people."""
        of_each = "a row of each file" if self._is_one_image else "the rows of all files"
        facts = {
            f"joined, {of_each}": map(repr, self._joined),
            "kept once, because all files have the same values": map(repr, self._once),
            "left out, because not all files have it alike, with a row for each image": self._left_out,
        }
        return [f"{fact}: {_listed(sorted(names))}" for fact, those in facts.items() if (names := list(those))]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_LISTED]) + (f", ... ({len(names)} in all)" if len(names) > _MOST_LISTED else "")


def _check_readable(dataset: h5py.Dataset) -> None:
    if dataset.shape:
        check_whole(dataset, (dataset.file.filename, dataset.name))


def _blocks(shape: tuple[int, ...], most: int) -> Iterator[tuple[slice, ...]]:
    """Yield blocks of at most `most` values that together cover an array, whole rows where they fit."""
    if not shape:
        yield ()
        return
    step = max(1, most // max(1, math.prod(shape[1:])))
    for first in range(0, shape[0], step):
        for others in _blocks(shape[1:], max(1, most // step)):
            yield slice(first, min(first + step, shape[0])), *others


def _has_different_rows(dataset: h5py.Dataset, path: str) -> bool:
    with blamed_on(path, str(dataset.name)):
        _check_readable(dataset)
        for block in _blocks(dataset.shape, _BLOCK_BYTES // (2 * max(1, dataset.dtype.itemsize))):
            values = dataset[block]
            if not have_same_values(values, np.broadcast_to(dataset[(slice(0, 1), *block[1:])], values.shape)):
                return True
    return False


def _are_same(first: h5py.Dataset, second: h5py.Dataset, path: str) -> bool:
    with blamed_on(path, str(second.name)):
        _check_readable(first)
        _check_readable(second)
        blocks = _blocks(first.shape, _BLOCK_BYTES // (2 * max(1, first.dtype.itemsize)))
        return all(have_same_values(first[block], second[block]) for block in blocks)


def _as(values: Any, dtype: np.dtype) -> Any:
    """Return values as they are written: texts of fixed length in the encoding of the new dataset, which HDF5 does not change."""
    return np.asarray(values).astype(dtype) if dtype.kind == "S" else values


def _common_type(rows: _Rows, dtype: np.dtype, kind: Any) -> np.dtype | None:
    """Return a type that holds the values of two files exactly; None if there is none."""
    if rows.kind.equal(kind):
        return rows.dtype
    first, second = h5py.check_string_dtype(rows.dtype), h5py.check_string_dtype(dtype)
    if first is not None and second is not None and None not in (first.length, second.length):
        encoding = first.encoding if first.encoding == second.encoding else "utf-8"
        return h5py.string_dtype(encoding, max(first.length, second.length))
    if rows.dtype.kind in "iuf" and dtype.kind in "iuf" and h5py.check_enum_dtype(dtype) == h5py.check_enum_dtype(rows.dtype):
        common = np.result_type(rows.dtype, dtype)
        if np.can_cast(rows.dtype, common, "safe") and np.can_cast(dtype, common, "safe") and common.kind == dtype.kind:
            return common
    return None
