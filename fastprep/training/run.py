"""One training run on the images of HDF5 files, into a folder whose files are whole at any moment.

The folder: config.json, history.csv, curves.png, best.keras and last.keras, which a run can be resumed from.
"""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.tensorflow_startup import start_tensorflow
from fastprep.errors import InputError, input_errors
from fastprep.loader import Loader
from fastprep.system import Notice, stop_soon
from fastprep.training import checkpoint, network
from fastprep.training.config import Config, shared_options
from fastprep.training.data import Inputs, look, open_loaders
from fastprep.training.distributed.collectives import ALONE, Ranks
from fastprep.training.distributed.consistency import check_alike, fingerprint, from_first, shares
from fastprep.training.run_folder import locked, make_folder, resumable, write_config
from fastprep.training.throughput import summary

if TYPE_CHECKING:
    import keras

    from fastprep.adapters.keras import Loader as KerasLoader
    from fastprep.training.state import RunState


@dataclass(frozen=True)
class Result:
    """What came out of a run.

    Attributes
    ----------
    folder : Path
    best_epoch : int
        From 1; the one whose model is best.keras.
    best_accuracy : float
        Its accuracy on the validation file, 0..1.
    mean : ndarray of float32, or None
        What was subtracted from the images.
    """

    folder: Path
    best_epoch: int
    best_accuracy: float
    mean: NDArray[np.float32] | None


def run(config: Config, ranks: Ranks = ALONE) -> Result:
    """Train as configured, from the beginning or from where an earlier run was cut off.

    Parameters
    ----------
    config : Config
        Checked (`fastprep.training.config.check`).
    ranks : Ranks
        Who trains together. The run folder is rank 0's; the others need neither see nor have it.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        If a file or an argument is not what it should be.
    RankError
        If another rank ends, hangs, or was started otherwise.
    """
    with contextlib.ExitStack() as stack:
        saved: dict[str, Any] | None = None
        arrays: dict[str, NDArray] = {}
        folder = None if config.resume is None else Path(config.resume)
        with ranks.together():
            if folder is not None and ranks.first:
                stack.enter_context(locked(folder))
                if (folder / "last.keras").exists():  # else it was killed before its first step, and begins anew
                    saved, arrays = checkpoint.read(folder / "last.keras")
        saved, arrays = from_first(ranks, saved, arrays)
        with ranks.together():
            # what is wrong with a file is said before TensorFlow takes its seconds
            inputs = look(config) if saved is None else look(config, arrays.get("mean"))
            start_tensorflow()
            train, val = open_loaders(config, inputs, (ranks.rank, ranks.world))
            stack.callback(train.close)
            stack.callback(val.close)
            model, logits, said = _build(config, inputs, ranks, new=saved is None)
        check_alike(ranks, lambda: fingerprint(shared_options(config), train, val, model, inputs.class_names, inputs.mean))
        with ranks.together():
            if folder is None:
                folder = make_folder(config, ranks)
                stack.enter_context(locked(folder) if ranks.first else contextlib.nullcontext())
            if saved is None:
                course, arrays = _begin(inputs)
            else:
                course = _continue(config, model, train, saved, folder, ranks)
        folder = Path(ranks.from_first(str(folder)))  # which has a time in its name
        _start_alike(model, config, course, ranks)
        print(
            _describe(config, train, val, inputs, model, folder, [*said, *_place(course, train), *shares(ranks, train)]),
            flush=True,
        )
        about = {**_about(config, inputs), "logits": logits}
        who = "fastprep.train" if ranks.world == 1 else f"fastprep.train: rank {ranks.rank}"
        message = f"{who}: interrupted; what the run folder holds is whole; go on with --resume {folder}"
        # half-written files are rank 0's, and not for others to remove
        swept = folder if ranks.first else Path(os.devnull)
        with resumable(folder), ranks.watching(), stop_soon(swept, message, save_s=config.grace) as notice, _last_words(message):
            if not course.finished(config):
                _fit(config, model, train, val, folder, course, about, arrays, notice, ranks)
        return Result(folder, course.best_epoch, course.best_accuracy, inputs.mean)


