"""Completion of an index, verified by three images that are read directly and through HDF5."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import h5py
import numpy as np

from fastprep.errors import DataError
from fastprep.h5.cache import Scratch
from fastprep.h5.chunks import ChunkReader, plan_of
from fastprep.h5.groups import ImageGroup, get_images
from fastprep.h5.handles import OpenFile
from fastprep.h5.index import ImageIndex, with_chunks
from fastprep.h5.types import OutOfRange, widened
from fastprep.sampling import hashing

DESCRIPTORS = 2
"""Number of descriptors that `complete` has open: HDF5's, and one of our own to compare with."""


def complete(index: ImageIndex, file: h5py.File) -> ImageIndex:
    """List the chunks of an index, and compare three images with what HDF5 reads.

    Parameters
    ----------
    index : ImageIndex
    file : h5py.File
        The indexed file, open for reading.

    Returns
    -------
    ImageIndex
        A complete index. It leaves the dataset to HDF5 if an image differs.

    Raises
    ------
    OSError
        If the file can't be opened a second time.
    DataError
        If the dataset can't be opened, or its list of chunks can't be true.
    """
    if index.is_complete:
        return index
    dataset = get_images(file, index.members or index.dataset)
    if not isinstance(dataset, ImageGroup):  # whose chunks are known
        index = with_chunks(index, dataset)
    if index.is_complete:  # HDF5 has to read it after all
        return index
    different = _first_difference(index, dataset)
    if different is not None:
        return index.by_hdf5(f"image {different} differs from HDF5's when it is read directly")
    return replace(index, is_complete=True)


def _first_difference(index: ImageIndex, dataset: h5py.Dataset | ImageGroup) -> int | None:
    """Compare the first image, the last one and another one with HDF5's; return the number of one that differs."""
    n, per_block = index.shape[0], index.images_decoded_at_once
    with contextlib.closing(OpenFile(index.holder)) as file:
        scratch, plan = Scratch(), plan_of(index)
        samples = {0, n - 1, int(hashing.draw(hashing.key(n), np.zeros(1, np.int64), n)[0])}
        if file.remote_file is not None:  # all at once, and not one after another
            blocks = [index.samples_of_block(sample // per_block) for sample in samples]
            with contextlib.suppress(DataError, OSError):  # which comes again below
                file.remote_file.bring_near(*index.extents(np.concatenate(blocks)))
        for sample in samples:
            if not index.chunks.direct[sample // index.images_per_chunk]:
                continue  # HDF5 reads it in any case
            try:
                with file.holding(*index.extents(index.samples_of_block(sample // per_block))) as held:
                    chunks = ChunkReader(index, held, scratch, plan)
                    block = chunks.block(sample // per_block, keeps=False)  # first: HDF5's filters may crash
                    chunks.check_unchanged()
                if block is None:
                    continue  # HDF5 will read it
                ours = block[sample % per_block]
                theirs = widened(index.axes.rows(dataset, sample, sample + 1)[0], index.dtype)
            except (DataError, OSError, RuntimeError, OutOfRange):
                continue  # a damaged image is reported when it is asked for
            if ours.tobytes() != theirs.tobytes():
                return sample
    return None
