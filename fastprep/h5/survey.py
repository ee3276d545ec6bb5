"""Survey of many files: each is opened once, for what has to be known of all files before any image is read."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from numpy.typing import NDArray

from fastprep.h5 import verify
from fastprep.h5.files import get_dataset, open_file
from fastprep.h5.index import ImageIndex, index_images
from fastprep.h5.metadata import Metadata, labels_of, metadata_of, weights_of
from fastprep.h5.plausibility import find_labels, n_labels_in
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
    labels : ndarray, shape (N, ...), or None
    weights : ndarray, shape (N,), or None
    n_unwritten_labels : int
        Number of labels that nobody has written.
    """

    index: ImageIndex
    metadata: Metadata
    labels: NDArray | None
    weights: NDArray | None
    n_unwritten_labels: int


def survey(
    paths: Sequence[str],
    images: str,
    labels: str | None,
    weights: str | None,
    n_descriptors: int,
    axes: str | None = None,
) -> Generator[FileSurvey, None, None]:
    """Survey files, in order. A caller that does not exhaust the generator has to close it, which ends its threads.

    HDF5 opens one file at a time, whatever the number of threads, because it has one lock. Meanwhile, threads bring the next
    files into the page cache, so that the waits for a disk or a network overlap.

    Parameters
    ----------
    paths : sequence of str
    images : str
        Name of the dataset of images.
    labels : str or None
        Name of the dataset of labels; None if they are not read.
    weights : str or None
        Name of the dataset of the samples' weights; None if they are not read.
    n_descriptors : int
        Number of descriptors that may be open at a time, 2 and up.
    axes : {"NHWC", "NHW"} or None
        Axes of the images; None if they are to be judged by the shape.

    Yields
    ------
    FileSurvey

    Raises
    ------
    OSError, DataError
        See `fastprep.h5.open_images`, `read_metadata`, `read_labels`; DataError also if a weight is negative or not
        finite.
    """
    if len(paths) == 1:
        yield _survey_file(paths[0], images, labels, weights, axes, complete=True)
        return
    with contextlib.closing(_prefetched(paths, min(_N_THREADS, n_descriptors - 1))) as prefetched:
        for path in prefetched:
            yield _survey_file(path, images, labels, weights, axes, complete=False)


def _survey_file(path: str, images: str, labels: str | None, weights: str | None, axes: str | None, complete: bool) -> FileSurvey:
    with open_file(path) as file:
        named = file.filename, images
        dataset = get_dataset(file, images)
        label_dataset = find_labels(file, labels)
        index = index_images(dataset, named, axes, n_labels_in(label_dataset))
        if complete:
            index = verify.complete(index, file)
        metadata = metadata_of(dataset, named)
        n_samples = index.shape[0]
        return FileSurvey(
            index,
            metadata,
            None if labels is None else labels_of(file, labels, n_samples, label_dataset),
            None if weights is None else weights_of(file, weights, n_samples),
            0 if label_dataset is None else n_unwritten(label_dataset),
        )


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
    with contextlib.suppress(OSError):  # it is reported when the file is opened in its turn
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.pread(descriptor, _EDGE_BYTES, 0)
            n_bytes = os.fstat(descriptor).st_size
            if n_bytes > _EDGE_BYTES:
                os.pread(descriptor, _EDGE_BYTES, n_bytes - _EDGE_BYTES)
        finally:
            os.close(descriptor)
