"""How many labels there are that are not in the files of the images: a sign of which axis of these counts the samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastprep.dataset.label_sources import Source, label_sources
from fastprep.dataset.nested import outputs_of
from fastprep.h5 import count_rows


def count_labels(sources: Any, paths: Sequence[str]) -> list[int | None]:
    """Return the number of labels of each file of images, as far as arrays and other files tell it.

    Parameters
    ----------
    sources : Source, tuple of Source, dict of str to Source, or None
    paths : sequence of str
        Files of the images.

    Returns
    -------
    list of int or None
        None where nothing tells it, as of one array for several files.
    """
    for source in outputs_of(sources):
        counts = _counts(source)
        if len(counts) == len(paths) and None not in counts:
            return counts
    return [None] * len(paths)


def count_named(labels: str, path: str) -> int | None:
    """Return the number of labels that a name stands for, if they are in another file than the images."""
    return count_labels(label_sources(labels, [path]), [path])[0]


def _counts(source: Source) -> list[int | None]:
    if source.column is not None:
        return [count_rows(file, source.column) for file in source.files]
    array = source.array
    if array is None or array.ndim == 0:
        return []
    return [array.size if array.size == max(array.shape) else len(array)]
