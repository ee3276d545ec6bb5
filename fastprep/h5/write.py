"""Write an image file in the layout that loads fastest: contiguous uint8, so that picture i lies at offset + i * size."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.atomic import whole_file


def write_images(
    path: str | os.PathLike[str],
    images: Iterable[NDArray[np.uint8]],
    labels: ArrayLike,
    *,
    mean: ArrayLike | None = None,
    channel_order: str | None = None,
    class_names: Sequence[str] = (),
    attributes: dict[str, str] | None = None,
    overwrite: bool = False,
) -> NDArray[np.float64]:
    """Write pictures and labels to a new file, whole or not at all.

    Parameters
    ----------
    path : str or path
    images : iterable of ndarray of uint8, shape (H, W, C), all alike
        One for each label.
    labels : array_like, shape (N, ...)
    mean : array_like, shape (C,), optional
        Mean of each channel to store (of the training pictures, say); by default that of these pictures.
    channel_order : str, optional
        Such as "RGB" or "L".
    class_names : sequence of str
    attributes : dict of str to str, optional
        Further attributes of the file: source, licence.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    ndarray of float64, shape (C,)
        The mean that was stored.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    ValueError
        If a picture is not uint8 or not like the first, or there are more or fewer than labels.
    """
    path = os.fspath(path)
    if os.path.exists(path) and not overwrite:
        raise FileExistsError(f"{path!r} exists already; it is only replaced when asked to")
    labels = np.asarray(labels)
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        totals = _write_pictures(file, iter(images), len(labels))
        dataset = file["images"]
        stored = totals / (len(labels) * dataset.shape[1] * dataset.shape[2]) if mean is None else np.asarray(mean, np.float64)
        dataset.attrs["mean"] = stored
        if channel_order:
            dataset.attrs["channel_order"] = channel_order
        if class_names:
            dataset.attrs["class_names"] = list(class_names)
        file.create_dataset("labels", data=labels)
        for name, text in (attributes or {}).items():
            file.attrs[name] = text
    return stored


def _write_pictures(file: h5py.File, pictures: Iterable[NDArray[np.uint8]], n_pictures: int) -> NDArray[np.float64]:
    dataset = totals = None
    count = 0
    for count, picture in enumerate(pictures, 1):
        if dataset is None:
            if picture.ndim != 3:
                raise ValueError(f"pictures have the shape (height, width, channels), got {picture.shape}")
            dataset = file.create_dataset("images", (n_pictures, *picture.shape), np.uint8)
            totals = np.zeros(picture.shape[2], np.float64)
        if picture.dtype != np.uint8 or picture.shape != dataset.shape[1:]:
            raise ValueError(f"picture {count - 1} is {picture.dtype} {picture.shape}, the first is uint8 {dataset.shape[1:]}")
        if count > n_pictures:
            break
        dataset[count - 1] = picture
        totals += picture.sum(axis=(0, 1), dtype=np.float64)  # whole numbers below 2**53 for any file there is: exact
    if totals is None or count != n_pictures:
        raise ValueError(f"there are {n_pictures} labels, but {'more' if count > n_pictures else count} pictures")
    return totals
