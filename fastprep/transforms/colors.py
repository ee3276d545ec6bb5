"""Colours of images: frozen descriptions that turn (seed, epoch, sample ids) into linear maps of the channels of each pixel."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.transforms.draws import Draws, Stream, check_positive, check_probability, is_number, steady

Range = float | tuple[float, float]
Covariance = Callable[[], NDArray[np.float64]]

# To luma and chroma (YIQ), and the exact way back, by the adjugate, which has the same bits on every machine
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
_Y, _I, _Q = _TO_YIQ
_FROM_YIQ = np.stack([np.cross(_I, _Q), np.cross(_Q, _Y), np.cross(_Y, _I)], axis=1) / (_Y @ np.cross(_I, _Q))
_PERMUTATIONS = np.array(list(itertools.permutations(range(3))))


@dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast, saturation and hue that are drawn anew for each sample and epoch.

    Parameters
    ----------
    brightness, contrast, saturation : float or (float, float)
        Least and largest factor, uniform between them; a number v means from max(0, 1 - v) to 1 + v. 0 leaves it as it is.
    hue : float or (float, float)
        Least and largest turn of the hue, in turns between -1/2 and 1/2; a number v means from -v to v.
    grayscale_p : float
        Probability that an image loses its colour.
    white : float, optional
        The value of white in the images: 255 for images of uint8, which is what None means there; 1 for floats in 0..1. The grey
        about which contrast is changed follows from it.

    Notes
    -----
    A pixel becomes brightness * (grey + contrast * (twisted - grey)). Twisting turns the chroma, (I, Q) of YIQ, by the hue and
    multiplies it by the saturation; grey is 128 of 255. Results are not clipped. All of it is one linear map, so it is done while
    images are cut out, and costs one multiplication of a 3 x 4 matrix. Images of one channel have brightness and contrast only.

    The definition and its matrices are those of DALI's ``fn.color_twist`` (``ColorTwistBase`` in
    ``dali/operators/image/color/color_twist.h``), whose hue is in degrees. An image that loses its colour gets its luma, Y, in
    each channel. The ranges are those of
    ``torchvision.transforms.ColorJitter``, which draws the order of the four, too, and turns hues in HSV.
    """

    brightness: Range = 0.0
    contrast: Range = 0.0
    saturation: Range = 0.0
    hue: Range = 0.0
    grayscale_p: float = 0.0
    white: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            object.__setattr__(self, name, _factors(name, getattr(self, name)))
        object.__setattr__(self, "hue", _turns(self.hue))
        object.__setattr__(self, "grayscale_p", check_probability("grayscale_p", self.grayscale_p))
        if self.white is not None:
            object.__setattr__(self, "white", check_positive("white", self.white))

    def fitted(self, dtype: str, covariance: Covariance) -> ColorJitter:
        """Return the same for images of a dtype; see `fitted_colors`."""
        return self if self.contrast == (1, 1) else dataclasses.replace(self, white=white_of(self, self.white, dtype))

    def matrices(
        self, samples: NDArray[np.int64], seed: int, epoch: int, channel_order: str | None = None
    ) -> NDArray[np.float64]:
        """Return the linear map of the channels of each sample.

        Parameters
        ----------
        samples : ndarray of int64, shape (n,)
            Sample ids.
        seed, epoch : int
            The maps are a pure function of them, the samples and the order.
        channel_order : str or None
            R, G and B in any order; a single letter for one channel. None means RGB.

        Returns
        -------
        ndarray of float64, shape (n, C, C + 1)
            The last column is added.

        Raises
        ------
        ValueError
            If images have other channels, or one channel, which has no saturation and no hue.
        """
        draws, places = Draws(samples, seed, epoch), places_of(channel_order, self)
        brightness, contrast = (
            draws.uniform(stream, self._limits(name))
            for stream, name in ((Stream.BRIGHTNESS, "brightness"), (Stream.CONTRAST, "contrast"))
        )
        if len(places) == 1:
            self._check_one_channel()
        return jittered(brightness, contrast, self._twist(draws), places, self.white)

    def _limits(self, name: str) -> tuple[float, float]:
        return getattr(self, name)

    def _twist(self, draws: Draws) -> NDArray[np.float64]:
        """Return the map of R, G and B by saturation, hue and loss of colour: shape (n, 3, 3)."""
        twist = np.tile(np.eye(3), (len(draws.samples), 1, 1))
        if self.saturation != (1, 1) or self.hue != (0, 0):
            saturation = draws.uniform(Stream.SATURATION, self._limits("saturation"))
            angle = 2 * math.pi * draws.uniform(Stream.HUE, self._limits("hue"))
            twist = twisted(saturation * steady(np.cos(angle)), saturation * steady(np.sin(angle)))
        twist[draws.happens(Stream.GRAYSCALE, self.grayscale_p)] = _TO_YIQ[0]
        return twist

    def _check_one_channel(self) -> None:
        if self.saturation != (1, 1) or self.hue != (0, 0) or self.grayscale_p:
            raise ValueError(
                f"color: images with one channel have no saturation, hue or colour to lose: leave them out of {self}, "
                "and keep brightness and contrast"
            )


