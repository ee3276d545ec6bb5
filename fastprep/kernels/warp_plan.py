"""Launches of the CUDA warp kernel: the constants that `warp.cu` is compiled with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.kernels.cuda import Plan, even, planned
from fastprep.kernels.records import record_of
from fastprep.kernels.warp_spec import WarpSpec

_THREADS = 256
_MOST_ROWS = 16  # of a tile
_RUN_ELEMENTS = 192  # of a row of a tile, about
_SHARED_BYTES = 40 * 1024  # a block may have 48 KiB
_USUAL_STEP = 4  # at most, rows of the source for one of the result
_GEOMETRIES = ("crop", "box", "matrix")


def warp_plan_of(spec: WarpSpec, images: Any, records: NDArray[np.int32], n_out: int | None = None) -> Plan:
    """Plan a launch of the CUDA warp kernel for arguments that have been checked; of a standardising operation for `spec.made`.

    Parameters
    ----------
    spec : WarpSpec
    images : array of `spec.source_dtype`, shape (n, *spec.source_shape), C-contiguous
        On any device, because only its shape, type and order matter here. With `spec.has_sizes` of shape (n,): all numbers of
        images of different sizes, each image where its records say.
    records : ndarray of int32, shape (n_out, words)
        From ``record_of(spec).pack(spec.checked(table, n))``.
    n_out : int, optional
        Number of output images, where `records` has further rows.

    Raises
    ------
    ValueError
        If the table has too many rows for one launch.
    """
    return planned("warp.cu", "fastprep_warp", _constants(spec), spec.made, images, records, n_out)


def _constants(spec: WarpSpec) -> dict[str, Any]:
    """Return the macros that `warp.cu` needs. Of a standardising operation it makes `spec.made`, from the same records."""
    record, spec = record_of(spec), spec.made
    rows, columns, staged_rows = _tile(spec)
    # finite numbers may become infinite, and then NaN, in these
    has_nan = np.dtype(spec.source_dtype).kind == "f" or spec.has_colors or spec.geometry == "matrix"
    constants = {
        **_source(spec),
        "CHANNELS": spec.image_shape[2],
        "SOURCE_CHANNELS": spec.n_source_channels,
        "CROP_HEIGHT": spec.size[0],
        "CROP_WIDTH": spec.size[1],
        "SOURCE": spec.source_dtype,
        "TARGET": spec.dtype,
        "CHANNELS_FIRST": int(spec.layout == "channels_first"),
        "MEAN": int(spec.mean is not None),
        "SCALE": int(spec.scale is not None),
        "GEOMETRY": _GEOMETRIES.index(spec.geometry),
        "HAS_NAN": int(has_nan),
        "TILE_ROWS": rows,
        "TILE_COLUMNS": columns,
        "STAGED_ROWS": staged_rows,
        "THREADS": _THREADS,
        **{name: place for name, place in record.places.items() if name != "CROPS"},
    }
    if not spec.picks_all:
        constants["PICKED"] = ",".join(map(str, spec.picked))
    if spec.geometry == "box" and not spec.has_sizes:
        constants.update(MOST_ACROSS=record.most_across, MOST_DOWN=record.most_down)
    if spec.geometry == "matrix":
        constants["FILL"] = bits_of(spec.fill_values)
    if spec.erase_values is not None:
        constants["ERASE"] = bits_of(spec.erase_values)
    if spec.checks_finite:
        constants["CHECK_FINITE"] = 1
    return constants


def _source(spec: WarpSpec) -> dict[str, int]:
    """Return the macros that say where the numbers of an image are; where images have sizes of their own, the records say it."""
    height, width, _ = spec.image_shape
    row, column, channel = spec.source_steps
    if spec.has_sizes:
        return {"CHANNEL_STEP": channel}
    return {"HEIGHT": height, "WIDTH": width, "ROW_STEP": row, "COLUMN_STEP": column, "CHANNEL_STEP": channel}


def bits_of(values: NDArray[np.float32]) -> str:
    """Return a list of the bits of numbers, as the macros FILL and ERASE have it."""
    return ",".join(f"{bits}u" for bits in values.view(np.uint32).tolist())


def _tile(spec: WarpSpec) -> tuple[int, int, int]:
    """Return rows and columns of a tile, and how many rows of numbers there is shared memory for; fewer than in a tile: none.

    A tile has fewer rows where they are made from so many of the source that these would not fit.
    """
    (height, width), channels = spec.size, spec.image_shape[2]
    columns = even(width, max(1, _RUN_ELEMENTS // channels))
    rows = min(height, _MOST_ROWS)
    fitting = _SHARED_BYTES // (4 * (columns * channels | 1))
    while rows > 1 and _rows_needed(spec, rows) > fitting:
        rows -= 1
    # images of different sizes: for as large a box as fits
    is_any = spec.has_sizes and spec.geometry == "box"
    return rows, columns, fitting if is_any else min(_rows_needed(spec, rows), fitting)


def _rows_needed(spec: WarpSpec, rows: int) -> int:
    """Return how many rows are in shared memory at most for a tile of `rows` rows."""
    if spec.geometry != "box":
        return rows
    longest = max(spec.image_shape[:2])
    if spec.has_sizes:  # that of the first image; a row of the result may have more taps in others, which costs time only
        longest = min(longest, _USUAL_STEP * spec.size[0])
    step = longest / spec.size[0]
    return max(rows, min(int((rows - 1) * step + 2 * max(step, 1.0)) + 2, longest))
