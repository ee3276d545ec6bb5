"""Pictures of one dataset, by number, from any thread: checks, opens and raises; `_read.pyx` moves the bytes."""

from __future__ import annotations

import logging
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
from fastprep.h5.errors import DataError
from fastprep.h5.filters import DecodeError
from fastprep.h5.index import ImageIndex, get_dataset, identity_of, index_images, open_file

_log = logging.getLogger(__name__)

_MAX_BLOCK_BYTES = 32 << 20


def open_images(path: str | os.PathLike[str], dataset: str = "images") -> Reader:
    """Index a dataset of pictures and prove on three of them that the index is right.

    Parameters
    ----------
    path : str or path
    dataset : str
        Shape (N, H, W, C), or (N, H, W) for one channel.

    Returns
    -------
    Reader

    Raises
    ------
    OSError
        If the file is not there or may not be read.
    DataError
        If it is not HDF5, or the dataset is missing, damaged, or no pictures.
    """
    with open_file(path) as file:
        index = index_images(file, dataset)
        if not index.reason and (wrong := _first_difference(index, file[dataset])) is not None:
            _log.warning("%s: picture %d read directly differs from HDF5's; HDF5 will read the dataset", path, wrong)
            reason = f"picture {wrong} differs from HDF5's"
            index = replace(index, reason=reason, layout=f"read by HDF5: {reason}")
    return Reader(index)


class Reader:
    """Reads pictures of one dataset. Any number of threads may call it at once; after a fork it opens its files anew.

    Parameters
    ----------
    index : ImageIndex
    """

    def __init__(self, index: ImageIndex) -> None:
        self.index = index
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._h5: tuple[h5py.File, h5py.Dataset] | None = None

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
        DataError
            If the file is damaged or has changed, naming file, dataset, chunk and sample.
        """
        samples, slots = np.ascontiguousarray(samples, np.int64), np.ascontiguousarray(slots, np.int64)
        if len(samples) == 0:
            return
        if samples.min() < 0 or samples.max() >= self.index.shape[0]:
            raise IndexError(f"samples must lie in 0..{self.index.shape[0] - 1}, got {samples.min()}..{samples.max()}")
        if self.index.reason:
            self._read_by_hdf5(samples, slots, sink)
            return
        direct = self.index.direct[samples // self.index.images_per_chunk]
        if not direct.all():
            self._read_by_hdf5(samples[~direct], slots[~direct], sink)
            samples, slots = samples[direct], slots[direct]
        if len(samples):
            read = self._read_filtered if self.index.pipeline.codes else self._read_plain
            read(samples, slots, sink)

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
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
            if self._h5 is not None:
                self._h5[0].close()
                self._h5 = None

    def __del__(self) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return Reader, (self.index,)

    def _read_plain(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: _read.Sink) -> None:
        index = self.index
        chunk, within = np.divmod(samples, index.images_per_chunk)
        offsets = index.offsets[chunk] + within * index.image_bytes
        scratch = np.empty(index.image_bytes, np.uint8)
        status, position = _read.read_images(self._open(), offsets, slots, scratch, sink)
        if status:
            raise self._error(_problem(status), int(samples[position]))

    def _read_filtered(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: _read.Sink) -> None:
        index = self.index
        chunk_bytes = index.images_per_chunk * index.image_bytes
        out, spare = np.empty(chunk_bytes, np.uint8), np.empty(chunk_bytes, np.uint8)
        raw = np.empty(int(index.sizes.max(initial=0)), np.uint8)
        descriptor = self._open()
        for chunk, members in _by_chunk(samples, index.images_per_chunk):
            stored = raw[: index.sizes[chunk]]
            first = int(samples[members[0]])
            status = _read.read_bytes(descriptor, int(index.offsets[chunk]), stored) if len(stored) else _read.TRUNCATED
            if status:
                raise self._error(_problem(status), first)
            try:
                pixels = index.pipeline.decode(stored, int(index.masks[chunk]), out, spare)
            except DecodeError as error:
                raise self._error(str(error), first) from error
            offsets = (samples[members] - chunk * index.images_per_chunk) * index.image_bytes
            status, position = _read.hand_over(pixels, offsets, slots[members], sink)
            if status:
                raise self._error(_problem(status), int(samples[members[position]]))

    def _read_by_hdf5(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: _read.Sink) -> None:
        dataset = self._open_hdf5()
        # one call for the pictures of a chunk, since HDF5 decodes it whole each time, but never a block past all bounds
        per_chunk = dataset.chunks[0] if dataset.chunks else 1
        per_block = min(per_chunk, max(1, _MAX_BLOCK_BYTES // self.index.image_bytes))
        for _, members in _by_chunk(samples, per_block):
            low, high = int(samples[members].min()), int(samples[members].max())
            try:
                block = np.ascontiguousarray(dataset[low : high + 1].astype(self.index.dtype, copy=False))
            except (OSError, RuntimeError, ValueError) as error:
                raise self._error(f"HDF5 can't read it: {error}", low, per_chunk) from error
            offsets = (samples[members] - low) * self.index.image_bytes
            status, position = _read.hand_over(block.reshape(-1).view(np.uint8), offsets, slots[members], sink)
            if status:
                raise self._error(_problem(status), int(samples[members[position]]))

    def _after_fork(self) -> None:
        # HDF5's handles do not survive a fork, nor does a lock that another thread held
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), threading.Lock()
            self._descriptor = self._h5 = None

    def _open(self) -> int:
        self._after_fork()
        with self._lock:
            if self._descriptor is None:
                descriptor = os.open(self.index.holder, os.O_RDONLY | os.O_CLOEXEC)
                if identity_of(os.fstat(descriptor)) != self.index.identity:
                    os.close(descriptor)
                    raise DataError("changed or replaced since it was opened first", self.index.file, self.index.dataset)
                self._descriptor = descriptor
            return self._descriptor

    def _open_hdf5(self) -> h5py.Dataset:
        self._after_fork()
        with self._lock:
            if self._h5 is None:
                try:
                    file = h5py.File(self.index.file, "r")
                except OSError as error:
                    raise DataError(f"HDF5 can't open it: {error}", self.index.file) from error
                dataset = get_dataset(file, self.index.dataset)
                if dataset.shape[0] < self.index.shape[0] or dataset.dtype != self.index.stored_dtype:
                    raise DataError("changed or replaced since it was opened first", self.index.file, self.index.dataset)
                self._h5 = (file, dataset)
            return self._h5[1]

    def _error(self, problem: str, sample: int, images_per_chunk: int | None = None) -> DataError:
        chunk = sample // (images_per_chunk or self.index.images_per_chunk)
        return DataError(problem, self.index.file, self.index.dataset, chunk, sample)


def _by_chunk(samples: NDArray[np.int64], per_chunk: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each chunk that holds some of the samples, with the positions of those samples."""
    chunks = samples // per_chunk
    order = np.argsort(chunks, kind="stable")
    firsts = np.flatnonzero(np.diff(chunks[order], prepend=-1))
    for members in np.split(order, firsts[1:]):
        yield int(chunks[members[0]]), members


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
                theirs = dataset[sample].reshape(index.shape[1:])
                ours = reader.array(np.array([sample]))[0]
            except (DataError, OSError, RuntimeError):
                continue  # damaged pictures are reported when they are asked for
            if ours.tobytes() != theirs.tobytes():
                return sample
    finally:
        reader.close()
    return None
