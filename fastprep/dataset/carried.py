"""Labels that a conversion carries along with the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from numpy.typing import NDArray

from fastprep.dataset.label_sources import label_sources, values_of


def other_labels(labels: str | None, paths: Sequence[str]) -> str | Callable[[Sequence[int]], NDArray] | None:
    """Return what `fastprep.h5.convert.rewrite` takes for labels.

    Parameters
    ----------
    labels : str or None
        A name, or FILE:NAME.
    paths : sequence of str
        Files of the images.

    Returns
    -------
    str, callable or None
        The name, of labels in the files of the images; of those in other files, a function that reads them.

    Raises
    ------
    ValueError
        If it may be both.
    OSError
        If it names a file that does not exist.
    """
    source = label_sources(labels, paths)
    if source is None or source.is_beside_images:
        return labels
    return lambda counts: values_of(source, [], counts, paths)
