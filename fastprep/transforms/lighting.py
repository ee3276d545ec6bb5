"""Noise along the principal components of the colours of a file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.transforms.colors import Covariance, white_of
from fastprep.transforms.draws import Draws, Stream, check_positive


@dataclass(frozen=True)
class Lighting:
    """The changes of light that the images of a file have in common: noise along the principal components of their colours.

    Parameters
    ----------
    alpha_std : float
        Standard deviation of the multiples of the components, drawn anew for each sample and epoch.
    covariance : "file" or array_like of shape (C, C)
        Covariance of the channels over all pixels of the training images, in the numbers and the order of the channels of the
        images. "file" takes what is stored beside the mean.
    white : float, optional
        The value of white in the images; see `ColorJitter`.

    Notes
    -----
    To each pixel of an image is added the sum over i of a[i] * l[i] * p[i], where l and p are eigenvalues and eigenvectors of the
    covariance and each a[i] is normal, with mean 0 and standard deviation `alpha_std`. The paper's numbers make sense for pixels
    in 0..1, so eigenvalues are those of the images divided by `white`; the sum is multiplied by `white` again. That is the noise
    of the implementations for images in 0..1 with the eigenvalues 0.2175, 0.0188 and 0.0045 of ImageNet.

    The sum is drawn as covariance @ z, with z normal in each channel: a rotation of z, so the same distribution, without
    eigenvectors, whose signs and last bits depend on the machine.

    References
    ----------
    Krizhevsky, Sutskever, Hinton: "ImageNet classification with deep convolutional neural networks", NIPS 2012, section 4.1.
    """

    alpha_std: float = 0.1
    covariance: Literal["file"] | ArrayLike = "file"
    white: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha_std", check_positive("alpha_std", self.alpha_std))
        if not (isinstance(self.covariance, str) and self.covariance == "file"):
            object.__setattr__(self, "covariance", _checked_covariance(self.covariance))
        if self.white is not None:
            object.__setattr__(self, "white", check_positive("white", self.white))

    def fitted(self, dtype: str, covariance: Covariance) -> Lighting:
        """Return the same for images of a dtype and a file; see `fitted_colors`."""
        known = covariance() if isinstance(self.covariance, str) else self.covariance
        return dataclasses.replace(self, covariance=known, white=white_of(self, self.white, dtype))

    @cached_property
    def _numbers(self) -> NDArray[np.float64]:
        """The covariance as an array, shape (C, C)."""
        return np.array(self.covariance)

    def matrices(
        self, samples: NDArray[np.int64], seed: int, epoch: int, channel_order: str | None = None
    ) -> NDArray[np.float64]:
        """Return the linear map of the channels of each sample, as `ColorJitter.matrices` does."""
        if isinstance(self.covariance, str):
            raise ValueError('covariance="file" is known to a loader only: pass numbers')
        covariance = self._numbers
        n_channels = len(covariance)
        if channel_order is not None and len(channel_order) != n_channels:
            raise ValueError(
                f"color: the covariance of Lighting has the shape {covariance.shape}, images have the channels {channel_order!r}"
            )
        z = Draws(samples, seed, epoch).normal(Stream.LIGHTING, n_channels)
        offsets = sum(z[:, k, None] * covariance[k] for k in range(n_channels))
        maps = np.empty((len(samples), n_channels, n_channels + 1))
        maps[...] = np.eye(n_channels, n_channels + 1)
        maps[..., -1] = offsets * (self.alpha_std / (255 if self.white is None else self.white))
        return maps


def _checked_covariance(value: ArrayLike) -> tuple[tuple[float, ...], ...]:
    try:
        matrix = np.array(value, np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape not in ((1, 1), (3, 3)) or not np.isfinite(matrix).all():
        raise ValueError(f'covariance must be "file", or finite numbers of shape (1, 1) or (3, 3), got {value!r}')
    largest = np.abs(matrix).max()
    if not np.allclose(matrix, matrix.T, rtol=0, atol=1e-6 * largest) or np.linalg.eigvalsh(matrix).min() < -1e-6 * largest:
        raise ValueError(f"covariance must be symmetric, and no variance negative, got {value!r}")
    return tuple(tuple(row) for row in matrix.tolist())
