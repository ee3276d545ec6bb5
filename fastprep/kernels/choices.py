"""What the arguments of the kernels may be: types, layouts, orders of axes and versions, by name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, cast

import ml_dtypes
import numpy as np

from fastprep.kernels import _cpu

DTypeName = Literal["float32", "float16", "bfloat16"]
Layout = Literal["channels_last", "channels_first"]

SOURCE_DTYPES = ("uint8", "uint16", "int16", "float32", "float64")
ORDERS = ("HWC", "HCW", "CHW", "CWH", "WCH", "WHC")
NUMPY_DTYPES = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def cpu_version() -> str:
    """Return the version of the CPU kernel that is used: the fastest that the processor can run.

    The environment variable ``FASTPREP_CPU_KERNEL`` asks for another one. All versions give the same bits.

    Returns
    -------
    {"portable", "avx2", "avx512"}

    Raises
    ------
    ValueError
        If the variable names a version that this processor can't run.
    """
    supported = _cpu.supported_versions()
    wanted = os.environ.get("FASTPREP_CPU_KERNEL", "")
    if wanted and wanted not in supported:
        raise ValueError(f"FASTPREP_CPU_KERNEL must be one of {', '.join(supported)} on this processor, got {wanted!r}")
    return wanted or supported[-1]


def dtype_name(dtype: object) -> DTypeName:
    """Return the name of a number type.

    Parameters
    ----------
    dtype : object
        That name, a numpy type, or a framework's type that has a name.

    Raises
    ------
    ValueError
        If the kernels do not write that type.
    """
    try:
        name = dtype if isinstance(dtype, str) else np.dtype(dtype).name  # type: ignore[call-overload]
    except TypeError:
        name = getattr(dtype, "name", dtype)
    check_choice("dtype", name, NUMPY_DTYPES)
    return cast(DTypeName, name)


def source_arguments(
    shape: Sequence[int], order: str, channels: Sequence[int] | None
) -> tuple[tuple[int, int, int], tuple[int, ...] | None, int]:
    """Return `image_shape`, `channels` and `source_channels` of a `CropSpec` for images of a shape, whose axes are in an order.

    Raises
    ------
    ValueError
        If there is no such order.
    """
    check_choice("order", order, ORDERS)
    sides = dict(zip(order, shape, strict=True))
    picked = None if channels is None else tuple(int(channel) for channel in channels)
    return (sides["H"], sides["W"], sides["C"] if picked is None else len(picked)), picked, sides["C"]


def check_choice(name: str, value: object, choices: object) -> None:
    """Check that an argument is one of the strings that it may be.

    Raises
    ------
    ValueError
        If it is not.
    """
    if not isinstance(value, str) or value not in choices:  # type: ignore[operator]
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")  # type: ignore[call-overload]
