"""Labels and weights of blended images: each blended like its image."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset.dataset import Dataset
from fastprep.dataset.label_errors import label_error
from fastprep.dataset.nested import outputs_of
from fastprep.transforms import Augmentation, BlendTable

_log = logging.getLogger(__name__)


def blended(values: NDArray, table: BlendTable) -> NDArray:
    """Return the values of blended images: share * own + (1 - share) * that of the partner.

    Parameters
    ----------
    values : ndarray of floats, shape (n, ...)
        Labels or weights of a batch.
    table : BlendTable

    Returns
    -------
    ndarray, of the same type and shape
    """
    share = table.weights.astype(values.dtype).reshape(-1, *[1] * (values.ndim - 1))
    return share * values + (1 - share) * values[::-1]


def check_blend(dataset: Dataset, augmentation: Augmentation, labels: Any, batch_size: int, shuffle: bool) -> None:
    """Check that images can be blended, and their labels; what does not harm but is unlikely to be meant is a warning.

    Parameters
    ----------
    dataset : Dataset
    augmentation : Augmentation
    labels : ndarray, shape (N, ...), a tuple or dict of such, or None
        As batches have them.
    batch_size : int
    shuffle : bool
        Whether each epoch has an order of its own.

    Raises
    ------
    ValueError
        If a sample has several rows of x, a batch one sample, or labels follow the geometry of their images.
    DataError
        If labels are integers, or have more than one axis beside that of the samples.
    """
    if augmentation.blend is None:
        return
    if augmentation.n_crops > 1:
        rule = "blend= needs one row of x for each sample"
        raise ValueError(f"{rule}; crop={augmentation.crop} gives {augmentation.n_crops}: leave one of them out")
    if batch_size < 2:
        raise ValueError(f"blend= needs two samples in a batch or more, got batch_size={batch_size}")
    if not shuffle:
        _log.warning("blend= without shuffle=True: each image has the same partner in every epoch")
    for values, output in zip(outputs_of(labels), outputs_of(dataset.outputs), strict=True):
        if output.target is not None:
            kind = type(output.target.description).__name__
            raise ValueError(f"blend= mixes labels of classes, and {kind} can't be mixed: leave one of them out")
        if values.dtype.kind != "f":
            found = f"pass num_classes= to get one-hot rows, found {values.dtype}"
        elif values.ndim > 2:
            found = f"they must be numbers or rows of numbers, found the shape {values.shape}"
        else:
            if values.ndim == 1 and (values == np.floor(values)).all():
                _log.warning("blend= blends labels as numbers, and all of them are whole: if they are classes, pass num_classes=")
            continue
        raise label_error(f"blend= needs labels that can be blended: {found}", output.source, dataset.paths)
