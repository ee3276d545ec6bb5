"""Images of one dataset, by number, from any thread. `_read.pyx` and `chunks` read the bytes; `handles` has the open files."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastprep import remote
from fastprep._sink import Sink, hand_over
from fastprep.errors import ChangedError, DataError
from fastprep.h5 import _read, verify
from fastprep.h5._decode import ChunkPlan
from fastprep.h5.block_order import by_block
from fastprep.h5.cache import BlockCache, Scratch, ThreadScratch
from fastprep.h5.chunks import ChunkReader, plan_of, reading_error
from fastprep.h5.file_bytes import FileBytes, identity_at
from fastprep.h5.files import CHANGED, load_filters, open_file
from fastprep.h5.filters import missing_filters
from fastprep.h5.handles import MAPPED_DESCRIPTORS, Handles, OpenDataset, OpenFile
from fastprep.h5.index import ImageIndex, warn_of_hdf5
from fastprep.h5.resident import ResidentImages, resident_images
from fastprep.h5.retries import raise_machine_fault, read_again
from fastprep.h5.types import OutOfRange, widened
from fastprep.h5.unwritten import warn_of_unwritten
from fastprep.h5.virtual import missing_file
from fastprep.system import begin_in_children

_T = TypeVar("_T")

RUN_BYTES = 8 << 20
"""Bytes of neighbouring images of a remote file that are fetched together, about."""


class Reader:
    """Reads images of one dataset. Any number of threads may use it at once. After a fork it opens its files again.

    Parameters
    ----------
    index : ImageIndex
        If it is not complete, it is completed when images are first read.
    io : {"pread", "mmap"}
        How bytes are read. "mmap" saves a copy, and is for local files that nobody changes: if a file is truncated while it is
        mapped, the system ends the process (SIGBUS), where "pread" raises a DataError.
    handles : Handles, optional
        Keeps the open files. Readers may share it.
    scratch : Scratch, optional
        Memory to decode into. Readers may share it.
    """

    def __init__(
        self, index: ImageIndex, io: str = "pread", handles: Handles | None = None, scratch: Scratch | None = None
    ) -> None:
        if io not in ("pread", "mmap"):
            raise ValueError(f'io must be "pread" or "mmap", got {io!r}')
        self.index, self.io = index, io
        self._handles = Handles() if handles is None else handles
        self._scratch = ThreadScratch() if scratch is None else scratch
        self._cache = BlockCache(0)
        self._planned: tuple[ImageIndex | None, ChunkPlan | None] = (None, None)
        self._resident: tuple[ImageIndex | None, ResidentImages | None] = (None, None)
        self._key = object()  # marks what belongs to this reader in `handles` and in the cache
        begin_in_children(self)

    def begin(self) -> None:
        """Make the lock anew, which does not survive a fork."""
        self._indexing = threading.Lock()

    def read(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: Sink) -> None:
        """Hand images to a sink, in any order.

        Parameters
        ----------
        samples : ndarray of int64, shape (n,)
            Rows of the dataset, 0..N-1.
        slots : ndarray of int64, shape (n,)
            Slot of each sample, for the sink.
        sink : Sink
            Takes each image of `index.dtype`, its axes in the order `index.axes.order`.

        Raises
        ------
        IndexError
            If a sample is out of range.
        OSError, MemoryError
            If the machine fails to read, a few times in a row: a disk or a network drive that went away, too many open files, a
            file that is gone. This says nothing about the images.
        DataError
            If the file is damaged, naming file, dataset, chunk and sample; or if it has changed since it was indexed.
        """
        samples, slots = np.ascontiguousarray(samples, np.int64), np.ascontiguousarray(slots, np.int64)
        if len(samples) == 0:
            return
        if not _read.lie_in(samples, self.index.shape[0]):
            raise IndexError(f"samples must lie in 0..{self.index.shape[0] - 1}, got {samples.min()}..{samples.max()}")
        read_again(lambda: self._read(samples, slots, sink), self._close_files)

    def complete(self) -> None:
        """List the chunks, and verify them on three images, unless that has been done.

        Raises
        ------
        DamagedIndexError
            If the list of chunks can't be true.
        OSError, DataError
            If the file can't be opened any more, or has changed.
        """
        if self.index.is_complete:
            return
        with self._indexing:
            if self.index.is_complete:
                return
            with self._handles.room(verify.DESCRIPTORS), open_file(self.index.path) as file:
                self._check_identity(identity_at(self.index.holder))
                index = verify.complete(self.index, file)
            if index.reason:
                load_filters()
                warn_of_hdf5(index)
            warn_of_unwritten(index.file, index.dataset, index.n_unwritten, index.shape[0], "images")
            self.index = index

    def keep_in(self, cache: BlockCache) -> None:
        """Keep decoded blocks of `index.images_decoded_at_once` images in a cache, which readers may share."""
        self._cache = cache

    def fetch(self, samples: NDArray[np.int64]) -> None:
        """Decode the blocks that hold `samples` into the cache. Errors are ignored, and come again when the samples are read."""
        if self.index.images_decoded_at_once == 1:
            return
        with contextlib.suppress(DataError, OSError, MemoryError):
            self.complete()
        if not self.index.is_complete:
            return
        for number in np.unique(samples // self.index.images_decoded_at_once):
            with contextlib.suppress(DataError, OSError, MemoryError):
                self._kept_block(int(number))

    @property
    def images_at_once(self) -> int:
        """Number of neighbouring images that are decoded together or, of remote files, fetched together.

        The order of samples depends on it, so it follows from the file alone.
        """
        index = self.index
        if index.images_decoded_at_once > 1 or not remote.is_address(index.path):
            return index.images_decoded_at_once
        n_bytes = index.stored_image_bytes
        if index.rows is not None:
            n_bytes = (index.rows.places.n_bytes or 0) // max(1, index.shape[0])
        return min(max(1, RUN_BYTES // max(1, n_bytes)), index.shape[0])

    def array(self, samples: NDArray[np.int64]) -> NDArray:
        """Read images into one array.

        Parameters
        ----------
        samples : ndarray of int64, shape (n,)

        Returns
        -------
        ndarray of `index.dtype`, shape (n, H, W, C)
        """
        out = np.empty((len(samples), *self.index.axes.sides[1:]), self.index.dtype)
        if len(samples):
            sink = _read.CopySink(out.reshape(-1).view(np.uint8), self.index.image_bytes)
            self.read(samples, np.arange(len(samples)), sink)
        return self.index.axes.as_images(out)

    def images(self, samples: NDArray[np.int64]) -> Iterator[NDArray]:
        """Yield images one by one, (H, W, C) each; each is valid until this thread asks for the next one."""
        for sample in samples:
            yield self.array(np.array([sample]))[0]

    def close(self) -> None:
        """Close the files as soon as nobody reads from them. A later read opens them again."""
        self._close_files()
        self._cache.clear()
        self._resident = (None, None)

    def __reduce__(self) -> tuple[Any, ...]:
        return Reader, (self.index, self.io, self._handles, self._scratch), {"_cache": self._cache}

    def _read(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: Sink) -> None:
        self.complete()
        if self.index.images_decoded_at_once > 1:
            self._read_kept_blocks(samples, slots, sink)
            return
        if self.index.has_only_direct:
            self._read_directly(samples, slots, sink)
            return
        direct = self._is_direct(samples)
        if direct.any():
            self._read_directly(samples[direct], slots[direct], sink)
        if not direct.all():
            self._read_by_hdf5(samples[~direct], slots[~direct], sink)

    def ask_for(self, samples: NDArray[np.int64]) -> None:
        """Ask for the bytes of images of a remote file, and do not wait for them.

        Errors are ignored, and come again when the samples are read.
        """
        if (found := remote.find(self.index.holder)) is not None:
            with contextlib.suppress(DataError, OSError, MemoryError):
                self.complete()
                found.ask_for(*self._extents(samples))

    def _extents(self, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return offsets and sizes of the bytes that hold images, as far as they are known before these are read."""
        return self.index.extents(samples) if self.index.is_complete else (np.empty(0, np.int64), np.empty(0, np.int64))

    def _close_files(self) -> None:
        for kind in (OpenFile, OpenDataset):
            self._handles.close((self._key, kind))

    def _is_direct(self, samples: NDArray[np.int64]) -> NDArray[np.bool_]:
        index = self.index
        return np.zeros(len(samples), bool) if index.reason else index.chunks.direct[samples // index.images_per_chunk]

    def _read_directly(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: Sink) -> None:
        """Read images one by one, without HDF5."""
        if self.index.is_addressable and self.index.native_dtype == self.index.dtype:
            self._with_chunks(samples, lambda chunks: self._read_plain(chunks, samples, slots, sink))
            return
        left = self._with_chunks(samples, lambda chunks: chunks.hand_over(samples, slots, sink))
        if len(left):  # no file is in use here: HDF5's needs room, too (see `Handles`)
            self._read_by_hdf5(samples[left], slots[left], sink)

    def _read_plain(self, chunks: ChunkReader, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: Sink) -> None:
        index, file = self.index, chunks.file
        offsets = index.offsets(samples)
        memory, first = file.mapping if index.is_plain else None, 0
        if memory is None and (resident := self._resident_images()) and resident.has(file.number, offsets, index.image_bytes):
            memory, first = resident.memory, resident.first
        if memory is not None:
            status, position = hand_over(memory, offsets - first, slots, sink)
        else:
            scratch = self._scratch.memory("image", index.image_bytes)
            swapped_bytes = 0 if index.is_plain else index.stored_dtype.itemsize
            status, position = _read.read_images(file.number, offsets, slots, scratch, sink, swapped_bytes)
        if status:
            raise chunks.error(status, int(samples[position]))

    def _read_by_hdf5(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: Sink) -> None:
        for number, members in by_block(samples, 1):
            self._hand_over(self._block_by_hdf5(number, number + 1), number, samples[members], slots[members], sink)

    def _read_kept_blocks(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: Sink) -> None:
        for number, members in by_block(samples, self.index.images_decoded_at_once):
            self._hand_over(self._kept_block(number), number, samples[members], slots[members], sink)

    def _hand_over(self, block: NDArray, number: int, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: Sink) -> None:
        offsets = (samples - number * self.index.images_decoded_at_once) * self.index.image_bytes
        status, position = hand_over(block.reshape(-1).view(np.uint8), offsets, slots, sink)
        if status:
            raise reading_error(self.index, status, int(samples[position]))

    def _kept_block(self, number: int) -> NDArray:
        # no file is in use here: a thread that uses one must not wait for what another thread decodes (see `Handles`)
        return self._cache.get((self._key, number), lambda: self._block(number))

    def _block(self, number: int) -> NDArray:
        """Return a block of several images. It has memory of its own if the cache keeps blocks."""
        per_block = self.index.images_decoded_at_once
        first = number * per_block
        if not self._is_direct(np.array([first]))[0]:
            return self._block_by_hdf5(first, first + per_block)
        block = self._with_chunks(
            self.index.samples_of_block(number),
            lambda chunks: chunks.block(number, keeps=self._cache.n_blocks > 0 or chunks.file.mapping is not None),
        )
        return self._block_by_hdf5(first, first + per_block) if block is None else block

    def _block_by_hdf5(self, first: int, stop: int) -> NDArray:
        stop = min(stop, self.index.shape[0])
        with self._handles.use((self._key, OpenDataset), 1, self._open_hdf5) as opened:
            dataset = opened.dataset
            try:
                block = widened(self.index.axes.rows(dataset, first, stop), self.index.dtype)
            except OutOfRange as error:
                raise reading_error(self.index, str(error), first + error.row, opened.has_changed()) from None
            except (OSError, RuntimeError, ValueError) as error:  # ValueError: the shape of the dataset has changed
                index = self.index
                raise_machine_fault(error, index.file, index.dataset, first // index.images_per_chunk, first)
                problem = f"HDF5 can't read it: {error}{missing_filters(getattr(dataset, 'first', dataset))}"
                raise reading_error(self.index, problem, first, opened.has_changed()) from error
            if opened.has_changed():
                raise ChangedError(CHANGED, self.index.file, self.index.dataset)
            if dataset.is_virtual and _has_image_of(dataset.fillvalue, block) and (name := missing_file(dataset)) is not None:
                problem = f"file {self.index.file!r}, dataset {self.index.dataset!r}: it is virtual, and a file of it is gone"
                raise FileNotFoundError(errno.ENOENT, problem, name)
            return block

    def _with_chunks(self, samples: NDArray[np.int64], read: Callable[[ChunkReader], _T]) -> _T:
        """Return what a function reads by a reader of the chunks that hold samples, from a file that has not changed since.

        The file stays open meanwhile. This is no context, because each batch asks for it, and a generator takes more calls.
        """
        n_descriptors = MAPPED_DESCRIPTORS if self.io == "mmap" else 1
        with self._handles.use((self._key, OpenFile), n_descriptors, self._open_file) as file:
            if not file.is_remote:
                return self._read_unchanged(file, read)
            with file.holding(*self.index.extents(samples)) as held:
                return self._read_unchanged(held, read)

    def _read_unchanged(self, file: FileBytes, read: Callable[[ChunkReader], _T]) -> _T:
        chunks = ChunkReader(self.index, file, self._scratch, self._plan())
        result = read(chunks)
        chunks.check_unchanged()
        return result

    def _resident_images(self) -> ResidentImages | None:
        """Return the memory for small images; None if they are read from the file each time."""
        index = self.index
        if self._resident[0] is not index:
            with self._indexing:
                if self._resident[0] is not index:
                    self._resident = index, resident_images(index)
        return self._resident[1]

    def _plan(self) -> ChunkPlan | None:
        index, plan = self._planned
        if index is not self.index:
            index, plan = self._planned = self.index, plan_of(self.index)
        return plan

    def _open_file(self) -> OpenFile:
        file = OpenFile(self.index.holder, self.io == "mmap")
        self._check_identity(file.identity())
        return file

    def _open_hdf5(self) -> OpenDataset:
        self._check_identity(identity_at(self.index.holder))
        return OpenDataset(self.index.path, (self.index.file, self.index.members or self.index.dataset))

    def _check_identity(self, identity: tuple[int, ...]) -> None:
        if identity != self.index.identity:
            raise ChangedError(CHANGED, self.index.file, self.index.dataset)


def _has_image_of(value: object, block: NDArray) -> bool:
    """Tell whether an image of a block has this value only."""
    return bool((block == value).reshape(len(block), -1).all(axis=1).any())
