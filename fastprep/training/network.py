"""Network of a run: its architecture, initial weights, frozen layers, loss and optimizer."""

from __future__ import annotations

import fnmatch
import functools
import importlib
import inspect
import os
import sys
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastprep.errors import ONE_INPUT, InputError
from fastprep.training import saved_model
from fastprep.training.augmentation import blends
from fastprep.training.config import Config

if TYPE_CHECKING:
    import keras

_NO_DECAY = ["bias", "gamma", "beta"]  # by convention, only weights that multiply the signal decay
_ENDING, _WITH_ACTIVATION = "classifier_activation", ("Dense", "Activation")
_SHAPES, _CLASSES = ("input_shape", "shape"), ("classes", "num_classes", "n_classes")  # usual names of the parameters


def build_model(config: Config, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return the network, not yet compiled, in the configured precision.

    Raises
    ------
    InputError
        If the network does not exist, or does not fit the images or the classes.
    """
    import keras

    keras.utils.set_random_seed(config.seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        function = find_network(config.model)
        if config.model == "alexnet":
            options = {"l2": config.l2, "pool_dropout": config.pool_dropout}
            function = functools.partial(function, **{name: value for name, value in options.items() if value is not None})
        model = _call(config.model, function, input_shape, classes, config.several)
    finally:
        keras.config.set_dtype_policy(before)
    if not isinstance(model, keras.Model):
        raise InputError(f"--model {config.model} must return a Keras model, got {type(model).__name__}")
    if len(getattr(model, "inputs", None) or ()) > 1:
        raise InputError(f"--model {config.model} must take one input, it has {len(model.inputs)}; {ONE_INPUT}")
    try:
        output_shape = _try_out(model, input_shape).shape
    except Exception as error:  # a user's own layers may raise anything
        raise InputError(f"--model {config.model} does not take images of {input_shape}: {_line(error)}") from error
    if output_shape[1:] != (classes,):
        rule = f"must have an output of {classes} numbers, one for each class"
        raise InputError(f"--model {config.model} {rule}, got the shape {output_shape[1:]}")
    if config.several and _ending_of_several(model, input_shape) == "softmax":
        problem = "ends with a softmax, which chooses one class, but images have several labels"
        raise InputError(f"--model {config.model} {problem}: end it with a sigmoid, or without an activation")
    return model


def gives_logits(model: keras.Model, input_shape: tuple[int, int, int], *, several: bool = False) -> bool:
    """Tell from the output of a network whether it ends without a softmax; with several labels an image, without a sigmoid.

    Only rows of probabilities sum to 1. The activation of the last layer would not tell, because networks may be wrapped.
    """
    if several:
        return _ending_of_several(model, input_shape) == "logits"
    return not _sum_to_1(_try_out(model, input_shape))


def _ending_of_several(model: keras.Model, input_shape: tuple[int, int, int]) -> Literal["softmax", "sigmoid", "logits"]:
    """Tell how a network ends, by its last layer if that is one of Keras', else by its output."""
    last: Any = model
    while getattr(last, "outputs", None):  # of a network within a network, the last one
        last = last.outputs[0]._keras_history.operation
    name = getattr(getattr(last, "activation", None), "__name__", None) if type(last).__name__ in _WITH_ACTIVATION else None
    name = type(last).__name__.lower() if type(last).__name__ in ("Softmax", "Sigmoid") else name
    if name in ("softmax", "sigmoid", "linear"):
        return "logits" if name == "linear" else name  # type: ignore[return-value]
    # a network may begin with outputs that are almost alike: images far out of range show what they have in common
    rows = np.concatenate([_try_out(model, input_shape, scale) for scale in (1, 30, 1000)])
    if _sum_to_1(rows):
        return "softmax"
    return "logits" if (rows < 0).any() or (rows > 1).any() or not rows.any() else "sigmoid"


def _sum_to_1(rows: NDArray[np.float64]) -> bool:
    return bool((rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-2))


def _try_out(model: keras.Model, input_shape: tuple[int, int, int], scale: float = 1) -> NDArray[np.float64]:
    """Return the output for two images of noise, which also builds a subclassed model."""
    images = (scale * np.random.default_rng(0).normal(size=(2, *input_shape))).astype("float32")
    import keras

    return np.asarray(keras.ops.convert_to_numpy(model(images, training=False)), np.float64)


def compile_model(model: keras.Model, config: Config, logits: bool, jit_compile: bool | str = "auto") -> None:
    """Give a network its loss and its optimizer, and create the variables of the optimizer, so that a saved run can be restored.

    Parameters
    ----------
    model : keras.Model
    config : Config
    logits : bool
        Whether the network ends without a softmax or sigmoid.
    jit_compile : bool or "auto"
        As for `keras.Model.compile`, but that "auto" compiles nothing where TensorFlow has no GPU.
    """
    import keras

    metrics: list[Any] = ["accuracy"]
    if config.several:
        loss: Any = keras.losses.BinaryCrossentropy(from_logits=logits, label_smoothing=config.label_smoothing)
        # the threshold of logits is that of a probability of 0.5
        accuracy = keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0 if logits else 0.5)
        metrics = [accuracy, keras.metrics.AUC(name="auc", multi_label=True, from_logits=logits)]
    elif config.label_smoothing or blends(config):
        loss = keras.losses.CategoricalCrossentropy(from_logits=logits, label_smoothing=config.label_smoothing)
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    decay = (0.004 if config.optimizer == "adamw" else None) if config.weight_decay is None else (config.weight_decay or None)
    kinds = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD}
    options: dict[str, Any] = {"momentum": config.momentum, "nesterov": config.momentum > 0} if config.optimizer == "sgd" else {}
    optimizer = kinds[config.optimizer](config.lr, weight_decay=decay, **options)
    if decay:
        optimizer.exclude_from_weight_decay(var_names=_NO_DECAY)
    if jit_compile == "auto" and _is_slower_by_xla():
        jit_compile = False
    model.compile(optimizer, loss, metrics=metrics, weighted_metrics=[], jit_compile=jit_compile)
    model.optimizer.build(model.trainable_variables)


