"""One or several files as one long dataset: images by number, labels in memory."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink
from fastprep.dataset.corrupt import Corrupt
from fastprep.errors import ChangedError, DamagedIndexError, DataError
from fastprep.h5 import BlockCache, Handles, ImageIndex, Metadata, Reader, Scratch, survey, warn_of_hdf5

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class Dataset:
    """Images and labels of one or several files, numbered through.

    Every file is opened once, for its shape, type, attributes and labels. If there are several, where the images of each lie is
    found out when they are first asked for. The order of samples can't depend on that: it follows from the headers. Files
    are kept open while `handles` has room.

    Parameters
    ----------
    files : path, glob pattern, or sequence of paths
    images : str
        Dataset of images in each file.
    labels : str or None
        Dataset of labels in each file; None for images without.
    weights : str or None
        Dataset of a weight for each image in each file; None for none.
    io : {"pread", "mmap"}
        See `fastprep.h5.Reader`.
    on_corrupt : {"raise", "skip"}
        What `read` does about images that can't be read. Those of a file whose list of chunks is damaged are all of that kind;
        with only one file that is an error in either case.

    Attributes
    ----------
    paths : list of str
    n_samples : int
    image_shape : (int, int, int)
        Height, width, channels.
    dtype : dtype
        Of the images as they are handed on: uint8, float32 or float64.
    labels : ndarray, shape (n_samples, ...), or None
    weights : ndarray, shape (n_samples,), or None
    metadata : list of Metadata
        Of each file.
    handles : Handles
        The files that are open.

    Raises
    ------
    ValueError
        If `io` is neither.
    OSError
        If a file is not there or may not be read.
    DataError
        If a file is not what it should be, or the files do not fit together.
    """

    def __init__(
        self,
        files: Paths,
        images: str = "images",
        labels: str | None = "labels",
        weights: str | None = None,
        io: str = "pread",
        on_corrupt: str = "raise",
    ) -> None:
        if on_corrupt not in ("raise", "skip"):
            raise ValueError(f'on_corrupt must be "raise" or "skip", got {on_corrupt!r}')
        self.paths = expand_paths(files)
        self.images = images
        self.handles = Handles()
        self.metadata: list[Metadata] = []
        self._readers: list[Reader] = []
        scratch = Scratch()
        found_labels: list[NDArray] = []
        found_weights: list[NDArray] = []
        with contextlib.closing(survey(self.paths, images, labels, weights, self.handles.limit)) as looks:
            for look in looks:
                self._readers.append(Reader(look.index, io, self.handles, scratch))
                self.metadata.append(look.metadata)
                self._check_images(look.index)
                if look.labels is not None:
                    found_labels.append(look.labels)
                if look.weights is not None:
                    found_weights.append(look.weights)
        self._check_channel_orders()
        self._warn_of_hdf5()
        first = self._readers[0].index
        self.image_shape: tuple[int, int, int] = first.shape[1:]
        self.dtype = first.dtype
        self._starts = np.cumsum([0] + [reader.index.shape[0] for reader in self._readers])
        self.n_samples = int(self._starts[-1])
        self.corrupt = Corrupt(self.n_samples) if on_corrupt == "skip" else None
        self.labels = None if labels is None else self._join_labels(found_labels, labels)
        self.weights = None if weights is None else np.concatenate(found_weights)
        self.keep(0)

    def read(self, samples: NDArray[np.int64], sink: Sink) -> NDArray[np.int64]:
        """Hand the images of `samples` to a sink; slot k is for `samples[k]`. See `fastprep.h5.Reader.read`.

        Returns
        -------
        ndarray of int64, shape (n,)
            Which samples were read: `samples`, or with `on_corrupt="skip"` others in place of those that can't be.
        """
        if self.corrupt is None:
            self._read(samples, sink)
            return samples
        while True:
            samples = self.corrupt.replace(samples)
            try:
                self._read(samples, sink)
            except _Unreadable as unreadable:
                self.corrupt.note(unreadable.first, unreadable.stop, unreadable.error)
            else:
                return samples

    def _read(self, samples: NDArray[np.int64], sink: Sink) -> None:
        slots = np.arange(len(samples), dtype=np.int64)
        for number, mine in self._by_file(samples):
            reader, start = self._readers[number], int(self._starts[number])
            try:
                reader.read(samples[mine] - start, slots[mine], sink)
            except DamagedIndexError as error:
                if self.corrupt is None:
                    raise
                raise _Unreadable(start, start + reader.index.shape[0], error) from None
            except DataError as error:
                if self.corrupt is None or error.sample is None or isinstance(error, ChangedError):
                    raise
                size = reader.index.images_decoded_at_once
                first = error.sample // size * size
                raise _Unreadable(start + first, start + min(first + size, reader.index.shape[0]), error) from None

    @property
    def block_starts(self) -> NDArray[np.int64] | None:
        """First sample of each block of images that are decoded together, and the end; None if each is read alone."""
        sizes = [reader.index.images_decoded_at_once for reader in self._readers]
        if max(sizes) == 1:
            return None
        starts = [np.arange(a, b, size) for a, b, size in zip(self._starts, self._starts[1:], sizes, strict=False)]
        return np.concatenate([*starts, self._starts[-1:]])

    @property
    def block_bytes(self) -> int:
        """Bytes of the largest such block, decoded."""
        return max(reader.index.images_decoded_at_once * reader.index.image_bytes for reader in self._readers)

    @property
    def n_blocks_decoded(self) -> int:
        """How often a block was decoded so far."""
        return self._cache.n_made

    def keep(self, n_blocks: int) -> None:
        """Keep that many decoded blocks in memory, of all files together."""
        self._cache = BlockCache(n_blocks)
        for reader in self._readers:
            reader.keep_in(self._cache)

    def fetch(self, samples: NDArray[np.int64]) -> None:
        """Decode the blocks that hold `samples`, for `keep` to keep."""
        for number, mine in self._by_file(samples):
            self._readers[number].fetch(samples[mine] - self._starts[number])

    def describe(self) -> list[dict[str, Any]]:
        """Say of each file how it is read.

        Returns
        -------
        list of dict
            Keys file, samples, shape, dtype, read, indexed. Until a file is indexed, which is when its images are first asked
            for, `read` is what its header says.
        """
        return [
            {
                "file": index.file,
                "samples": index.shape[0],
                "shape": index.shape[1:],
                "dtype": str(index.stored_dtype),
                "read": index.layout,
                "indexed": index.is_complete,
            }
            for index in (reader.index for reader in self._readers)
        ]

    def describe_corrupt(self) -> dict[str, Any] | None:
        """Say which samples can't be read, as far as that is known: keys samples, problems. None if that is an error."""
        if self.corrupt is None:
            return None
        return {"samples": self.corrupt.n_known, "problems": list(self.corrupt.problems)}

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for reader in self._readers:
            reader.close()

    def path_of(self, sample: int) -> str:
        """Return the path of the file that has a sample."""
        return self.paths[int(np.searchsorted(self._starts, sample, side="right")) - 1]

    def _check_images(self, index: ImageIndex) -> None:
        first = self._readers[0].index
        if index.shape[1:] != first.shape[1:] or index.dtype != first.dtype:
            found, wanted = f"{index.dtype} {index.shape[1:]}", f"{first.dtype} {first.shape[1:]}"
            raise DataError(f"images are {found}, in {first.file!r} they are {wanted}", index.file, self.images)

    def _warn_of_hdf5(self) -> None:
        """Say it once for each reason, not thousands of times."""
        by_reason: dict[str, list[ImageIndex]] = {}
        for reader in self._readers:
            if reader.index.reason:
                by_reason.setdefault(reader.index.reason, []).append(reader.index)
        for indices in by_reason.values():
            warn_of_hdf5(indices[0], len(indices) - 1)

    def _check_channel_orders(self) -> None:
        known = {about.channel_order: path for about, path in zip(self.metadata, self.paths, strict=True) if about.channel_order}
        if len(known) > 1:
            (one, first), (other, second) = list(known.items())[:2]
            raise DataError(f"channel_order is {other!r}, in {first!r} it is {one!r}", second, self.images)

    def _by_file(self, samples: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.bool_] | slice]]:
        """Yield the number of each file that has some of the samples, and which."""
        if len(self._readers) == 1:
            yield 0, slice(None)
            return
        owner = np.searchsorted(self._starts, samples, side="right") - 1
        for number in np.unique(owner):
            yield int(number), owner == number

    def _join_labels(self, parts: list[NDArray], name: str) -> NDArray:
        for path, part in zip(self.paths, parts, strict=True):
            if part.shape[1:] != parts[0].shape[1:]:
                raise DataError(f"labels have the shape {part.shape[1:]}, in {self.paths[0]!r} {parts[0].shape[1:]}", path, name)
        return np.concatenate(parts)


