"""Lines that a run prints at its beginning and at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastprep.command_lines import command_line, path_word
from fastprep.diagnostics.load_lines import files_of_other_parts
from fastprep.loader import Loader
from fastprep.training.config import Config
from fastprep.training.data import Inputs
from fastprep.training.foreign_code import runs_code
from fastprep.training.state import RunState

if TYPE_CHECKING:
    import keras


def describe_inputs(train: Loader, val: Loader, inputs: Inputs) -> list[str]:
    """Describe the images and the classes."""
    lines = []
    for word, loader in (("training", train), ("validation", val)):
        height, width, channels = loader._dataset.image_shape
        size = f"any size, the first {height}x{width}x{channels}" if loader._dataset.has_sizes else f"{height}x{width}x{channels}"
        reading = loader.stats()["files"][0]["read"]
        lines.append(f"{word}: {loader.n_samples} images of {size}, {reading}")
    names = f" ({', '.join(inputs.class_names[:10])}{', ...' if inputs.classes > 10 else ''})" if inputs.class_names else ""
    n_train, n_val = inputs.n_images
    if inputs.several:
        shares = inputs.val_counts / n_val
        usual = float(np.maximum(shares, 1 - shares).mean())
        mean = inputs.counts.sum() / n_train
        lines.append(
            f"several labels an image: {inputs.classes} classes{names}, a sigmoid for each; {mean:.2g} labels on average"
        )
        lines.append(f"the usual answer for each class is right in {usual:.2%} of the decisions of validation")
        return lines
    majority = inputs.val_counts.max() / inputs.val_counts.sum()
    lines.append(f"{inputs.classes} classes{names}; the largest has {majority:.2%} of the images for validation")
    return lines


def describe_network(config: Config, model: keras.Model) -> str:
    """Describe the network and how it is trained."""
    name = "AlexNet" if config.model == "alexnet" else config.model
    steps = f"{config.optimizer} {config.lr:g} {config.schedule}, batch {config.batch_size}, {config.precision}"
    return f"{name}, {model.count_params():,} weights, crops of {config.crop}, {steps}"


def describe_start(state: RunState, n_steps: int, config: Config) -> list[str]:
    """Return the line that says where a run resumes, or that it is at its end; none for a new run."""
    if state.epoch == state.step == 0:
        return []
    if state.finished(config):
        longer = "--early-stop" if state.epoch < config.epochs else "--epochs"
        return [f"nothing is left to train after {state.epoch} epochs; a larger {longer} goes on"]
    best = f"best so far epoch {state.best_epoch}" if state.best_epoch else "no epoch is over yet"
    step = f"step {state.step + 1} of {n_steps}" if state.step < n_steps else "validation"
    return [f"resuming at epoch {state.epoch + 1}, {step}; {best}"]


def command_to_test(config: Config, folder: object) -> str:
    """Return the command that tests a run on images that took no part in it: those of the test file, if it lies beside."""
    plain = Config(train=config.train)
    is_plain = all(getattr(config, name) == getattr(plain, name) for name in ("images", "labels", "axes", "shape"))
    files = files_of_other_parts(config.train, ("test",)) if config.train is not None and is_plain else ()
    file = next((path_word(path) for path in files if path != config.val), "FILE")
    model = ("--model", config.model) if runs_code(config.model) else ()
    return command_line("evaluate", (path_word(str(folder)), "--data", file), model)


def describe_corrupt(word: str, loader: Loader) -> list[str]:
    """Return the line that says how many images can't be read, with the first problem; none if all can.

    Parameters
    ----------
    word : str
        "training" or "validation".
    loader : Loader
    """
    corrupt = loader.stats()["corrupt"]
    if not corrupt or not corrupt["samples"]:
        return []
    problems, n = corrupt["problems"], corrupt["samples"]
    more = f"; and {len(problems) - 1} more of the kind" if len(problems) > 1 else ""
    effect = "the next ones took their place" if word == "training" else "they were left out"
    count = f"{n} of {loader.n_samples} {word} images can't be read, and {effect}"
    return [f"{count} (--on-corrupt skip): {problems[0]}{more}"]