def _build(config: Config, inputs: Inputs, ranks: Ranks, new: bool) -> tuple[keras.Model, bool, list[str]]:
    """Return the network, compiled, whether it gives logits, and what there is to say about it."""
    import tensorflow as tf

    from fastprep.training.batchnorm import learning_norms

    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    model, said = network.build_model(config, inputs.input_shape, inputs.classes), []
    if config.weights is not None and new:
        said.append(network.take_weights(model, config.weights))
    if config.freeze is not None:
        said.append(network.freeze(model, config.freeze))
    if config.batchnorm_steps and not learning_norms(model) and not config.demo:  # whose defaults are for AlexNet
        raise InputError(f"--batchnorm-steps: --model {config.model} has no batch normalisation that learns")
    logits = network.gives_logits(model, inputs.input_shape)
    if ranks.world == 1:
        network.compile_model(model, config, logits)
    else:
        from fastprep.training.distributed.sync import share_gradients

        network.compile_model(model, config, logits, jit_compile=False)  # XLA knows no collectives of other processes
        share_gradients(model, ranks)
    return model, logits, said


def _start_alike(model: keras.Model, config: Config, course: RunState, ranks: Ranks) -> None:
    if ranks.world > 1:
        from fastprep.training.distributed.sync import start_alike

        start_alike(model, ranks, config.seed, course.epoch, course.step)


def _begin(inputs: Inputs) -> tuple[RunState, dict[str, NDArray]]:
    from fastprep.training.state import RunState

    return RunState(), {} if inputs.mean is None else {"mean": inputs.mean}


def _continue(
    config: Config, model: keras.Model, train: KerasLoader, saved: dict[str, Any], folder: Path, ranks: Ranks
) -> RunState:
    """Put a saved run into model and loader; the model of other ranks than the first follows in `_start_alike`."""
    from fastprep.adapters.tensorflow import to_tensor
    from fastprep.training.run_folder import publish
    from fastprep.training.state import RunState

    course = RunState.from_dict(saved["course"])
    if course.step:
        (batch,) = train._source.prepare(0, 0).parts  # Keras makes the variables of its metrics at a first batch
        model.test_on_batch(to_tensor(batch, train.dtype), batch.y, batch.weights)
    with input_errors(ValueError):
        train.load_state_dict(saved["loader"])
    if course.step:
        if train.next_epoch > course.epoch:  # what is left does not fill a batch of every rank: the epoch's training is over
            train.set_epoch(course.epoch, len(train))
        course.step = train.next_step  # another one if there were other ranks
    if not ranks.first:
        return course
    checkpoint.restore(folder / "last.keras", model)
    for half in folder.glob(".*.part*"):  # of a process that was killed while it wrote
        with contextlib.suppress(OSError):  # a folder is an evaluation's
            half.unlink()
    if course.epoch and course.step == 0:  # it may have been killed before it came to this
        publish(course, folder)
    write_config(config, folder)
    return course


