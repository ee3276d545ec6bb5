"""Dataset: images of one or several files by sample number, and their labels in memory."""

from __future__ import annotations

import contextlib
import glob
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink
from fastprep.dataset.corrupt import Corrupt
from fastprep.errors import ChangedError, DamagedIndexError, DataError, NotFiniteError
from fastprep.h5 import (
    NOT_FINITE,
    BlockCache,
    FileSurvey,
    Handles,
    ImageIndex,
    Metadata,
    Reader,
    Scratch,
    check_axes_name,
    survey,
    warn_of_hdf5,
    warn_of_unwritten,
)
from fastprep.system import is_machine_fault

_log = logging.getLogger(__name__)

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class Dataset:
    """Images and labels of one or several files, with sample numbers that run through all of them.

    Every file is opened once, for its shape, type, attributes and labels. With several files, the chunks of each are indexed when
    its images are first asked for. The order of samples does not depend on that, because it follows from the headers. Files are
    kept open while `handles` has room.

    Parameters
    ----------
    files : path, glob pattern, or sequence of paths
    images : str
        Name of the dataset of images in each file.
    labels : str or None
        Name of the dataset of labels in each file; None for images without labels.
    weights : str or None
        Name of the dataset of sample weights in each file; None for no weights.
    io : {"pread", "mmap"}
        See `fastprep.h5.Reader`.
    on_corrupt : {"raise", "skip"}
        What `read` does about images that can't be read. If the list of chunks of a file is damaged, none of its images can be
        read; with only one file that is an error in either case.
    axes : {"NHWC", "NHW"} or None
        Axes of the images; None if they are to be judged by the shape.

    Attributes
    ----------
    paths : list of str
    n_samples : int
    image_shape : (int, int, int)
        Height, width, channels.
    dtype : dtype
        Type of the images as they are handed on: uint8, float32 or float64.
    labels : ndarray, shape (n_samples, ...), or None
    weights : ndarray, shape (n_samples,), or None
    metadata : list of Metadata
        Metadata of each file.
    corrupt : Corrupt or None
        Samples that can't be read; None if they are errors.
    handles : Handles
        Open files.

    Raises
    ------
    ValueError
        If `io`, `on_corrupt` or `axes` is not one of its values, or `files` names no file.
    OSError
        If a file does not exist or may not be read.
    DataError
        If a file is damaged or does not fit the arguments, or the files do not fit together.
    """

    def __init__(
        self,
        files: Paths,
        images: str = "images",
        labels: str | None = "labels",
        weights: str | None = None,
        io: str = "pread",
        on_corrupt: str = "raise",
        axes: str | None = None,
    ) -> None:
        if on_corrupt not in ("raise", "skip"):
            raise ValueError(f'on_corrupt must be "raise" or "skip", got {on_corrupt!r}')
        check_axes_name(axes)
        self.paths = expand_paths(files)
        self.images, self.labels_name = images, labels
        self.handles = Handles()
        self.metadata: list[Metadata] = []
        self._readers: list[Reader] = []
        scratch = Scratch()
        found_labels: list[NDArray] = []
        found_weights: list[NDArray] = []
        with contextlib.closing(survey(self.paths, images, labels, weights, self.handles.limit, axes)) as surveyed_files:
            for surveyed in surveyed_files:
                self._readers.append(Reader(surveyed.index, io, self.handles, scratch))
                self.metadata.append(surveyed.metadata)
                self._check_images(surveyed.index)
                self._warn_of_unwritten(surveyed, labels)
                if surveyed.labels is not None:
                    found_labels.append(surveyed.labels)
                if surveyed.weights is not None:
                    found_weights.append(surveyed.weights)
        self._log_notes()
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
            Samples that were read: `samples`, where `on_corrupt="skip"` replaces those that can't be read.
        """
        slots = np.arange(len(samples), dtype=np.int64)
        if self.corrupt is None:
            self._read(samples, slots, sink)
            return samples
        while True:
            samples = self.corrupt.replace(samples)
            try:
                self._read(samples, slots, sink)
            except _Unreadable as error:
                self.corrupt.record(error.first, error.stop, error.error)
                bad = np.flatnonzero((samples >= error.first) & (samples < error.stop))[:1]
                self._find_intact(samples[bad], slots[bad], sink)
            else:
                return samples

    def _find_intact(self, sample: NDArray[np.int64], slot: NDArray[np.int64], sink: Sink) -> None:
        """Record what is damaged from a sample on, up to its replacement. One by one: not with a whole batch for each of them."""
        assert self.corrupt is not None
        while True:
            sample = self.corrupt.replace(sample)
            try:
                self._read(sample, slot, sink)
            except _Unreadable as error:
                self.corrupt.record(error.first, error.stop, error.error)
            else:
                return

    def replaced(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what `read` reads for these samples, as far as it is known by now which ones can't be read."""
        return samples if self.corrupt is None else self.corrupt.replace(samples)

    def _read(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: Sink) -> None:
        for number, mine in self._by_file(samples):
            reader, start = self._readers[number], int(self._starts[number])
            try:
                reader.read(samples[mine] - start, slots[mine], sink)
            except DamagedIndexError as error:
                if self.corrupt is None or is_machine_fault(error):
                    raise
                raise _Unreadable(start, start + reader.index.shape[0], error) from None
            except DataError as error:
                refused = isinstance(error, ChangedError | NotFiniteError) or is_machine_fault(error)
                if self.corrupt is None or error.sample is None or refused:
                    raise
                size = reader.index.images_decoded_at_once
                first = error.sample // size * size
                raise _Unreadable(start + first, start + min(first + size, reader.index.shape[0]), error) from None

    def not_finite(self, sample: int) -> NotFiniteError:
        """Return the error of a sample whose crop has values that are not finite."""
        number, row = self._locate(sample)
        index = self._readers[number].index
        return NotFiniteError(NOT_FINITE, index.file, index.dataset, row // index.images_per_chunk, row)

    def error_of(self, sample: int, problem: str) -> DataError:
        """Return the error of a sample's label, which names file and row."""
        number, row = self._locate(sample)
        return DataError(problem, self.paths[number], self.labels_name, sample=row)

    @property
    def stored_dtypes(self) -> set[np.dtype]:
        """Types in which the files hold the images."""
        return {reader.index.stored_dtype for reader in self._readers}

    @property
    def block_starts(self) -> NDArray[np.int64] | None:
        """First sample of each block of images that are decoded together, then n_samples; None if each image is read alone."""
        sizes = [reader.index.images_decoded_at_once for reader in self._readers]
        if max(sizes) == 1:
            return None
        starts = [np.arange(a, b, size) for a, b, size in zip(self._starts, self._starts[1:], sizes, strict=False)]
        return np.concatenate([*starts, self._starts[-1:]])

    @property
    def block_bytes(self) -> int:
        """Size of the largest such block, decoded."""
        return max(reader.index.images_decoded_at_once * reader.index.image_bytes for reader in self._readers)

    @property
    def n_blocks_decoded(self) -> int:
        """Number of times that a block was decoded so far."""
        return self._cache.n_made

    def keep(self, n_blocks: int) -> None:
        """Keep up to `n_blocks` decoded blocks of all files together in memory."""
        self._cache = BlockCache(n_blocks)
        for reader in self._readers:
            reader.keep_in(self._cache)

    def fetch(self, samples: NDArray[np.int64]) -> None:
        """Decode the blocks that hold `samples`, so that they are in memory; see `keep`."""
        for number, mine in self._by_file(samples):
            self._readers[number].fetch(samples[mine] - self._starts[number])

    def describe(self) -> list[dict[str, Any]]:
        """Describe how each file is read.

        Returns
        -------
        list of dict
            Keys file, samples, shape, dtype, read, never_written, indexed. A file is indexed when its images are first asked for;
            until then `read` follows from its header alone, and `never_written`, a number of images, is 0.
        """
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
            for index in (reader.index for reader in self._readers)
        ]

    def describe_corrupt(self) -> dict[str, Any] | None:
        """Describe the samples that are known to be damaged: keys samples, problems. None if they are errors."""
        if self.corrupt is None:
            return None
        return {"samples": self.corrupt.n_known, "problems": list(self.corrupt.problems)}

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for reader in self._readers:
            reader.close()

    def path_of(self, sample: int) -> str:
        """Return the path of the file that has a sample."""
        return self.paths[self._locate(sample)[0]]

    def _locate(self, sample: int) -> tuple[int, int]:
        """Return the number of the file that has a sample, and its row there."""
        number = int(np.searchsorted(self._starts, sample, side="right")) - 1
        return number, sample - int(self._starts[number])

    def _check_images(self, index: ImageIndex) -> None:
        first = self._readers[0].index
        if index.shape[1:] != first.shape[1:] or index.dtype != first.dtype:
            found, wanted = f"{index.dtype} {index.shape[1:]}", f"{first.dtype} {first.shape[1:]}"
            raise DataError(f"images are {found}, in {first.file!r} they are {wanted}", index.file, self.images)

    def _warn_of_unwritten(self, surveyed: FileSurvey, labels: str | None) -> None:
        """Warn of images and labels that nobody has written; of images in many files when their chunks are listed."""
        index = surveyed.index
        warn_of_unwritten(index.file, index.dataset, index.n_unwritten, index.shape[0], "images")
        if labels is not None:
            warn_of_unwritten(index.file, labels, surveyed.n_unwritten_labels, index.shape[0], "labels")

    def _warn_of_hdf5(self) -> None:
        """Warn once for each reason to read by HDF5, and not once for each file."""
        by_reason: dict[str, list[ImageIndex]] = {}
        for reader in self._readers:
            if reader.index.reason:
                by_reason.setdefault(reader.index.reason, []).append(reader.index)
        for indices in by_reason.values():
            warn_of_hdf5(indices[0], len(indices) - 1)

    def _log_notes(self) -> None:
        """Log what a user should know of the attributes, once for all files of which it is true."""
        by_note: dict[str, list[str]] = {}
        for path, metadata in zip(self.paths, self.metadata, strict=True):
            for note in metadata.notes:
                by_note.setdefault(note, []).append(path)
        for note, paths in by_note.items():
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            _log.warning("%s%s, dataset %r: %s", paths[0], more, self.images, note)

    def _check_channel_orders(self) -> None:
        orders = {facts.channel_order: path for facts, path in zip(self.metadata, self.paths, strict=True) if facts.channel_order}
        if len(orders) > 1:
            (wanted, first), (found, second) = list(orders.items())[:2]
            raise DataError(f"channel_order is {found!r}, in {first!r} it is {wanted!r}", second, self.images)

    def _by_file(self, samples: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.bool_] | slice]]:
        """Yield the number of each file that has some of the samples, and a mask of those samples."""
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
    """Error of samples first..stop-1, which can't be read."""

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
        Files of a pattern come in alphabetical order.

    Raises
    ------
    FileNotFoundError
        If no file matches a pattern.
    ValueError
        If `files` is an empty sequence, or something other than paths.
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
