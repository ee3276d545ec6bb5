"""Run by test_mirrored.py in a process of its own: training under a MirroredStrategy of logical CPU devices.

Prints JSON: for each case what came of a loader, and what of `tf.data` of the same batches.
"""

import contextlib
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import fake_cupy
import numpy as np
import tensorflow as tf

path, n_replicas = sys.argv[1], int(sys.argv[2])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * n_replicas)

import keras  # noqa: E402
import two_inputs  # noqa: E402
from dlpack_tensors import dtype_of, look_into  # noqa: E402

import fastprep  # noqa: E402
from fastprep.adapters import mirrored, tensorflow  # noqa: E402
from fastprep.loader import Loader as PlainLoader  # noqa: E402
from fastprep.pipeline.buffers import capsule_address  # noqa: E402

STRATEGY = tf.distribute.MirroredStrategy([f"CPU:{k}" for k in range(n_replicas)])
BATCH = 2 * n_replicas
results = {}


def model(base=keras.Sequential, built=True, **options):
    # Without convolutions: TensorFlow's, on the CPU, can't train on a replica that gets no rows, by whatever way it gets them
    keras.utils.set_random_seed(1)
    with STRATEGY.scope():
        shape = [keras.Input((8, 8, 3))] if built else []
        made = base([*shape, keras.layers.Rescaling(0.01), keras.layers.Flatten(), keras.layers.Dense(3)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        made.compile("adam", loss, metrics=["accuracy"], weighted_metrics=[], **options)
    return made


def loader(crop=None, batch_size=BATCH, **options):
    with STRATEGY.scope():
        return fastprep.Loader(path, batch_size, crop or fastprep.CenterCrop(8), **options)


def dataset(crop=None, batch_size=BATCH, **options):
    """The same batches, one after the other."""
    crop = crop or fastprep.CenterCrop(8)
    with PlainLoader(path, batch_size, crop, device="cpu", **options) as plain:
        batches = [[np.array(part) for part in plain.batch(0, step)] for step in range(len(plain))]
    whole = tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))
    return tf.data.Dataset.from_tensor_slices(whole).batch(batch_size * crop.n_crops)


def trained(data, validation, **options):
    made = model(**options)
    history = made.fit(data, validation_data=validation, epochs=2, verbose=0).history
    weights = [weight.tolist() for weight in made.get_weights()]
    return [history, weights, made.evaluate(data, verbose=0), made.predict(data, verbose=0).tolist()]


def compare(name, ours_only=None, **options):
    ours = trained(loader(**options), loader(batch_size=2 * BATCH, **options), **(ours_only or {}))
    theirs = trained(dataset(**options), dataset(batch_size=2 * BATCH, **options))
    results[name] = [ours, theirs]
    print(name, file=sys.stderr)


compare("plain")
compare("class weights, not built yet", {"built": False}, class_weight={0: 0.25, 2: 3.0})
compare("steps_per_execution", {"steps_per_execution": 2})  # with `tf.data`, TensorFlow fails under a strategy
# the ten rows of a sample stay together, so only whole batches are cut as `tf.data` cuts them
compare("TenCrop, float16", crop=fastprep.TenCrop(8), dtype="float16", drop_remainder=True)


# --- several inputs

with loader(**two_inputs.OPTIONS) as train:
    slices = two_inputs.epoch_of(PlainLoader(path, BATCH, fastprep.CenterCrop(8), device="cpu", **two_inputs.OPTIONS))
    both = [{"x": train}, {"x": tf.data.Dataset.from_tensor_slices(slices).batch(BATCH)}]
    with STRATEGY.scope():
        results["two inputs"] = [two_inputs.trained(data, data["x"]) for data in both]


# --- where the tensors lie, and which batches they are

seen, written = [], {}


class Spy(keras.Sequential):
    def train_step(self, data):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group

        def note(number, x, y):
            address = capsule_address(tf.experimental.dlpack.to_dlpack(x)) if len(x) else 0
            seen.append((int(number), address, y.numpy().tolist()))
            return np.int64(0)

        noted = tf.py_function(note, [replica, *data], tf.int64)
        with tf.control_dependencies([noted]):
            return super().train_step(data)


