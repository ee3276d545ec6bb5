"""The mean of new images: kept as it is, or computed from their pixels as a loader reads them."""

from __future__ import annotations

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.h5.convert.images import NewImages
from fastprep.h5.metadata import metadata_of
from fastprep.h5.plausibility import MOST_CHANNELS

_SAY_AXES = "say that they are channels with axes='NHWC', --axes NHWC of the command"

# it may be that of other images, those of training, and files that are read together must have one mean
_KEPT = "the attribute 'mean' is kept, and 'std' and 'covariance' if there are any, though pixels have changed"


def store_mean_of(writer: NewImages, dataset: h5py.Dataset, is_doubtful: bool) -> tuple[NDArray[np.float64] | None, list[str]]:
    """Store the mean of new images, unless there is one, or the channels are so many that they may be none.

    Parameters
    ----------
    writer : NewImages
        Which has written all of them.
    dataset : h5py.Dataset
    is_doubtful : bool
        Whether nobody has named the axes.

    Returns
    -------
    (ndarray of float64, shape (C,), or None; list of str)
        The mean, if it was stored; notes for people.
    """
    if "mean" in dataset.attrs:
        found = metadata_of(dataset, (dataset.file.filename, str(dataset.name)), writer.shape[3])
        if found.mean_problem:
            return None, [f"the attribute 'mean' is kept, though no loader takes it: {found.mean_problem}"]
        if found.mean is None or not writer.changes_pixels or np.array_equal(found.mean, writer.mean):
            return None, []
        return None, [f"{_KEPT}: {_numbers(found.mean)}; that of the pixels of the new file is {_numbers(writer.mean)}"]
    if len(writer.mean) > MOST_CHANNELS and is_doubtful:
        return None, [f"no mean is stored: it would have {len(writer.mean)} channels, which is unlikely; {_SAY_AXES}"]
    dataset.attrs["mean"] = writer.mean
    return writer.mean, []


def _numbers(values: NDArray[np.float64]) -> str:
    return " ".join(f"{value:.3f}" for value in values)
