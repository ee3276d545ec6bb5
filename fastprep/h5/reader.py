"""Pictures of one dataset, by number, from any thread: checks, opens and raises; `_read.pyx` moves the bytes."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep import rng
from fastprep.h5 import _read
from fastprep.h5.cache import BlockCache
from fastprep.h5.errors import ChangedError, DataError
from fastprep.h5.filters import SLACK_BYTES, DecodeError, missing_filters
from fastprep.h5.index import ImageIndex, index_images
from fastprep.h5.open import get_dataset, identity_of, load_filters, open_file, opening_problem

_log = logging.getLogger(__name__)
_CHANGED = "changed or replaced since it was opened first"


def open_images(path: str | os.PathLike[str], dataset: str = "images", io: str = "pread") -> Reader:
    """Index a dataset of pictures and prove on three of them that the index is right.

    Parameters
    ----------
    path : str or path
    dataset : str
        Shape (N, H, W, C), or (N, H, W) for one channel.
    io : {"pread", "mmap"}
        See `Reader`.

    Returns
    -------
    Reader

    Raises
    ------
    ValueError
        If `io` is neither.
    OSError
        If the file is not there or may not be read.
    DataError
        If it is not HDF5, or the dataset is missing, damaged, or no pictures.
    """
    with open_file(path) as file:
        index = index_images(file, dataset)
        if not index.reason and (wrong := _first_difference(index, file[dataset])) is not None:
            reason = f"picture {wrong} differs from HDF5's when it is read directly"
            index = replace(index, reason=reason, layout=f"read by HDF5: {reason}")
    if index.reason:
        load_filters()
        _log.warning("%s: HDF5 has to read %r, which is slower and does not run in parallel: %s", path, dataset, index.reason)
    return Reader(index, io)


class Reader:
    """Reads pictures of one dataset. Any number of threads may call it at once; after a fork it opens its files anew.

    Parameters
    ----------
    index : ImageIndex
    io : {"pread", "mmap"}
        How the bytes come in. "mmap" saves a copy, but if the file is truncated while it is mapped, the system ends the process
        (SIGBUS) where "pread" raises a DataError; for local files that nobody changes.
    """

    def __init__(self, index: ImageIndex, io: str = "pread") -> None:
        self.index, self.io = index, io
        self._lock = threading.Lock()
        self._file: _OpenFile | None = None
        self._h5: tuple[h5py.File, h5py.Dataset] | None = None
        self._process = os.getpid()
        self._cache = BlockCache(0)
        self._scratch = threading.local()
        if io not in ("pread", "mmap"):
            raise ValueError(f'io must be "pread" or "mmap", got {io!r}')

    def read(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: _read.Sink) -> None:
        """Hand pictures to a sink, in any order.

        Parameters
        ----------
        samples : ndarray of int64, shape (n,)
            Rows of the dataset, 0..N-1.
        slots : ndarray of int64, shape (n,)
            The slot that the sink is told for each of them.
        sink : Sink
            Takes each picture, (H, W, C) of `index.dtype`.

        Raises
        ------
        IndexError
            If a sample is out of range.
        OSError
            If the file has to be opened, and is not there any more or may not be read.
        DataError
            If the file is damaged, naming file, dataset, chunk and sample; or if it is not as it was when it was indexed.
        """
        samples, slots = np.ascontiguousarray(samples, np.int64), np.ascontiguousarray(slots, np.int64)
        if len(samples) == 0:
            return
        if samples.min() < 0 or samples.max() >= self.index.shape[0]:
            raise IndexError(f"samples must lie in 0..{self.index.shape[0] - 1}, got {samples.min()}..{samples.max()}")
        if self.index.is_plain:
            plain = self.index.direct[samples // self.index.images_per_chunk]
            self._read_plain(samples[plain], slots[plain], sink)
            samples, slots = samples[~plain], slots[~plain]
        self._read_blocks(samples, slots, sink)
        if self._has_changed():
            raise ChangedError(_CHANGED, self.index.file, self.index.dataset)

    def keep_in(self, cache: BlockCache) -> None:
        """Keep decoded blocks, of `index.images_decoded_at_once` pictures, in a cache, which readers may share."""
        self._cache = cache

    def fetch(self, samples: NDArray[np.int64]) -> None:
        """Decode the blocks that hold `samples` into the cache. Errors are left to whoever reads them."""
        if self.index.images_decoded_at_once == 1:
            return
        for number in np.unique(samples // self.index.images_decoded_at_once):
            with contextlib.suppress(DataError):
                self._kept_block(int(number))

    def array(self, samples: NDArray[np.int64]) -> NDArray:
        """Return pictures as one array.

        Parameters
        ----------
        samples : ndarray of int64, shape (n,)

        Returns
        -------
        ndarray of `index.dtype`, shape (n, H, W, C)
        """
        out = np.empty((len(samples), *self.index.shape[1:]), self.index.dtype)
        if len(samples):
            sink = _read.CopySink(out.reshape(-1).view(np.uint8), self.index.image_bytes)
            self.read(samples, np.arange(len(samples)), sink)
        return out

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        self._after_fork()
        with self._lock:
            self._file = None
            if self._h5 is not None:
                self._h5[0].close()
                self._h5 = None
        self._cache.clear()

    def __del__(self) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return Reader, (self.index, self.io)

    def _read_plain(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: _read.Sink) -> None:
        index = self.index
        if len(samples) == 0:
            return
        chunk, within = np.divmod(samples, index.images_per_chunk)
        offsets = index.offsets[chunk] + within * index.image_bytes
        file = self._open()
        if file.mapping is not None:
            status, position = _read.hand_over(file.mapping, offsets, slots, sink)
        else:
            scratch = np.empty(index.image_bytes, np.uint8)
            status, position = _read.read_images(file.number, offsets, slots, scratch, sink)
        if status:
            raise self._error(_problem(status), int(samples[position]))

    def _read_blocks(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: _read.Sink) -> None:
        per_block, image_bytes = self.index.images_decoded_at_once, self.index.image_bytes
        for number, members in _by_block(samples, per_block):
            block = self._block(number) if per_block == 1 else self._kept_block(number)
            offsets = (samples[members] - number * per_block) * image_bytes
            status, position = _read.hand_over(block.reshape(-1).view(np.uint8), offsets, slots[members], sink)
            if status:
                raise self._error(_problem(status), int(samples[members[position]]))

    def _kept_block(self, number: int) -> NDArray:
        return self._cache.get((id(self), number), lambda: self._block(number))

    def _block(self, number: int) -> NDArray:
        """Return a block of pictures, shape (images_decoded_at_once, H, W, C) of `index.dtype`, the last one maybe shorter."""
        index, first = self.index, number * self.index.images_decoded_at_once
        if index.reason or not index.direct[first // index.images_per_chunk]:
            return self._block_by_hdf5(first, first + index.images_decoded_at_once)
        if index.pipeline.filters or index.is_split:
            return self._row(number)
        row, within = divmod(first, index.images_per_chunk)
        offset = int(index.offsets[row]) + within * index.stored_image_bytes
        raw = self._read_bytes(offset, index.stored_image_bytes, first)
        return raw.view(index.stored_dtype).astype(index.dtype)

    def _block_by_hdf5(self, first: int, stop: int) -> NDArray:
        dataset = self._open_hdf5()
        shape = (min(stop, self.index.shape[0]) - first, *self.index.shape[1:])
        try:
            return np.ascontiguousarray(dataset[first:stop].astype(self.index.dtype, copy=False).reshape(shape))
        except (OSError, RuntimeError, ValueError) as error:  # ValueError: the dataset has another shape by now
            raise self._error(f"HDF5 can't read it: {error}{missing_filters(dataset)}", first) from error

    def _row(self, row: int) -> NDArray:
        """Return the pictures of a row of chunks, shape (images_per_chunk, H, W, C) of `index.dtype`; the last is smaller."""
        index = self.index
        tiles = [-(-s // c) for s, c in zip(index.shape[1:], index.chunk_shape[1:], strict=True)]
        n_tiles = int(np.prod(tiles))
        n_out = index.chunk_bytes + SLACK_BYTES
        # what is kept needs memory of its own; fresh memory for every picture costs more than decoding lz4
        keeps = self._cache.n_blocks > 0 and index.images_per_chunk > 1 and not index.is_split
        out = np.empty(n_out, np.uint8) if keeps else self._memory("out", n_out)
        spare = self._memory("spare", n_out)
        if n_tiles == 1 and not index.is_split:
            chunk = self._chunk(row, row, out, spare)
            if keeps and not np.may_share_memory(chunk, out):
                chunk = chunk.copy()  # it lies where the next one will be read or decoded to
            return chunk if index.stored_dtype == index.dtype else chunk.astype(index.dtype)
        n_pictures = min(index.images_per_chunk, index.shape[0] - row * index.images_per_chunk)
        pictures = np.empty((n_pictures, *index.shape[1:]), index.dtype)
        for tile, place in enumerate(np.ndindex(*tiles)):
            starts = [p * c for p, c in zip(place, index.chunk_shape[1:], strict=True)]
            inside = [min(c, s - a) for c, s, a in zip(index.chunk_shape[1:], index.shape[1:], starts, strict=True)]
            target = (slice(None), *(slice(a, a + n) for a, n in zip(starts, inside, strict=True)))
            source = (slice(n_pictures), *(slice(n) for n in inside))
            pictures[target] = self._chunk(row * n_tiles + tile, row, out, spare)[source]
        return pictures

    def _chunk(self, number: int, row: int, out: NDArray[np.uint8], spare: NDArray[np.uint8]) -> NDArray:
        """Read and decode one chunk, shape `chunk_shape`, of the stored type; it may lie in `out` or `spare`."""
        index, sample = self.index, row * self.index.images_per_chunk
        raw = self._read_bytes(int(index.offsets[number]), int(index.sizes[number]), sample)
        try:
            pixels = index.pipeline.decode(raw, int(index.masks[number]), index.chunk_bytes, out, spare)
        except DecodeError as error:
            raise self._error(str(error), sample) from error
        return pixels.view(index.stored_dtype).reshape(index.chunk_shape)

    def _read_bytes(self, offset: int, n_bytes: int, sample: int) -> NDArray[np.uint8]:
        file = self._open()
        if file.mapping is not None:
            return file.mapping[offset : offset + n_bytes]
        buffer = self._memory("raw", n_bytes)
        status = _read.read_bytes(file.number, offset, buffer) if n_bytes else _read.TRUNCATED
        if status:
            raise self._error(_problem(status), sample)
        return buffer

    def _memory(self, purpose: str, n_bytes: int) -> NDArray[np.uint8]:
        """Return memory of this thread, good until it asks again for the same purpose."""
        memory = getattr(self._scratch, purpose, None)
        if memory is None or len(memory) < n_bytes:
            memory = np.empty(n_bytes, np.uint8)
            setattr(self._scratch, purpose, memory)
        return memory[:n_bytes]

    def _after_fork(self) -> None:
        # HDF5's handles do not survive a fork, nor does a lock that another thread held
        if self._process != os.getpid():
            self._lock = threading.Lock()
            self._file = self._h5 = None
            self._process = os.getpid()  # last: another thread must not take the old lock for a good one

    def _open(self) -> _OpenFile:
        self._after_fork()
        with self._lock:
            if self._file is None:
                file = _OpenFile(self.index.holder)
                self._check_identity(os.fstat(file.number))
                if self.io == "mmap":
                    file.map()
                self._file = file
            return self._file

    def _open_hdf5(self) -> h5py.Dataset:
        self._after_fork()
        with self._lock:
            if self._h5 is None:
                self._check_identity(os.stat(self.index.holder))
                load_filters()
                try:
                    file = h5py.File(self.index.path, "r")
                except OSError as error:
                    raise DataError(opening_problem(self.index.path, error), self.index.file) from error
                self._h5 = (file, get_dataset(file, self.index.dataset))
            return self._h5[1]

    def _check_identity(self, status: os.stat_result) -> None:
        if identity_of(status) != self.index.identity:
            raise ChangedError(_CHANGED, self.index.file, self.index.dataset)

    def _has_changed(self) -> bool:
        """Tell whether somebody has written to the file since it was indexed: what was read may be of before and after."""
        file = self._file
        return file is not None and identity_of(os.fstat(file.number)) != self.index.identity

    def _error(self, problem: str, sample: int) -> DataError:
        kind = DataError
        if self._has_changed():
            kind, problem = ChangedError, f"{problem}; the file was {_CHANGED}"
        return kind(problem, self.index.file, self.index.dataset, sample // self.index.images_per_chunk, sample)


class _OpenFile:
    """An open file, closed when the last read that uses it lets go: its number must not be given to another file meanwhile."""

    def __init__(self, path: str) -> None:
        self.number = -1
        self.mapping: NDArray[np.uint8] | None = None
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def map(self) -> None:
        """Map the whole file; the mapping goes with the last array over it."""
        self.mapping = np.frombuffer(mmap.mmap(self.number, 0, prot=mmap.PROT_READ), np.uint8)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


def _by_block(samples: NDArray[np.int64], per_block: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each block that holds some of the samples, with the positions of those samples."""
    if len(samples) == 0:
        return
    blocks = samples // per_block
    order = np.argsort(blocks, kind="stable")
    firsts = np.flatnonzero(np.diff(blocks[order], prepend=-1))
    groups = np.split(order, firsts[1:])
    # threads that read batches of the same window begin at different blocks, so that none waits for what another decodes
    turn = int(samples[0]) % len(groups)
    for members in groups[turn:] + groups[:turn]:
        yield int(blocks[members[0]]), members


def _problem(status: int) -> str:
    if status == _read.TRUNCATED:
        return "the file ends before the data do; it may have been truncated"
    return "the crop kernel refused the picture" if status == _read.SINK_FAILED else os.strerror(status)


def _first_difference(index: ImageIndex, dataset: h5py.Dataset) -> int | None:
    """Compare a picture of the first, the last and one other chunk with HDF5's; return one that differs."""
    reader, n = Reader(index), index.shape[0]
    try:
        for sample in {0, n - 1, int(rng.draw(rng.key(n), np.zeros(1, np.int64), n)[0])}:
            try:
                ours = reader.array(np.array([sample]))[0]  # first: HDF5's filters may crash on what ours refuse
                theirs = dataset[sample].reshape(index.shape[1:]).astype(index.dtype)
            except (DataError, OSError, RuntimeError):
                continue  # damaged pictures are reported when they are asked for
            if ours.tobytes() != theirs.tobytes():
                return sample
    finally:
        reader.close()
    return None
