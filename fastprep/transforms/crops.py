"""Crops of a batch: frozen descriptions that turn (seed, epoch, sample ids) into a crop table.

A crop table is int32, shape (n_out, 4), with one row for each output image: source slot in the batch, y, x and flags. Flags are
the sum of `MIRRORED` (left-right) and `FLIPPED` (top-bottom). The kernels only execute the table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fastprep.sampling import hashing

MIRRORED = 1
FLIPPED = 2

Order = Literal["tutorial", "torchvision"]
Size = int | tuple[int, int]


class Crop(Protocol):
    """What `Loader` needs of its argument `crop`. `RandomCrop`, `CenterCrop` and `TenCrop` provide it."""

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of the crops, in pixels."""
        ...

    @property
    def n_crops(self) -> int:
        """Number of crops of each image."""
        ...

    def table(self, height: int, width: int, samples: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int32]:
        """Return the crop table of a batch."""
        ...


@dataclass(frozen=True)
class _Sized:
    size: Size

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_size(self.size))  # so that RandomCrop(3) equals RandomCrop((3, 3))

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of the crops, in pixels."""
        return check_size(self.size)


@dataclass(frozen=True)
class RandomCrop(_Sized):
    """A crop at a position that is drawn anew for each sample and epoch.

    Parameters
    ----------
    size : int or (int, int)
        Side, or (height, width), of the crop in pixels.
    mirror : bool
        Mirror left-right with probability 1/2.
    flip : bool
        Flip top-bottom with probability 1/2.

    Notes
    -----
    y is uniform in 0..H-h and x in 0..W-w, ends included, both from a stateless hash of (seed, epoch, sample id). So the crop of
    a sample depends neither on its batch, nor on the worker, nor on the shard.
    """

    mirror: bool = field(default=False, kw_only=True)
    flip: bool = field(default=False, kw_only=True)
    n_crops = 1

    def table(self, height: int, width: int, samples: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int32]:
        """Return the crop table of a batch.

        Parameters
        ----------
        height, width : int
            Size of the source images in pixels.
        samples : ndarray of int64, shape (n,)
            Sample ids. The image of `samples[k]` is in slot k.
        seed, epoch : int
            The table is a pure function of them, the samples and the size.

        Returns
        -------
        ndarray of int32, shape (n_crops * n, 4)
            Slot, y, x and flags of each crop: first those of slot 0, then those of slot 1, and so on.

        Raises
        ------
        ValueError
            If the crop is larger than the image.
        """
        h, w = check_fits(self.height_width, height, width)
        rows = np.zeros((len(samples), 4), np.int32)
        rows[:, 0] = np.arange(len(samples))
        rows[:, 1] = hashing.draw(hashing.key(seed, epoch, 1), samples, height - h + 1)
        rows[:, 2] = hashing.draw(hashing.key(seed, epoch, 2), samples, width - w + 1)
        if self.mirror:
            rows[:, 3] += MIRRORED * hashing.draw(hashing.key(seed, epoch, 3), samples, 2).astype(np.int32)
        if self.flip:
            rows[:, 3] += FLIPPED * hashing.draw(hashing.key(seed, epoch, 4), samples, 2).astype(np.int32)
        return rows


@dataclass(frozen=True)
class _FixedCrop(_Sized):
    """Crops at the same positions in every image, for any seed and epoch."""

    order: Order = "tutorial"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in ("tutorial", "torchvision"):
            raise ValueError(f'order must be "tutorial" or "torchvision", got {self.order!r}')

    def table(self, height: int, width: int, samples: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int32]:
        """Return the crop table of a batch, as `RandomCrop.table` does; `seed` and `epoch` do not matter."""
        h, w = check_fits(self.height_width, height, width)
        crops = np.array(self._crops(height - h, width - w), np.int32)
        rows = np.empty((len(samples), len(crops), 4), np.int32)
        rows[:, :, 0] = np.arange(len(samples))[:, None]
        rows[:, :, 1:] = crops
        return rows.reshape(-1, 4)

    def _crops(self, bottom: int, right: int) -> list[tuple[int, int, int]]:
        """Return (y, x, flags) of each crop of an image in which crops fit at y = 0..bottom and x = 0..right."""
        raise NotImplementedError

    def _center(self, bottom: int, right: int) -> tuple[int, int]:
        # Python's round() rounds half to even; torchvision calls it
        return (bottom // 2, right // 2) if self.order == "tutorial" else (round(bottom / 2), round(right / 2))


@dataclass(frozen=True)
class CenterCrop(_FixedCrop):
    """The middle of the image.

    Parameters
    ----------
    size : int or (int, int)
        Side, or (height, width), of the crop in pixels.
    order : {"tutorial", "torchvision"}
        Rounding of the offset (H-h)/2 if it is not whole. "tutorial": down, as in Keras' CenterCrop and in Kornia. "torchvision":
        half to even, as in torchvision.transforms.functional.center_crop.
    """

    n_crops = 1

    def _crops(self, bottom: int, right: int) -> list[tuple[int, int, int]]:
        return [(*self._center(bottom, right), 0)]


@dataclass(frozen=True)
class TenCrop(_FixedCrop):
    """The four corners and the centre, and the mirror of each: ten consecutive crops for every image.

    Parameters
    ----------
    size : int or (int, int)
        Side, or (height, width), of the crops in pixels.
    order : {"tutorial", "torchvision"}
        "tutorial": top-left, top-right, bottom-right, bottom-left, centre, then the mirror of each of those crops.
        "torchvision": top-left, top-right, bottom-left, bottom-right, centre, then the same positions in the mirrored image, as
        in torchvision.transforms.functional.ten_crop; so the sixth is the mirror of the top-right crop.

    Notes
    -----
    The average of the predictions for these ten crops is from Krizhevsky, Sutskever, Hinton: "ImageNet classification with deep
    convolutional neural networks", NIPS 2012.
    """

    n_crops = 10

    def _crops(self, bottom: int, right: int) -> list[tuple[int, int, int]]:
        center = self._center(bottom, right)
        if self.order == "tutorial":
            five = [(0, 0), (0, right), (bottom, right), (bottom, 0), center]
            mirrored = five
        else:
            five = [(0, 0), (0, right), (bottom, 0), (bottom, right), center]
            mirrored = [(y, right - x) for y, x in five]  # x in the mirrored image is right - x in the image itself
        return [(y, x, 0) for y, x in five] + [(y, x, MIRRORED) for y, x in mirrored]


def check_size(size: Size) -> tuple[int, int]:
    """Return (height, width) of a side or a pair of sides.

    Raises
    ------
    ValueError
        If it is neither, or if a side is not positive.
    """
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2 or any(isinstance(s, bool) or not isinstance(s, int | np.integer) or s < 1 for s in sides):
        raise ValueError(f"size must be a positive integer or (height, width), got {size!r}")
    return int(sides[0]), int(sides[1])


def check_fits(size: tuple[int, int], height: int, width: int) -> tuple[int, int]:
    """Return `size`, a pair (height, width) in pixels, if such a crop fits into the image.

    Raises
    ------
    ValueError
        If it does not.
    """
    if size[0] > height or size[1] > width:
        raise ValueError(f"crop is larger than the image: {size[0]}x{size[1]} from {height}x{width} pixels")
    return size


def check_crop(crop: object) -> None:
    """Check that an argument is a crop, or None.

    Raises
    ------
    ValueError
        If it is neither None nor a crop; a class such as `RandomCrop` is not a crop.
    """
    if crop is not None and (isinstance(crop, type) or not hasattr(crop, "height_width")):
        raise ValueError(f"crop must be like RandomCrop(227), CenterCrop(227), TenCrop(227), or None, got {crop!r}")
