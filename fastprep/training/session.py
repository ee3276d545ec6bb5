"""Everything that a run trains with: its files, its loaders and its network."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.keras_startup import start_keras
from fastprep.cli.progress import shown_wait
from fastprep.errors import InputError
from fastprep.training import determinism, network
from fastprep.training.config import Config, shared_options
from fastprep.training.data import Inputs, inspect_files, open_loaders, with_resizing
from fastprep.training.distributed.consistency import check_alike, fingerprint
from fastprep.training.distributed.ranks import Ranks

if TYPE_CHECKING:
    import keras

    from fastprep.adapters.keras import Loader as KerasLoader


@dataclass(frozen=True, eq=False)
class Session:
    """Everything that a run trains with.

    Attributes
    ----------
    config : Config
        With the side of crops, the labels per image and the steps of batch normalisation that follow from files and network.
    ranks : Ranks
    inputs : Inputs
    train, val : Loader
    model : keras.Model
        Compiled.
    logits : bool
        Whether the model ends without a softmax or sigmoid.
    notes : list of str
        Remarks about its weights.
    """

    config: Config
    ranks: Ranks
    inputs: Inputs
    train: KerasLoader
    val: KerasLoader
    model: keras.Model
    logits: bool
    notes: list[str]

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the model that an evaluation needs, in values that JSON can hold."""
        return {
            "model": self.config.model,
            "crop": self.config.crop,
            **({} if self.config.resize is None else {"resize": self.config.resize}),
            **({"standardize": True} if self.config.standardize else {}),
            "classes": self.inputs.classes,
            "class_names": list(self.inputs.class_names),
            "channel_order": self.inputs.channel_order,
            "channels": self.inputs.input_shape[2],
            **({} if self.train.channels is None else {"picked": list(self.train.channels)}),
            "logits": self.logits,
            **({"several_labels": True} if self.config.several else {}),
            **({"n_samples": self.train._dataset.n_in_files} if self.config.divides else {}),
        }


def open_session(config: Config, ranks: Ranks, mean: NDArray[np.float32] | str | None, stack: contextlib.ExitStack) -> Session:
    """Open the files and build the network, on all ranks alike.

    Parameters
    ----------
    config : Config
    ranks : Ranks
    mean : ndarray of float32, None, or `AS_CONFIGURED`
        Mean that a resumed run subtracts.
    stack : ExitStack
        Closes the loaders.

    Raises
    ------
    InputError
        If a file or the network is not suitable, or the ranks were started for different runs.
    RankError
        If another rank can't continue.
    """
    with ranks.together():
        # problems with files are reported before Keras takes seconds to start
        config = with_resizing(config)
        inputs = inspect_files(config, mean)
        labels: Literal["one", "several"] = "several" if inputs.several else "one"
        config = dataclasses.replace(config, crop=inputs.input_shape[0], labels_per_image=labels)
        if config.deterministic:
            determinism.prepare()
        with shown_wait("starting Keras", config.quiet):
            start_keras()
        train, val = open_loaders(config, inputs, (ranks.rank, ranks.world))
        stack.callback(train.close)
        stack.callback(val.close)
        model, notes = _build_network(config, inputs, is_new=isinstance(mean, str))
        config = dataclasses.replace(config, batchnorm_steps=_batchnorm_steps(config, model))
        logits = network.gives_logits(model, inputs.input_shape, several=config.several)
        network.compile_model(model, config, logits, ranks.jit_compile)
        ranks.share_gradients(model)
    check_alike(ranks, fingerprint(shared_options(config), train, val, model, inputs.class_names, inputs.mean))
    return Session(config, ranks, inputs, train, val, model, logits, notes)


def _build_network(config: Config, inputs: Inputs, is_new: bool) -> tuple[keras.Model, list[str]]:
    """Return the network, not yet compiled, and remarks about its weights."""
    if config.deterministic:
        determinism.enable()
    model, notes = network.build_model(config, inputs.input_shape, inputs.classes), []
    if config.weights is not None and is_new:
        notes.append(network.take_weights(model, config.weights, trust=config.trust))
    if config.freeze is not None:
        notes.append(network.freeze(model, config.freeze))
    return model, notes


def _batchnorm_steps(config: Config, model: keras.Model) -> int:
    """Return the number of batches that batch normalisation is measured on before each validation."""
    from fastprep.training.batchnorm import learning_norms, suitable_steps

    has_norms = bool(learning_norms(model))
    if config.batchnorm_steps is None:
        return suitable_steps(config.batch_size) if has_norms else 0
    if config.batchnorm_steps and not has_norms and not config.demo:  # the demo's defaults are for AlexNet
        problem = f"--model {config.model} has no batch normalisation that learns"
        raise InputError(f"--batchnorm-steps {config.batchnorm_steps}: {problem}; say --batchnorm-steps 0")
    return config.batchnorm_steps
