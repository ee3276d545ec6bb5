"""What is asked of a conversion, and what was done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.groups import ImageGroup
from fastprep.h5.index import ImageIndex
from fastprep.h5.other_files import other_files
from fastprep.system import Progress

_MOST_LISTED = 8  # files in an error

OtherLabels = Callable[[Sequence[int]], NDArray]
"""Function that takes the number of images in each file, and returns all labels, which are in other files."""


class OtherFilesError(DataError):
    """Images that lie in other files than the one that was named, though nobody asked for those files."""


@dataclass(frozen=True)
class Options:
    """How files are converted.

    Attributes
    ----------
    gzip_level : int or None
        1..9: one gzip chunk for each image. None: contiguous.
    rounded : bool
        Round to the nearest whole number, ties to even, and clip to 0..255, instead of refusing what is not exact.
    from_other_files : bool
        Copy images that lie in other files, to which an external link, a virtual dataset or external storage leads, instead of
        refusing them: the author of the source chose those files, and everybody who gets the target can read what was in them.
    overwrite : bool
        Replace an existing target, if fastprep wrote it.
    progress : callable
        Called with "writing" or "checking", the number of images that are done, and the number of all images.
    """

    gzip_level: int | None
    rounded: bool
    from_other_files: bool
    overwrite: bool
    progress: Progress


@dataclass(frozen=True)
class Rewritten:
    """The result of a conversion.

    Attributes
    ----------
    source : ImageIndex
        Index of the source images, of the first file.
    shape : (int, int, int, int)
        Shape of the new dataset of images.
    mean : ndarray of float64, shape (C,), or None
        The mean that was computed and stored; None if the source had a mean, which was kept.
    notes : tuple of str
        Descriptions, for people, of what could not be kept unchanged.
    images : str
        Name of the new dataset of images.
    labels : str or None
        Name of the new dataset of labels, if labels were brought together in one.
    """

    source: ImageIndex
    shape: tuple[int, int, int, int]
    mean: NDArray[np.float64] | None
    notes: tuple[str, ...]
    images: str
    labels: str | None


def files_elsewhere(dataset: h5py.Dataset | ImageGroup, path: str) -> tuple[str, ...]:
    """Return the other files in which open images lie; see `fastprep.h5.other_files.other_files`."""
    parts = map(dataset.member, range(len(dataset))) if isinstance(dataset, ImageGroup) else [dataset]
    return tuple(dict.fromkeys(name for part in parts for name in other_files(part, path)))


def check_elsewhere(elsewhere: Sequence[str], named: tuple[str, str], options: Options) -> None:
    """Check that images lie in their own file.

    Parameters
    ----------
    elsewhere : sequence of str
        From `files_elsewhere`.
    named : (str, str)
        File and dataset as the user named them.
    options : Options

    Raises
    ------
    OtherFilesError
        If they do not, and nobody asked for the other files.
    """
    if elsewhere and not options.from_other_files:
        listed = ", ".join(repr(name) for name in elsewhere[:_MOST_LISTED]) + (", ..." if len(elsewhere) > _MOST_LISTED else "")
        raise OtherFilesError(f"the images lie in other files: {listed}", *named)
