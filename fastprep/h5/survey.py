"""The first look at many files: each is opened once, for what has to be known of all of them before any image is read."""

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

_N_THREADS = 16  # they only wait; enough to hide 10 ms of a far disk behind 0.7 ms of HDF5
_EDGE_BYTES = 32768  # at the start of a file are its headers, at the end labels and what else was written last


@dataclass(frozen=True)
class FirstLook:
    """What is known of a file before its images are read.

    Attributes
    ----------
    index : ImageIndex
        Complete only for a single file.
    metadata : Metadata
    labels : ndarray, shape (N, ...), or None
    weights : ndarray, shape (N,), or None
    """

    index: ImageIndex
    metadata: Metadata
    labels: NDArray | None
    weights: NDArray | None


def survey(
    paths: Sequence[str], images: str, labels: str | None, weights: str | None, n_descriptors: int
) -> Generator[FirstLook, None, None]:
    """Look at files, in order. Who does not use the generator up closes it, and so its threads.

    HDF5 opens one at a time, whatever the number of threads, for it has one lock. But meanwhile threads bring the next files into
    the page cache, and so the waiting for a disk, or a network, is done for many at once.

    Parameters
    ----------
    paths : sequence of str
    images : str
        Name of the images' dataset.
    labels : str or None
        Name of that of the labels; None to leave them.
    weights : str or None
        Name of that of the samples' weights; None to leave them.
    n_descriptors : int
        How many may be open at a time, 2 and up.

    Yields
    ------
    FirstLook

    Raises
    ------
    OSError, DataError
        See `fastprep.h5.open_images`, `read_metadata`, `read_labels`; DataError also if a weight is no weight.
    """
    if len(paths) == 1:
        yield _look(paths[0], images, labels, weights, whole=True)
        return
    with contextlib.closing(_near(paths, min(_N_THREADS, n_descriptors - 1))) as near:
        for path in near:
            yield _look(path, images, labels, weights, whole=False)


def _look(path: str, images: str, labels: str | None, weights: str | None, whole: bool) -> FirstLook:
    with open_file(path) as file:
        named = file.filename, images
        dataset = get_dataset(file, images)
        index = index_images(dataset, named)
        if whole:
            index = verify.complete(index, file)
        metadata = metadata_of(dataset, named)
        n_samples = index.shape[0]
        return FirstLook(
            index,
            metadata,
            None if labels is None else labels_of(file, labels, n_samples),
            None if weights is None else weights_of(file, weights, n_samples),
        )


def _near(paths: Sequence[str], n_threads: int) -> Generator[str, None, None]:
    """Yield paths as they are, each when both ends of its file are in the page cache, or can't be had."""
    with ThreadPoolExecutor(n_threads, "fastprep-open") as pool:
        ahead: deque[tuple[str, Future[None]]] = deque()
        try:
            for path in paths:
                ahead.append((path, pool.submit(_touch, path)))
                if len(ahead) > 2 * n_threads:
                    first, touched = ahead.popleft()
                    touched.result()
                    yield first
            for path, touched in ahead:
                touched.result()
                yield path
        finally:
            pool.shutdown(cancel_futures=True)


def _touch(path: str) -> None:
    with contextlib.suppress(OSError):  # it is told when the file is opened in its turn
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.pread(descriptor, _EDGE_BYTES, 0)
            n_bytes = os.fstat(descriptor).st_size
            if n_bytes > _EDGE_BYTES:
                os.pread(descriptor, _EDGE_BYTES, n_bytes - _EDGE_BYTES)
        finally:
            os.close(descriptor)
