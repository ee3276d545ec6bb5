"""Part of a run's training file to test with: the images that it was validated with, or those that it was trained on."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.image_options import channels_of, shape_of
from fastprep.dataset import Dataset, expand_paths, image_mean
from fastprep.errors import InputError
from fastprep.evaluation.config import Config
from fastprep.h5 import absolute, is_there
from fastprep.training.config import Config as Training
from fastprep.training.config_file import load

if TYPE_CHECKING:
    from fastprep.evaluation.candidates import Candidate


def with_training_file(config: Config) -> Config:
    """Return the configuration with the training file of the first run, and the names of its datasets where none are given.

    Parameters
    ----------
    config : Config
        Without a file of its own.

    Raises
    ------
    InputError
        If no part of a training file is asked for, or the run does not say which file that is.
    """
    if config.split == "all":
        raise InputError("--data FILE is needed, or --split val for the images that a run with --val-split was not trained on")
    trained = _trained(config.runs[0])
    if trained is None or trained["train"] is None:
        raise InputError(f"--split {config.split}: {config.runs[0]!r} does not say which file it was trained on; say --data FILE")
    default = Config(runs=config.runs)
    names = ("images", "axes", "shape", "labels")
    same = {name: trained[name] for name in names if getattr(config, name) == getattr(default, name)}
    return dataclasses.replace(config, data=trained["train"], **same)


def part_of_training(config: Config, candidates: Sequence[Candidate]) -> NDArray[np.int64] | None:
    """Return the samples to test with, by their numbers in the file; None for all of them.

    Parameters
    ----------
    config : Config
    candidates : sequence of Candidate

    Raises
    ------
    InputError
        If a run has no such part, or the runs have different ones.
    """
    if config.split == "all":
        return None
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    n_images = _count_images(config, config.data)
    for candidate in candidates:
        if candidate.val_indices is None:
            raise InputError(f"--split {config.split}: {candidate.name!r} was trained without --val-split or --fold")
        trained = _trained_part(candidate, n_images, f"--split {config.split}: {config.data!r}")
        parts.append((trained, np.unique(candidate.val_indices)))
        if any(not np.array_equal(*pair) for pair in zip(parts[0], parts[-1], strict=True)):
            problem = f"{candidates[0].name!r} and {candidate.name!r} were validated with different images"
            raise InputError(f"--split {config.split}: {problem}; test them one by one")
    return parts[0][config.split == "val"]


def mean_of_training(config: Config, candidate: Candidate) -> NDArray[np.float64]:
    """Compute the mean of the images that a run was trained on; for a model from elsewhere, of the file it is tested with.

    Parameters
    ----------
    config : Config
    candidate : Candidate

    Raises
    ------
    InputError
        If a run does not say which file it was trained on, or that file is gone.
    OSError, DataError, ValueError
        See `image_mean`.
    """
    assert config.data is not None
    if candidate.facts is None or config.split != "all":
        names: Config | Training = config
        files, channels = config.data, None if config.channels is None else channels_of(config.channels)
    else:
        trained = _trained(candidate.name)
        if trained is None or trained["train"] is None or not all(map(is_there, expand_paths(trained["train"]))):
            where = "which file it was trained on" if trained is None else f"where its training file {trained['train']!r} is now"
            way_out = "leave --mean out to subtract what training subtracted"
            raise InputError(f"--mean compute: {candidate.name!r} does not say {where}; {way_out}")
        names, files, channels = Training(**trained), trained["train"], None
    picked = channels if channels is not None else (candidate.facts or {}).get("picked")
    part = None
    if candidate.val_indices is not None:
        part = _trained_part(candidate, _count_images(names, files), f"--mean compute: {files!r}")
    return image_mean(files, names.images, axes=names.axes, shape=shape_of(names.shape), channels=picked, indices=part)


def note_on_training_images(config: Config, candidates: Sequence[Candidate]) -> list[str]:
    """Return the line that says that a test has images that a run was trained on; none if it has not."""
    if config.split != "all":
        return []
    assert config.data is not None
    tested = {absolute(path) for path in expand_paths(config.data)}
    for name, candidate in zip(config.runs, candidates, strict=True):
        trained = _trained(name) if candidate.val_indices is not None else None
        if trained is not None and trained["train"] is not None:
            files = {absolute(path) for path in expand_paths(trained["train"]) if is_there(path)}
            if files & tested:
                return [f"note: {candidate.name!r} was trained on most of these images; --split val tests with the others"]
    return []


def _count_images(names: Config | Training, files: Any) -> int:
    with contextlib.closing(Dataset(files, names.images, None, axes=names.axes, shape=shape_of(names.shape))) as whole:
        return whole.n_samples


def _trained_part(candidate: Candidate, n_images: int, where: str) -> NDArray[np.int64]:
    """Return the samples of the training file, which has `n_images`, that a run with a part for validation was trained on."""
    val, n = candidate.val_indices, (candidate.facts or {}).get("n_samples")
    assert val is not None
    is_vector = val.ndim == 1 and val.dtype.kind in "iu" and len(val) > 0
    if type(n) is not int or not is_vector or val.min() < 0 or val.max() >= n or len(np.unique(val)) < len(val):
        raise InputError(f"{str(candidate.path)!r} is damaged: its part for validation can't be one of {n} images")
    if n != n_images:
        raise InputError(f"{where}: there are {n_images} images, and {n} when the run divided them: it is another file")
    return np.setdiff1d(np.arange(n), val)


def _trained(run: str) -> dict[str, Any] | None:
    """Return the configuration of a run; None for a file that is in no run folder."""
    path = Path(run) / "config.json"
    return {**vars(Training()), **load(path)} if path.exists() else None
