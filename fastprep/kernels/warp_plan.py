"""Launches of the CUDA warp kernel: the constants that `warp.cu` is compiled with, and the records that it reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.kernels._cpu_warp import most_taps, put_taps
from fastprep.kernels.cuda import Plan, even, planned
from fastprep.kernels.warp_spec import WarpSpec
from fastprep.transforms import TRANSPOSED, TransformTable

_THREADS = 256
_MOST_ROWS = 16  # of a tile
_RUN_ELEMENTS = 192  # of a row of a tile, about
_SHARED_BYTES = 40 * 1024  # a block may have 48 KiB
_GEOMETRIES = ("crop", "box", "matrix")


@dataclass(frozen=True)
class Record:
    """Where the parts of a record of the table are, in words of 32 bits. A record is for one output image.

    Parameters
    ----------
    spec : WarpSpec

    Raises
    ------
    ValueError
        If images are of different sizes, which the CUDA kernel does not take.
    """

    spec: WarpSpec

    def __post_init__(self) -> None:
        if self.spec.has_sizes:
            raise ValueError("images of different sizes are made on the CPU: the CUDA kernel takes images of one size")

    @cached_property
    def most_across(self) -> int:
        """Largest number of taps of an output column."""
        return max(most_taps(side, self.spec.size[1]) for side in self.spec.image_shape[:2])

    @cached_property
    def most_down(self) -> int:
        """Largest number of taps of an output row."""
        return max(most_taps(side, self.spec.size[0]) for side in self.spec.image_shape[:2])

    @cached_property
    def places(self) -> dict[str, int]:
        """First word of each part that there is, by its macro in `warp.cu`, and the number of words as RECORD."""
        spec, channels = self.spec, self.spec.image_shape[2]
        lengths = {"CROPS": 4}
        if spec.geometry == "box":
            lengths["ACROSS"] = spec.size[1] * (2 + self.most_across)
            lengths["DOWN"] = spec.size[0] * (2 + self.most_down)
        if spec.geometry == "matrix":
            lengths["POSITIONS"] = 12
        if spec.has_colors:
            lengths["COLORS"] = channels * (channels + 1)
        if spec.erase_value is not None:
            lengths["ERASED"] = 4
        ends = np.cumsum(list(lengths.values())).tolist()
        return {**dict(zip(lengths, [0, *ends], strict=False)), "RECORD": -(-ends[-1] // 4) * 4}

    def pack(self, table: TransformTable) -> NDArray[np.int32]:
        """Return the records of a table from ``spec.checked(table, n)``, of shape (n_out, words)."""
        records = np.zeros((len(table), self.places["RECORD"]), np.int32)
        if table.boxes is not None:
            self._put_taps(records, table.crops, table.boxes)
        parts = {
            "CROPS": table.crops,
            "POSITIONS": None if table.matrices is None else _positions(table.matrices),
            "COLORS": table.colors,
            "ERASED": table.erasures,
        }
        for name, values in parts.items():
            if values is not None:
                words = values.reshape(len(table), -1).view(np.int32)
                records[:, self.places[name] : self.places[name] + words.shape[1]] = words
        return records

    def _put_taps(self, records: NDArray[np.int32], crops: NDArray[np.int32], boxes: NDArray[np.float64]) -> None:
        is_turned = (crops[:, 3] & TRANSPOSED) != 0
        boxes = np.where(is_turned[:, None], boxes[:, [1, 0, 3, 2]], boxes)
        (height, width, _), (h, w) = self.spec.image_shape, self.spec.size
        for name, axis, n_out, n_in, most in (
            ("ACROSS", 1, w, np.where(is_turned, height, width), self.most_across),
            ("DOWN", 0, h, np.where(is_turned, width, height), self.most_down),
        ):
            words = records[:, self.places[name] : self.places[name] + n_out * (2 + most)]
            starts, lengths = (np.ascontiguousarray(boxes[:, column]) for column in (axis, axis + 2))
            put_taps(words, starts, lengths, n_in, n_out, most)


def _positions(matrices: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return start, step to the right and step down of x, then of y, in multiples of 2**-32 pixels, rounded half to even."""
    a, b, c = np.moveaxis(matrices, 2, 0)
    numbers = np.stack([a * 0.5 + b * 0.5 + c - 0.5, a, b], axis=-1)
    return np.rint(numbers * 2.0**32).astype(np.int64)


def warp_plan_of(spec: WarpSpec, images: Any, records: NDArray[np.int32]) -> Plan:
    """Plan a launch of the CUDA warp kernel for arguments that have been checked; of a standardising operation for `spec.made`.

    Parameters
    ----------
    spec : WarpSpec
    images : array of `spec.source_dtype`, shape (n, *spec.source_shape), C-contiguous
        On any device, because only its shape, type and order matter here.
    records : ndarray of int32, shape (n_out, words)
        From ``Record(spec).pack(spec.checked(table, n))``.

    Raises
    ------
    ValueError
        If the table has too many rows for one launch.
    """
    return planned("warp.cu", "fastprep_warp", _constants(spec), spec.made, images, records)


def _constants(spec: WarpSpec) -> dict[str, Any]:
    """Return the macros that `warp.cu` needs. Of a standardising operation it makes `spec.made`, from the same records."""
    record, spec = Record(spec), spec.made
    height, width, channels = spec.image_shape
    rows, columns, staged_rows = _tile(spec)
    steps = dict(zip(("ROW_STEP", "COLUMN_STEP", "CHANNEL_STEP"), spec.source_steps, strict=True))
    # finite numbers may become infinite, and then NaN, in these
    has_nan = np.dtype(spec.source_dtype).kind == "f" or spec.has_colors or spec.geometry == "matrix"
    constants = {
        "HEIGHT": height,
        "WIDTH": width,
        "CHANNELS": channels,
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
        **steps,
        **{name: place for name, place in record.places.items() if name != "CROPS"},
    }
    if not spec.picks_all:
        constants["PICKED"] = ",".join(map(str, spec.picked))
    if spec.geometry == "box":
        constants.update(MOST_ACROSS=record.most_across, MOST_DOWN=record.most_down)
    if spec.geometry == "matrix":
        constants["FILL"] = bits_of(spec.fill_values)
    if spec.erase_values is not None:
        constants["ERASE"] = bits_of(spec.erase_values)
    if spec.checks_finite:
        constants["CHECK_FINITE"] = 1
    return constants


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
    return rows, columns, min(_rows_needed(spec, rows), fitting)


def _rows_needed(spec: WarpSpec, rows: int) -> int:
    """Return how many rows are in shared memory at most for a tile of `rows` rows."""
    if spec.geometry != "box":
        return rows
    longest = max(spec.image_shape[:2])
    step = longest / spec.size[0]
    return max(rows, min(int((rows - 1) * step + 2 * max(step, 1.0)) + 2, longest))
