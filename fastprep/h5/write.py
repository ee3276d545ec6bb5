"""Writing of image files in the layout that loads fastest: contiguous uint8, so that image i is at offset + i * size."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import h5py
import imagecodecs
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.h5.marks import is_own, mark
from fastprep.system import check_replaceable, whole_file
from fastprep.system.atomic import named_if_full

_BLOCK_BYTES = 8 << 20  # enough images to keep all compressing threads busy
_TEXT_BYTES = 1 << 20  # bytes of texts that are written at a time


def write_images(
    path: str | os.PathLike[str],
    images: Iterable[NDArray[np.uint8]],
    labels: ArrayLike | None,
    *,
    mean: ArrayLike | Literal["none"] | None = None,
    std: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
    channel_order: str | None = None,
    class_names: Sequence[str] = (),
    file_names: Sequence[str] = (),
    attributes: dict[str, str] | None = None,
    gzip_level: int | None = None,
    overwrite: bool = False,
    writer: str = "write_images",
) -> NDArray[np.float64]:
    """Write images and labels to a new file, completely or not at all.

    Parameters
    ----------
    path : str or path
        Path of the new file.
    images : iterable of ndarray of uint8, shape (H, W, C)
        One image for each label, or for each file name, all of the same shape.
    labels : array_like, shape (N, ...), or None
        Stored as the dataset `labels`. None is for images without labels, whose number is that of `file_names`.
    mean : array_like, shape (C,), or "none", optional
        Mean of each channel to store, such as that of the training images. By default, the mean of these images; "none" stores
        no mean.
    std : array_like, shape (C,), optional
        Standard deviation of each channel to store.
    covariance : array_like, shape (C, C), optional
        Covariance of the channels to store, for `fastprep.Lighting`.
    channel_order : str, optional
        "RGB" or "L", for example.
    class_names : sequence of str
        Name of each class, in the order of the labels.
    file_names : sequence of str
        Name of the file that each image comes from, stored as the dataset `file_names`.
    attributes : dict of str to str, optional
        Further attributes of the file, such as source and licence.
    gzip_level : int, optional
        1..9: one gzip chunk for each image. None: contiguous.
    overwrite : bool
        Replace an existing file, if fastprep wrote it.
    writer : str
        Name of the writer in the mark by which fastprep knows its files.

    Returns
    -------
    ndarray of float64, shape (C,)
        The stored mean, or the mean of the images if none is stored.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    NotReplacedError
        If the file exists and fastprep did not write it, or it is a link.
    ValueError
        If an image is not uint8 or differs in shape from the first, or if the numbers of images, labels and file names differ.
    OSError
        If the disk is full.
    """
    path = os.fspath(path)
    if labels is not None and len(file_names) not in (0, len(np.asarray(labels))):
        raise ValueError(f"there are {len(np.asarray(labels))} labels, but {len(file_names)} file names")
    has_mean = not isinstance(mean, str)
    if not has_mean and mean != "none":
        raise ValueError(f'mean must be None, numbers or "none", got {mean!r}')
    check_replaceable(path, asked=overwrite, is_own=is_own)
    n_images = len(file_names) if labels is None else len(np.asarray(labels))
    with whole_file(path, replace=overwrite) as temporary, new_file(temporary, path) as file:
        mark(file, writer)
        totals = _write_images(file, iter(images), n_images, gzip_level)
        dataset = file["images"]
        own = totals / (n_images * dataset.shape[1] * dataset.shape[2])
        stored = own if mean is None or not has_mean else np.asarray(mean, np.float64)
        numbers = {"mean": stored if has_mean else None, "std": std, "covariance": covariance}
        write_facts(dataset, labels, numbers, channel_order, class_names, file_names, attributes or {})
        check_replaceable(path, asked=overwrite, is_own=is_own)  # again: the images may have taken hours
    return stored


def _write_images(
    file: h5py.File, images: Iterator[NDArray[np.uint8]], n_images: int, gzip_level: int | None
) -> NDArray[np.float64]:
    first = next(images, None)
    if first is not None and first.dtype != np.uint8:
        way_out = "convert them first, or write a file of another type by h5py, which loaders take, too"
        raise ValueError(f"images must be uint8, got {first.dtype}: {way_out}")
    if first is None or n_images == 0:
        raise ValueError(f"there are {n_images} labels, but {'0' if first is None else 'more'} images")
    if first.ndim != 3:
        raise ValueError(f"images have the shape (height, width, channels), got {first.shape}")
    totals = np.zeros(first.shape[2], np.float64)
    block, count = np.empty((max(1, min(n_images, _BLOCK_BYTES // first.nbytes)), *first.shape), np.uint8), 0
    with ImageWriter(new_images(file, "images", (n_images, *first.shape), gzip_level), gzip_level) as writer:
        for count, image in enumerate(itertools.chain([first], images), 1):
            if image.dtype != np.uint8 or image.shape != first.shape:
                raise ValueError(f"image {count - 1} is {image.dtype} {image.shape}, the first is uint8 {first.shape}")
            if count > n_images:
                raise ValueError(f"there are {n_images} labels, but more images")
            row = (count - 1) % len(block)
            block[row] = image
            totals += image.sum(axis=(0, 1), dtype=np.float64)  # whole numbers below 2**53 for any file of real size: exact
            if row + 1 == len(block) or count == n_images:
                writer.write(count - 1 - row, block[: row + 1])
    if count != n_images:
        raise ValueError(f"there are {n_images} labels, but {count} images")
    return totals


def write_facts(
    dataset: h5py.Dataset,
    labels: ArrayLike | None,
    numbers: dict[str, ArrayLike | None],
    channel_order: str | None,
    class_names: Sequence[str],
    file_names: Sequence[str],
    attributes: dict[str, str],
) -> None:
    """Write what is known of images that lie in a dataset: labels and names beside them, and attributes.

    Parameters
    ----------
    dataset : h5py.Dataset
        The images.
    labels
        See `write_images`.
    numbers : dict of str to array_like or None
        Attributes of the images, such as their mean; None is not written.
    channel_order, class_names, file_names, attributes
        See `write_images`.
    """
    file = dataset.file
    for name, values in numbers.items():
        if values is not None:
            dataset.attrs[name] = np.asarray(values, np.float64)
    if channel_order:
        _write_text(dataset, "channel_order", channel_order)
    if class_names:
        _write_text(dataset, "class_names", class_names)
    if labels is not None:
        file.create_dataset("labels", data=np.asarray(labels))
    if len(file_names):
        write_texts(file, "file_names", file_names)
    for name, text in attributes.items():
        _write_text(file, name, text)


def write_texts(file: h5py.File, name: str, texts: Sequence[str]) -> None:
    """Write a dataset of texts of fixed length, in blocks, so that a long one among many takes no memory for the others.

    If such a text would make the dataset much larger than the texts are, the dataset is compressed.
    """
    lengths = [len(text.encode()) for text in texts]
    widest = max(1, *lengths)
    rows = max(1, _TEXT_BYTES // widest)
    is_mostly_padding = widest * len(texts) > max(_TEXT_BYTES, 4 * sum(lengths))
    layout = {"chunks": (min(rows, len(texts)),), "compression": "gzip"} if is_mostly_padding else {}
    dataset = file.create_dataset(name, (len(texts),), h5py.string_dtype("utf-8", widest), **layout)
    for first in range(0, len(texts), rows):
        dataset[first : first + rows] = np.array([text.encode() for text in texts[first : first + rows]], dataset.dtype)


def _write_text(owner: h5py.HLObject, name: str, text: str | Sequence[str]) -> None:
    """Write an attribute of fixed length, because HDF5 1.14.6 loops for ever in some damaged heaps of variable-length strings."""
    encoded, dtype = _encode(text)
    owner.attrs.create(name, encoded, dtype=dtype)


def _encode(text: str | Sequence[str]) -> tuple[NDArray[np.bytes_], np.dtype]:
    encoded = np.char.encode(np.asarray(text, str), "utf-8")
    return encoded, h5py.string_dtype("utf-8", max(1, encoded.dtype.itemsize))


@contextlib.contextmanager
def new_file(path: str, name: str, orders: tuple[int, int] = (0, 0)) -> Iterator[h5py.File]:
    """Open a new file for writing, so that a full disk is an error that says so.

    Parameters
    ----------
    path : str
        Path of the file. Its format is read by HDF5 1.8 and later; the oldest format limits attributes to 64 KiB.
    name : str
        Name of the file in errors.
    orders : (int, int)
        Whether the root group records the order in which links, and in which attributes, are created: flags of HDF5
        (H5Pset_link_creation_order). Default: it does not.

    Yields
    ------
    h5py.File

    Raises
    ------
    OSError
        If the disk is full, or the file can't be created.
    """
    creation, access = h5py.h5p.create(h5py.h5p.FILE_CREATE), h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    creation.set_obj_track_times(False)  # the same contents give the same bytes at any time; h5py.File has no argument for it
    creation.set_link_creation_order(orders[0])
    creation.set_attr_creation_order(orders[1])
    access.set_libver_bounds(h5py.h5f.LIBVER_V18, h5py.h5f.LIBVER_LATEST)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    file = h5py.File(h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, creation, access))
    with named_if_full(name):
        try:
            yield file
            file.close()
        except BaseException:
            with contextlib.suppress(OSError, RuntimeError):
                file.close()  # on a full disk this fails, too, with a RuntimeError that would hide the first error
            raise


def new_images(
    file: h5py.File,
    name: str | None,
    shape: tuple[int, int, int, int],
    gzip_level: int | None = None,
    track_order: bool = False,
) -> h5py.Dataset:
    """Create a dataset of images.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    name : str or None
        Name of the new dataset, in an existing group. None: it has no name until it is linked.
    shape : (int, int, int, int)
        Samples, height, width, channels.
    gzip_level : int, optional
        1..9: one gzip chunk for each image. None: contiguous.
    track_order : bool
        Record the order in which attributes are created.

    Returns
    -------
    h5py.Dataset
        Of uint8, without values.
    """
    layout = {}
    if gzip_level is not None:
        layout = {"chunks": (1, *shape[1:]), "compression": "gzip", "compression_opts": gzip_level}
    return file.create_dataset(name, shape, np.uint8, track_order=track_order, **layout)


class ImageWriter:
    """Writes images block by block into a dataset. A context manager, which ends its threads.

    Parameters
    ----------
    dataset : h5py.Dataset
        From `new_images`.
    gzip_level : int, optional
        That of the dataset: several threads compress outside HDF5's lock.

    Attributes
    ----------
    dataset : h5py.Dataset
    """

    def __init__(self, dataset: h5py.Dataset, gzip_level: int | None = None) -> None:
        self.dataset, self._level, self._pool = dataset, gzip_level, None
        if gzip_level is not None:
            self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="fastprep-gzip")

    def __enter__(self) -> ImageWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def write(self, first: int, block: NDArray[np.uint8]) -> None:
        """Write consecutive images.

        Parameters
        ----------
        first : int
            Row of the first image.
        block : ndarray of uint8, shape (n, H, W, C), C-contiguous

        Raises
        ------
        OSError
            If the block can't be written, for example because the disk is full.
        """
        if self._pool is None:
            self.dataset[first : first + len(block)] = block
            return
        for sample, chunk in enumerate(self._pool.map(self._compress, block), first):
            self.dataset.id.write_direct_chunk((sample, 0, 0, 0), chunk)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        return bytes(imagecodecs.deflate_encode(image.reshape(-1), level=self._level))
