"""What is done to the images of a dataset, with numbers that its files say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastprep.dataset.covariances import stored_covariance
from fastprep.dataset.dataset import Dataset
from fastprep.dataset.inputs import by_input
from fastprep.dataset.nested import map_outputs, outputs_of
from fastprep.errors import DataError
from fastprep.transforms import Augmentation, Blend, Crop, Erase, Policy, fitted, fitted_colors


def augmentation_of(
    dataset: Dataset,
    crop: Crop | None,
    policy: Policy | None,
    colors: Any,
    erase: Erase | None,
    blend: Blend | None,
    standardize: Any,
) -> Augmentation:
    """Return what is done to the images of a dataset, as one description whose numbers are all known.

    Parameters
    ----------
    dataset : Dataset
    crop : Crop or None
        None takes whole images.
    policy : Policy or None
    colors : sequence of Color, or dict of str to such
        A dict names inputs of the dataset.
    erase : Erase or None
    blend : Blend or None
    standardize : bool, or mapping of str to bool
        A mapping names all inputs.

    Raises
    ------
    ValueError
        If one needs to be told the value of white, or a dict does not name inputs; or if there are several inputs, colours are
        for all of them, and not all have three channels.
    DataError
        If one needs the covariance that the files store, and it is missing, broken, or not the same in all of them.
    """
    inputs = dataset.each_input
    if policy is not None:
        policy = _policy_of(policy, inputs)
    colors = _colors_of(colors, inputs)
    crop = fitted(crop, *dataset.image_shape[:2])
    orders = map_outputs(lambda images: images.metadata[0].channel_order, inputs)
    return Augmentation(crop, colors, erase, blend, orders, policy, by_input(standardize, inputs, "standardize"))


def _policy_of(policy: Policy, inputs: Any) -> Policy:
    if isinstance(inputs, dict) and policy.has_colors and (unfit := _not_of_three_channels(inputs)):
        way_out = "leave its colours out by operations=, and name the inputs that change by color={...: ...}"
        raise ValueError(f"policy with colours for all inputs needs three channels in each, found {unfit}; {way_out}")
    for_each = [_known(lambda images: policy.fitted(images.dtype.name), images) for images in outputs_of(inputs)]
    return for_each[0]  # the others are the same: white is told, or that of uint8


def _colors_of(colors: Any, inputs: Any) -> Any:
    """Return the colours of each input: a tuple of Color, in the structure of the inputs."""
    if isinstance(colors, dict):
        left_out = {name: () for name in inputs if name not in colors} if isinstance(inputs, dict) else {}
        colors = by_input({**colors, **left_out}, inputs, "color")
    elif isinstance(inputs, dict):
        if colors and (unfit := _not_of_three_channels(inputs)):
            example = next((name for name, images in inputs.items() if images.image_shape[2] == 3), next(iter(inputs)))
            way_out = f"say which inputs it is for: color={{{example!r}: ...}}"
            raise ValueError(f"color for all inputs needs three channels in each, found {unfit}; {way_out}")
        colors = dict.fromkeys(inputs, colors)
    if isinstance(inputs, dict):
        return {name: _fitted_to(images, colors[name]) for name, images in inputs.items()}
    return _fitted_to(inputs, colors)


def _fitted_to(images: Dataset, colors: Sequence[Any]) -> tuple[Any, ...]:
    return _known(lambda own: fitted_colors(colors, own.dtype.name, lambda: stored_covariance(own)), images)


def _not_of_three_channels(inputs: dict[str, Dataset]) -> str:
    """Return a text about an input that has another number of channels; empty if there is none."""
    found = (f"images[{name!r}] with {n}" for name, images in inputs.items() if (n := images.image_shape[2]) != 3)
    return next(found, "")


def _known(fit: Callable[[Dataset], Any], images: Dataset) -> Any:
    """Return a description whose numbers are known; what it needs to be told is an error that names the images."""
    try:
        return fit(images)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise ValueError(f"{error} (file {images.paths[0]!r}, dataset {images.images!r})") from None
