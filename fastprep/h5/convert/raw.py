"""Values of attributes and datasets as the bytes that their own type has in memory, without h5py's conversion to numpy types.

The conversion has no equivalent for some types (bit fields, opaque values, times, odd widths), cuts null-terminated strings that
fill their type, and turns strings of variable length and references into objects of Python. So these calls go to the library
that h5py has loaded. They keep the GIL, and h5py's lock, because HDF5 is not safe for threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator

import h5py
from h5py import h5a, h5d, h5g, h5o, h5p, h5s, h5t

_ID, _POINTER = ctypes.c_int64, ctypes.c_void_p
_RETURN_64_BITS = ("H5Acreate2", "H5Aget_create_plist", "H5Oget_comment", "H5Rdereference2", "H5Rget_region")  # 64 bits
_DEFAULT = 0  # H5P_DEFAULT, H5E_DEFAULT
_H5E_WALK_UPWARD = 0
_ARGUMENTS = {
    "H5Acreate2": (_ID, ctypes.c_char_p, _ID, _ID, _ID, _ID),
    "H5Aget_create_plist": (_ID,),
    "H5Aread": (_ID, _ID, _POINTER),
    "H5Awrite": (_ID, _ID, _POINTER),
    "H5Dread": (_ID, _ID, _ID, _ID, _ID, _POINTER),
    "H5Dwrite": (_ID, _ID, _ID, _ID, _ID, _POINTER),
    "H5Dvlen_reclaim": (_ID, _ID, _ID, _POINTER),
    "H5Idec_ref": (_ID,),
    "H5Oget_comment": (_ID, _POINTER, ctypes.c_size_t),
    "H5Padd_merge_committed_dtype_path": (_ID, ctypes.c_char_p),
    "H5Tcommit2": (_ID, ctypes.c_char_p, _ID, _ID, _ID, _ID),
    "H5Rcreate": (_POINTER, _ID, ctypes.c_char_p, ctypes.c_int, _ID),
    "H5Rdereference2": (_ID, _ID, ctypes.c_int, _POINTER),
    "H5Rget_region": (_ID, ctypes.c_int, _POINTER),
    "H5Rdestroy": (_POINTER,),
}


class _ErrorRecord(ctypes.Structure):
    """H5E_error2_t of H5Epublic.h."""

    _fields_ = (
        ("class", _ID),
        ("major", _ID),
        ("minor", _ID),
        ("line", ctypes.c_uint),
        ("function", ctypes.c_char_p),
        ("file", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
    )


_Visitor = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_ErrorRecord), _POINTER)


def call(name: str, *arguments: object) -> int:
    """Call a function of HDF5.

    Parameters
    ----------
    name : str
        One of those that this module declares.
    *arguments
        Numbers, bytes, addresses and objects of h5py's low-level interface, as its C declaration has them; None for H5P_DEFAULT.

    Returns
    -------
    int
        What it returns, 0 and up.

    Raises
    ------
    OSError
        If it fails, or h5py hides it, with HDF5's own description.
    """
    with h5py._objects.phil:
        result = _function(name)(*(_DEFAULT if x is None else getattr(x, "id", x) for x in arguments))
        if result < 0:
            raise OSError(f"{name}: {_description()}")
    return int(result)


@contextlib.contextmanager
def attribute_values(attribute: h5a.AttrID) -> Iterator[ctypes.Array[ctypes.c_char]]:
    """Read all values of an attribute that has any; what they point to is valid inside the context.

    Yields
    ------
    array of char
        Values in the attribute's own type, one after the other.
    """
    kind, space = attribute.get_type(), attribute.get_space()
    values = ctypes.create_string_buffer(space.get_simple_extent_npoints() * kind.get_size())
    call("H5Aread", attribute, kind, ctypes.addressof(values))
    with _reclaimed(kind, space, values):
        yield values


def create_attribute(owner: h5g.ObjectID, like: h5a.AttrID, kind: h5t.TypeID, space: h5s.SpaceID) -> h5a.AttrID:
    """Create an attribute with the name of another, and the character set of that name.

    Parameters
    ----------
    owner : ObjectID
    like : AttrID
    kind : TypeID
        Type of the values; a committed type has to be one of the owner's file.
    space : SpaceID
    """
    properties = call("H5Aget_create_plist", like)
    try:
        call("H5Idec_ref", call("H5Acreate2", owner, like.name, kind, space, properties, None))
    finally:
        call("H5Idec_ref", properties)
    return h5a.open(owner, like.name)


def write_attribute(attribute: h5a.AttrID, values: ctypes.Array[ctypes.c_char]) -> None:
    """Write all values of an attribute, in its own type."""
    call("H5Awrite", attribute, attribute.get_type(), ctypes.addressof(values))


@contextlib.contextmanager
def dataset_values(dataset: h5d.DatasetID, kind: h5t.TypeID, space: h5s.SpaceID) -> Iterator[ctypes.Array[ctypes.c_char]]:
    """Read the values of a dataset that are selected in `space`; see `attribute_values`. `kind`: the dataset's own type."""
    memory = _memory_of(space)
    values = ctypes.create_string_buffer(memory.get_simple_extent_npoints() * kind.get_size())
    call("H5Dread", dataset, kind, memory, space, None, ctypes.addressof(values))
    with _reclaimed(kind, memory, values):
        yield values


