"""Channels of encoded images, which are RGB or grey: pixels in the order BGR are reordered, and attributes with them."""

from __future__ import annotations

from collections.abc import Sequence

import h5py
import numpy as np

from fastprep.errors import DataError
from fastprep.h5.convert.options import Options
from fastprep.h5.encoded_index import decoded_like
from fastprep.h5.index import ImageIndex
from fastprep.h5.metadata import Metadata
from fastprep.h5.write import write_facts

_UNSAID = "the file does not name the order of the channels; they are taken for RGB (--channel-order BGR says another)"
_WAY_OUT = "encoded images are grey (L) or in colour (RGB, or BGR, which is reordered); keep pixels, or mend the attribute"


def new_order(index: ImageIndex, metadata: Metadata, options: Options) -> tuple[list[int] | None, list[str]]:
    """Find out how the channels of a file become those of the new images.

    Parameters
    ----------
    index : ImageIndex
        Of the source.
    metadata : Metadata
    options : Options

    Returns
    -------
    (list of int or None, list of str)
        Channel of the source for each channel of the new images, None for all as they are; and notes for people.

    Raises
    ------
    DataError
        If images are or become encoded, and there are neither one nor three channels, or the file says that they are something
        else than grey or RGB.
    """
    named, channels, said = (index.file, index.dataset), index.shape[3], metadata.channel_order
    if index.rows is not None:
        decoded_like(index, index, metadata)
    if index.rows is not None or options.encoding is None:
        return None, []
    if channels not in (1, 3):
        problem = f"images have {channels} channels, and encoded images have one or three: keep them as pixels"
        raise DataError(problem, *named)
    wanted = options.channel_order
    if said is not None and wanted is not None and said.upper() != wanted:
        raise DataError(f"the attribute 'channel_order' says {said!r}, and {wanted!r} was asked for", *named)
    order = (said or wanted or "").upper()
    if channels == 1:
        if order not in ("", "L"):
            raise DataError(f"the attribute 'channel_order' says {said!r} of one channel: {_WAY_OUT}", *named)
        return None, []
    if not order:
        return None, [_UNSAID]
    if sorted(order) != sorted("RGB"):
        raise DataError(f"the attribute 'channel_order' says {said!r}: {_WAY_OUT}", *named)
    return (None if order == "RGB" else [order.index(letter) for letter in "RGB"]), []


def reorder_attributes(dataset: h5py.Dataset, order: Sequence[int] | None) -> list[str]:
    """Bring the attributes of new images that speak of their channels into the order RGB; return notes for people.

    Parameters
    ----------
    dataset : h5py.Dataset
        The new images, with the attributes of the old ones.
    order : sequence of int or None
        From `new_order`.
    """
    if order is None:
        return []
    changed = []
    for name in ("mean", "std", "covariance"):
        values = np.asarray(dataset.attrs[name]) if name in dataset.attrs else np.empty(0)
        if values.shape[-1:] != (3,):
            continue
        values = values[..., order]
        dataset.attrs[name] = values[order] if name == "covariance" else values
        changed.append(name)
    say_order(dataset, "RGB")
    return [f"the channels are stored as RGB, as in any encoded image; {', '.join([*changed, 'channel_order'])} say so, too"]


def say_decoded_order(dataset: h5py.Dataset, index: ImageIndex) -> None:
    """Store the order of the channels of new pixels whose source is encoded and knew it, unless an attribute names it."""
    if index.rows is not None and "channel_order" not in dataset.attrs:
        say_order(dataset, "L" if index.shape[3] == 1 else "RGB")


def say_order(dataset: h5py.Dataset, order: str) -> None:
    """Store the order of the channels of new images."""
    write_facts(dataset, None, {}, order, (), (), {})
