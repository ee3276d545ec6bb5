"""Several processes that train one model: whether Keras joins what their loaders give, and whether the shares fit together."""

from __future__ import annotations

import logging
import sys
from typing import Any

import keras

from fastprep.adapters.jax import process_count
from fastprep.loader import Loader

_log = logging.getLogger(__name__)


def check_shares(loader: Loader, *, is_training: bool) -> None:
    """Check that the batches of all processes of JAX make one batch, under the `keras.distribution.DataParallel` that is set.

    Keras takes the batch of each process as its part of a larger one. It asks no other process, and where parts differ in size
    the processes wait for each other for ever.

    Parameters
    ----------
    loader : Loader
    is_training : bool
        Whether the batches are for training; an evaluation may also have all samples in every process.

    Raises
    ------
    ValueError
        If every process would train on the same samples, or batches would not be alike.
    """
    n_processes = process_count()
    if n_processes == 1 or not isinstance(keras.distribution.distribution(), keras.distribution.DataParallel):
        return
    world = loader.shard[1]
    if world == 1 and not is_training:
        return  # all processes evaluate all samples: each counts as often as any other
    if world != n_processes:
        found = f"a loader with shard={loader.shard}"
        raise ValueError(
            f"{n_processes} processes train under keras.distribution.DataParallel, and each needs its share of the samples, got "
            f'{found}: make it with Loader(shard="auto", drop_remainder=True)'
            + ("" if is_training else ", or, for an evaluation, with shard=(0, 1)")
        )
    before = loader.seen(loader.next_epoch, loader.next_step) if is_training else 0
    n_left = loader.n_samples - before
    if n_left % world and not loader.drop_remainder:
        raise ValueError(
            f"{n_processes} processes train under keras.distribution.DataParallel, which needs batches of one size from all of "
            f"them, and {n_left} samples are not a multiple of {n_processes}: make the loader with "
            + ("drop_remainder=True" if is_training else "shard=(0, 1), so that each process evaluates all samples")
        )
    if not is_training and loader.on_corrupt == "skip":
        raise ValueError(
            'an evaluation leaves damaged images out under on_corrupt="skip", and batches of several processes may then differ: '
            "make the loader with shard=(0, 1), so that each process evaluates all samples"
        )


def warn_of_lone_training(model: Any) -> None:
    """Warn of a `fit` in several connected processes in which nothing exchanges gradients: each trains a network of its own.

    Keras' `fit` exchanges them neither on torch, nor on JAX where no distribution is set. A model with a training step of its
    own, or an optimizer that is not one of Keras', may do it.

    Parameters
    ----------
    model : keras.Model
    """
    backend = keras.backend.backend()
    n_processes = _n_connected(backend)
    optimizer = getattr(model, "optimizer", None)
    is_stock = type(model).train_step is keras.Model.train_step and type(optimizer).__module__.startswith("keras.")
    if n_processes == 1 or not is_stock or (backend == "jax" and keras.distribution.distribution() is not None):
        return
    if backend == "jax":
        way_out = "set keras.distribution.DataParallel before model and loader are made"
    else:
        way_out = "wrap the model in torch's DistributedDataParallel, in a training loop of your own"
    _log.warning(
        "fit: %d processes are connected, and Keras' fit on %s exchanges no gradients, so each trains a network of its own; "
        "%s, as examples/engines does",
        n_processes,
        backend,
        way_out,
    )


def _n_connected(backend: str) -> int:
    """Return the number of processes that JAX or torch has connected; 1 on another backend."""
    if backend == "jax":
        return process_count()
    distributed = sys.modules.get("torch.distributed")
    if backend == "torch" and distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1
