"""What `fit`, `evaluate` or `predict` was called with, and whether its arguments mean anything where x is a loader.

Keras hands a data adapter on as it is: it tells it neither its own arguments nor what the batches are for. Both are in the frames
of the functions of Keras that ask for batches, and nowhere else. They are read there, and nothing of Keras is changed.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from fastprep.dataset.nested import outputs_of

if TYPE_CHECKING:
    from fastprep.loader import Loader

_log = logging.getLogger(__name__)

_METHODS = ("fit", "evaluate", "predict")
_JAX_STATE = {  # what is in the `state` of Keras' JAX trainer, by attributes of the model, and the optimizer's variables
    "fit": ("trainable_variables", "non_trainable_variables", "variables", "metrics_variables"),
    "evaluate": ("trainable_variables", "non_trainable_variables", "metrics_variables"),
    "predict": ("trainable_variables", "non_trainable_variables"),
}
_MEANT = {  # arguments of Keras that a loader makes meaningless, and what the user wants instead
    "y": "the loader gives the labels with its images: name their dataset with Loader(labels=...)",
    "sample_weight": "give the weights to the loader: Loader(sample_weight=...)",
    "class_weight": "give the weights to the loader: Loader(class_weight=...)",
    "batch_size": "the loader has its own: Loader(batch_size=...)",
}


class KerasCall(NamedTuple):
    """A call of `fit`, `evaluate` or `predict` that is under way.

    Attributes
    ----------
    method : {"fit", "evaluate", "predict"}
    iterator : object
        Keras' `EpochIterator` that asks for batches.
    arguments : mapping of str to object, or None
        Arguments of the method by name, and its other variables so far, while the iterator is being made. Later None: a look at
        the variables of a frame would keep what they refer to, such as weights, longer than Keras does.
    """

    method: str
    iterator: Any
    arguments: Mapping[str, Any] | None

    @property
    def begins_training(self) -> bool:
        """Whether the iterator is being made for the training of a `fit`; that for its validation is made later."""
        return self.method == "fit" and self.arguments is not None and self.arguments.get("epoch_iterator") is None


def current_call() -> KerasCall | None:
    """Return the call of Keras for which the present function runs; None if it was not called by Keras' `EpochIterator`."""
    iterator, begins = None, False
    for frame in _keras_frames():
        method = frame.f_code.co_name
        if iterator is None:
            iterator, begins = _epoch_iterator(frame.f_locals.get("self")), method == "__init__"
        elif method in _METHODS:
            return KerasCall(method, iterator, frame.f_locals if begins else None)
    return None


def training_data() -> object:
    """Return x of the `fit` of Keras for which the present function, of a callback, runs; None if there is none."""
    frame = _frame_of("fit")
    return None if frame is None else frame.f_locals.get("x")


def current_model() -> Any | None:
    """Return the model whose `fit`, `evaluate` or `predict` the present function runs for; None if there is none."""
    frame = _frame_of(*_METHODS)
    return None if frame is None else frame.f_locals.get("self")


def begins_anew() -> bool:
    """Return whether the present function was called because Keras begins anew, for which it reports the end of an epoch, too."""
    frame = _frame_of("reset")
    return frame is not None and _epoch_iterator(frame.f_locals.get("self")) is not None


def keep_weights(batches: Iterator[Any]) -> Iterator[Any]:
    """Iterate over batches for JAX; if one is an error, give the model back its weights.

    Keras' JAX trainer takes them out of the model before it asks for a batch, and does not put them back where that fails: the
    model would be lost with the values.
    """
    try:
        yield from batches
    except (Exception, KeyboardInterrupt):
        _restore_weights()
        raise


def _restore_weights() -> None:
    if (frame := _frame_of(*_METHODS)) is None:
        return
    model: Any = frame.f_locals.get("self")
    state = frame.f_locals.get("state") or ()
    for name, values in zip(_JAX_STATE[frame.f_code.co_name], state, strict=False):
        owner = model.optimizer if name == "variables" else model
        for variable, value in zip(getattr(owner, name), values, strict=True):
            if getattr(variable, "_value", value) is None:
                variable.assign(value)


