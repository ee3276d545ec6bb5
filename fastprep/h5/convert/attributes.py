"""Attributes, in the bytes of their own types."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Container

from h5py import h5a, h5o, h5s, h5t

from fastprep.h5.convert import raw
from fastprep.h5.convert.references import Redirector, places_of
from fastprep.h5.links import names_of_attributes

_FOR_EACH_AXIS = (b"DIMENSION_LIST", b"DIMENSION_LABELS")  # of the HDF5 Dimension Scales specification


def copy_attributes(
    source: h5o.ObjectID,
    target: h5o.ObjectID,
    translate: Callable[[h5t.TypeID], h5t.TypeID],
    n_new_axes: int = 0,
    keeps_axes: bool = True,
    only: Container[bytes] | None = None,
) -> tuple[list[bytes], list[bytes]]:
    """Copy all attributes of an object; references in them stay empty.

    Parameters
    ----------
    source, target : ObjectID
    translate : callable
        Function that takes a type of the source and returns the one to use in the target.
    n_new_axes : int
        Number of axes that the target has behind those of the source: dimension scales and labels get an empty entry for each.
    keeps_axes : bool
        Copy attributes that describe the axes one by one. Otherwise they are left out.
    only : container of bytes, optional
        Names of those to copy. Default: all.

    Returns
    -------
    (list of bytes, list of bytes)
        Names of the attributes that hold references, for `copy_references`, and of those that are left out.
    """
    pending, left_out = [], []
    for name in names_of_attributes(source):
        if (not keeps_axes and name in (*_FOR_EACH_AXIS, b"INTERLACE_MODE")) or (only is not None and name not in only):
            left_out.append(name)
            continue
        old = h5a.open(source, name)
        kind, space = old.get_type(), old.get_space()
        places = places_of(kind)
        n_more = n_new_axes if name in _FOR_EACH_AXIS and len(old.shape) == 1 else 0
        if n_more:
            space = h5s.create_simple((old.shape[0] + n_more,))
        new = raw.create_attribute(target, old, translate(kind), space)
        if old.get_space().get_simple_extent_type() == h5s.NULL:
            continue
        if places:
            pending.append(name)
            continue
        with raw.attribute_values(old) as values:
            raw.write_attribute(new, _extended(values, n_more * kind.get_size()))
    return pending, left_out


def copy_references(source: h5o.ObjectID, target: h5o.ObjectID, name: bytes, redirector: Redirector) -> None:
    """Write the values of an attribute that holds references, redirected; `copy_attributes` has created it."""
    old, new = h5a.open(source, name), h5a.open(target, name)
    kind = old.get_type()
    n, size = old.get_space().get_simple_extent_npoints(), kind.get_size()
    with raw.attribute_values(old) as values:
        redirector.redirect(ctypes.addressof(values), n, size, places_of(kind))
        raw.write_attribute(new, _extended(values, (new.get_space().get_simple_extent_npoints() - n) * size))


def _extended(values: ctypes.Array[ctypes.c_char], n_bytes: int) -> ctypes.Array[ctypes.c_char]:
    """Return values followed by `n_bytes` of zeros, which are empty strings and lists."""
    if not n_bytes:
        return values
    longer = ctypes.create_string_buffer(len(values) + n_bytes)
    ctypes.memmove(longer, values, len(values))
    return longer