def _is_slower_by_xla() -> bool:
    """Tell whether steps run on processors by TensorFlow, whose own convolutions are faster there than those of XLA."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_logical_devices("GPU")


def take_weights(model: keras.Model, path: str, *, trust: bool = False) -> str:
    """Copy the weights of a saved model layer by layer: by position if both models have the same kinds of layers, else by name.

    Parameters
    ----------
    model : keras.Model
    path : str
    trust : bool
        Whether code that the file names may run; see `fastprep.training.saved_model.load`.

    Returns
    -------
    str
        Line that names the layers without matching weights.

    Raises
    ------
    InputError
        If the model can't be loaded, or no layer fits.
    """
    try:
        source = saved_model.load(path, trust=trust)
    except InputError as error:
        raise InputError(f"--weights: {error}") from error
    ours, theirs = _with_weights(model), _with_weights(source)
    if [type(layer) for layer in ours] == [type(layer) for layer in theirs]:
        pairs: dict[Any, Any] = dict(zip(ours, theirs, strict=True))
    else:
        by_name = {layer.name: layer for layer in theirs}
        pairs = {layer: by_name[layer.name] for layer in ours if layer.name in by_name}
    new = []
    for layer in ours:
        values = pairs[layer].get_weights() if layer in pairs else []
        if [value.shape for value in values] == [tuple(variable.shape) for variable in layer.weights]:
            layer.set_weights(values)
        else:
            new.append(layer.name)
    if len(new) == len(ours):
        raise InputError(f"--weights: no layer of {path!r} fits one of the network")
    line = f"weights of {len(ours) - len(new)} layers from {path}"
    return line + (f"; new ones for {', '.join(new)}" if new else "")


def freeze(model: keras.Model, wanted: str) -> str:
    """Exclude layers from training.

    Parameters
    ----------
    model : keras.Model
        Not yet compiled.
    wanted : str
        Number of layers with weights, counted from the first, or a pattern of names.

    Returns
    -------
    str
        Line that names the last of these layers.

    Raises
    ------
    InputError
        If no layer matches, or nothing is left to train.
    """
    layers = _with_weights(model)
    frozen = layers[: int(wanted)] if wanted.isdigit() else [layer for layer in layers if fnmatch.fnmatch(layer.name, wanted)]
    names = ", ".join(layer.name for layer in layers)
    if not frozen:
        raise InputError(f"--freeze {wanted} matches no layer; those with weights are {names}")
    for layer in frozen:
        layer.trainable = False
    if not model.trainable_variables:
        raise InputError(f"--freeze {wanted} leaves nothing to train; layers with weights are {names}")
    return f"{len(frozen)} of {len(layers)} layers with weights stay as they are, the last of them {frozen[-1].name}"


def _with_weights(model: keras.Model) -> list[Any]:
    return [layer for layer in model.layers if layer.weights]


def find_network(name: str) -> Any:
    """Return the function that builds a network.

    Parameters
    ----------
    name : str
        "alexnet" or MODULE:FUNCTION.

    Raises
    ------
    InputError
        If the module can't be imported, or has no such function.
    """
    if name == "alexnet":
        from fastprep.model import alexnet

        return alexnet
    module, _, path = name.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # `python -m` looks there, an installed command does not
    try:
        function: Any = importlib.import_module(module)
        for part in path.split("."):
            function = getattr(function, part)
    except Exception as error:  # a user's own module may raise anything
        raise InputError(f"--model {name} can't be imported: {type(error).__name__}: {_line(error)}") from error
    if not callable(function):
        raise InputError(f"--model {name} must be a function, got {type(function).__name__}")
    return function


def _call(name: str, function: Any, input_shape: tuple[int, int, int], classes: int, several: bool) -> Any:
    """Call a function that builds a network, whatever its parameters for shape and number of classes are called."""
    try:
        parameters = inspect.signature(function).parameters
        ending = {_ENDING: "sigmoid"} if several and _ENDING in parameters else {}
        options: dict[str, Any] = {}
        for names, value in ((_SHAPES, input_shape), (_CLASSES, classes)):
            if match := next((parameter for parameter in names if parameter in parameters), None):
                options[match] = value
        if len(options) == 2:
            if "weights" in parameters:  # the default of keras.applications would download weights of ImageNet
                options["weights"] = None
            return function(**options, **ending)
        return function(input_shape, classes, **ending)
    except Exception as error:  # a user's own function may raise anything
        hint = "" if name == "alexnet" else f"--model {name}, called with the shape {input_shape} and {classes} classes: "
        way_out = "; --crop sets the side of the crops, --model takes another network" if name == "alexnet" else ""
        raise InputError(f"{hint}{_line(error)}{way_out}") from error


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 400 else text[:397] + "..."
