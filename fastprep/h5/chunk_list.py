"""Where each chunk of a dataset is: HDF5's list of them, which nothing is read by before it was checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DamagedIndexError
from fastprep.h5.axes import Axes, Sides
from fastprep.h5.retries import raise_machine_fault
from fastprep.h5.storage import (
    beyond_end,
    check_access,
    chunk_grid,
    identity_of_open,
    partial_chunks_are_raw,
)

_NEVER = np.iinfo(np.uint64).max
_SUPERBLOCK_BYTES = 48  # of versions 2 and 3, the shortest; no chunk can begin before its end


@dataclass(frozen=True, eq=False)
class ChunkList:
    """Where each chunk of a dataset is.

    The chunks that hold the same samples make a *row*. Where chunks split images, a row has several *tiles*.

    Attributes
    ----------
    offsets, sizes : ndarray of int64, shape (rows * tiles,)
        Position and stored length of each chunk in the file, in bytes. Row by row.
    masks : ndarray of uint32, shape (rows * tiles,)
        Filters that were skipped by each chunk: bit i stands for filter i.
    direct : ndarray of bool, shape (rows,)
        False for a row that is left to HDF5, because a chunk of it was never written.
    written : ndarray of bool, shape (rows,)
        False for a row of which a chunk was never written.
    """

    offsets: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    masks: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    direct: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))
    written: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))

    @classmethod
    def of_one(cls, offset: int, n_bytes: int) -> ChunkList:
        """Return the list of contiguous data, which are one chunk."""
        return cls(
            np.array([offset], np.int64),
            np.array([n_bytes], np.int64),
            np.zeros(1, np.uint32),
            np.ones(1, bool),
            np.ones(1, bool),
        )

    def __len__(self) -> int:
        return len(self.offsets)


def list_chunks(dataset: h5py.Dataset, named: tuple[str, str], axes: Axes, reference_bytes: int | None = None) -> ChunkList:
    """List the chunks of a dataset for which `fastprep.h5.storage.find_storage` found a chunked storage.

    Parameters
    ----------
    dataset : h5py.Dataset
    named : (str, str)
        File and dataset as the user named them, for errors.
    axes : Axes
        Those of the dataset, which do not have N behind others.
    reference_bytes : int or None
        As `find_storage` takes it.

    Returns
    -------
    ChunkList

    Raises
    ------
    Unsupported
        If HDF5 has to read the dataset after all, because somebody has opened the file in another way since then.
    DamagedIndexError
        If the list can't be true.
    """
    check_access(dataset.file)
    file_bytes = identity_of_open(dataset.file)[2]
    properties = dataset.id.get_create_plist()
    shape, chunk = axes.sides, axes.four_sides(dataset.chunks)
    grid = chunk_grid(shape, chunk)
    offsets, sizes, masks = _read_list(dataset, chunk, grid, named, 1 if axes.n_axis is None else 0)
    written = offsets != _NEVER
    has_filters = properties.get_nfilters() > 0
    chunk_bytes = math.prod(chunk) * (reference_bytes or dataset.dtype.itemsize)

    def refuse(k: int, problem: str) -> None:
        row = k // math.prod(grid[1:])
        raise DamagedIndexError(problem, *named, row, row * chunk[0])

    limit = np.uint64(file_bytes)
    beyond = written & ((sizes > limit) | (offsets > limit - np.minimum(sizes, limit)))
    if beyond.any():
        k = int(np.argmax(beyond))
        refuse(k, beyond_end(int(offsets[k]), int(sizes[k]), file_bytes))
    impossible = written & ((offsets < _SUPERBLOCK_BYTES) | (not has_filters and sizes != chunk_bytes))
    if impossible.any():
        k = int(np.argmax(impossible))
        problem = f"a chunk of {chunk_bytes} bytes is said to be {sizes[k]} bytes at {offsets[k]}"
        refuse(k, f"the chunk index is damaged: {problem}")
    if has_filters and partial_chunks_are_raw(properties):
        masks[_partial(shape, chunk, grid)] = np.iinfo(np.uint32).max
    direct = written if has_filters else written & (masks == 0)
    return ChunkList(
        np.where(written, offsets, 0).astype(np.int64),
        np.where(written, sizes, 0).astype(np.int64),
        masks,
        direct.reshape(grid[0], -1).all(axis=1),
        written.reshape(grid[0], -1).all(axis=1),
    )


def _read_list(
    dataset: h5py.Dataset, chunk: Sides, grid: Sides, named: tuple[str, str], n_lead: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint32]]:
    """Return offsets, sizes and masks of all chunks; the offset is _NEVER for a chunk that was never written.

    `n_lead` is the number of sides before those that the dataset has.
    """
    n_chunks = math.prod(grid)
    offsets = np.full(n_chunks, _NEVER, np.uint64)
    sizes = np.zeros(n_chunks, np.uint64)
    masks = np.zeros(n_chunks, np.uint32)
    strides = [math.prod(grid[axis + 1 :]) for axis in range(n_lead, len(grid))]

    def record(info: h5py.h5d.StoreInfo) -> None:
        k = 0
        for start, side, stride in zip(info.chunk_offset, chunk[n_lead:], strides, strict=False):
            if start % side or start // side * stride >= n_chunks:
                raise ValueError(f"a chunk begins at {info.chunk_offset}")
            k += start // side * stride
        store(k, info)

    def record_whole(info: h5py.h5d.StoreInfo) -> None:  # the same for chunks of whole images, with less work for each
        k, remainder = divmod(info.chunk_offset[0], chunk[0])
        if remainder or any(info.chunk_offset[1:]):
            raise ValueError(f"a chunk begins at {info.chunk_offset}")
        store(k, info)

    def store(k: int, info: h5py.h5d.StoreInfo) -> None:
        if offsets[k] != _NEVER:
            raise ValueError(f"two chunks begin at {info.chunk_offset}")
        offsets[k], sizes[k], masks[k] = info.byte_offset, info.size, info.filter_mask

    try:
        dataset.id.chunk_iter(record_whole if n_chunks == grid[0] and not n_lead else record)
    except (OSError, RuntimeError, IndexError, ValueError, OverflowError) as error:
        raise_machine_fault(error, *named)
        raise DamagedIndexError(f"the chunk index is damaged: {error}", *named) from error
    return offsets, sizes, masks


def _partial(shape: Sides, chunk: Sides, grid: Sides) -> NDArray[np.bool_]:
    """Tell which chunks reach beyond the dataset."""
    partial = np.zeros(grid, bool)
    for axis in range(len(shape)):
        if shape[axis] % chunk[axis]:
            partial[(slice(None),) * axis + (-1,)] = True
    return partial.reshape(-1)
