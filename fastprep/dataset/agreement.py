"""Whether the files of a dataset fit together, and the command that makes one file of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastprep.errors import DataError
from fastprep.h5 import ImageIndex, Metadata, Reader, convert_line_of, only_if_whole

if TYPE_CHECKING:
    from fastprep.dataset.dataset import Dataset

_HELD_BY_FLOAT32 = {np.dtype(name) for name in ("uint16", "int16", "float32")}


def check_images(dataset: Dataset, index: ImageIndex, first: ImageIndex) -> None:
    """Check that the images of a file have the size, the type and the order of axes of those of the first file.

    Encoded images are alike whatever their sizes are; see `fastprep.h5.decoded_like`.

    Raises
    ------
    DataError
        If they have not.
    """
    found = wanted = ""
    if (index.rows is None) != (first.rows is None):
        found, wanted = ("are encoded", "they are pixels") if first.rows is None else ("are pixels", "they are encoded")
    elif index.shape[1:] != first.shape[1:] or not _have_one_type(index, first):
        found, wanted = f"are {index.dtype} {index.shape[1:]}", f"they are {first.dtype} {first.shape[1:]}"
    elif index.axes.order != first.axes.order:
        found, wanted = f"have the axes {index.axes.name}", f"they have {first.axes.name}"
    if found:
        line = join_line(dataset, first) if index.shape[1:] == first.shape[1:] and index.rows is first.rows is None else ""
        way_out = f"; `{line}` makes one file of them{only_if_whole(index) or only_if_whole(first)}" if line else ""
        raise DataError(f"images {found}, in {first.file!r} {wanted}{way_out}", index.file, dataset.images)


def _have_one_type(one: ImageIndex, other: ImageIndex) -> bool:
    return one.dtype == other.dtype or {one.dtype, other.dtype} <= _HELD_BY_FLOAT32


def bring_to_one_type(readers: Sequence[Reader]) -> None:
    """Let readers whose images have been checked hand them on in one type: float32, if they differ."""
    if len({reader.index.dtype for reader in readers}) > 1:
        for reader in readers:
            reader.index = dataclasses.replace(reader.index, dtype=np.dtype(np.float32))


def check_channel_orders(metadata: Sequence[Metadata], paths: Sequence[str], images: str) -> None:
    """Check that no two files name different orders of channels.

    Raises
    ------
    DataError
        If they do.
    """
    orders = {facts.channel_order: path for facts, path in zip(metadata, paths, strict=True) if facts.channel_order}
    if len(orders) > 1:
        (wanted, first), (found, second) = list(orders.items())[:2]
        raise DataError(f"channel_order is {found!r}, in {first!r} it is {wanted!r}", second, images)


def join_line(dataset: Dataset, first: ImageIndex) -> str:
    """Return the command that makes one file of a dataset's files; of a single one, the command that writes it anew.

    Parameters
    ----------
    dataset : Dataset
    first : ImageIndex
        Index of the first file.

    Returns
    -------
    str
        Empty if no command line names the images, or the files are too many for it.
    """
    return convert_line_of(first, dataset.pattern or dataset.paths, dataset.labels_name if len(dataset.paths) > 1 else None)


def convert_line(dataset: Dataset) -> str:
    """Return the command that writes a dataset's files anew, or else that for the first of them; empty if there is none."""
    return join_line(dataset, dataset.first_index) or convert_line_of(dataset.first_index)