class _Unreadable(Exception):
    """Samples first..stop-1 can't be read."""

    def __init__(self, first: int, stop: int, error: DataError) -> None:
        super().__init__(str(error))
        self.first, self.stop, self.error = first, stop, error


def expand_paths(files: Paths) -> list[str]:
    """Return the paths that a `files` argument stands for.

    Parameters
    ----------
    files : path, glob pattern, or sequence of paths

    Returns
    -------
    list of str
        Those of a pattern in alphabetical order.

    Raises
    ------
    FileNotFoundError
        If no file matches a pattern.
    ValueError
        If there is no path at all, or something else.
    """
    several = isinstance(files, Sequence) and not isinstance(files, bytes)
    if not isinstance(files, str | os.PathLike) and not (several and all(isinstance(path, str | os.PathLike) for path in files)):
        raise ValueError(f"files must be a path, a glob pattern, or a list of paths, got {files!r}")
    if isinstance(files, str | os.PathLike):
        path = os.path.expanduser(os.fspath(files))
        if os.path.exists(path) or not glob.has_magic(path):
            return [path]
        found = sorted(glob.glob(path, recursive=True))
        if not found:
            raise FileNotFoundError(f"files: no file matches {path!r}")
        return found
    paths = [os.path.expanduser(os.fspath(path)) for path in files]
    if not paths:
        raise ValueError("files must name at least one file, got an empty list")
    return paths
