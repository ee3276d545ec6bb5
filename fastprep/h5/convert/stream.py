"""Images of a file one after the other, as uint8: decoded, resized and worked on in several threads, in bounded memory."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.encoded import kind_of
from fastprep.encoded.kinds import Kind
from fastprep.errors import DataError
from fastprep.h5.convert.blocks import Part, read_blocks
from fastprep.h5.convert.exact import to_uint8
from fastprep.h5.convert.options import Options
from fastprep.h5.encoded_reader import EncodedReader
from fastprep.h5.groups import ImageGroup
from fastprep.h5.index import ImageIndex
from fastprep.h5.reader import Reader
from fastprep.system import usable_processors

_MOST_THREADS = 8
_AHEAD = 2  # images for each thread that are under way, or wait for those before them

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class SourceImage:
    """An image of a file that is converted, valid until its thread takes another one.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (H, W, C)
        After resizing.
    size : (int, int)
        Height and width before it.
    data : ndarray of uint8 or None
        The bytes of an encoded image that is not resized.
    kind : str or None
        What these bytes are.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    data: NDArray[np.uint8] | None = None
    kind: Kind | None = None


def new_pool() -> ThreadPoolExecutor:
    """Open threads for `each_image`, one for each processor."""
    return ThreadPoolExecutor(_n_threads(), thread_name_prefix="fastprep-convert")


def _n_threads() -> int:
    return min(_MOST_THREADS, usable_processors())


def each_image(
    pool: ThreadPoolExecutor,
    reader: Reader,
    dataset: h5py.Dataset | ImageGroup,
    options: Options,
    work: Callable[[SourceImage], _Result],
) -> Generator[_Result, None, None]:
    """Work on all images of a file, in several threads.

    Parameters
    ----------
    pool : ThreadPoolExecutor
        From `new_pool`.
    reader : Reader
    dataset : h5py.Dataset or ImageGroup
        The open images that the reader is for.
    options : Options
    work : callable
        Function that takes an image. What it raises as ValueError becomes a DataError that names the image.

    Yields
    ------
    object
        What `work` returned for each image, in the order of the images. A caller that does not exhaust this iterator has to
        close it, which waits for the threads.

    Raises
    ------
    OSError, DataError
        If images can't be read, decoded, converted or resized.
    """
    index = reader.index

    def done(pixels: NDArray[np.uint8], data: NDArray[np.uint8] | None) -> _Result:
        size = pixels.shape[:2]
        if options.resize is not None:
            return work(SourceImage(options.resize(pixels), size))
        return work(SourceImage(pixels, size, data, None if data is None else kind_of(data[:16].tobytes())))

    if isinstance(reader, EncodedReader):
        encoded = reader

        def decode(sample: int) -> _Result:
            ((data, pixels),) = encoded.encoded(np.array([sample]))
            return _blamed(index, sample, lambda: done(pixels, data))

        yield from _in_turn(pool, decode, range(index.shape[0]))
        return
    images = _pixels(reader, dataset, options.rounded)
    yield from _in_turn(pool, lambda item: _blamed(index, item[0], lambda: done(item[1], None)), images)


def _pixels(reader: Reader, dataset: h5py.Dataset | ImageGroup, rounded: bool) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the number of each image, and its pixels, which are read in blocks."""
    for first, last, parts in read_blocks(reader, dataset):
        block = uint8_block(reader.index, first, last, parts, rounded)
        yield from zip(range(first, last), block, strict=True)


def uint8_block(index: ImageIndex, first: int, last: int, parts: Iterable[Part], rounded: bool) -> NDArray[np.uint8]:
    """Return the images of a block, shape (n, H, W, C); see `read_blocks` and `to_uint8`."""
    block = np.empty((last - first, *index.shape[1:]), np.uint8)
    for part in parts:
        block[:, part.rows, part.columns] = to_uint8(part, rounded, index, first)
    return block


def _blamed(index: ImageIndex, sample: int, work: Callable[[], _Result]) -> _Result:
    try:
        return work()
    except DataError:
        raise
    except ValueError as error:
        raise DataError(str(error), index.file, index.dataset, None, sample) from error


def _in_turn(pool: ThreadPoolExecutor, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yield results in order, with a bounded number of them under way."""
    left, pending = iter(items), deque[Future[_Result]]()
    ahead = _AHEAD * _n_threads()
    try:
        pending.extend(pool.submit(work, item) for item in itertools.islice(left, ahead))
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(work, item) for item in itertools.islice(left, 1))
    finally:
        for future in pending:
            future.cancel()
        wait(pending)
