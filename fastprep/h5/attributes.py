"""Attributes of images that other programs may have written in their own way: used if their meaning is plain, ignored if not."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from h5py import h5t

from fastprep.errors import DataError
from fastprep.h5.object_header import text_lengths
from fastprep.h5.retries import raise_machine_fault
from fastprep.h5.texts import text_of
from fastprep.h5.types import FAILURES

MOST_VALUES = 2**16
MOST_BYTES = 2**24
"""Limits of an attribute: its values, and their bytes in the file. HDF5 reads an attribute only as a whole."""

_READABLE = (h5t.INTEGER, h5t.FLOAT, h5t.STRING, h5t.ENUM, h5t.BITFIELD, h5t.ARRAY)
_SHOWN = 60  # characters of a value in a note


@dataclass(frozen=True)
class Attribute:
    """An attribute as the file has it.

    Attributes
    ----------
    value : object
        What h5py reads; None if there is no such attribute, or it can't be used.
    problem : str
        Why it can't be used; otherwise empty.
    """

    value: Any = None
    problem: str = ""


def read_attribute(dataset: h5py.Dataset, name: str, named: tuple[str, str]) -> Attribute:
    """Read an attribute of a dataset, whatever its type.

    Parameters
    ----------
    dataset : h5py.Dataset
    name : str
    named : (str, str)
        File and dataset as the user named them, for errors.

    Raises
    ------
    DataError
        If it is damaged. A type or size that nobody expects there is a problem of the attribute alone.
    """
    try:
        if name not in dataset.attrs:
            return Attribute()
        attribute = dataset.attrs.get_id(name)
        n_values, kind = math.prod(attribute.shape or ()), attribute.get_type()
        if n_values > MOST_VALUES or n_values * kind.get_size() > MOST_BYTES:
            limits = f"no more than {MOST_VALUES}, or {MOST_BYTES} bytes, are read"
            return Attribute(problem=f"it claims {n_values} values, and {limits}")
        if kind.get_class() not in _READABLE or not _has_dtype(attribute):
            return Attribute(problem="its type is none that is read here")
        if kind.get_class() == h5t.STRING and kind.is_variable_str():
            lengths = text_lengths(dataset, name, n_values)
            if lengths is not None and (n_bytes := int(lengths.sum())) > MOST_BYTES:
                return Attribute(problem=f"it claims texts of {n_bytes} bytes, and no more than {MOST_BYTES} are read")
        return Attribute(dataset.attrs[name])
    except FAILURES as error:
        raise_machine_fault(error, *named)
        raise DataError(f"the attributes are damaged: {error}", *named) from error


def channel_order_of(attribute: Attribute, channels: int) -> tuple[str | None, str]:
    """Return the order of channels that an attribute gives, or None; and a note, if the attribute is not a string.

    Parameters
    ----------
    attribute : Attribute
    channels : int
        Number of channels of the images.
    """
    value, texts = attribute.value, _texts(attribute.value)
    if isinstance(value, str | bytes) and text_of(value):
        return text_of(value), ""
    if texts is not None and len(texts) == 1:
        return texts[0], ""
    if texts is not None and len(texts) == channels and all(len(text) == 1 for text in texts):
        return "".join(texts), ""
    return None, _ignored("channel_order", attribute, "a string such as 'RGB'")


def class_names_of(attribute: Attribute) -> tuple[tuple[str, ...], str]:
    """Return the names of classes that an attribute gives, empty if it gives none; and a note, if it is not a list of strings."""
    value, texts = attribute.value, _texts(attribute.value)
    if isinstance(value, str | bytes) or (texts is not None and len(texts) == 1):
        text = text_of(value) if texts is None else texts[0]
        names = _names_in(text)
        if len(names) > 1:
            return names, f"attribute 'class_names' is one string, {_shown(text)}, taken as the names {_shown(', '.join(names))}"
    elif texts is not None:
        return tuple(texts), ""
    return (), _ignored("class_names", attribute, "a list of strings, one for each class")


def _has_dtype(attribute: h5py.h5a.AttrID) -> bool:
    with contextlib.suppress(*FAILURES):
        return attribute.dtype is not None
    return False


def _texts(value: object) -> list[str] | None:
    """Return the strings of an array, along its only long axis; None if it is anything else."""
    if not isinstance(value, np.ndarray | Sequence) or isinstance(value, str | bytes):
        return None
    array = np.asarray(value)
    items = array.reshape(-1).tolist()
    if array.size and array.size == max(array.shape) and all(isinstance(item, str | bytes) for item in items):
        return [text_of(item) for item in items]
    return None


def _names_in(text: str) -> tuple[str, ...]:
    """Return the names in one string: a list in JSON, or names between commas, semicolons or lines."""
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        listed = None
    if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
        return tuple(listed)
    for separator in (";", "\n", ","):
        names = tuple(name.strip() for name in text.split(separator))
        if len(names) > 1 and all(names):
            return names
    return ()


def _ignored(name: str, attribute: Attribute, rule: str) -> str:
    if attribute.problem:
        return f"attribute {name!r} is ignored: {attribute.problem}"
    return "" if attribute.value is None else f"attribute {name!r} is ignored: it must be {rule}, found {_shown(attribute.value)}"


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
