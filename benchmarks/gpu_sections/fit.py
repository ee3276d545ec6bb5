"""`fit` of Keras with the loader against `fit` on one constant batch on the device, and late reading through Keras' backend.

The backend is that of KERAS_BACKEND. On JAX, XLA captures the step into graphs, unless XLA_FLAGS tell it not to.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import numpy as np

from gpu_sections.late import expected, options_of
from gpu_sections.loader import open_loader
from gpu_sections.rows import Job, LeftOut, Row, ratios

CONSTANT = "fit, one constant batch on the device"


def run(job: Job) -> Iterator[Row]:
    """Read late, then time `fit`."""
    try:
        import keras

        import fastprep
    except ModuleNotFoundError as error:
        raise LeftOut(f"{error.name} is not installed") from error
    name = _gpu_of(keras.backend.backend())
    if name is None and not job.is_dry:
        raise LeftOut(f"this {keras.backend.backend()} sees no GPU")
    yield _late(job, keras, fastprep.Loader)
    yield from _fits(job, keras, fastprep.Loader)


def _gpu_of(backend: str) -> str | None:
    """Return the name of the GPU on which Keras' backend computes by default, or None."""
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else None
    import jax

    return jax.devices()[0].device_kind if jax.default_backend() == "gpu" else None


def _late(job: Job, keras: Any, kind: Any) -> Row:
    """Read each batch of `tensors()` behind products of large matrices, and let go of it when that is queued."""
    side, n_products, n = (16, 1, 4) if job.is_dry else (4096, 8, 24)
    busy, kept = keras.ops.ones((side, side)), []
    with open_loader(job, job.loader_device, kind, **options_of(job)) as loader:
        while len(kept) < n:
            for tensors in loader.tensors():
                for _ in range(n_products):
                    busy = keras.ops.matmul(busy, busy) / side
                # depends on the products, so that nothing reads a batch before they are done
                kept.append([values + 0 * keras.ops.cast(busy[0, 0], values.dtype) for values in tensors])
                del tensors
                if len(kept) == n:
                    break
        got = [[keras.ops.convert_to_numpy(values) for values in batch] for batch in kept]
    wrong = sum(not all(map(np.array_equal, batch, wanted)) for batch, wanted in zip(got, expected(job, n), strict=True))
    return Row("tensors(), read late", {"batches": n, "wrong": wrong}, ok=wrong == 0)


def _fits(job: Job, keras: Any, kind: Any) -> Iterator[Row]:
    keras.utils.set_random_seed(1)
    if not job.is_dry:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    with open_loader(job, job.loader_device, kind) as on_device, open_loader(job, "cpu", kind) as on_host:
        model, n_steps = _model(job, keras, on_device.output_shape), len(on_device)
        x, y = on_host.batch(0, 0)
        data = {
            CONSTANT: constant(keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y), n_steps),
            f"fit, loader on {on_device.stats()['device']}": on_device,
            "fit, loader on cpu, copied by Keras": on_host,
        }
        fits = {name: lambda values=values: model.fit(values, epochs=1, verbose=0) for name, values in data.items()}
        took, waited = _in_turn(fits, job.rounds), on_device.stats()
    for name, seconds in took.items():
        ratio, spread = ratios(seconds, took[CONSTANT])
        values = {"ms a step": statistics.median(seconds) / n_steps * 1e3, "x the constant batch": ratio, "": spread}
        yield Row(name, values)
    waited_ms = waited["wait_s"] / waited["batches"] * 1e3
    yield Row("the step waited for the loader", {"ms a step": waited_ms, "buffers": waited["buffers"]})


def _model(job: Job, keras: Any, shape: tuple[int, int, int]) -> Any:
    """Return a compiled model: AlexNet, or a small one in a dry run."""
    if job.is_dry:
        model = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")])
    else:
        from fastprep.model import alexnet

        model = alexnet(shape, 10)
    model.compile(keras.optimizers.SGD(1e-4), "sparse_categorical_crossentropy")
    return model


def constant(x: Any, y: Any, n_steps: int) -> Any:
    """Return data for `fit`: the same tensors of the backend at every step."""
    from keras.src.trainers.data_adapters.data_adapter import DataAdapter

    class Constant(DataAdapter):
        num_batches, batch_size, has_partial_batch, partial_batch_size = n_steps, len(x), False, None

        def get_jax_iterator(self) -> Iterator[Any]:
            return repeat((x, y), n_steps)

        get_torch_dataloader = get_jax_iterator

    return Constant()


def _in_turn(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return seconds of each round; the first, in which Keras compiles, does not count, nor the second, in which JAX may."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 2):
        for name, run_once in contenders.items():
            began = time.perf_counter()
            run_once()
            if turn > 1:
                seconds[name].append(time.perf_counter() - began)
    return seconds