def _fit(
    config: Config,
    model: keras.Model,
    train: KerasLoader,
    val: KerasLoader,
    folder: Path,
    course: RunState,
    about: dict[str, Any],
    arrays: dict[str, NDArray],
    notice: Notice,
    ranks: Ranks,
) -> None:
    import keras

    from fastprep.adapters.keras import EpochSync
    from fastprep.training.callbacks import RunCallback

    keeper = RunCallback(config, train, course, folder, about, arrays, notice, ranks)
    callbacks = [EpochSync(train), keeper]
    if ranks.world > 1:
        from fastprep.training.distributed.sync import Totals

        callbacks.insert(0, Totals(ranks))
    if config.tensorboard and ranks.first:
        callbacks.append(keras.callbacks.TensorBoard(folder / "tensorboard"))
    before, began = course.epoch, time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Your input ran out of data")  # that is how the rest of a resumed epoch ends
        try:
            model.fit(
                train,
                validation_data=val,
                initial_epoch=course.epoch,
                epochs=config.epochs,
                callbacks=callbacks,
                verbose=0,
            )
        except Exception:
            keeper.line.leave()  # the error is no part of it
            raise
    n_epochs = course.epoch - before
    print(f"{n_epochs} epoch{'s' * (n_epochs != 1)} in {time.perf_counter() - began:.0f} s")
    if course.epoch < config.epochs:
        print(f"stopped early: {config.early_stop} epochs without a better model")
    for word, loader in (("training", train), ("validation", val)):
        if line := _left_out(word, loader):
            print(line)
    if ranks.first:  # which may measure
        print(summary(course.meter, train, lambda workers: _measured_loader(config, train, workers)))


def _left_out(word: str, loader: Loader) -> str:
    """Say how many images can't be read, and why the first of them, if there are any."""
    corrupt = loader.stats()["corrupt"]
    if not corrupt or not corrupt["samples"]:
        return ""
    problems, n = corrupt["problems"], corrupt["samples"]
    more = f"; and {len(problems) - 1} more of the kind" if len(problems) > 1 else ""
    said = f"{n} of {loader.n_samples} {word} images can't be read, and the next ones took their place"
    return f"{said} (--on-corrupt skip): {problems[0]}{more}"


def _measured_loader(config: Config, train: Loader, workers: int) -> Loader:
    """Return a loader like that of training, but without labels."""
    options: dict[str, Any] = {"images": config.images, "labels": None, "mean": train.mean, "shuffle": True, "device": "cpu"}
    options |= {"on_corrupt": config.on_corrupt}
    return Loader(train.files, config.batch_size, train.crop, workers=workers, **options)


@contextlib.contextmanager
def _last_words(message: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(message)  # after that of who raised it, if there is one
        raise


def _about(config: Config, inputs: Inputs) -> dict[str, Any]:
    """Return what an evaluation has to know of a model."""
    return {
        "model": config.model,
        "crop": config.crop,
        "classes": inputs.classes,
        "class_names": list(inputs.class_names),
        "channel_order": inputs.channel_order,
        "channels": inputs.input_shape[2],
    }


def _place(course: RunState, train: Loader) -> list[str]:
    if course.epoch == course.step == 0:
        return []
    best = f"best so far epoch {course.best_epoch}" if course.best_epoch else "no epoch is over yet"
    step = f"step {course.step + 1} of {len(train)}" if course.step < len(train) else "validation"
    return [f"resuming at epoch {course.epoch + 1}, {step}; {best}"]


def _describe(
    config: Config, train: Loader, val: Loader, inputs: Inputs, model: keras.Model, folder: Path, said: list[str]
) -> str:
    lines = [f"run folder {folder}"]
    for word, loader in (("training", train), ("validation", val)):
        height, width, channels = loader._spec.image_shape
        how = loader.stats()["files"][0]["read"]
        lines.append(f"{word}: {loader.n_samples} images of {height}x{width}x{channels}, {how}")
    names = f" ({', '.join(inputs.class_names[:10])}{', ...' if inputs.classes > 10 else ''})" if inputs.class_names else ""
    majority = inputs.val_counts.max() / inputs.val_counts.sum()
    lines.append(f"{inputs.classes} classes{names}; the largest alone would be {majority:.2%} of validation")
    network = "AlexNet" if config.model == "alexnet" else config.model
    weights = f"{model.count_params():,} weights"
    steps = f"{config.optimizer} {config.lr:g} {config.schedule}, batch {config.batch_size}, {config.precision}"
    lines.append(f"{network}, {weights}, crops of {config.crop}, {steps}")
    lines += said
    lines += [f"note: {note}" for note in inputs.notes]
    return "\n".join(lines)
