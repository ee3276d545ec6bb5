"""Validation by a part of the training file: a share of each class, or a fold of a cross-validation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.image_options import shape_of
from fastprep.errors import InputError, MissingDatasetError, one_line
from fastprep.loader import Loader
from fastprep.sampling.splitting import folds, split
from fastprep.sampling.strata import groups_of
from fastprep.training.config import Config, fold_of
from fastprep.training.file_checks import check_labels
from fastprep.training.several_labels import check_rows, label_sets, settled


class Parts(NamedTuple):
    """Samples of the training file, by their numbers through all of its files.

    Attributes
    ----------
    train, val : ndarray of int64, or None
        None for all samples of the training file, and for those of a validation file.
    """

    train: NDArray[np.int64] | None = None
    val: NDArray[np.int64] | None = None


NOT_DIVIDED = Parts()


def divide(config: Config) -> tuple[Config, Parts]:
    """Return the parts for training and for validation that `--val-split` or `--fold` ask for, stratified by class.

    Where images have several labels, they are stratified by their sets of labels. The parts follow from the labels, the groups,
    the options and `--seed` alone, so that all ranks have the same.

    Parameters
    ----------
    config : Config

    Returns
    -------
    (Config, Parts)
        The configuration says whether images have several labels, as all labels of the file do, if it is divided.

    Raises
    ------
    ValueError, OSError, InputError
        If labels or groups can't be read, are of the wrong kind, or are too few.
    """
    if not config.divides:
        return config, NOT_DIVIDED
    with _open(config, config.labels) as loader:
        config = settled(config, loader)
        classes = label_sets(check_rows(loader), _least(config)) if config.several else check_labels(loader)
    groups = None if config.val_groups is None else _groups(config)
    try:
        if config.val_split is not None:
            return config, Parts(*split(classes, (1 - config.val_split, config.val_split), seed=config.seed, groups=groups))
        number, n_folds = fold_of(config.fold)
        return config, Parts(*folds(classes, n_folds, seed=config.seed, groups=groups)[number - 1])
    except ValueError as error:
        asked = f"--fold {config.fold}" if config.val_split is None else f"--val-split {config.val_split}"
        raise ValueError(f"{asked}: {error}") from None


def _least(config: Config) -> float:
    """Return the number of images of a kind of which each part has one."""
    return fold_of(config.fold)[1] if config.val_split is None else 1 / min(config.val_split, 1 - config.val_split)


def _groups(config: Config) -> NDArray[np.int64]:
    """Return the number of each image's group, from 0.

    Raises
    ------
    InputError
        If they can't be read, or are not one for each image.
    """
    assert config.val_groups is not None
    try:
        with _open(config, config.val_groups) as loader:  # groups are read as labels are, and texts among them numbered
            values = loader.labels
        return groups_of(values.reshape(-1) if values[:1].size == 1 else values, len(values))
    except (ValueError, OSError) as error:
        if isinstance(error, MissingDatasetError) and error.argument == "labels":
            error.argument = "val_groups"
        raise InputError(f"--val-groups {config.val_groups}: {one_line(error)}") from None


def _open(config: Config, labels: str) -> Loader:
    options: dict[str, Any] = {"images": config.images, "axes": config.axes, "shape": shape_of(config.shape)}
    assert config.train is not None
    return Loader(config.train, 1, None, mean=None, device="cpu", workers=1, labels=labels, **options)
