"""References from one object of a file to another, in a copy of the file: each leads to the copy of what it led to."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from h5py import h5d, h5i, h5o, h5r, h5s, h5t

from fastprep.h5.convert import raw

_OBJECT_BYTES, _REGION_BYTES = 8, 12  # hobj_ref_t, hdset_reg_ref_t
_LENGTH_BYTES = 8  # of hvl_t, before its pointer
_MOST_CHUNK_BYTES = 1 << 30

Find = Callable[[int], "bytes | None"]
"""Path in the target of the object at an address of the source; None if it has no copy of the same shape there."""


@dataclass(frozen=True)
class Place:
    """Where a type has references.

    Attributes
    ----------
    offset, count, stride : int
        Bytes from the beginning of a value to the first of `count` of them, and from each to the next.
    kind : str
        "object", "region", "new" (of the type that HDF5 1.12 brought), or "list", for values of variable length.
    inner : tuple of Place
        Places in each value of a list.
    inner_bytes : int
        Size of each value of a list.
    """

    offset: int
    count: int
    stride: int
    kind: str
    inner: tuple[Place, ...] = ()
    inner_bytes: int = 0


def places_of(kind: h5t.TypeID, offset: int = 0) -> tuple[Place, ...]:
    """Find the references that values of a type hold, however deep.

    Parameters
    ----------
    kind : TypeID
    offset : int
        Where the value begins in a larger one.

    Returns
    -------
    tuple of Place
        Empty if it holds none.
    """
    shape = kind.get_class()
    if shape == h5t.REFERENCE:
        return (Place(offset, 1, kind.get_size(), _reference_kind(kind)),)
    if shape == h5t.VLEN:
        base = kind.get_super()
        inner = places_of(base)
        return (Place(offset, 1, kind.get_size(), "list", inner, base.get_size()),) if inner else ()
    if shape == h5t.COMPOUND:
        members = ((kind.get_member_type(k), kind.get_member_offset(k)) for k in range(kind.get_nmembers()))
        return tuple(place for member, start in members for place in places_of(member, offset + start))
    if shape == h5t.ARRAY:
        base = kind.get_super()
        n, size = kind.get_size() // base.get_size(), base.get_size()
        inner = places_of(base)
        if len(inner) == 1 and inner[0].count == 1:
            return (Place(offset + inner[0].offset, n, size, inner[0].kind, inner[0].inner, inner[0].inner_bytes),)
        return tuple(place for k in range(n) for place in places_of(base, offset + k * size)) if inner else ()
    return ()


class Redirector:
    """Changes references in values that were read from the source, so that they lead to the copies in the target.

    Parameters
    ----------
    source, target : ObjectID
        An object of each file.
    find : callable
        See `Find`; for references to objects.
    find_region : callable
        The same for references to a part of a dataset.

    Attributes
    ----------
    n_lost : int
        Number of references that led to nothing that has a copy, and are empty now.
    """

    def __init__(self, source: h5o.ObjectID, target: h5o.ObjectID, find: Find, find_region: Find) -> None:
        self.n_lost = 0
        self._source, self._target, self._find, self._find_region = source, target, find, find_region
        self._addresses: dict[int, int] = {0: 0}

    def redirect(self, start: int, n: int, size: int, places: tuple[Place, ...]) -> None:
        """Change all references in `n` values of `size` bytes each, which begin at the address `start`."""
        for first in range(start, start + n * size, size):
            for place in places:
                for k in range(place.count):
                    self._redirect_one(first + place.offset + k * place.stride, place)

    def _redirect_one(self, where: int, place: Place) -> None:
        if place.kind == "object":
            self._redirect_object(ctypes.c_uint64.from_address(where))
        elif place.kind == "list":
            length = ctypes.c_size_t.from_address(where).value
            pointer = ctypes.c_void_p.from_address(where + _LENGTH_BYTES).value
            if length and pointer:
                self.redirect(pointer, length, place.inner_bytes, place.inner)
        elif any(ctypes.string_at(where, place.stride if place.kind == "new" else _REGION_BYTES)):
            if place.kind == "region" and self._redirect_region(where):
                return
            if place.kind == "new":
                raw.call("H5Rdestroy", where)
            ctypes.memset(where, 0, place.stride if place.kind == "new" else _REGION_BYTES)
            self.n_lost += 1

    def _redirect_object(self, reference: ctypes.c_uint64) -> None:
        old = reference.value  # it is the address of the object's header
        if old not in self._addresses:
            path = self._find(old)
            self._addresses[old] = 0 if path is None else h5o.get_info(h5o.open(self._target, path)).addr
        reference.value = self._addresses[old]
        self.n_lost += old != 0 and reference.value == 0

    def _redirect_region(self, where: int) -> bool:
        """Change one reference to a part of a dataset; False if it leads nowhere, or to nothing that has a copy."""
        try:
            item = h5i.wrap_identifier(raw.call("H5Rdereference2", self._source, None, h5r.DATASET_REGION, where))
            path = self._find_region(h5o.get_info(item).addr)
            if path is None:
                return False
            space = h5s.SpaceID(raw.call("H5Rget_region", self._source, h5r.DATASET_REGION, where))
            raw.call("H5Rcreate", where, self._target, path, h5r.DATASET_REGION, space)
        except (OSError, RuntimeError) as error:
            if "errno =" in str(error):
                raise  # the disk's fault, not the reference's
            return False
        return True


def blocks_of(dataset: h5d.DatasetID, size: int, most_bytes: int) -> Iterator[h5s.SpaceID]:
    """Divide the values of a dataset that were ever written into selections: its chunks, or rows of up to `most_bytes`.

    Parameters
    ----------
    dataset : DatasetID
    size : int
        Bytes of a value.
    most_bytes : int
        A row is not divided.

    Yields
    ------
    SpaceID

    Raises
    ------
    ValueError
        If a chunk is too large to be true.
    """
    space = dataset.get_space()
    shape = space.get_simple_extent_dims()
    if not dataset.get_storage_size():
        return
    if not shape:
        yield space
    elif dataset.get_create_plist().get_layout() == h5d.CHUNKED:
        chunk = dataset.get_create_plist().get_chunk()
        if math.prod(chunk) * size > _MOST_CHUNK_BYTES:
            raise ValueError(f"a chunk has {math.prod(chunk) * size} bytes; more than {_MOST_CHUNK_BYTES} can't be copied")
        for k in range(dataset.get_num_chunks()):
            first = dataset.get_chunk_info(k).chunk_offset
            counts = tuple(min(c, s - f) for c, s, f in zip(chunk, shape, first, strict=True))
            if min(counts) > 0:  # a chunk that was written before the dataset shrank may lie outside
                yield _selection(space, first, counts)
    else:
        step = max(1, most_bytes * shape[0] // (size * math.prod(shape)))
        for row in range(0, shape[0], step):
            yield _selection(space, (row, *(0 for _ in shape[1:])), (min(step, shape[0] - row), *shape[1:]))


def _selection(space: h5s.SpaceID, first: tuple[int, ...], counts: tuple[int, ...]) -> h5s.SpaceID:
    block = space.copy()
    block.select_hyperslab(first, counts)
    return block


def _reference_kind(kind: h5t.TypeID) -> str:
    if kind.equal(h5t.STD_REF_OBJ) and kind.get_size() == _OBJECT_BYTES:
        return "object"
    return "region" if kind.equal(h5t.STD_REF_DSETREG) and kind.get_size() == _REGION_BYTES else "new"
