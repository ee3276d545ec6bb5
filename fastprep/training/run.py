"""One training run on the images of HDF5 files, into a run folder that it can be resumed from."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.output import write_prose
from fastprep.cli.progress import shown_wait
from fastprep.errors import InputError, input_errors, one_line
from fastprep.loader import Loader
from fastprep.reports.page import FILE_NAME
from fastprep.system import Notice, interrupts_undisguised, stop_soon
from fastprep.training import checkpoint, report
from fastprep.training.config import Config
from fastprep.training.data import AS_CONFIGURED, images_of
from fastprep.training.distributed.consistency import from_first
from fastprep.training.distributed.ranks import ALONE, Ranks
from fastprep.training.page import RunReport
from fastprep.training.run_folder import RunFolder
from fastprep.training.session import Session, open_session
from fastprep.training.state import RunState
from fastprep.training.throughput import summary

if TYPE_CHECKING:
    from fastprep.training.callbacks import RunCallback


@dataclass(frozen=True)
class Result:
    """Result of a run.

    Attributes
    ----------
    folder : Path
        Run folder.
    best_epoch : int
        Epoch whose model is best.keras, from 1.
    best_accuracy : float
        Accuracy of that model on the validation file, 0..1; with several labels an image, the share of right decisions.
    mean : ndarray of float32, or None
        Mean that was subtracted from the images.
    best_auc : float or None
        Area under the ROC curve of that model, 0..1, the mean of the classes; None for one class an image.
    """

    folder: Path
    best_epoch: int
    best_accuracy: float
    mean: NDArray[np.float32] | None
    best_auc: float | None = None


@dataclass(frozen=True, eq=False)
class _Saved:
    """Save that a run is resumed from; a new run has none.

    Attributes
    ----------
    values : dict or None
        State as JSON; None for a new run.
    arrays : dict of str to ndarray
    """

    values: dict[str, Any] | None = None
    arrays: dict[str, NDArray] = field(default_factory=dict)

    @property
    def mean(self) -> NDArray[np.float32] | str | None:
        """Mean that a resumed run subtracts, whatever the training file stores by now."""
        return AS_CONFIGURED if self.values is None else self.arrays.get("mean")


def run(config: Config, ranks: Ranks = ALONE) -> Result:
    """Train as configured, from the beginning or from the last save of an interrupted run.

    Parameters
    ----------
    config : Config
        Checked by `fastprep.training.config.check`.
    ranks : Ranks
        Processes that train together. The run folder belongs to rank 0; the others need no access to it.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        If a file or an option is not suitable.
    RankError
        If another rank ends, hangs, or was started for another run.
    """
    with contextlib.ExitStack() as stack:
        with ranks.together():
            saved = _read_saved(config, ranks, stack)
        saved = _Saved(*from_first(ranks, saved.values, saved.arrays))
        session = open_session(config, ranks, saved.mean, stack)
        with ranks.together():
            folder = _open_folder(session.config, ranks, stack)
            with shown_wait(f"reading {folder.last}", saved.values is None or config.quiet):
                state = RunState() if saved.values is None else _restore(session, saved.values, folder)
        folder = RunFolder(ranks.from_first(str(folder)), config.model)  # its name may contain the time on rank 0
        ranks.start_alike(session.model, config.seed, state.epoch, state.step)
        write_prose(*_describe(session, state, folder), flush=True)
        if ranks.first:
            folder.report = RunReport(folder, session.config, _describe_run(session), ranks.world).page
        message = f"{ranks.prefix}: interrupted; what the run folder holds is whole; go on with `{folder.resume}`"
        swept = folder.path if ranks.first else Path(os.devnull)  # half-written files are for rank 0 to remove
        with (
            folder.resumable(),
            ranks.training(swept),
            stop_soon(swept, message, save_s=config.grace) as notice,
            _with_note(message),
            interrupts_undisguised(),
            _profile(session, folder),
        ):
            if not state.finished(session.config):
                _train(session, folder, state, saved, notice)
            elif not folder.is_reported:  # the run may have been killed between saving and reporting
                folder.write_report(state)
        return Result(folder.path, state.best_epoch, state.best_accuracy, session.inputs.mean, state.best_auc)


def _profile(session: Session, folder: RunFolder) -> contextlib.AbstractContextManager[Any]:
    """Return a context that profiles the loader of training on rank 0, if that is asked for."""
    steps = session.config.profile
    if steps is None or not session.ranks.first:
        return contextlib.nullcontext()
    return session.train.profile(folder.path / "profile.json", steps)


def _read_saved(config: Config, ranks: Ranks, stack: contextlib.ExitStack) -> _Saved:
    """Lock the folder of a run that is resumed, and read its last save; on rank 0 alone."""
    if config.resume is None or not ranks.first:
        return _Saved()
    folder = RunFolder(config.resume, config.model)
    stack.enter_context(folder.locked())
    return _Saved(*folder.read_last())


def _open_folder(config: Config, ranks: Ranks, stack: contextlib.ExitStack) -> RunFolder:
    """Return the folder of the run; if that is new, create and lock it on rank 0."""
    if config.resume is not None:
        return RunFolder(config.resume)
    folder = RunFolder.planned(config)
    if ranks.first:
        folder.create(config)
        stack.enter_context(folder.locked())
    return folder


def _restore(session: Session, values: dict[str, Any], folder: RunFolder) -> RunState:
    """Put a saved run into model and loader; other ranks receive the model in `Ranks.start_alike`."""
    from fastprep.adapters.keras_base import to_backend

    model, train = session.model, session.train
    try:
        state = RunState.from_dict(values["course"], values.get("throughput"))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{str(folder.last)!r} is damaged: its state can't be that of a run: {one_line(error)}") from error
    if state.step:
        (batch,) = train._source.prepare(0, 0).parts  # Keras creates the variables of its metrics at a first batch
        model.test_on_batch(to_backend(batch, train.dtype), batch.y, batch.weights)
    with input_errors(ValueError, KeyError, TypeError):
        train.load_state_dict(values["loader"])
    if state.step:
        if train.next_epoch > state.epoch:  # the rest does not fill a batch of every rank, so the epoch's training is over
            train.set_epoch(state.epoch, len(train))
        state.step = train.next_step  # differs from the saved one if the number of ranks does
    if session.ranks.first:
        checkpoint.restore(folder.last, model)
        folder.remove_half_written()
        if state.epoch and state.step == 0:  # the run may have been killed between saving and publishing
            folder.publish(state)
        folder.write_config(session.config)
    return state


def _describe(session: Session, state: RunState, folder: RunFolder) -> list[str]:
    lines = [f"run folder {folder}", *_describe_run(session), *report.describe_start(state, len(session.train), session.config)]
    if session.ranks.first and not folder.may_report:
        lines.append(f"note: {str(folder.path / FILE_NAME)!r} was not written by fastprep, and stays: move it away for a report")
    return lines


def _describe_run(session: Session) -> list[str]:
    """Describe images, classes, network and ranks."""
    config, train, inputs = session.config, session.train, session.inputs
    return [
        *report.describe_inputs(train, session.val, inputs),
        report.describe_network(config, session.model),
        *session.notes,
        *session.ranks.describe(train.batch_size),
        *(f"note: {note}" for note in inputs.notes),
    ]


def _train(session: Session, folder: RunFolder, state: RunState, saved: _Saved, notice: Notice) -> None:
    """Train to the end, and print what came out."""
    from fastprep.training.callbacks import RunCallback
    from fastprep.training.saver import Saver, SaveSchedule

    config, ranks, train = session.config, session.ranks, session.train
    known = {"mean": session.inputs.mean, "val_indices": session.inputs.parts.val}
    arrays = saved.arrays if saved.values is not None else {name: values for name, values in known.items() if values is not None}
    saver = Saver(folder, state, train, session.facts, arrays, ranks)
    callback = RunCallback(config, train, state, saver, SaveSchedule(config.save_every, notice, ranks), ranks, len(session.val))
    first_epoch, began = state.epoch, time.perf_counter()
    _fit(session, callback, folder)
    n_epochs = state.epoch - first_epoch
    lines = [f"{n_epochs} epoch{'s' * (n_epochs != 1)} in {time.perf_counter() - began:.0f} s"]
    if state.epoch < config.epochs:
        lines.append(f"stopped early: {config.early_stop} epochs without a better model")
    lines += [*report.describe_corrupt("training", train), *report.describe_corrupt("validation", session.val)]
    write_prose(*lines)
    if ranks.first:  # the other ranks print nothing, and so measure nothing
        limits = summary(state.meter, train, lambda workers: _unlabelled(config, train, workers)).split("\n")
        write_prose(*limits)
        folder.write_report(state, [*lines, *limits])


def _fit(session: Session, callback: RunCallback, folder: RunFolder) -> None:
    import keras

    from fastprep.adapters.keras import EpochSync
    from fastprep.adapters.loader_metrics import LoaderMetrics

    metrics = LoaderMetrics(session.train, folder.path / "loader.jsonl" if session.ranks.first else None)
    callbacks = [*session.ranks.callbacks(), EpochSync(session.train), metrics, callback]
    if session.config.tensorboard and session.ranks.first:
        callbacks.append(keras.callbacks.TensorBoard(folder.path / "tensorboard"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Your input ran out of data")  # the rest of a resumed epoch ends this way
        try:
            session.model.fit(
                session.train,
                validation_data=session.val,
                initial_epoch=callback.state.epoch,
                epochs=session.config.epochs,
                callbacks=callbacks,
                verbose=0,
            )
        except Exception:
            callback.progress.leave()  # the message of the error is not part of the status line
            raise


def _unlabelled(config: Config, train: Loader, workers: int) -> Loader:
    """Return a loader like that of training, but without labels."""
    options: dict[str, Any] = {**images_of(config), "labels": None, "mean": train.mean, "indices": train.indices}
    options |= {"shuffle": True, "shuffle_window": train.shuffle_window, "device": "cpu", "on_corrupt": config.on_corrupt}
    options |= {"standardize": train.standardize}
    return Loader(train.files, config.batch_size, train.crop, workers=workers, **options)


@contextlib.contextmanager
def _with_note(message: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(message)  # after the note of the raiser, if there is one
        raise