with loader(shuffle=True, seed=5) as train:
    prepare = train._source.prepare

    def noting(epoch, step):
        batch = prepare(epoch, step)
        written[epoch, step] = [part.lease.address if part.n_rows else 0 for part in batch.parts]
        return batch

    train._source.prepare = noting
    spy = model(Spy)
    spy.fit(train, epochs=2, verbose=0)
    spy.fit(train, epochs=2, verbose=0, steps_per_epoch=1)  # the first two batches of the next epoch
    spy.fit(train, epochs=1, verbose=0, steps_per_epoch=1)  # a `fit` of its own begins an epoch of its own
    steps = [*((epoch, step) for epoch in range(2) for step in range(len(train))), (2, 0), (2, 1), (3, 0)]
    got = sorted((k // n_replicas, *what) for k, what in enumerate(seen))
    wanted = []
    for number, (epoch, step) in enumerate(steps):
        labels = train.labels[train.samples(epoch, step)].tolist()
        size = -(-len(labels) // n_replicas)
        wanted += [(number, k, written[epoch, step][k], labels[k * size : (k + 1) * size]) for k in range(n_replicas)]
    results["steps"] = [got, sorted(wanted)]
    results["position"] = [[train.next_epoch, train.stats()["samples"] > 0], [4, True]]
    train.load_state_dict({**train.state_dict(), "epoch": 7, "seen": 2 * BATCH})
    seen.clear()
    spy.fit(
        train,
        initial_epoch=7,
        epochs=9,
        verbose=0,
        callbacks=[fastprep.EpochSync(train)],
    )
    first = sorted(number for row in seen[:n_replicas] for number in row[2])
    results["resumed"] = [
        [len(seen), first],
        [(2 * len(train) - 2) * n_replicas, sorted(train.labels[train.samples(7, 2)].tolist())],
    ]
    results["what iteration gives"] = [
        [[len(y) for _, y in parts] for parts in train],
        [[len(x) for x in np.split(train.samples(9, s), range(2, BATCH, 2))] for s in range(len(train) - 1)]
        + [[1] + [0] * (n_replicas - 1)],
    ]

with loader(batch_size=24, shuffle=True, drop_remainder=True) as train:  # an epoch is one batch, and so is a peek
    seen.clear()
    spy.fit(train, epochs=3, verbose=0, callbacks=[fastprep.EpochSync(train)])
    got = [[y for row in sorted(seen[k : k + n_replicas]) for y in row[2]] for k in range(0, len(seen), n_replicas)]
    results["epochs of one batch"] = [
        [len(train), got, train.state_dict()["epoch"]],
        [1, [train.labels[train.samples(epoch, 0)].tolist() for epoch in range(3)], 3],
    ]

results["predict"] = [
    fastprep.predict(spy, loader(fastprep.TenCrop(8))).tolist(),
    spy.predict(dataset(fastprep.TenCrop(8)), verbose=0).reshape(-1, 10, 3).mean(axis=1).tolist(),
]


# --- batches of several GPUs, on the stand-in for them: each part is made on its replica's device


def from_dlpack(capsule):
    tensor = look_into(capsule)
    told.append((tensor.device_type, tensor.device_id))
    shape = tuple(tensor.shape[: tensor.ndim])
    return tf.constant(machine.content(tensor.data, shape, dtype_of(tensor), tensor.device_id))


told = []
with fake_cupy.installed(n_devices=n_replicas) as machine, contextlib.ExitStack() as patches:
    mirrored.cuda_number = lambda name: int(name.rpartition(":")[2])
    tensorflow.tensorflow_index = lambda number: number
    tf.experimental.dlpack.from_dlpack = from_dlpack
    with loader(device="cuda", shuffle=True) as train:
        ours = model().fit(train, epochs=2, verbose=0).history
        results["cuda device"] = [train.stats()["device"], ", ".join(f"cuda:{k}" for k in range(n_replicas))]
        results["cuda capsules"] = [sorted(set(told)), [(2, k) for k in range(n_replicas)]]
        regions = sorted({region.device for region in machine.regions.values() if region.device is not None})
        results["cuda memory"] = [regions, list(range(n_replicas))]
    results["cuda error"] = [str(machine.error), "None"]
mirrored.cuda_number = lambda name: None
with PlainLoader(path, BATCH, fastprep.CenterCrop(8), shuffle=True, device="cpu") as plain:
    batches = [[np.array(part) for part in plain.batch(epoch, step)] for epoch in range(2) for step in range(len(plain))]
theirs = model()
history = {}
for epoch in range(2):
    parts = batches[epoch * len(batches) // 2 : (epoch + 1) * len(batches) // 2]
    whole = tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))
    for key, values in theirs.fit(tf.data.Dataset.from_tensor_slices(whole).batch(BATCH), verbose=0).history.items():
        history[key] = history.get(key, []) + values
results["cuda history"] = [ours, history]

print(json.dumps(results))