def _keras_frames() -> Iterator[FrameType]:
    """Iterate over the frames of Keras' functions that are under way, the innermost first."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith("keras."):
            yield frame
        frame = frame.f_back


def _frame_of(*names: str) -> FrameType | None:
    """Return the frame of the innermost function of Keras with one of these names."""
    return next((frame for frame in _keras_frames() if frame.f_code.co_name in names), None)


def _epoch_iterator(candidate: object) -> object | None:
    return candidate if any(base.__name__ == "EpochIterator" for base in type(candidate).__mro__) else None


def check_arguments(loader: Loader, call: KerasCall) -> None:
    """Check the arguments of a call that begins to iterate a loader; those for a validation by another loader as well.

    Raises
    ------
    ValueError
        If an argument has no effect where x is a loader.
    """
    given = call.arguments or {}
    if call.method != "fit":
        _refuse(loader, f"{call.method}: ", {name: given.get(name) for name in ("y", "sample_weight", "batch_size")})
        if call.method == "evaluate":
            _warn_of_steps_left_out(loader, "steps", given.get("steps"))
            _warn_of_draws(loader, "evaluate")
        elif loader.shuffle:
            rows = "predict: this loader shuffles, so that the rows are not in the order of the file"
            _log.warning("%s: make one with shuffle=False, and without sampling= and mix=, for predictions", rows)
    elif call.begins_training:
        _refuse(loader, "fit: ", {name: given.get(name) for name in _MEANT})
        _warn_of_uneven_epochs(loader, given.get("steps_per_epoch"))
        _warn_of_order(loader, given.get("shuffle"))
        _check_validation(given)
    elif not _is_loader(given.get("x")):  # else it was checked when the training began
        _check_validation(given)


def _is_loader(x: object) -> bool:
    from fastprep.loader import Loader

    return isinstance(x, Loader)


def _check_validation(given: Mapping[str, Any]) -> None:
    """Check the arguments of `fit` for its validation, if that is by a loader; before the first epoch, which may take hours."""
    data = given.get("validation_data")
    loader, *others = data if isinstance(data, (tuple, list)) and data else (data,)
    if not _is_loader(loader):
        return
    values = dict(zip(("y", "sample_weight"), others, strict=False))
    _refuse(loader, "validation_data of fit: ", values)
    _refuse(loader, "fit: ", {"batch_size": given.get("validation_batch_size")}, "validation_")
    _warn_of_steps_left_out(loader, "validation_steps", given.get("validation_steps"))
    _warn_of_draws(loader, "validation_data of fit")
    if _is_loader(given.get("x")):
        _check_same_classes(given["x"], loader)


def _check_same_classes(train: Loader, val: Loader) -> None:
    """Check that texts stand for the same numbers in training and validation: each loader numbers those that it has."""
    has_texts = any(output.are_texts for loader in (train, val) for output in outputs_of(loader._dataset.outputs))
    if has_texts and val.class_names != train.class_names:
        raise ValueError(
            f"validation_data of fit: its labels are numbered by the class_names {val.class_names}, those of training by "
            f"{train.class_names}; make it with Loader(class_names=train.class_names)"
        )


def _refuse(loader: Loader, where: str, values: Mapping[str, Any], prefix: str = "") -> None:
    for name, value in values.items():
        if value is None or (name == "batch_size" and value == loader.batch_size):
            continue
        found = f"{value}, and batches of {loader.batch_size}" if name == "batch_size" else f"a {type(value).__name__}"
        raise ValueError(f"{where}{prefix}{name} has no effect where batches come from a Loader, got {found}; {_MEANT[name]}")


def _warn_of_uneven_epochs(loader: Loader, n_steps: int | None) -> None:
    """Warn of epochs of `fit` that are not all alike, because `steps_per_epoch` does not divide the loader's epochs."""
    n_all = len(loader)
    if not n_steps or n_all % n_steps == 0:
        return
    if n_steps > n_all:
        found = f"an epoch of this loader has {n_all} steps, so no epoch of fit has more"
    else:
        n_left = n_all % n_steps
        whole = "every epoch" if n_all // n_steps == 1 else f"every {n_all // n_steps} epochs"
        found = (
            f"an epoch of this loader has {n_all} steps, so fit's epochs end where it ends: after {whole} of {n_steps} steps "
            f"comes one of {n_left}"
        )
    is_floor = n_steps == n_all - 1 and len(loader.samples(loader.next_epoch + 1, n_all - 1)) < loader.batch_size
    without_rest = f", or make it with drop_remainder=True for epochs of {n_steps} steps" if is_floor else ""
    _log.warning(
        "fit: steps_per_epoch=%d does not fit: %s; leave steps_per_epoch out, so that each epoch has every sample once%s",
        n_steps,
        found,
        without_rest,
    )


def _warn_of_steps_left_out(loader: Loader, name: str, n_steps: int | None) -> None:
    if n_steps and n_steps != len(loader):
        effect = "the evaluation leaves samples out" if n_steps < len(loader) else "there are no more"
        _log.warning(
            "%s=%d, but an epoch of this loader has %d steps: %s; leave %s out", name, n_steps, len(loader), effect, name
        )


def _warn_of_draws(loader: Loader, what: str) -> None:
    if loader.sampling is not None or loader.mix is not None:
        problem = "this loader draws samples with replacement, so that some are not evaluated and others several times"
        _log.warning("%s: %s; evaluate with a loader without sampling= and mix=", what, problem)


def _warn_of_order(loader: Loader, shuffle: Any) -> None:
    """Warn where the order that `fit` is asked for, True if it is not asked, is not that of the loader."""
    if bool(shuffle) == loader.shuffle or len(loader) == 1:
        return
    if loader.shuffle:
        _log.warning("fit: shuffle=%r has no effect: this loader was made with shuffle=True", shuffle)
    else:
        _log.warning(
            "fit: the samples of this loader come in the order of the file in every epoch, whatever fit's shuffle says (here "
            "%r; True is its default): make it with Loader(shuffle=True), or call fit(shuffle=False) if that order is meant",
            shuffle,
        )
