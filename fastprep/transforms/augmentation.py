"""Everything that a loader does to its images, as one description."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastprep.transforms.colors import compose_colors
from fastprep.transforms.crops import Crop, check_fits
from fastprep.transforms.geometry import Side, geometry_of, is_drawn, moved, rows_of, turns
from fastprep.transforms.policies import Policy
from fastprep.transforms.table import FARTHEST, BlendTable, Geometry, TransformTable


class Color(Protocol):
    """What `Loader` needs of its argument `color`. `ColorJitter` and `Lighting`, for example, provide it."""

    def matrices(self, samples: NDArray[np.int64], seed: int, epoch: int, channel_order: str | None) -> NDArray[np.float64]:
        """Return the linear map of the channels of each sample: float64, shape (n, C, C + 1)."""
        ...


class Erase(Protocol):
    """What `Loader` needs of its argument `erase`; `RandomErasing` provides it."""

    @property
    def value(self) -> float | Sequence[float]:
        """What is filled in, in the numbers of x: one number, or one for each channel."""
        ...

    def rectangles(self, height: int, width: int, samples: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int32]:
        """Return y, x, height and width of the rectangle of each sample: int32, shape (n, 4)."""
        ...


class Blend(Protocol):
    """What `Loader` needs of its argument `blend`; `MixUp` and `CutMix` provide it."""

    def table(self, numbers: NDArray[np.int64], seed: int, epoch: int, height: int, width: int) -> BlendTable:
        """Return what is blended in a batch of images of that size."""
        ...


@dataclass(frozen=True)
class Augmentation:
    """Everything that a loader does to its images, drawn by (seed, epoch, sample).

    Parameters
    ----------
    crop : Crop
    color : sequence of Color, or dict of str to such
        Applied one after the other; by the name of the input, where a network has several.
    erase : Erase or None
    blend : Blend or None
    channel_order : str or None, or dict of str to such
        Order of the channels of the images, such as "RGB"; None if it is not known.
    policy : Policy or None
        Applied to the crop, before `color`.
    standardize : bool, or dict of str to bool
        Whether each output image is brought to mean 0 and standard deviation 1, before erasing and blending.
    """

    crop: Crop
    color: Any = ()
    erase: Erase | None = None
    blend: Blend | None = None
    channel_order: Any = None
    policy: Policy | None = None
    standardize: Any = False

    @property
    def n_crops(self) -> int:
        """Number of output images of each sample."""
        return self.crop.n_crops

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an output image, in pixels."""
        return self.crop.height_width

    @property
    def has_colors(self) -> bool:
        """Whether tables have maps of the channels."""
        return self._recolors or (self.policy is not None and self.policy.has_colors)

    @property
    def fill(self) -> float | tuple[float, ...]:
        """What there is outside of the images.

        Raises
        ------
        ValueError
            If crop and policy say it in two ways.
        """
        given, fill = getattr(self.crop, "fill", None), None if self.policy is None else self.policy.fill
        if fill is not None and given is not None and fill != given:
            raise ValueError(
                f"fill of the policy must be that of the crop, because each image is filled once: leave out fill={fill}, or give "
                f"it to both; got crop={self.crop}"
            )
        return (0.0 if given is None else given) if fill is None else fill

    def geometry(self, height: Side, width: Side) -> Geometry:
        """Return what says where the pixels of images of this size, or of these, come from.

        Raises
        ------
        ValueError
            If the crop can't be made of such images, or a policy would lead too far out of them.
        """
        geometry = geometry_of(self.crop, height, width)
        if self.policy is None or not self.policy.has_geometry:
            return geometry
        if geometry == "crop":
            check_fits(self.size, height, width)
        farthest = self.crop.farthest(height, width) if hasattr(self.crop, "farthest") else height + width
        if (farthest := 2 * np.max(farthest) * self.policy.reach(*self.size)) > FARTHEST:
            raise ValueError(
                f"crop and policy must keep within 2**30 pixels of the image, found up to {farthest:.3g} for images of "
                f"{np.max(height)}x{np.max(width)} pixels: take a larger least scale, a smaller shear, or an n that is smaller, "
                f"got {self.crop} and {self.policy}"
            )
        return "matrix"

    def warps(self, height: Side, width: Side) -> bool:
        """Tell whether images of this size need more than cutting out, mirroring and flipping."""
        return self.has_colors or self.erase is not None or turns(self.crop) or self.geometry(height, width) != "crop"

    @property
    def is_random(self) -> bool:
        """Whether a sample may become another image in another epoch."""
        others = self.policy, self.erase, self.blend
        return self._recolors or any(other is not None for other in others) or is_drawn(self.crop)

    @property
    def _recolors(self) -> bool:
        """Whether `color` changes the images of an input."""
        return any(self.color.values()) if isinstance(self.color, dict) else bool(self.color)

    def for_input(self, name: str) -> Augmentation:
        """Return what is done to the images of one input of several."""
        own = {"color": self.color[name], "channel_order": self.channel_order[name], "standardize": self.standardize[name]}
        return dataclasses.replace(self, **own)

    def of_targets(self) -> Augmentation:
        """Return what happens to masks: the geometry alone."""
        policy = self.policy if self.policy is not None and self.policy.has_geometry else None
        return dataclasses.replace(self, color=(), erase=None, policy=policy, standardize=False)

    def table(self, image_shape: tuple[Side, Side, int], samples: NDArray[np.int64], seed: int, epoch: int) -> TransformTable:
        """Return the transform table of a batch; where there are several inputs, what they have in common.

        Parameters
        ----------
        image_shape : (int, int, int), or (ndarray of int64, ndarray of int64, int)
            Height, width and channels of the source images; or the heights and widths of each, of shape (n,).
        samples : ndarray of int64, shape (n,)
            Sample ids. The image of `samples[k]` is in slot k.
        seed, epoch : int

        Returns
        -------
        TransformTable
            `n_crops` rows for each sample, in their order.
        """
        height, width, channels = image_shape
        table = rows_of(self.crop, height, width, samples, seed, epoch)
        if self.policy is not None and self.policy.has_geometry:
            table = moved(table, self.size, self.policy.positions(*self.size, samples, seed, epoch, self.n_crops))
        if self.erase is not None:
            erasures = self.erase.rectangles(*self.size, samples, seed, epoch).repeat(self.n_crops, axis=0)
            table = dataclasses.replace(table, erasures=erasures)
        return table if isinstance(self.color, dict) else self.colored(table, channels, samples, seed, epoch)

    def colored(self, table: TransformTable, channels: int, samples: NDArray[np.int64], seed: int, epoch: int) -> TransformTable:
        """Return the table of a batch with its colours, for images with this number of channels; see `table`."""
        if not self.has_colors:
            return table
        return dataclasses.replace(table, colors=self._maps(channels, samples, seed, epoch).astype(np.float32))

    def check_colors(self, channels: int) -> None:
        """Check that the policy and each colour are for images with this number of channels.

        Raises
        ------
        ValueError
            If it is not.
        """
        if self.has_colors:
            self._maps(channels, np.zeros(1, np.int64), 0, 0)

    def _maps(self, channels: int, samples: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.float64]:
        """Return the map of the channels of each row: float64, shape (n * n_crops, C, C + 1)."""
        draw = samples, seed, epoch, self.channel_order or ("L" if channels == 1 else None)
        drawn: list[tuple[str, Any, NDArray[np.float64]]] = []
        if self.policy is not None and self.policy.has_colors:
            drawn.append(("policy", self.policy, self.policy.matrices(*draw, self.n_crops)))
        drawn += [("color", color, color.matrices(*draw).repeat(self.n_crops, axis=0)) for color in self.color]
        for name, color, maps in drawn:
            if maps.shape != (len(samples) * self.n_crops, channels, channels + 1):
                raise ValueError(
                    f"{name}: {color} is not for images with {channels} channels, its maps have the shape {maps.shape[1:]}"
                )
        return compose_colors([maps for _, _, maps in drawn])

    def blends(self, numbers: NDArray[np.int64], seed: int, epoch: int) -> BlendTable | None:
        """Return what is blended in a batch of these samples; None if nothing is."""
        return None if self.blend is None else self.blend.table(numbers, seed, epoch, *self.size)

    def describe(self) -> dict[str, str]:
        """Return the texts by which two descriptions are known as the same: the crop, and the rest only where there is any."""
        standardize = any(self.standardize.values()) if isinstance(self.standardize, dict) else self.standardize
        colors = self.color if isinstance(self.color, dict) else tuple(self.color)
        rest: dict[str, Any] = {
            "policy": self.policy,
            "color": colors if self._recolors else None,
            "erase": self.erase,
            "blend": self.blend,
        }
        rest["standardize"] = self.standardize if standardize else None
        return {"crop": repr(self.crop), **{name: repr(part) for name, part in rest.items() if part is not None}}


