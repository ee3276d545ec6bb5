"""Configuration of a training run: one frozen dataclass, and its rules."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastprep.cli.help import flowing
from fastprep.cli.image_options import check_mean_word
from fastprep.command_lines import option
from fastprep.dataset import expand_paths, is_of_other_file
from fastprep.errors import InputError, input_errors
from fastprep.h5 import check_no_folder, check_readable
from fastprep.system import check_local
from fastprep.training.augmentation import policy_of
from fastprep.training.options import (
    AugmentationOptions,
    DataOptions,
    ImageOptions,
    LearningOptions,
    MachineOptions,
    NetworkOptions,
    SavingOptions,
    SeveralHostsOptions,
)

_OF_A_HOST = ("train", "val", "workers", "grace", "tensorboard", "quiet", "rank_timeout", "profile")
# Options that may change when a run is resumed; any other change would make it another run.
MAY_CHANGE = (*_OF_A_HOST, "epochs", "early_stop", "save_every", "on_corrupt", "shuffle_window")
# Options that may be given when a run is resumed that had none: they settle a doubt about what it took for granted.
MAY_BE_NAMED = ("axes",)
# Options that may differ between the ranks of a run: paths on their hosts, and how long to wait there.
MAY_DIFFER = (*_OF_A_HOST, "mean", "weights", "out", "resume", "config", "trust")


@flowing
@dataclass(frozen=True)
class Config(
    SeveralHostsOptions,
    MachineOptions,
    SavingOptions,
    AugmentationOptions,
    ImageOptions,
    LearningOptions,
    NetworkOptions,
    DataOptions,
):  # the help text begins with the last one
    """Train a network on images in HDF5 files: --train FILE --val FILE, or --demo, or --resume RUN.

    For example::

        python -m fastprep.train --demo
        python -m fastprep.train --train train.h5 --val val.h5 --epochs 30
        python -m fastprep.train --train all.h5 --val-split 0.2 --augment imagenet
        python -m fastprep.train --train t.h5 --val v.h5 --model my_model:build
        python -m fastprep.train --resume runs/20261128-103000
    """

    @property
    def val_files(self) -> str | None:
        """Validation file: the training file if a part, or other datasets, of it are for validation."""
        return self.train if self.val is None and (self.val_images is not None or self.divides) else self.val

    @property
    def several(self) -> bool:
        """Whether images have several labels, once that is settled."""
        return self.labels_per_image == "several"

    @property
    def divides(self) -> bool:
        """Whether a part of the training file is for validation."""
        return self.val_split is not None or self.fold is not None


def fold_of(text: str | None) -> tuple[int, int]:
    """Return number, from 1, and count of folds out of a text such as "2/5"; (0, 0) if it is none."""
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text or "")
    number, n_folds = map(int, found.groups()) if found else (0, 0)
    return (number, n_folds) if 1 <= number <= n_folds >= 2 else (0, 0)


class _Rule(NamedTuple):
    """Range of some options; None, where an option may be left out, obeys every rule."""

    options: tuple[str, ...]
    text: str
    holds: Callable[[Any], bool]


class _Conflict(NamedTuple):
    """Combination of options that is an error; the text is a format string for `config`."""

    text: str
    applies: Callable[[Config], bool]


_RULES = (
    _Rule(("epochs", "crop", "resize"), "at least 1", lambda value: value >= 1),
    _Rule(("step_every", "patience", "early_stop", "save_every", "profile"), "at least 1", lambda value: value >= 1),
    _Rule(("batchnorm_steps", "shuffle_window"), "at least 0", lambda value: value >= 0),
    _Rule(("classes",), "at least 2", lambda value: value >= 2),
    _Rule(("seed",), "from 0 to 4294967295, as Keras takes it", lambda value: 0 <= value < 2**32),
    _Rule(("lr", "rank_timeout"), "above 0", lambda value: np.isfinite(value) and value > 0),
    _Rule(("momentum", "label_smoothing", "pool_dropout"), "at least 0 and below 1", lambda value: 0 <= value < 1),
    _Rule(("factor", "val_split"), "above 0 and below 1", lambda value: 0 < value < 1),
    _Rule(("scale", "jitter", "erase"), "at least 0 and at most 1", lambda value: 0 <= value <= 1),
    _Rule(("hue",), "at least 0 and at most 0.5", lambda value: 0 <= value <= 0.5),
    _Rule(("lighting", "mixup", "cutmix"), "at least 0", lambda value: np.isfinite(value) and value >= 0),
    _Rule(("weight_decay", "l2", "warmup", "grace"), "at least 0", lambda value: np.isfinite(value) and value >= 0),
)


def _only_alexnet(name: str) -> _Conflict:
    text = f"{option(name)} goes with --model alexnet only, got --model {{config.model}}"
    return _Conflict(text, lambda config: getattr(config, name) is not None and config.model != "alexnet" and not config.demo)


_CONFLICTS = (
    _Conflict(
        "--trust goes with --resume, --config or --weights, whose files it trusts",
        lambda config: config.trust and config.resume is None and config.config is None and config.weights is None,
    ),
    _Conflict("--full goes with --demo only", lambda config: config.full and not config.demo),
    _Conflict(
        "--model must be alexnet or MODULE:FUNCTION, such as keras.applications:MobileNetV2 or fastprep.model:small_cnn, "
        "got {config.model!r}",
        lambda config: config.model != "alexnet" and ":" not in config.model,
    ),
    _only_alexnet("l2"),
    _only_alexnet("pool_dropout"),
    _Conflict(
        "--freeze keeps random weights for ever without --weights FILE.keras",
        lambda config: config.freeze is not None and config.weights is None and config.model == "alexnet",
    ),
    _Conflict(
        "--train FILE and --val FILE are needed (or --val-split SHARE, or --fold K/N), or --demo, or --resume RUN",
        lambda config: not config.demo and (config.train is None or config.val_files is None),
    ),
    _Conflict(
        "--labels none has nothing to train on: name the labels of the training images",
        lambda config: config.labels == "none",
    ),
    _Conflict(
        "--labels {config.labels} has the labels of the training images: say --val-labels for those of the validation images",
        lambda config: is_of_other_file(config.labels) and config.val_labels is None and not config.divides,
    ),
    _Conflict(
        "--fold must be K/N, such as 2/5 for the second of five folds, got {config.fold}",
        lambda config: config.fold is not None and fold_of(config.fold) == (0, 0),
    ),
    _Conflict(
        "--val-split and --fold take the images for validation from the training file: say one of them, and leave --val, "
        "--val-images and --val-labels out",
        lambda config: (
            config.divides and [config.val, config.val_images, config.val_labels, config.val_split, config.fold].count(None) < 4
        ),
    ),
    _Conflict(
        "--val-groups goes with --val-split or --fold, which it keeps from dividing a group",
        lambda config: config.val_groups is not None and not config.divides,
    ),
    _Conflict(
        "--val-split and --fold are for files of your own: --demo brings images for validation",
        lambda config: config.divides and config.demo,
    ),
    _Conflict(
        "--turn and --flip go with random crops, and --augment none has none",
        lambda config: config.augment == "none" and (config.turn or config.flip),
    ),
    _Conflict(
        "--scale goes with random crops, and --augment none has none",
        lambda config: config.augment == "none" and bool(config.scale),
    ),
    _Conflict(
        "--out: {config.out!r} exists already; a run never writes over another",
        lambda config: config.out is not None and config.resume is None and os.path.lexists(config.out),
    ),
    _Conflict(
        "--tensorboard needs a package that is not installed: pip install tensorboard",
        lambda config: config.tensorboard and importlib.util.find_spec("tensorboard") is None,
    ),
    _Conflict(
        "--tensorboard needs TensorFlow, which writes its files whatever Keras runs on: pip install tensorflow",
        lambda config: config.tensorboard and importlib.util.find_spec("tensorflow") is None,
    ),
)


def check(config: Config) -> None:
    """Check everything that neither the loaders nor the network check, before anything slow begins.

    Raises
    ------
    InputError
        If an option breaks its rule or has no effect, or a file does not exist.
    """
    for rule in _RULES:
        for name in rule.options:
            value = getattr(config, name)
            if value is not None and not rule.holds(value):
                raise InputError(f"{option(name)} must be {rule.text}, got {value}")
    with input_errors(OSError):  # before it is asked what else is needed
        for path in (config.train, config.val):
            check_no_folder(path or "")
    for conflict in _CONFLICTS:
        if conflict.applies(config):
            raise InputError(conflict.text.format(config=config))
    policy_of(config.policy)
    check_mean_word(config.mean, ("file", "compute", "none"))
    if config.out is not None:
        check_local(config.out)
    with input_errors(OSError):
        for path in _input_files(config):
            check_readable(path)


def _input_files(config: Config) -> list[str]:
    named = {"--train": config.train, "--val": config.val}
    files = [path for name, pattern in named.items() if pattern is not None for path in expand_paths(pattern, name)]
    if config.resume is None:  # a saved run has its own weights and mean
        files += [config.weights] if config.weights is not None else []
        files += [config.mean] if config.mean not in ("file", "compute", "none") else []
    return files


def shared_options(config: Config) -> dict[str, str]:
    """Return the options that are the same on all ranks of one run, by their names on the command line."""
    names = [field.name for field in dataclasses.fields(config) if field.name not in MAY_DIFFER]
    return {option(name): str(getattr(config, name)) for name in names}
