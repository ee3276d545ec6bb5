"""Which files in the output folder an earlier build wrote, and may therefore be replaced."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

from fastprep.building.report import is_report
from fastprep.building.staging import finished_files
from fastprep.cli.drawing_mark import drawn_by, is_own_drawing
from fastprep.errors import DataError
from fastprep.h5 import has_mark, read_metadata, writer_of

_SAME = 1e-9  # relative; `show --mean --store` adds in another order


def is_of_a_build(path: Path, work: Path) -> bool:
    """Return whether a build wrote a file.

    Parameters
    ----------
    path : Path
        One of the names in `fastprep.building.write.NAMES`, in the output folder.
    work : Path
        Work folder of the build, in which files may wait for their names.

    Returns
    -------
    bool

    Notes
    -----
    The HDF5 files and the drawing have a mark. report.csv is known by its columns. mean.json has a form that is not fastprep's
    alone, so it is known by its values, which are those in the HDF5 files beside it. Drawings of versions without a mark are
    known by the files beside them.
    """
    if path.suffix == ".h5":
        return writer_of(path) == "build"
    if path.name == "report.csv":
        return is_report(path)
    beside = [other for other in (*sorted(path.parent.glob("*.h5")), *finished_files(work)) if writer_of(other) == "build"]
    if path.name == "mean.json":
        return _is_mean(path, beside)
    is_older = any(not has_mark(other) for other in beside) and (drawn_by(path) or "").startswith("Matplotlib ")
    return is_own_drawing(path) or is_older


def _is_mean(path: Path, files: Iterable[Path]) -> bool:
    try:
        with open(path, "rb") as file:
            values = json.loads(file.read(10_000))
    except (ValueError, RecursionError):
        return False
    if not isinstance(values, dict) or not all(isinstance(value, float) for value in values.values()):
        return False
    for other in files:
        try:
            metadata = read_metadata(other, "images", len(values))
        except DataError:
            continue
        if metadata.mean is None or tuple(values) != tuple(metadata.channel_order or ""):
            continue
        if all(math.isclose(a, b, rel_tol=_SAME) for a, b in zip(values.values(), metadata.mean.tolist(), strict=True)):
            return True
    return False
