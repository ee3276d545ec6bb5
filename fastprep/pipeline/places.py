"""Where x of each input of a network lies in the buffer of a batch."""

from __future__ import annotations

from typing import Any

from fastprep.dataset.nested import map_outputs, outputs_of
from fastprep.pipeline.companions import ALIGNMENT


def offsets_of_x(specs: Any, n_rows: int) -> Any:
    """Return how many bytes from the start of a buffer x begins.

    Parameters
    ----------
    specs : CropSpec, or dict of str to CropSpec
    n_rows : int

    Returns
    -------
    int, or dict of str to int
        Multiples of `ALIGNMENT`; inputs lie one behind the other.
    """
    if not isinstance(specs, dict):
        return 0
    starts = iter(start for start, _ in _extents(specs, n_rows))
    return map_outputs(lambda spec: next(starts), specs)


def end_of_x(specs: Any, n_rows: int) -> int:
    """Return how many bytes of a buffer x takes, with that of all inputs."""
    return _extents(specs, n_rows)[-1][1]


def _extents(specs: Any, n_rows: int) -> list[tuple[int, int]]:
    """Return where x of each input begins and ends."""
    extents: list[tuple[int, int]] = []
    end = 0
    for spec in outputs_of(specs):
        start = end + -end % ALIGNMENT
        end = start + n_rows * spec.crop_bytes
        extents.append((start, end))
    return extents
