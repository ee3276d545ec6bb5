"""What is asked of a conversion, and what was done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.encoded.forms import KINDS, LOSSY, QUALITY, Form
from fastprep.encoded.kinds import Kind
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


class Resize(Protocol):
    """Function that makes images of one size: (H, W, C) of uint8 in, (height, width, C) of uint8 out."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its results, in pixels."""
        ...

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a resized image.

        Raises
        ------
        ValueError
            If such an image can't be resized so.
        """
        ...


@dataclass(frozen=True)
class Encoding:
    """How new images are encoded.

    Attributes
    ----------
    form : {"jpeg", "png", "webp", "webp-lossless", "keep"}
        "keep" is for images that are encoded already: their bytes stay as they are. So do those of an image that is of the
        wanted kind already, unless it is resized or a quality is given.
    quality : int or None
        1..100, for JPEG and WebP. None: 90 for images that have to be encoded.

    Raises
    ------
    ValueError
        If the quality is out of range, or the form has none.
    """

    form: Form | Literal["keep"]
    quality: int | None = None

    def __post_init__(self) -> None:
        if self.quality is not None and self.form not in LOSSY:
            raise ValueError(f"a quality goes with {' and '.join(LOSSY)}, got {self.quality} for {self.form}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ValueError(f"the quality must be from 1 to 100, got {self.quality}")

    def keeps(self, kind: Kind) -> bool:
        """Tell whether the bytes of an image of a kind stay as they are, if it is not resized."""
        return self.form == "keep" or (self.quality is None and KINDS[self.form] == kind)

    @property
    def is_lossless(self) -> bool:
        """Whether no pixel changes."""
        return self.form not in LOSSY

    @property
    def words(self) -> str:
        """What new images are, for people."""
        if self.form == "keep":
            return "encoded as they were"
        without = ", without loss" if self.is_lossless else f" of quality {self.quality or QUALITY}"
        return f"{KINDS[self.form]}{without}"


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
    encoding : Encoding or None
        Write a row of bytes for each image. None: pixels.
    resize : Resize or None
        Function that gives all images one size. None: they keep their sizes.
    channel_order : {"RGB", "BGR"} or None
        Order of the three channels of pixels that are encoded, where the file does not say it. None: RGB.

    Raises
    ------
    ValueError
        If options do not go together.
    """

    gzip_level: int | None
    rounded: bool
    from_other_files: bool
    overwrite: bool
    progress: Progress
    encoding: Encoding | None = None
    resize: Resize | None = None
    channel_order: Literal["RGB", "BGR"] | None = None

    def __post_init__(self) -> None:
        if self.encoding is None and self.channel_order is not None:
            raise ValueError("an order of channels is said of pixels that are encoded, and nothing is")
        if self.encoding is not None and self.gzip_level is not None:
            raise ValueError("encoded images are compressed already, and go without gzip")
        if self.encoding is not None and self.encoding.form == "keep" and self.resize is not None:
            raise ValueError("images that are resized can't stay encoded as they were: name the form of the new ones")


@dataclass(frozen=True)
class Loss:
    """How far the pixels of encoded images are from those that were encoded.

    Attributes
    ----------
    psnr : float
        Peak signal-to-noise ratio of all images together, in dB; infinite without any difference.
    least_psnr : float
        That of the worst image.
    worst : int
        Its number.
    largest : int
        Largest difference of one number, of 0..255.
    """

    psnr: float
    least_psnr: float
    worst: int
    largest: int


@dataclass(frozen=True)
class Rewritten:
    """The result of a conversion.

    Attributes
    ----------
    source : ImageIndex
        Index of the source images, of the first file.
    shape : (int, int, int, int)
        Number of images, their height, width and channels; of images of different sizes, those of the first one.
    mean : ndarray of float64, shape (C,), or None
        The mean that was computed and stored; None if the source had a mean, which was kept.
    notes : tuple of str
        Descriptions, for people, of what could not be kept unchanged.
    images : str
        Name of the new dataset of images.
    labels : str or None
        Name of the new dataset of labels, if labels were brought together in one.
    pixel_bytes : int
        Bytes that the new images have as pixels.
    had_sizes, has_sizes : bool
        Whether the images of the source, and the new ones, have different sizes.
    n_kept : int
        Number of encoded images whose bytes are those of the source.
    loss : Loss or None
        What encoding changed; None if no image was encoded with loss.
    """

    source: ImageIndex
    shape: tuple[int, int, int, int]
    mean: NDArray[np.float64] | None
    notes: tuple[str, ...]
    images: str
    labels: str | None
    pixel_bytes: int
    had_sizes: bool = False
    has_sizes: bool = False
    n_kept: int = 0
    loss: Loss | None = None


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
