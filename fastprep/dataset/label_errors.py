"""Errors of labels."""

from __future__ import annotations

from collections.abc import Sequence

from fastprep.dataset.label_sources import Source
from fastprep.errors import DataError


def label_error(
    problem: str, source: Source | None, paths: Sequence[str], number: int = 0, row: int | None = None, sample: int | None = None
) -> DataError:
    """Return the error of a label, which names file, dataset and row; for an array, the file and the row of its image.

    Parameters
    ----------
    problem : str
    source : Source or None
    paths : sequence of str
        Files of the images.
    number : int
        Number of the file of its image.
    row : int or None
        Row of the image in that file; None for all labels of an output.
    sample : int or None
        Number of the sample in all files.
    """
    if source is None:
        return DataError(problem, paths[number], sample=row)
    if source.column is None and source.argument != "labels":
        problem = f"{source.argument}: {problem}"
    file, row = (source.files[0], sample) if len(source.files) == 1 else ((source.files or paths)[number], row)
    return DataError(problem, file, source.column, sample=row)
