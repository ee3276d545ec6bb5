"""Copying of everything in a file except its images into another file, unchanged."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator

import h5py
from h5py import h5d, h5g, h5l, h5o, h5p, h5t

from fastprep.errors import DataError
from fastprep.h5.convert import raw
from fastprep.h5.convert.attributes import copy_attributes, copy_references
from fastprep.h5.convert.objects import Address, LeftOut, address_of, blamed_on, free_name, lies_elsewhere
from fastprep.h5.convert.references import Redirector, blocks_of, places_of
from fastprep.h5.file_bytes import absolute
from fastprep.h5.groups import ImageGroup
from fastprep.h5.links import names_of_links
from fastprep.h5.listing import encoded
from fastprep.h5.other_files import other_files

_MERGE_COMMITTED_TYPES = 0x40  # H5O_COPY_MERGE_COMMITTED_DTYPE_FLAG, which h5py has no name for
_BLOCK_BYTES = 8 << 20
_OF_ALL_IMAGES = (b"mean", b"std", b"covariance", b"channel_order", b"class_names")  # attributes that say the same of every image


class RestCopier:
    """Copies groups, datasets, named types, links and attributes of a file, and leaves out its images.

    It walks the groups itself, because H5Ocopy, which copies whole groups, can't leave the images out, and would follow their
    other names. An object with several names stays one object. Names are bytes, as the file has them, in any encoding.

    Parameters
    ----------
    source, target : h5py.File
        Open for reading, and for writing.
    images : h5py.Dataset or ImageGroup
        The dataset to leave out; an external link may lead to it. Of images that have a dataset each, `left_out` has the names.
    folder : str
        Final folder of the target, to which relative external links are adjusted.
    create_images : callable
        Function that creates the new dataset of images, without a name, when the first name of the old one is reached.
    is_reordered : bool
        Whether the new dataset has other axes, so that what the old one says of each of its axes is left out.
    left_out : LeftOut, optional
        Datasets that are left out beside. Default: none.

    Attributes
    ----------
    notes : list of str
        Descriptions, for people, of what could not be kept unchanged.
    name_of_images : str
        Name of the new dataset of images that had one each.
    """

    name_of_images = ""

    def __init__(
        self,
        source: h5py.File,
        target: h5py.File,
        images: h5py.Dataset | ImageGroup,
        folder: str,
        create_images: Callable[[], h5py.Dataset],
        is_reordered: bool = False,
        left_out: LeftOut | None = None,
    ) -> None:
        self.notes: list[str] = []
        self._left_out = LeftOut(source) if left_out is None else left_out
        self._source, self._target = source, target
        self._images, self._create_images, self._is_reordered = images, create_images, is_reordered
        self._new_images: h5py.Dataset | None = None
        self._from_folder, self._to_folder = os.path.dirname(absolute(source.filename)), os.path.abspath(folder)
        self._copied: dict[Address, bytes] = {}
        self._types = b""  # temporary group of committed types that were needed before their names were reached
        # those with references: the object and its copy, the path, and the name of the attribute
        self._attributes: list[tuple[h5o.ObjectID, h5o.ObjectID, bytes, bytes]] = []
        self._datasets: list[tuple[h5d.DatasetID, h5d.DatasetID, bytes]] = []

    def copy_all(self) -> h5py.Dataset:
        """Copy everything except the images, and what refers to other objects; see `copy_references`.

        Returns
        -------
        h5py.Dataset
            The new dataset of images, with the attributes of the old one.

        Raises
        ------
        DataError
            If an object can't be read, or the file has the images only in a group of another file.
        """
        if self._source.userblock_size:
            self.notes.append("the user block is left out: with one, HDF5 has to read the images")
        with self._blamed_on(b"/"):
            root, new_root = h5o.open(self._source.id, b"/"), h5o.open(self._target.id, b"/")
            self._copied[address_of(root)] = b"/"
            self._copy_head(root, new_root, b"/")
            stack: list[tuple[h5g.GroupID, h5g.GroupID, bytes, Iterator[bytes]]] = [
                (root, new_root, b"/", iter(names_of_links(root)))
            ]
        while stack:
            source, target, path, names = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
                continue
            member_path = path.rstrip(b"/") + b"/" + name
            with self._blamed_on(member_path):
                groups = self._copy_member(source, target, name, member_path)
                if groups is not None:
                    stack.append((*groups, member_path, iter(names_of_links(groups[0]))))
        if isinstance(self._images, ImageGroup):
            return self._add_joined(self._images)
        if self._new_images is None:
            problem = "the images lie in a group of another file, by an external link; convert that file"
            raise DataError(problem, self._source.filename)
        return self._new_images

    def copy_references(self) -> None:
        """Copy what refers to other objects, when all of them are there, so that it leads to their copies."""
        for old, new, path, name in self._attributes:
            with self._blamed_on(path):
                redirector = self._redirector(old)
                copy_references(old, new, name, redirector)
            self._note_lost(redirector, f"attribute {os.fsdecode(name)!r} of {os.fsdecode(path)!r}")
        for old_dataset, new_dataset, path in self._datasets:
            with self._blamed_on(path):
                redirector = self._redirector(old_dataset)
                _copy_dataset_references(old_dataset, new_dataset, redirector)
            self._note_lost(redirector, f"dataset {os.fsdecode(path)!r}")
        if self._types:
            del self._target[self._types]

    def _redirector(self, owner: h5o.ObjectID) -> Redirector:
        number = h5o.get_info(owner).fileno  # that of another file, if the images lie there
        images = address_of(self._images.id)
        same_rank = self._new_images is not None and self._new_images.ndim == self._images.ndim and not self._is_reordered

        def find(address: int) -> bytes | None:
            return self._copied.get((number, address))

        def find_region(address: int) -> bytes | None:
            return None if (number, address) == images and not same_rank else find(address)

        return Redirector(owner, h5o.open(self._target.id, b"/"), find, find_region)

    def _copy_head(
        self, source: h5o.ObjectID, target: h5o.ObjectID, path: bytes, n_new_axes: int = 0, keeps_axes: bool = True
    ) -> None:
        """Copy attributes and comment of an object; references in them wait for the end."""
        comment, mark = raw.comment_of(source), raw.comment_of(target)
        if comment and not mark:
            h5o.set_comment(target, comment)
        elif comment and comment.split(b" ")[:2] != mark.split(b" ")[:2]:
            self.notes.append(f"the comment of {os.fsdecode(path)!r} is left out: the mark of fastprep takes its place")
        pending, left_out = copy_attributes(source, target, self._translated, n_new_axes, keeps_axes)
        if left_out:
            names = ", ".join(os.fsdecode(name) for name in left_out)
            self.notes.append(f"attributes of {os.fsdecode(path)!r} that describe its old axes are left out: {names}")
        self._attributes += [(source, target, path, name) for name in pending]

    def _copy_member(
        self, source: h5g.GroupID, target: h5g.GroupID, name: bytes, path: bytes
    ) -> tuple[h5g.GroupID, h5g.GroupID] | None:
        """Copy a link and what it leads to; return a group and its copy, whose members are still to be copied."""
        if self._left_out.has_path(path):
            return None
        info = source.links.get_info(name)
        options = h5p.create(h5p.LINK_CREATE)
        options.set_char_encoding(info.cset)
        if info.type == h5l.TYPE_SOFT:
            target.links.create_soft(name, source.links.get_val(name), options)
            return None
        if info.type == h5l.TYPE_EXTERNAL:
            if self._leads_to_images(source, name):
                self._add_images(target, name, path, options)
            else:
                file_name, linked = source.links.get_val(name)
                target.links.create_external(name, self._adjusted(file_name), linked, options)
            return None
        if info.type != h5l.TYPE_HARD:
            self.notes.append(f"link {os.fsdecode(path)!r} is left out: only the program that made it knows what it is")
            return None
        item = h5o.open(source, name)
        address = address_of(item)
        if self._left_out.has(item) or (isinstance(item, h5g.GroupID) and self._left_out.empties(item, path)):
            return None
        if address == address_of(self._images.id):
            self._add_images(target, name, path, options)
        elif address in self._copied:
            target.links.create_hard(name, self._target.id, self._copied[address], options)
        elif isinstance(item, h5g.GroupID):
            self._copied[address] = path
            group = h5g.create(target, name, options, item.get_create_plist())
            self._copy_head(item, group, path)
            return item, group
        else:
            self._copied[address] = path
            self._copy_dataset_or_type(item, target, name, path, options)
        return None

    def _copy_dataset_or_type(
        self, item: h5o.ObjectID, target: h5g.GroupID, name: bytes, path: bytes, options: h5p.PropLCID
    ) -> None:
        flags, committed = h5o.COPY_WITHOUT_ATTR_FLAG, None
        if isinstance(item, h5d.DatasetID):
            kind = item.get_type()
            self._note_other_files(h5py.Dataset(item), path)
            if places_of(kind) and not lies_elsewhere(item):  # H5Ocopy would only empty its values, and with more risk
                copied = h5d.create(target, name, self._translated(kind), item.get_space(), item.get_create_plist(), options)
                self._datasets.append((item, copied, path))
                self._copy_head(item, copied, path)
                return
            if kind.committed():
                flags, committed = flags | _MERGE_COMMITTED_TYPES, self._path_of_type(kind)
        if isinstance(item, h5t.TypeID):
            raw.copy_type(item, target, name, options)
        else:
            h5o.copy(item, b".", target, name, raw.copy_options(flags, committed), options)
        self._copy_head(item, h5o.open(target, name), path)

    def _add_images(self, target: h5g.GroupID, name: bytes, path: bytes, options: h5p.PropLCID) -> None:
        if self._new_images is not None:
            h5o.link(self._new_images.id, target, name, options)
            return
        self._new_images = self._create_images()
        h5o.link(self._new_images.id, target, name, options)
        self._copied[address_of(self._images.id)] = path
        n_new_axes = 0 if self._is_reordered else self._new_images.ndim - self._images.ndim
        self._copy_head(self._images.id, self._new_images.id, path, n_new_axes, not self._is_reordered)

    def _add_joined(self, images: ImageGroup) -> h5py.Dataset:
        """Add the dataset in which images are that had one each, with the attributes that `read_metadata` takes for theirs."""
        new = self._new_images = self._create_images()
        self.name_of_images = free_name(self._target, "images")
        self._target[self.name_of_images] = new
        if images.owner.name == "/":  # the file keeps its attributes; those of images hold for these
            copy_attributes(images.owner.id, new.id, self._translated, only=_OF_ALL_IMAGES)
        else:
            self._copy_head(images.owner.id, new.id, b"/" + encoded(images.owner.name.strip("/")), keeps_axes=False)
        of_each = () if "channel_order" in new.attrs else (b"channel_order",)
        _, left_out = copy_attributes(images.first.id, new.id, self._translated, only=of_each)
        if left_out:
            self.notes.append(f"attributes that each image has by itself are left out: {os.fsdecode(b', '.join(left_out))}")
        return new

    def _translated(self, kind: h5t.TypeID) -> h5t.TypeID:
        """Return the type to use in the target in place of one of the source."""
        return h5t.open(self._target.id, self._path_of_type(kind)) if kind.committed() else kind

    def _path_of_type(self, kind: h5t.TypeID) -> bytes:
        """Return where the copy of a committed type is; if it has none yet, it gets a temporary name until its own is reached."""
        address = address_of(kind)
        if address not in self._copied:
            if not self._types:
                self._types = b"types"
                while self._types in self._source or self._types in self._target:
                    self._types += b"_"
                h5g.create(self._target.id, self._types)
            path = b"/%s/%d" % (self._types, len(self._copied))
            raw.copy_type(kind, h5o.open(self._target.id, b"/"), path)
            self._copied[address] = path
            self._copy_head(kind, h5o.open(self._target.id, path), path)
        return self._copied[address]

    def _leads_to_images(self, group: h5g.GroupID, name: bytes) -> bool:
        try:
            return address_of(h5o.open(group, name)) == address_of(self._images.id)
        except (OSError, RuntimeError, KeyError):
            return False  # a broken link is copied as it is

    def _adjusted(self, file_name: bytes) -> bytes:
        linked_file = os.path.join(os.fsencode(self._from_folder), file_name)
        if os.path.isabs(file_name) or self._from_folder == self._to_folder or not os.path.exists(linked_file):
            return file_name
        return os.path.relpath(linked_file, os.fsencode(self._to_folder))

    def _note_other_files(self, dataset: h5py.Dataset, path: bytes) -> None:
        files = other_files(dataset, self._source.filename)
        if files:
            named = ", ".join(repr(name) for name in files)
            self.notes.append(f"dataset {os.fsdecode(path)!r} has its values in other files, named as before: {named}")

    def _note_lost(self, redirector: Redirector, owner: str) -> None:
        n = redirector.n_lost
        if n:
            what = "reference is empty now, because it leads" if n == 1 else "references are empty now, because they lead"
            self.notes.append(f"{owner}: {n} {what} to nothing that the new file has in the same form")

    def _blamed_on(self, path: bytes) -> contextlib.AbstractContextManager[None]:
        return blamed_on(self._source.filename, os.fsdecode(path))


def _copy_dataset_references(source: h5d.DatasetID, target: h5d.DatasetID, redirector: Redirector) -> None:
    kind, new_kind = source.get_type(), target.get_type()
    places, size = places_of(kind), kind.get_size()
    for block in blocks_of(source, size, _BLOCK_BYTES):
        with raw.dataset_values(source, kind, block) as values:
            redirector.redirect(ctypes.addressof(values), block.get_select_npoints(), size, places)
            raw.write_dataset(target, new_kind, block, values)
