"""Links and attributes, listed so that damage is an error.

HDF5 1.14.6 makes a table of what it is going to list in a certain order, and if it can't fill that table it releases memory
that it never took (H5G__dense_build_table): the process ends. In the order in which the file has them ("native") it makes no
table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from h5py import h5, h5a, h5g, h5l, h5o, h5p


class Link(NamedTuple):
    """A link of a file.

    Attributes
    ----------
    path : bytes
        Names from the root group on.
    item : ObjectID or None
        What a hard link leads to; None for links of other kinds.
    file : bytes or None
        The file that an external link names.
    """

    path: bytes
    item: h5o.ObjectID | None
    file: bytes | None


def walk(root: h5g.GroupID) -> Iterator[Link]:
    """Yield the external links of a file, and one hard link to each object below its root group.

    Parameters
    ----------
    root : GroupID

    Raises
    ------
    OSError, RuntimeError
        If the file is damaged.
    """
    seen = {h5o.get_info(root).addr}
    groups = [(b"", root)]
    while groups:
        above, group = groups.pop()
        for name in names_of_links(group):
            path = b"/".join((above, name)) if above else name
            kind = group.links.get_info(name).type
            if kind == h5l.TYPE_EXTERNAL:
                yield Link(path, None, group.links.get_val(name)[0])
            if kind != h5l.TYPE_HARD:
                continue
            item = h5o.open(group, name)
            address = h5o.get_info(item).addr
            if address in seen:
                continue
            seen.add(address)
            yield Link(path, item, None)
            if isinstance(item, h5g.GroupID):
                groups.append((path, item))


def names_of_links(group: h5g.GroupID) -> list[bytes]:
    """Return the names in a group, in the order of their creation if the file has recorded it, otherwise in that of the bytes.

    Parameters
    ----------
    group : GroupID

    Returns
    -------
    list of bytes

    Raises
    ------
    OSError, RuntimeError
        If the file is damaged.
    """
    found: list[tuple[int, bytes]] = []
    tracked = group.get_create_plist().get_link_creation_order() & h5p.CRT_ORDER_TRACKED

    def record(name: bytes, info: h5l.LinkInfo) -> None:
        found.append((info.corder if tracked else 0, name))

    group.links.iterate(record, info=True, order=h5.ITER_NATIVE)
    return [name for _, name in sorted(found)]


def names_of_attributes(owner: h5o.ObjectID) -> list[bytes]:
    """Return the names of all attributes, in the order of their creation if the file has recorded it, otherwise of the bytes.

    Raises
    ------
    OSError, RuntimeError
        If the file is damaged.
    """
    found: list[tuple[int, bytes]] = []
    tracked = records_attribute_order(owner)

    def record(name: bytes, info: h5a.AttrInfo) -> None:
        found.append((info.corder if tracked else 0, name))

    if h5a.get_num_attrs(owner):
        h5a.iterate(owner, record, info=True, order=h5.ITER_NATIVE)
    return [name for _, name in sorted(found)]


def records_attribute_order(owner: h5o.ObjectID) -> bool:
    """Return whether a file records in which order the attributes of an object are created."""
    properties = owner.get_create_plist()
    return isinstance(properties, h5p.PropOCID) and bool(properties.get_attr_creation_order() & h5p.CRT_ORDER_TRACKED)