def write_dataset(dataset: h5d.DatasetID, kind: h5t.TypeID, space: h5s.SpaceID, values: ctypes.Array[ctypes.c_char]) -> None:
    """Write the values of a dataset that are selected in `space`, in its own type."""
    call("H5Dwrite", dataset, kind, _memory_of(space), space, None, ctypes.addressof(values))


def copy_options(flags: int, committed: bytes | None) -> h5p.PropCopyID:
    """Return options of H5Ocopy.

    Parameters
    ----------
    flags : int
    committed : bytes or None
        Path in the target of the committed type that the copied object uses.
    """
    options = h5p.create(h5p.OBJECT_COPY)
    options.set_copy_object(flags)
    if committed is not None:
        call("H5Padd_merge_committed_dtype_path", options, committed)
    return options


def copy_type(kind: h5t.TypeID, target: h5g.GroupID, name: bytes, options: h5p.PropLCID | None = None) -> None:
    """Commit a copy of a committed type under a name; H5Ocopy ends the process for some damaged datasets that pass for types."""
    call("H5Tcommit2", target, name, kind.copy(), options, kind.get_create_plist(), None)


def comment_of(item: h5o.ObjectID) -> bytes:
    """Return the comment of an object, empty if it has none. That of h5py returns memory that has been freed."""
    length = call("H5Oget_comment", item, None, 0)
    text = ctypes.create_string_buffer(length + 1)
    if length:
        call("H5Oget_comment", item, ctypes.addressof(text), length + 1)
    return text.value


def _memory_of(space: h5s.SpaceID) -> h5s.SpaceID:
    return h5s.create_simple((space.get_select_npoints(),))


@contextlib.contextmanager
def _reclaimed(kind: h5t.TypeID, space: h5s.SpaceID, values: ctypes.Array[ctypes.c_char]) -> Iterator[None]:
    try:
        yield
    finally:
        if kind.detect_class(h5t.VLEN) or kind.detect_class(h5t.STRING) or kind.detect_class(h5t.REFERENCE):
            call("H5Dvlen_reclaim", kind, space, None, ctypes.addressof(values))


def _description() -> str:
    """Return the innermost and the outermost line of HDF5's stack of errors."""
    lines: list[str] = []

    def visit(_: int, record: ctypes._Pointer[_ErrorRecord], __: object) -> int:
        lines.append((record.contents.description or b"").decode("utf-8", "replace"))
        return 0

    walk = ctypes.PyDLL(h5py.h5p.__file__).H5Ewalk2
    walk.argtypes, walk.restype = (_ID, ctypes.c_int, _Visitor, _POINTER), ctypes.c_int
    walk(_DEFAULT, _H5E_WALK_UPWARD, _Visitor(visit), None)
    return " - ".join(dict.fromkeys(lines[:1] + lines[-1:])) or "no description"


@functools.cache
def _function(name: str) -> ctypes._NamedFuncPointer:
    try:
        function = getattr(ctypes.PyDLL(h5py.h5p.__file__), name)
    except (OSError, AttributeError):
        raise OSError(f"this build of h5py hides {name}, which converting needs") from None
    function.argtypes = _ARGUMENTS[name]
    function.restype = _ID if name in _RETURN_64_BITS else ctypes.c_int
    return function
