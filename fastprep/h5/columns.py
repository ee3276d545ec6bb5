"""Columns of an open file: labels or weights, one for each image, from a dataset or a field of records, as numbers or texts."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.files import HDF5_ERRORS, check_in_one_file, get_dataset, open_file
from fastprep.h5.header_checks import check_whole
from fastprep.h5.listing import encoded
from fastprep.h5.retries import raise_machine_fault
from fastprep.h5.texts import read_texts, text_of
from fastprep.h5.types import as_numbers, describe_type, dtype_of, number_type

_MOST_FIELDS = 8  # that are named in an error
_LARGEST_INT64 = 2**63 - 1
_MOST_WHOLE = 2**53  # up to which every whole number is a float64
_FEWER_TEXTS = "labels that are numbers take less, with the texts in the attribute 'class_names' of the images"


class Column(NamedTuple):
    """A dataset, or a field of a dataset of records.

    Attributes
    ----------
    dataset : h5py.Dataset
    field : str or None
    """

    dataset: h5py.Dataset
    field: str | None


def find_column(file: h5py.File, name: str, argument: str) -> Column:
    """Return the column that a name stands for: a dataset of this name, or else "dataset:field".

    Parameters
    ----------
    file : h5py.File
    name : str
    argument : str
        Argument of the Python interface that gave the name, for the error.

    Raises
    ------
    DataError
        If there is neither.
    """
    owner, colon, field = name.rpartition(":")
    if colon and owner and quiet_dataset(file, name) is None and (dataset := quiet_dataset(file, owner)) is not None:
        fields = _fields(dataset)
        if field not in fields:
            has = f"fields are {_join(fields)}" if fields else f"it holds {describe_type(dataset)}"
            raise DataError(f"there is no field {field!r}; {has}", file.filename, owner)
        return Column(dataset, field)
    return Column(get_dataset(file, name, argument), None)


def find_quietly(file: h5py.File, name: str | None) -> Column | None:
    """Return a column; None if there is none, or it can't be opened, which is an error only where it is read."""
    if not name:
        return None
    if (dataset := quiet_dataset(file, name)) is not None:
        return Column(dataset, None)
    owner, _, field = name.rpartition(":")
    dataset = quiet_dataset(file, owner)
    return Column(dataset, field) if dataset is not None and field in _fields(dataset) else None


def quiet_dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """Return a dataset; None if there is none of this name, or it can't be opened."""
    dataset = None
    with contextlib.suppress(*HDF5_ERRORS):
        dataset = file[encoded(name)] if name else None
    if not isinstance(dataset, h5py.Dataset):
        return None
    check_in_one_file(dataset, file, name)
    return dataset


def has_column(path: str, name: str) -> bool:
    """Return whether a file has a column; False also if the file can't be opened, which is an error only where it is read."""
    with contextlib.suppress(OSError, DataError), open_file(path) as file:
        return find_quietly(file, name) is not None
    return False


def count_rows(path: str, name: str) -> int | None:
    """Return the number of rows of a column of labels; None if there is none, it can't be told, or the file can't be opened."""
    with contextlib.suppress(OSError, DataError), open_file(path) as file:
        return n_rows_of(find_quietly(file, name))
    return None


def read_column(column: Column, named: tuple[str, str], noun: str, n_rows: int, of_one_image: bool = False) -> NDArray:
    """Read a column.

    Parameters
    ----------
    column : Column
    named : (str, str)
        File and column as the user named them, for errors.
    noun : str
        Name of a row in errors: "label" or "weight".
    n_rows : int
        Number of images.
    of_one_image : bool
        Whether the images are one without an axis N: then a column need not have an axis of rows either.

    Returns
    -------
    ndarray, shape (n_rows, ...)
        Numbers of any width in native byte order, or texts, type object, shape (n_rows,). Bools are uint8, 0 and 1;
        enumerations are their integers. Rows of one number that have three axes or more, or lie along the last of several axes,
        have the shape (n_rows,).

    Raises
    ------
    DataError
        If there are more or fewer rows than images, or they are neither numbers nor texts.
    """
    dataset, field = column
    kind = number_type(dataset) if field is None else _number_of_field(dataset, field)
    is_text = kind is None and _is_text(dataset, field)
    if kind is None and not (is_text and noun == "label"):
        raise DataError(f"{noun}s must be numbers{_or_texts(noun)}, found {_describe(column)}", *named)
    if is_text and math.prod(dataset.shape) != n_rows and has_row_each(dataset.shape, n_rows) and not _are_characters(column):
        raise DataError(f"texts must be one for each of the {n_rows} images, found shape {dataset.shape}", *named)
    is_one_row = of_one_image and not is_text and bool(dataset.shape) and dataset.shape[0] != 1
    if not is_one_row:
        check_rows(dataset, named, noun, n_rows)
    try:
        if dataset.shape == ():
            value = dataset[()] if field is None else dataset.fields(field)[()]
            return np.array([text_of(value)] if is_text else as_numbers(np.asarray(value))[None], object if is_text else None)
        if is_text:
            texts = np.empty(n_rows, object)
            texts[:] = read_texts(dataset, named, n_rows, field, _FEWER_TEXTS)
            return texts
        check_whole(dataset, named)
        values = as_numbers(dataset[()] if field is None else dataset.fields(field)[()])
    except DataError:
        raise
    except HDF5_ERRORS as error:
        raise_machine_fault(error, *named)
        raise DataError(f"HDF5 can't read it: {error}", *named) from error
    numbers = np.ascontiguousarray(values, np.dtype(values.dtype.str).newbyteorder("="))  # without the names of an enumeration
    return numbers[None] if is_one_row else one_row_each(numbers, n_rows)


