"""Images of several files by sample number, which runs through all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep import remote
from fastprep._sink import Sink
from fastprep.dataset.corrupt import Unreadable
from fastprep.errors import ChangedError, DamagedIndexError, DataError, NotFiniteError
from fastprep.h5 import NOT_FINITE, BlockCache, ImageIndex, Reader
from fastprep.system import is_machine_fault

_N_THREADS = 16  # they wait for a store most of the time


class ImageFiles:
    """Images of one or several files, one after the other.

    Parameters
    ----------
    readers : sequence of Reader
        One for each file.

    Attributes
    ----------
    readers : list of Reader
    starts : ndarray of int64, shape (files + 1,)
        First sample of each file, and the number of samples.
    """

    def __init__(self, readers: Sequence[Reader]) -> None:
        self.readers = list(readers)
        self.starts = np.cumsum([0] + [reader.index.shape[0] for reader in self.readers])
        self.keep(0)

    def __len__(self) -> int:
        """Count the samples."""
        return int(self.starts[-1])

    @property
    def first_index(self) -> ImageIndex:
        """Index of the first file."""
        return self.readers[0].index

    @property
    def sizes(self) -> list[int]:
        """Number of images in each file."""
        return [reader.index.shape[0] for reader in self.readers]

    def read(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: Sink, may_be_damaged: bool = False) -> None:
        """Hand images to a sink; see `fastprep.h5.Reader.read`.

        Raises
        ------
        Unreadable
            If images are damaged and `may_be_damaged`; it names all samples that can't be read for the same reason.
        DataError, OSError
            If images are damaged otherwise, or are no matter of a damaged image.
        """
        for number, mine in self._by_file(samples):
            reader, start = self.readers[number], int(self.starts[number])
            try:
                reader.read(samples[mine] - start, slots[mine], sink)
            except DamagedIndexError as error:
                if not may_be_damaged or is_machine_fault(error):
                    raise
                raise Unreadable(start, start + reader.index.shape[0], error) from None
            except DataError as error:
                refused = isinstance(error, ChangedError | NotFiniteError) or is_machine_fault(error)
                if not may_be_damaged or error.sample is None or refused:
                    raise
                size = reader.index.images_decoded_at_once
                first = error.sample // size * size
                raise Unreadable(start + first, start + min(first + size, reader.index.shape[0]), error) from None

    def images(self, samples: NDArray[np.int64]) -> Iterator[NDArray]:
        """Yield images one by one; see `fastprep.h5.Reader.images`."""
        for sample in samples:
            number, row = self.locate(int(sample))
            yield from self.readers[number].images(np.array([row]))

    def fetch(self, samples: NDArray[np.int64]) -> None:
        """Decode the blocks that hold `samples`, so that they are in memory; see `keep`."""
        for number, mine in self._by_file(samples):
            self.readers[number].fetch(samples[mine] - self.starts[number])

    def complete(self, samples: NDArray[np.int64]) -> None:
        """List the chunks of the remote files that samples are in, and verify them, several files at a time.

        Each takes a few answers of the store, one after another. Errors are ignored, and come again when samples are read.
        """
        readers = [self.readers[number] for number, _ in self._by_file(samples)]
        waiting = [reader for reader in readers if not reader.index.is_complete and remote.is_address(reader.index.path)]
        if len(waiting) > 1:
            # at the end of the interpreter there are no new threads, and each file is completed when it is read
            with contextlib.suppress(RuntimeError), ThreadPoolExecutor(_N_THREADS, "fastprep-complete") as pool:
                list(pool.map(_complete_quietly, waiting))

    def ask_for(self, samples: NDArray[np.int64]) -> None:
        """Have the bytes of samples in remote files fetched; see `fastprep.h5.Reader.ask_for`."""
        for number, mine in self._by_file(samples):
            self.readers[number].ask_for(samples[mine] - self.starts[number])

    def keep(self, n_blocks: int) -> None:
        """Keep up to `n_blocks` decoded blocks of all files together in memory."""
        self.cache = BlockCache(n_blocks)
        for reader in self.readers:
            reader.keep_in(self.cache)

    def locate(self, sample: int) -> tuple[int, int]:
        """Return the number of the file that has a sample, and its row there."""
        number = int(np.searchsorted(self.starts, sample, side="right")) - 1
        return number, sample - int(self.starts[number])

    def error(self, sample: int, problem: str) -> DataError:
        """Return the error of a sample, which names file, dataset and row."""
        number, row = self.locate(sample)
        index = self.readers[number].index
        return DataError(problem, index.file, index.name_of(row), None, row)

    def not_finite(self, sample: int, problem: str = NOT_FINITE) -> NotFiniteError:
        """Return the error of a sample that has values which are not finite."""
        number, row = self.locate(sample)
        index = self.readers[number].index
        return NotFiniteError(problem, index.file, index.name_of(row), row // index.images_per_chunk, row)

    @property
    def stored_dtypes(self) -> set[np.dtype]:
        """Types in which the files hold the images."""
        return {reader.index.stored_dtype for reader in self.readers}

    @property
    def block_starts(self) -> NDArray[np.int64] | None:
        """First sample of each block of images that are decoded or fetched together, then their number; None if there is none."""
        sizes = [reader.images_at_once for reader in self.readers]
        if max(sizes) == 1:
            return None
        starts = [np.arange(a, b, size) for a, b, size in zip(self.starts, self.starts[1:], sizes, strict=False)]
        return np.concatenate([*starts, self.starts[-1:]])

    @property
    def are_fetched(self) -> bool:
        """Whether blocks are runs of images of remote files, which are fetched together, and decoded one by one."""
        return self.block_images > max(reader.index.images_decoded_at_once for reader in self.readers)

    @property
    def block_images(self) -> int:
        """Number of images in the largest block, as it is decoded."""
        return max(reader.images_at_once for reader in self.readers)

    @property
    def block_bytes(self) -> int:
        """Size of the largest such block, decoded."""
        return max(reader.images_at_once * reader.index.image_bytes for reader in self.readers)

    def describe(self) -> list[dict[str, Any]]:
        """Describe how each file is read; see `fastprep.dataset.Dataset.describe`."""
        return [
            {
                "file": index.file,
                "samples": index.shape[0],
                "shape": index.shape[1:],
                "dtype": str(index.stored_dtype),
                "read": index.layout,
                "never_written": index.n_unwritten,
                "indexed": index.is_complete,
            }
            for index in (reader.index for reader in self.readers)
        ]

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for reader in self.readers:
            reader.close()

    def _by_file(self, samples: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.bool_] | slice]]:
        """Yield the number of each file that has some of the samples, and a mask of those samples."""
        if len(self.readers) == 1:
            yield 0, slice(None)
            return
        owner = np.searchsorted(self.starts, samples, side="right") - 1
        for number in np.unique(owner):
            yield int(number), owner == number


def _complete_quietly(reader: Reader) -> None:
    with contextlib.suppress(DataError, OSError, MemoryError):
        reader.complete()
