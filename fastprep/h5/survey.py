"""Survey of many files: each is opened once, for what has to be known of all files before any image is read."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from numpy.typing import NDArray

from fastprep import remote
from fastprep.errors import DataError
from fastprep.h5 import verify
from fastprep.h5.columns import Column, find_quietly, n_rows_of
from fastprep.h5.files import open_file
from fastprep.h5.group_index import index_any
from fastprep.h5.groups import Images, describe_images, get_images
from fastprep.h5.index import ImageIndex
from fastprep.h5.metadata import Metadata, labels_of, metadata_of, weights_of
from fastprep.h5.unwritten import n_unwritten

_N_THREADS = 16  # they only wait; enough to hide 10 ms of a remote disk behind 0.7 ms of HDF5
_EDGE_BYTES = 32768  # headers are at the start of a file; labels, and what else was written last, are at its end


@dataclass(frozen=True)
class FileSurvey:
    """What is known about a file before its images are read.

    Attributes
    ----------
    index : ImageIndex
        It is complete only if there is a single file.
    metadata : Metadata
    labels : dict of str to ndarray, shape (N, ...)
        Numbers or texts of each column of labels, by its name.
    weights : dict of str to ndarray, shape (N,)
    n_unwritten_labels : dict of str to int
        Number of labels of each column that nobody has written.
    n_unwritten_weights : dict of str to int
    """

    index: ImageIndex
    metadata: Metadata
    labels: dict[str, NDArray]
    weights: dict[str, NDArray]
    n_unwritten_labels: dict[str, int]
    n_unwritten_weights: dict[str, int]


def survey(
    paths: Sequence[str],
    images: Images,
    labels: Sequence[str],
    weights: Sequence[str],
    n_descriptors: int,
    axes: str | None = None,
    shape: tuple[int, int, int] | None = None,
    n_labels: Sequence[int | None] | None = None,
    are_masks: bool = False,
) -> Generator[FileSurvey, None, None]:
    """Survey files, in order. A caller that does not exhaust the generator has to close it, which ends its threads.

    HDF5 opens one file at a time, whatever the number of threads, because it has one lock. Meanwhile, threads bring the next
    files into the page cache, so that the waits for a disk or a network overlap.

    Parameters
    ----------
    paths : sequence of str
    images : str or sequence of str
        Name of the dataset of images, or of images that have one each.
    labels : sequence of str
        Names of the columns of labels.
    weights : sequence of str
        Names of the columns of the samples' weights.
    n_descriptors : int
        Number of descriptors that may be open at a time, 2 and up.
    axes : str or None
        Axes of the images, see `fastprep.h5.open_images`.
    shape : (int, int, int) or None
        Height, width and channels of an image, for datasets of flat rows.
    n_labels : sequence of int or None
        Number of labels that belong to each file, where they are not in it, as far as that is known.
    are_masks : bool
        Whether the images are masks, which have numbers instead of colours.

    Yields
    ------
    FileSurvey

    Raises
    ------
    OSError, DataError
        See `fastprep.h5.open_images`, `read_metadata`, `read_labels`; DataError also if a weight is negative or not
        finite.
    """
    counts = [None] * len(paths) if n_labels is None else list(n_labels)
    if len(paths) == 1:
        yield _survey_file(paths[0], images, labels, weights, axes, shape, counts[0], are_masks, complete=True)
        return
    with contextlib.closing(_prefetched(paths, min(_N_THREADS, n_descriptors - 1))) as prefetched:
        for path, count in zip(prefetched, counts, strict=True):
            yield _survey_file(path, images, labels, weights, axes, shape, count, are_masks, complete=False)


def _survey_file(
    path: str,
    images: Images,
    labels: Sequence[str],
    weights: Sequence[str],
    axes: str | None,
    shape: tuple[int, int, int] | None,
    n_labels: int | None,
    are_masks: bool,
    complete: bool,
) -> FileSurvey:
    with open_file(path) as file:
        named = file.filename, describe_images(images)
        dataset = get_images(file, images)
        columns = {name: find_quietly(file, name) for name in labels}
        n_rows = next(map(n_rows_of, columns.values()), None)
        index = index_any(dataset, named, axes, n_labels if n_rows is None else n_rows, shape, are_masks)
        if complete:
            index = verify.complete(index, file)
        metadata = metadata_of(dataset, named, index.shape[3])
        n_samples, is_one = index.shape[0], index.axes.n_axis is None
        return FileSurvey(
            index,
            metadata,
            {name: labels_of(file, name, n_samples, column, index.members, is_one) for name, column in columns.items()},
            {name: weights_of(file, name, n_samples) for name in weights},
            _n_unwritten_of(columns),
            _n_unwritten_of({name: find_quietly(file, name) for name in weights}),
        )


def _n_unwritten_of(columns: dict[str, Column | None]) -> dict[str, int]:
    return {name: n_unwritten(column.dataset) for name, column in columns.items() if column is not None}


def _prefetched(paths: Sequence[str], n_threads: int) -> Generator[str, None, None]:
    """Yield the paths unchanged, each once both ends of its file are in the page cache, or can't be read."""
    with ThreadPoolExecutor(n_threads, "fastprep-open") as pool:
        ahead: deque[tuple[str, Future[None]]] = deque()
        try:
            for path in paths:
                ahead.append((path, pool.submit(_prefetch, path)))
                if len(ahead) > 2 * n_threads:
                    first, done = ahead.popleft()
                    done.result()
                    yield first
            for path, done in ahead:
                done.result()
                yield path
        finally:
            pool.shutdown(cancel_futures=True)


def _prefetch(path: str) -> None:
    with contextlib.suppress(OSError, DataError):  # it is reported when the file is opened in its turn
        if (found := remote.find(path)) is not None:
            found.bring_ends()
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.pread(descriptor, _EDGE_BYTES, 0)
            n_bytes = os.fstat(descriptor).st_size
            if n_bytes > _EDGE_BYTES:
                os.pread(descriptor, _EDGE_BYTES, n_bytes - _EDGE_BYTES)
        finally:
            os.close(descriptor)
