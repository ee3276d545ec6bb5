"""The operation of the kernels for a dataset: what it is made of, checked once, with errors that name the file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.dataset.dataset import Dataset
from fastprep.dataset.inputs import by_input
from fastprep.kernels import CropSpec, WarpSpec
from fastprep.kernels.choices import DTypeName, Layout
from fastprep.kernels.ranges import check_range
from fastprep.transforms import Augmentation
from fastprep.transforms.geometry import Side


def operations_of(
    dataset: Dataset,
    augmentation: Augmentation,
    mean: Any,
    scale: Any,
    dtype: Any,
    layout: Layout,
    check_finite: bool,
) -> Any:
    """Return the operation on the pixels of each input of a dataset.

    Parameters
    ----------
    dataset : Dataset
    augmentation : Augmentation
    mean, dtype : object, in the structure of the inputs
        As in `CropSpec`.
    scale : object
        As in `CropSpec`, or a mapping for several inputs.
    layout, check_finite
        As in `CropSpec`.

    Returns
    -------
    CropSpec, or dict of str to CropSpec

    Raises
    ------
    ValueError
        If the arguments do not fit the images; see `operation_of`.
    """
    inputs, scales = dataset.each_input, by_input(scale, dataset.each_input, "scale")
    if not isinstance(inputs, dict):
        return operation_of(inputs, augmentation, mean, scales, dtype, layout, check_finite)
    return {
        name: operation_of(images, augmentation.for_input(name), mean[name], scales[name], dtype[name], layout, check_finite)
        for name, images in inputs.items()
    }


def operation_of(
    dataset: Dataset,
    augmentation: Augmentation,
    mean: NDArray[np.float32] | None,
    scale: ArrayLike | None,
    dtype: DTypeName,
    layout: Layout,
    check_finite: bool,
) -> CropSpec:
    """Return the operation on the pixels of a dataset.

    Parameters
    ----------
    dataset : Dataset
    augmentation : Augmentation
    mean, scale, dtype, layout, check_finite
        As in `CropSpec`.

    Returns
    -------
    CropSpec
        A `WarpSpec` where images are more than cut out, mirrored and flipped.

    Raises
    ------
    ValueError
        If the arguments do not fit the images. The text names the first file and its dataset.
    """
    try:
        scale = None if scale is None else np.array(scale, np.float32)
        if scale is not None and scale.size and not scale.any():
            raise ValueError("scale must not be 0 for all channels, which makes all images alike")
        shape, source_dtype = dataset.image_shape, dataset.dtype.name
        source = dataset.order, dataset.channels, dataset.file_channels
        what = (augmentation.size, mean, scale, dtype, layout, check_finite)
        arguments = (shape, source_dtype, *what, *source, augmentation.standardize)
        augmentation.check_colors(shape[2])
        if dataset.has_sizes and mean is not None and mean.ndim == 3:
            raise ValueError(
                "mean must be a number for each channel where images may have different sizes, got a mean image: pass its mean "
                "over height and width, such as mean=loader.mean.mean(axis=(0, 1))"
            )
        height, width = sides_of(shape, dataset.has_sizes)
        warp = _warp(augmentation, height, width, dataset.has_sizes)
        spec = CropSpec(*arguments) if warp is None else WarpSpec(*arguments, **warp)
        if check_finite:
            for stored in dataset.stored_dtypes:
                check_range(spec, stored)
        return spec
    except ValueError as error:
        raise ValueError(f"{error} (file {dataset.paths[0]!r}, dataset {dataset.images!r})") from None


def sides_of(image_shape: tuple[int, int, int], has_sizes: bool) -> tuple[Side, Side]:
    """Return height and width of images as transforms take them: arrays, of the first one, where each image has its own."""
    height, width, _ = image_shape
    return (np.array([height]), np.array([width])) if has_sizes else (height, width)


def _warp(augmentation: Augmentation, height: Side, width: Side, has_sizes: bool) -> dict[str, Any] | None:
    """Return the arguments that a `WarpSpec` has beside those of a `CropSpec`; None if that is enough."""
    if not has_sizes and not augmentation.warps(height, width):
        return None
    erase = augmentation.erase
    return {
        "geometry": augmentation.geometry(height, width),
        "fill": augmentation.fill,
        "has_colors": augmentation.has_colors,
        "erase_value": None if erase is None else erase.value,
        "has_sizes": has_sizes,
    }
