"""Draws with replacement from a dataset: by class, by weights of the samples, and by shares of the files."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep.dataset.dataset import Dataset
from fastprep.dataset.masked import check_unmasked
from fastprep.dataset.paths import expand_paths
from fastprep.errors import DataError
from fastprep.h5 import absolute, read_vector, warn_of_unwritten_in
from fastprep.sampling.strata import strata_of
from fastprep.sampling.weighted import WeightedDraws

_TOLERANCE = 1e-5  # of the sum of the shares, which may be rounded thirds


def draws_of(dataset: Dataset, sampling: ArrayLike | str | None, mix: Mapping[str, float] | None) -> WeightedDraws | None:
    """Return the draws that the arguments `sampling` and `mix` of a loader describe.

    Parameters
    ----------
    dataset : Dataset
    sampling : "balanced", str, array_like or None
        Each class alike, or the weights of all samples of the files, or the name of their dataset.
    mix : mapping of path or pattern to float, or None
        Share of the draws that are from each file, or from the files of each pattern.

    Returns
    -------
    WeightedDraws or None
        None if neither is given.

    Raises
    ------
    ValueError
        If an argument breaks its rule.
    OSError, DataError
        See `fastprep.h5.vectors.read_vector`; DataError also if stored weights are negative, not finite, or not one for each
        image.
    """
    if sampling is None and mix is None:
        return None
    if mix is None:
        weights = _sampling_weights(dataset, sampling)
    else:
        group, shares = _files_of_shares(dataset, mix)
        within = group if isinstance(sampling, str) and sampling == "balanced" else None
        weights = np.ones(dataset.n_samples) if sampling is None else _sampling_weights(dataset, sampling, within)
        weights = weights / (weights.max() or 1.0)  # so that sums are finite
        sums = np.bincount(group, weights, minlength=len(shares))
        if (empty := np.flatnonzero(sums == 0)).size:
            raise ValueError(f"mix needs a sample to draw for each share, but {list(mix)[empty[0]]!r} has none")
        weights = weights * (shares / sums)[group]
    if not weights.any():
        raise ValueError("sampling must give a sample a weight above 0, got 0 for all of them")
    return WeightedDraws(weights)


def _sampling_weights(
    dataset: Dataset, sampling: ArrayLike | str | None, within: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Return the weight of each sample; balanced ones give each class of each group `within` the same sum."""
    if isinstance(sampling, str) and sampling == "balanced":
        if not isinstance(dataset.labels, np.ndarray):
            raise ValueError(
                'sampling="balanced" needs one array of labels, the classes to balance, and not several outputs, masks, boxes, '
                "points or none: pass weights of the samples as sampling="
            )
        classes = strata_of(dataset.labels, "labels", "pass weights of the samples as sampling=")
        cell = classes if within is None else within * (int(classes.max()) + 1) + classes
        return 1 / np.bincount(cell)[cell]
    if isinstance(sampling, str):
        sizes = zip(dataset.paths, dataset.file_sizes, strict=True)
        return dataset.take(np.concatenate([_stored(path, sampling, n) for path, n in sizes]))
    check_unmasked(sampling, "sampling")
    values, n = np.asarray(sampling), dataset.n_in_files
    if values.dtype.kind not in "iufb" or values.shape != (n,):
        rule = f'sampling must be "balanced", the name of a dataset of weights, or {n} weights, one for each sample of the files'
        raise ValueError(f"{rule}, got {values.dtype} {values.shape}")
    values = values.astype(np.float64)
    if (wrong := _wrong(values)).any():
        sample = int(np.argmax(wrong))
        raise ValueError(f"sampling must be weights that are finite and not negative, got {values[sample]} for sample {sample}")
    return dataset.take(values)


def _stored(path: str, name: str, n_images: int) -> NDArray[np.float64]:
    values = read_vector(path, name, "sampling").astype(np.float64)
    if len(values) != n_images:
        raise DataError(f"there must be one weight for each of the {n_images} images, found {len(values)}", path, name)
    if (wrong := _wrong(values)).any():
        row = int(np.argmax(wrong))
        raise DataError(f"weights must be finite and not negative, found {values[row]}", path, name, sample=row)
    warn_of_unwritten_in(path, name, n_images, "weights")
    return values


def _wrong(weights: NDArray[np.float64]) -> NDArray[np.bool_]:
    return ~(np.isfinite(weights) & (weights >= 0))


def _files_of_shares(dataset: Dataset, mix: Mapping[str, float]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the number of each sample's share, and the shares."""
    if not isinstance(mix, Mapping) or len(mix) < 2:
        raise ValueError(f'mix must give a share to two files or more, as {{"a.h5": 0.7, "b.h5": 0.3}}, got {mix!r}')
    shares = np.array([share if _is_number(share) else np.nan for share in mix.values()], np.float64)
    if not (np.isfinite(shares).all() and (shares > 0).all() and abs(float(shares.sum()) - 1) < _TOLERANCE):
        raise ValueError(f"mix must have shares above 0 that add up to 1, got {dict(mix)!r}")
    files = [absolute(path) for path in dataset.paths]
    share_of = np.full(len(files), -1)
    for number, name in enumerate(mix):
        named = {absolute(path) for path in expand_paths(name, "mix")}
        mine = [k for k, file in enumerate(files) if file in named]
        if not mine:
            raise ValueError(f"mix names {name!r}, which is none of the loader's files: {_some(dataset.paths)}")
        if (twice := [k for k in mine if share_of[k] >= 0]) != []:
            raise ValueError(f"mix must name each file once, but {dataset.paths[twice[0]]!r} has two shares")
        share_of[mine] = number
    if (share_of < 0).any():
        raise ValueError(f"mix must give each file a share, but {dataset.paths[int(np.argmin(share_of))]!r} has none")
    return share_of[dataset.file_numbers], shares


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _some(paths: list[str]) -> str:
    return ", ".join(map(repr, paths[:4])) + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")