@dataclass(frozen=True)
class ChannelPermutation:
    """Channels that change places, drawn anew for each sample and epoch.

    Parameters
    ----------
    p : float
        Probability that an image gets a permutation: one of the six of three channels, each alike, the one that changes nothing
        included.

    Notes
    -----
    With p = 1 that is ``torchvision.transforms.v2.RandomChannelPermutation``.
    """

    p: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", check_probability("p", self.p))

    def matrices(
        self, samples: NDArray[np.int64], seed: int, epoch: int, channel_order: str | None = None
    ) -> NDArray[np.float64]:
        """Return the linear map of the channels of each sample, as `ColorJitter.matrices` does."""
        draws, places = Draws(samples, seed, epoch), places_of(channel_order, self)
        if len(places) == 1:
            raise ValueError("color: images with one channel have no ChannelPermutation; leave it out")
        chosen = draws.integers(Stream.PERMUTATION, len(_PERMUTATIONS)) * draws.happens(Stream.PERMUTES, self.p)
        maps = np.zeros((len(samples), 3, 4))
        maps[..., :3] = np.eye(3)[_PERMUTATIONS[chosen]][:, places][:, :, places]
        return maps


def twisted(cosine: NDArray[np.float64], sine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the map of R, G and B that turns and multiplies the chroma, (I, Q) of YIQ: float64, shape (n, 3, 3).

    Parameters
    ----------
    cosine, sine : ndarray of float64, shape (n,)
        Of the angle, times the saturation.
    """
    in_yiq = np.zeros((len(cosine), 3, 3))
    in_yiq[:, 0, 0] = 1
    in_yiq[:, 1, 1] = in_yiq[:, 2, 2] = cosine
    in_yiq[:, 1, 2], in_yiq[:, 2, 1] = sine, -sine
    return _FROM_YIQ @ in_yiq @ _TO_YIQ


def jittered(
    brightness: NDArray[np.float64],
    contrast: NDArray[np.float64],
    twist: NDArray[np.float64],
    places: Sequence[int],
    white: float | None,
) -> NDArray[np.float64]:
    """Return the map of a pixel to brightness * (grey + contrast * (twist @ pixel - grey)).

    Parameters
    ----------
    brightness, contrast : ndarray of float64, shape (n,)
    twist : ndarray of float64, shape (n, 3, 3)
        Of R, G and B. A single channel has none.
    places : sequence of int
        From `places_of`.
    white : float or None
        Value of white; None means 255.

    Returns
    -------
    ndarray of float64, shape (n, C, C + 1)
    """
    twist = np.ones((len(twist), 1, 1)) if len(places) == 1 else twist[:, places][:, :, places]
    grey = (255 if white is None else white) * 128 / 255
    shift = np.repeat((brightness * (grey - contrast * grey))[:, None, None], len(places), axis=1)
    return np.concatenate([(brightness * contrast)[:, None, None] * twist, shift], axis=2)


def fitted_colors(colors: Sequence[Any], dtype: str, covariance: Covariance) -> tuple[Any, ...]:
    """Return descriptions of colour for images of one kind, as `Loader` needs them: with all numbers known.

    Parameters
    ----------
    colors : sequence of Color
    dtype : str
        Of the images in the file.
    covariance : callable
        Returns the covariance of the channels that the file stores, or raises what says that it has none.

    Raises
    ------
    ValueError
        If a description needs the value of white, and images are not of uint8.
    """
    return tuple(color.fitted(dtype, covariance) if hasattr(color, "fitted") else color for color in colors)


def compose_colors(maps: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the map that applies linear maps of channels, shape (n, C, C + 1), one after the other."""
    product = maps[0]
    for following in maps[1:]:
        linear = following[..., :-1] @ product
        linear[..., -1] += following[..., -1]
        product = linear
    return product


def places_of(channel_order: str | None, color: object, argument: str = "color") -> list[int]:
    """Return which of R, G and B each channel is; [0] for one channel. `argument`: the one that `color` is of.

    Raises
    ------
    ValueError
        If there are other channels.
    """
    order = "RGB" if channel_order is None else channel_order.upper()
    if len(order) == 1:
        return [0]
    if sorted(order) != ["B", "G", "R"]:
        raise ValueError(
            f"{argument}: {type(color).__name__} is for images with one channel or with R, G and B, these have "
            f"{channel_order!r}; channels= picks some"
        )
    return ["RGB".index(letter) for letter in order]


def white_of(color: object, white: float | None, dtype: str, argument: str = "color") -> float:
    """Return the value of white in images of a dtype. `argument`: the one that `color` is of.

    Raises
    ------
    ValueError
        If it is not known.
    """
    if white is None and dtype != "uint8":
        raise ValueError(
            f"{argument}: images are {dtype}, so {type(color).__name__} needs white=, their value of white, such as 255, 65535 "
            "or 1"
        )
    return 255.0 if white is None else white


def _factors(name: str, value: Any) -> tuple[float, float]:
    """Return least and largest factor."""
    if is_number(value) and value >= 0:
        return max(0.0, 1.0 - float(value)), 1.0 + float(value)
    if _is_ascending(value) and value[0] >= 0:
        return float(value[0]), float(value[1])
    raise ValueError(f"{name} must be a number v for factors in 1 - v..1 + v, or (least, largest) factor, from 0, got {value!r}")


def _turns(value: Any) -> tuple[float, float]:
    """Return least and largest turn of the hue."""
    if is_number(value) and 0 <= value <= 0.5:
        return -float(value) or 0.0, float(value)
    if _is_ascending(value) and value[0] >= -0.5 and value[1] <= 0.5:
        return float(value[0]), float(value[1])
    raise ValueError(f"hue must be a number v in 0..1/2 for turns in -v..v, or (least, largest) in -1/2..1/2, got {value!r}")


def _is_ascending(value: object) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(map(is_number, value)) and value[0] <= value[1]