def has_row_each(shape: tuple[int, ...], n_rows: int) -> bool:
    """Tell whether values of a shape have one row for each image: along the first axis, or one number each along the last."""
    return bool(shape) and (shape[0] == n_rows or (shape[-1] == n_rows and math.prod(shape) == n_rows))


def one_row_each(values: NDArray, n_rows: int) -> NDArray:
    """Return values with their rows along the first axis; where each row is one number, with one axis, or two as (n_rows, 1)."""
    if values.size == n_rows and (values.shape[0] != n_rows or values.ndim > 2):
        return values.reshape(n_rows)
    return values


def join_columns(parts: Sequence[NDArray], paths: Sequence[str], name: str, noun: str = "label") -> NDArray:
    """Return the rows of several files, one after the other, with the values that they have there.

    Parameters
    ----------
    parts : sequence of ndarray
        Column of each file, as `read_column` returns it.
    paths : sequence of str
    name : str
        Name of the column.
    noun : str
        Name of a row in errors: "label" or "weight".

    Returns
    -------
    ndarray, shape (N, ...)
        Integers stay integers.

    Raises
    ------
    DataError
        If the rows differ in shape, are texts in some files and numbers in others, or are 64-bit integers that no type of all
        files has.
    """
    first, wanted = parts[0], np.result_type(*(part.dtype for part in parts))
    if wanted.kind == "f" and all(part.dtype.kind in "iu" for part in parts):
        wanted = np.dtype(np.int64)  # of int64 and uint64, for which numpy takes float64
    for path, part in zip(paths, parts, strict=True):
        if part.shape[1:] != first.shape[1:]:
            problem = f"{noun}s have the shape {part.shape[1:]}, in {paths[0]!r} {first.shape[1:]}"
            raise DataError(problem, path, name)
        if (part.dtype == object) != (first.dtype == object):
            raise DataError(f"{noun}s are texts in some files and numbers in others, such as {paths[0]!r}", path, name)
        if (value := _lost(part, wanted)) is not None:
            other, its = next((p, q.dtype) for p, q in zip(paths, parts, strict=True) if q.dtype != part.dtype)
            problem = f"{noun}s are {part.dtype}, in {other!r} they are {its}, and {value} is no {wanted}; store them in one type"
            raise DataError(problem, path, name)
    return np.concatenate(parts, dtype=wanted) if len(parts) > 1 else first


def _lost(values: NDArray, wanted: np.dtype) -> int | None:
    """Return an integer that has no equal in a type, int64 or a float; None if there is none."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 8 or wanted.kind not in "if" or values.dtype == wanted:
        return None
    if wanted.kind == "i":
        return next((int(value) for value in values[values > _LARGEST_INT64].flat[:1]), None)
    large = values[(values > _MOST_WHOLE) | (values < -_MOST_WHOLE)]
    return next((value for value in large.tolist() if int(float(value)) != value), None)


def n_rows_of(column: Column | None) -> int | None:
    """Return the number of rows of a column of labels; None if there is none, or if they can't be told from other data."""
    shape = None if column is None else column.dataset.shape
    if not shape:
        return None
    long_sides = [side for side in shape if side != 1]
    if len(long_sides) == 1:
        return int(long_sides[0])
    return int(shape[0]) if len(shape) <= 2 else None


def check_rows(dataset: h5py.Dataset, named: tuple[str, str], noun: str, n_rows: int) -> None:
    """Check that a column has one row for each image.

    Parameters
    ----------
    dataset : h5py.Dataset
    named : (str, str)
        File and column as the user named them.
    noun : str
        Name of a row in errors, such as "label".
    n_rows : int
        Number of images.

    Raises
    ------
    DataError
        If it has more or fewer.
    """
    shape = dataset.shape
    if shape == () and n_rows == 1:  # of the only image of a file
        return
    if shape is not None and has_row_each(shape, n_rows):
        return
    hint = ""
    if shape and len(shape) == 2 and shape[1] == n_rows:
        hint = f"; they seem to lie along the second axis: pass an array, {noun}s=array.T"
    raise DataError(f"there must be one {noun} for each of the {n_rows} images, found shape {shape}{hint}", *named)


def _number_of_field(dataset: h5py.Dataset, field: str) -> np.dtype | None:
    base = dataset.dtype[field].base
    return base if base.kind in "iufb" and base.itemsize <= 8 else None


def _are_characters(column: Column) -> bool:
    """Tell whether texts are stored as rows of single characters, as by netCDF."""
    kind = dtype_of(column.dataset)
    return column.field is None and kind is not None and kind.itemsize == 1


def _is_text(dataset: h5py.Dataset, field: str | None) -> bool:
    kind = dtype_of(dataset)
    if kind is None:
        return False
    return h5py.check_string_dtype(kind if field is None else kind[field]) is not None


def _or_texts(noun: str) -> str:
    return " or texts" if noun == "label" else ""


def _describe(column: Column) -> str:
    dataset, field = column
    if field is not None:
        return str(dataset.dtype[field])
    fields = _fields(dataset)
    if not fields:
        return f"{describe_type(dataset)}; store them anew as integers or floats"
    name = (dataset.name or "").lstrip("/")
    return f"records of several fields; name one of {_join(fields)}, such as {f'{name}:{fields[0]}'!r}"


def _fields(dataset: h5py.Dataset) -> tuple[str, ...]:
    kind = dtype_of(dataset)
    return () if kind is None or kind.names is None else kind.names


def _join(fields: tuple[str, ...]) -> str:
    return ", ".join(fields[:_MOST_FIELDS]) + ", ..." * (len(fields) > _MOST_FIELDS)
