"""Run by test_jax_and_torch_cuda.py in a process of its own, with KERAS_BACKEND=jax or torch: Keras and batches on a GPU.

The GPU is the stand-in of `fake_cupy.py`. Where the library would take a capsule, a copy of the memory is made on the CPU. Prints
JSON: for each case what was found, and what should be.
"""

import contextlib
import json
import sys

import fake_cupy
import keras
import numpy as np
import two_inputs
from dlpack_tensors import dtype_of, look_into

import fastprep
from fastprep.adapters import jax as jax_side
from fastprep.adapters import keras_base, sharded

path = sys.argv[1]
NAME = keras.backend.backend()
N_DEVICES = 2
results, told, waited = {}, [], []


def memory_of(capsule):
    """Return a copy of what a capsule lends."""
    tensor = look_into(capsule)
    told.append((tensor.device_type, tensor.device_id))
    content = machine.content(tensor.data, tuple(tensor.shape[: tensor.ndim]), dtype_of(tensor), tensor.device_id)
    return content.copy(), tensor.device_id


def model(built=True):
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Rescaling(0.01), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(3)]
    made = keras.Sequential([*([keras.Input((8, 8, 3))] if built else []), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile("adam", loss, metrics=["accuracy"], weighted_metrics=[])
    return made


def loader(device, batch_size=5, **options):
    return fastprep.Loader(path, batch_size, fastprep.CenterCrop(8), device=device, shuffle=True, **options)


def trained(device, built=True, **options):
    made = model(built)
    with loader(device, **options) as train, loader(device, **options) as val:
        history = made.fit(train, validation_data=val, epochs=2, verbose=0).history
        scores, rows = made.evaluate(val, verbose=0), made.predict(loader(device, **options), verbose=0).tolist()
    return [history, scores, rows, [weights.tolist() for weights in made.get_weights()]]


def place(number):
    """Have Keras compute on a GPU of that number; None for none."""

    def computing_number():
        if number is None:
            raise fastprep.DeviceUnavailableError("Keras computes on the CPU")
        return number

    keras_base.computing_number = computing_number


class Fence:
    """Everything was read when it was handed over."""

    def wait(self, stream=None):
        waited.append(stream)


if NAME == "jax":
    import jax

    def from_dlpack(array):
        values, number = memory_of(array.__dlpack__())
        return jax.device_put(values, jax.devices()[number])

    jax.dlpack.from_dlpack = from_dlpack
    jax_side._device_of = lambda number: jax.devices()[number]
    jax_side._fence_of = lambda device: Fence()
else:
    import torch

    torch.from_dlpack = lambda capsule: torch.from_numpy(memory_of(capsule)[0])
    torch.cuda.current_stream = lambda number: type("Stream", (), {"cuda_stream": id(machine.readers[number])})

with fake_cupy.installed(n_devices=N_DEVICES) as machine:
    for name, options in (
        ("plain", {}),
        ("not built yet", {"built": False}),
        ("weights", {"class_weight": {0: 0.25, 2: 3.0}}),
        ("classes", {"dtype": "float16"}),
    ):
        with contextlib.ExitStack() as real:
            if NAME == "jax":
                real.callback(setattr, jax.dlpack, "from_dlpack", from_dlpack)
                jax.dlpack.from_dlpack = jax._src.dlpack.from_dlpack
            else:
                real.callback(setattr, torch, "from_dlpack", torch.from_dlpack)
                torch.from_dlpack = torch.utils.dlpack.from_dlpack
            wanted = trained("cpu", **options)
        place(0)
        told.clear()
        results[f"fit: {name}"] = [trained("auto", **options), wanted]
        results[f"arrays on the device: {name}"] = [sorted({*told}), [(2, 0)]]
        n_steps, n_arrays = len(loader("cpu")), 3 if "class_weight" in options else 2
        # two epochs of training and of validation, an evaluation, and perhaps a batch from which Keras takes shapes; and then a
        # prediction, which has no labels
        n_whole, rest = divmod(len(told) - n_steps, n_arrays)
        results[f"labels go with x: {name}"] = [[n_whole in (5 * n_steps, 5 * n_steps + 1), rest], [True, 0]]

    with loader("auto", **two_inputs.OPTIONS) as train, loader("cpu", **two_inputs.OPTIONS) as plain:
        found = [two_inputs.lists_of(*parts) for parts in train.tensors()]
        results["two inputs"] = [found, [two_inputs.lists_of(*parts) for parts in plain]]

    with loader("auto") as train:
        n_before = machine.calls["Device.synchronize"], machine.calls["free"]
        model().fit(train, epochs=3, verbose=0)
        results["nothing waits for the device"] = [[machine.calls["Device.synchronize"], machine.calls["free"]], [*n_before]]
        results["buffers"] = [train._pool.n_held, 3 if NAME == "jax" else 2]

    place(1)
    with loader("auto") as auto, loader("cuda") as cuda:
        results["the device of Keras"] = [[auto.stats()["device"], cuda.stats()["device"]], ["cuda:1"] * 2]
    place(None)
    with loader("auto") as auto, loader("cuda") as cuda, contextlib.ExitStack() as stack:
        results["no device of Keras"] = [[auto.stats()["device"], cuda.stats()["device"]], ["cpu", "cuda:0"]]
        try:
            model().fit(cuda, verbose=0)
        except RuntimeError as error:
            results["elsewhere"] = [
                str(error),
                "batches are made on cuda:0, and Keras computes elsewhere: Keras computes on the CPU; make the loader with "
                'device="auto", or with device="cpu"',
            ]
    place(1)
    with loader("cuda:0") as other:
        try:
            model().fit(other, verbose=0)
        except RuntimeError as error:
            results["another device"] = [str(error).partition(";")[0], "batches are made on cuda:0, and Keras computes on cuda:1"]
    place(0)
    with loader("auto", class_weight={0: 2.0}) as train, loader("cpu", class_weight={0: 2.0}) as plain:
        found = [[keras.ops.convert_to_numpy(part).tolist() for part in parts] for parts in train.tensors()]
        results["tensors()"] = [found, [[part.tolist() for part in parts] for parts in plain]]

    if NAME == "jax":
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"]))
        sharded._cuda_number = lambda device: device.id
        with fastprep.Loader(path, 6, fastprep.CenterCrop(8), device="cpu", drop_remainder=True, class_weight={0: 2.0}) as plain:
            wanted = [[part.tolist() for part in parts] for parts in plain]
            history = model().fit(plain, epochs=1, verbose=0).history
        told.clear()
        with fastprep.Loader(path, 6, fastprep.CenterCrop(8), drop_remainder=True, class_weight={0: 2.0}) as train:
            results["parts: devices"] = [train.stats()["device"], "cuda:0, cuda:1"]
            batches = list(train.get_jax_iterator())
            results["parts: rows"] = [[[np.asarray(part).tolist() for part in parts] for parts in batches], wanted]
            places = [[str(d) for d in sorted(part.devices(), key=str)] for part in batches[0]]
            results["parts: places"] = [places, [[str(d) for d in jax.devices()]] * 3]
            results["parts: capsules"] = [sorted({*told}), [(2, 0), (2, 1)]]
            train.set_epoch(0)
            results["parts: history"] = [model().fit(train, epochs=1, verbose=0).history, history]
            keras.distribution.set_distribution(None)
            try:
                next(train.get_jax_iterator())
            except RuntimeError as error:
                results["parts: no distribution"] = [str(error).partition(", and")[0][-24:], "DataParallel over 2 GPUs"]
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"]))
        several = {"batch_size": 6, "crop": fastprep.CenterCrop(8), "drop_remainder": True, **two_inputs.OPTIONS}
        with fastprep.Loader(path, **several) as train, fastprep.Loader(path, **several, device="cpu") as plain:
            batches = [two_inputs.lists_of(*parts) for parts in train.get_jax_iterator()]
            results["parts: two inputs"] = [batches, [two_inputs.lists_of(*parts) for parts in plain]]
        for name, options in (
            ("batch_size must be a multiple of 2", {"batch_size": 5}),
            ("device must be", {"device": "cuda:1"}),
        ):
            try:
                fastprep.Loader(path, **{"batch_size": 4, "crop": None, **options})
            except ValueError as error:
                results[f"parts: {name}"] = [str(error)[: len(name)], name]
        with fastprep.Loader(path, 4, fastprep.CenterCrop(8)) as train:
            try:
                list(train.get_jax_iterator())
            except ValueError as error:
                results["parts: a last batch of one row"] = [str(error)[:14], "a batch of 1 r"]

print(json.dumps(results))
