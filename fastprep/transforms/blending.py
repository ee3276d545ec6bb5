"""Blending of the images of a batch: frozen descriptions that turn (seed, epoch, numbers of a batch) into a blend table."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fastprep.transforms.draws import Draws, Stream, check_positive, check_probability
from fastprep.transforms.table import BlendTable


@dataclass(frozen=True)
class MixUp:
    """Each image becomes a weighted sum of itself and another image of the batch, and so does its label.

    Parameters
    ----------
    alpha : float
        Both parameters of the beta distribution of the weights. Below 1 most weights are near 0 or 1; with 1 they are uniform.
    p : float
        Probability that an image is mixed.

    Notes
    -----
    Image k of a batch of n is mixed with image n - 1 - k, as both were before; the middle one of an odd number stays as it is. As
    batches are shuffled, the partner is random. The paper draws one weight for a batch; here each image has its own, a multiple
    of 2**-16, drawn by (seed, epoch, sample).

    References
    ----------
    Zhang, Cisse, Dauphin, Lopez-Paz: "mixup: beyond empirical risk minimization", ICLR 2018.
    """

    alpha: float = 0.2
    p: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", check_positive("alpha", self.alpha))
        object.__setattr__(self, "p", check_probability("p", self.p))

    def table(self, numbers: NDArray[np.int64], seed: int, epoch: int, height: int, width: int) -> BlendTable:
        """Return what is blended in a batch.

        Parameters
        ----------
        numbers : ndarray of int64, shape (n,)
            Sample ids of the batch, in its order.
        seed, epoch : int
            The table is a pure function of them, the numbers and the size.
        height, width : int
            Size of the images in pixels.

        Returns
        -------
        BlendTable
        """
        draws = Draws(numbers, seed, epoch)
        shares = np.where(draws.happens(Stream.MIXES, self.p), draws.symmetric_beta(Stream.MIXED_SHARE, self.alpha), 1.0)
        return _without_middle(shares, np.zeros((len(numbers), 4), np.int64))


@dataclass(frozen=True)
class CutMix:
    """Each image gets a rectangle of another image of the batch, and its label the share of that area.

    Parameters
    ----------
    alpha : float
        Both parameters of the beta distribution of the part of the area that an image keeps; 1 is uniform.
    p : float
        Probability that an image is cut.

    Notes
    -----
    Partners are those of `MixUp`, and each image has a rectangle of its own, drawn by (seed, epoch, sample). Its sides
    are sqrt(1 - share) times those of the image, rounded down to even numbers, and its centre is at any pixel; what lies outside
    is cut off, and the label follows from the area that is left, as in the paper's program.

    References
    ----------
    Yun, Han, Oh, Chun, Choe, Yoo: "CutMix: regularization strategy to train strong classifiers with localizable features",
    ICCV 2019.
    """

    alpha: float = 1.0
    p: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", check_positive("alpha", self.alpha))
        object.__setattr__(self, "p", check_probability("p", self.p))

    def table(self, numbers: NDArray[np.int64], seed: int, epoch: int, height: int, width: int) -> BlendTable:
        """Return what is blended in a batch, as `MixUp.table` does."""
        draws, size = Draws(numbers, seed, epoch), np.array([height, width])
        share = draws.symmetric_beta(Stream.CUT_SHARE, self.alpha)
        half = (np.sqrt(1 - share)[:, None] * size).astype(np.int64) // 2
        centers = np.stack([draws.integers(Stream.CUT_Y, height), draws.integers(Stream.CUT_X, width)], axis=1)
        starts, ends = np.maximum(centers - half, 0), np.minimum(centers + half, size)
        rectangles = np.concatenate([starts, ends - starts], axis=1)
        rectangles[~draws.happens(Stream.CUTS, self.p) | (ends == starts).any(axis=1)] = 0
        return _without_middle(1 - rectangles[:, 2] * rectangles[:, 3] / (height * width), rectangles)


@dataclass(frozen=True)
class MixUpOrCutMix:
    """`MixUp` for some images and `CutMix` for the others.

    Parameters
    ----------
    mixup : MixUp
    cutmix : CutMix
    switch_p : float
        Probability that an image is one for `cutmix`, as ``switch_prob`` of ``timm.data.Mixup``.
    """

    mixup: MixUp = field(default_factory=MixUp)
    cutmix: CutMix = field(default_factory=CutMix)
    switch_p: float = 0.5

    def __post_init__(self) -> None:
        for name, kind in (("mixup", MixUp), ("cutmix", CutMix)):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} must be a {kind.__name__}, got {getattr(self, name)!r}")
        object.__setattr__(self, "switch_p", check_probability("switch_p", self.switch_p))

    def table(self, numbers: NDArray[np.int64], seed: int, epoch: int, height: int, width: int) -> BlendTable:
        """Return what is blended in a batch, as `MixUp.table` does."""
        mixed, cut = (kind.table(numbers, seed, epoch, height, width) for kind in (self.mixup, self.cutmix))
        is_cut = Draws(numbers, seed, epoch).happens(Stream.SWITCHES, self.switch_p)
        weights = np.where(is_cut, cut.weights, mixed.weights)
        return BlendTable(weights, np.where(is_cut[:, None], cut.rectangles, mixed.rectangles))


def _without_middle(shares: NDArray[np.float64], rectangles: NDArray[np.int64]) -> BlendTable:
    """Return a table in which the middle one of an odd number of images, which has no partner, stays as it is."""
    if len(shares) % 2:
        shares[len(shares) // 2], rectangles[len(shares) // 2] = 1, 0
    return BlendTable(shares.astype(np.float32), rectangles.astype(np.int32))