def check_transforms(policy: object, color: Any, erase: object, blend: object, standardize: object = False) -> Any:
    """Check that arguments are descriptions of transforms, or None, and that `standardize` is True or False.

    Returns
    -------
    tuple of Color, or dict of str to such
        Those that `color` is, or lists; by the names of inputs, where it is a mapping.

    Raises
    ------
    ValueError
        If one is neither None nor a description; a class such as `MixUp` is none, and `color` may be a sequence of them. Or if
        `standardize` is something else.
    """
    if policy is not None and not isinstance(policy, Policy):
        raise ValueError(f"policy must be RandAugment(), TrivialAugment() or None, got {policy!r}")
    for value in standardize.values() if isinstance(standardize, Mapping) else (standardize,):
        if not isinstance(value, bool | np.bool_):
            raise ValueError(
                "standardize must be True, for mean 0 and standard deviation 1 over all pixels and channels of each image, or "
                f"False, got {value!r}"
            )
    by_name = {name: _listed(part) for name, part in color.items()} if isinstance(color, Mapping) else {"": _listed(color)}
    likes = {
        "color": ("matrices", "ColorJitter(0.4, 0.4, 0.4), Lighting(), a list of these"),
        "erase": ("rectangles", "RandomErasing()"),
        "blend": ("table", "MixUp(), CutMix(), MixUpOrCutMix()"),
    }
    every = [part for parts in by_name.values() for part in parts]
    for name, value in [*(("color", part) for part in every), ("erase", erase), ("blend", blend)]:
        method, like = likes[name]
        if value is not None and (isinstance(value, type) or not callable(getattr(value, method, None))):
            raise ValueError(f"{name} must be like {like}, or None, got {value!r}")
    return by_name if isinstance(color, Mapping) else by_name[""]


def _listed(color: Any) -> tuple[Any, ...]:
    return tuple(color) if isinstance(color, list | tuple) else () if color is None else (color,)
