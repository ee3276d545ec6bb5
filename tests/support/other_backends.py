"""Run by test_jax_and_torch.py in a process of its own, with KERAS_BACKEND=jax or torch.

Prints JSON: for each case what was found, and what should be.
"""

import json
import os
import sys
import threading
import warnings

import keras
import numpy as np
import two_inputs
from noted_addresses import note_addresses

import fastprep
from fastprep.loader import Loader as PlainLoader
from fastprep.training import batchnorm

path, numbered = sys.argv[1:3]
NAME = keras.backend.backend()
assert os.environ["KERAS_BACKEND"] == NAME
assert "tensorflow" not in sys.modules or NAME == "tensorflow"
KIND = "jaxlib" if NAME == "jax" else "torch"  # where the arrays' class is
results = {}


def address(x):
    return x.unsafe_buffer_pointer() if NAME == "jax" else x.data_ptr()


def model(base=keras.Sequential, built=True, classes=3, first=False, shape=(8, 8, 3), **options):
    keras.utils.set_random_seed(1)
    conv = keras.layers.Conv2D(4, 3, activation="relu", data_format="channels_first" if first else "channels_last")
    layers = [keras.layers.Rescaling(0.01), conv, keras.layers.Flatten(), keras.layers.Dense(classes)]
    made = base([*([keras.Input(shape)] if built else []), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile("adam", loss, metrics=["accuracy"], weighted_metrics=[], **options)
    return made


def loader(batch_size=5, crop=None, of=path, **options):
    return fastprep.Loader(of, batch_size, crop or fastprep.CenterCrop(8), **options)


def arrays(batch_size=5, crop=None, **options):
    with PlainLoader(path, batch_size, crop or fastprep.CenterCrop(8), device="cpu", **options) as plain:
        batches = [[np.array(part) for part in plain.batch(0, step)] for step in range(len(plain))]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


# --- the same as with arrays


def compare(name, model_options=None, **options):
    crop = options.get("crop") or fastprep.CenterCrop(8)
    size, val_size = 5 * crop.n_crops, 4 * crop.n_crops
    x, y, *weights = arrays(**options)
    ours, theirs = model(**(model_options or {})), model(**(model_options or {}))
    with loader(**options) as train, loader(4, **options) as val:
        history = ours.fit(train, validation_data=val, epochs=2, verbose=0).history
        found = [history, ours.evaluate(val, verbose=0), ours.predict(val, verbose=0).tolist()]
        averages = fastprep.predict(ours, val).tolist()
    weight = weights[0] if weights else None
    data = {"x": x, "y": y, "sample_weight": weight, "batch_size": size, "shuffle": False}
    history = theirs.fit(**data, validation_data=(x, y, *weights), validation_batch_size=val_size, epochs=2, verbose=0).history
    rows = theirs.predict(x, batch_size=val_size, verbose=0)
    wanted = [history, theirs.evaluate(x, y, sample_weight=weight, batch_size=val_size, verbose=0), rows.tolist()]
    found.append([weight.tolist() for weight in ours.get_weights()])
    wanted.append([weight.tolist() for weight in theirs.get_weights()])
    results[name] = [found, wanted]
    results[f"{name}: fastprep.predict"] = [averages, rows.reshape(-1, crop.n_crops, 3).mean(axis=1, dtype=rows.dtype).tolist()]


compare("plain")
compare("not built yet, class weights", {"built": False}, class_weight={0: 0.25, 2: 3.0})
compare("TenCrop, float16", crop=fastprep.TenCrop(8), dtype="float16")
compare("channels_first", {"first": True, "shape": (3, 8, 8)}, layout="channels_first")

with loader(shuffle=True, **two_inputs.OPTIONS) as train, loader(**two_inputs.OPTIONS) as val:
    (x, y), checks = two_inputs.epoch_of(train), two_inputs.epoch_of(val)
    wanted = two_inputs.trained({"x": x, "y": y, "shuffle": False, "batch_size": 5}, checks, epochs=1)
    ours = two_inputs.trained({"x": train}, val, epochs=1)
results["two inputs"] = [[ours[0], ours[2]], [wanted[0], wanted[2]]]


# --- batch normalisation measured anew

norm = keras.layers.BatchNormalization()
normed = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Dropout(0.5), norm])
with loader() as train:
    batchnorm.measure(normed, (x for x, _ in train.tensors()))
pixels = arrays()[0].astype(np.float64).reshape(-1, 3)
measured = [keras.ops.convert_to_numpy(values) for values in (norm.moving_mean, norm.moving_variance)]
results["batch normalisation"] = [bool(np.allclose(measured, [pixels.mean(axis=0), pixels.var(axis=0)], rtol=1e-4)), True]


# --- where the arrays lie


for dtype in ("float32", "float16", "bfloat16"):
    with loader(dtype=dtype, shuffle=True, class_weight={0: 2.0}) as train:
        written, found = note_addresses(train), []
        plain = PlainLoader(path, 5, fastprep.CenterCrop(8), device="cpu", dtype=dtype, shuffle=True)
        with plain:
            source = train.get_jax_iterator if NAME == "jax" else train.get_torch_dataloader
            for epoch, begin in enumerate((source, source, train.tensors)):
                for step, (x, y, weights) in enumerate(begin()):
                    right, labels = plain.batch(epoch, step)
                    bits = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")))
                    assert {type(part).__module__.partition(".")[0] for part in (y, weights)} == {KIND}
                    found.append(
                        [
                            address(x) == written[epoch, step],
                            keras.backend.standardize_dtype(x.dtype) == dtype,
                            bool((bits == right.astype("float32")).all()),
                            keras.ops.convert_to_numpy(y).tolist() == labels.tolist(),
                        ]
                    )
        results[f"arrays of {dtype}"] = [found, [[True] * 4] * (3 * len(train))]

seen = []


class Spy(keras.Sequential):
    def train_step(self, *arguments):
        x, y = arguments[-1]
        seen.append((address(x), keras.ops.convert_to_numpy(y).tolist()))
        return super().train_step(*arguments)


def spy(**options):
    return model(Spy, classes=25, run_eagerly=True, jit_compile=False, **options)


def labels(loader, *steps):
    return [loader.samples(epoch, step).tolist() for epoch, step in steps]


with loader(of=numbered, shuffle=True) as train:
    written = note_addresses(train)
    spy(built=False).fit(train, epochs=2, verbose=0)
    steps = [(epoch, step) for epoch in range(2) for step in range(len(train))]
    results["the training step"] = [[list(what) for what in seen], [[written[at], *labels(train, at)] for at in steps]]


# --- which batches Keras gets


class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = batch == 1


def run(**options):
    seen.clear()
    with loader(of=numbered, shuffle=True) as train:
        made = spy(built=options.get("built", True))
        for at in options["fits"]:
            if "load" in at:
                train.load_state_dict({**train.state_dict(), **at.pop("load")})
                at["callbacks"] = [fastprep.EpochSync(train)]
            made.fit(train, verbose=0, **at)
        return [[y for _, y in seen], labels(train, *options["wanted"])]


whole = [[(epoch, step) for step in range(5)] for epoch in range(5)]
with loader() as val:
    results["validation on the side"] = run(fits=[{"epochs": 2, "validation_data": val}], wanted=whole[0] + whole[1])
results["one step a fit"] = run(fits=[{"steps_per_epoch": 1, "epochs": 1} for _ in range(3)], wanted=[(0, 0), (1, 0), (2, 0)])
results["stopped early"] = run(fits=[{"epochs": 3, "callbacks": [Stop()]}, {"epochs": 1}], wanted=whole[0][:2] + whole[1])
results["steps_per_epoch"] = run(fits=[{"steps_per_epoch": 2, "epochs": 4}], wanted=(whole[0] + whole[1])[:7], built=False)
for built in (True, False):
    results[f"resumed, {'' if built else 'not '}built"] = run(
        fits=[{"load": {"epoch": 2, "seen": 10}, "initial_epoch": 2, "epochs": 4}], wanted=whole[2][2:] + whole[3], built=built
    )


with loader(of=numbered, shuffle=True) as train, loader(of=numbered) as val:
    seen.clear()
    spy().fit(train, epochs=2, verbose=0, validation_data=train)
    n_samples = [len(spy().predict(train, verbose=0)), train.state_dict()["epoch"]]
    results["validation by the same loader"] = [[[y for _, y in seen], n_samples], [labels(train, *whole[0], *whole[1]), [25, 2]]]
    refused = []
    for given in ({"y": [0]}, {"class_weight": {0: 2.0}}, {"batch_size": 3}, {"validation_data": (val, [0])}):
        try:
            spy().fit(train, verbose=0, **given)
        except ValueError as error:
            refused.append(str(error).partition(" has no effect")[0])
    names = ["fit: y", "fit: class_weight", "fit: batch_size", "validation_data of fit: y"]
    results["arguments that mean nothing"] = [refused, names]


# --- where the loader stands in callbacks


def positions(**options):
    """Return the samples seen at each end of a step, and what they should be."""
    found = []

    def note(batch, logs):
        found.append([train.state_dict()["epoch"], train.state_dict()["seen"]])

    with loader(of=numbered, shuffle=True) as train, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        noting = [keras.callbacks.LambdaCallback(on_train_batch_end=note)]
        spy(**options).fit(train, epochs=2, verbose=0, callbacks=noting)
        train.load_state_dict({**train.state_dict(), "epoch": 6, "seen": 10})
        spy(**options).fit(train, initial_epoch=6, epochs=7, verbose=0, callbacks=[fastprep.EpochSync(train), *noting])
    ends = [[0, 5], [0, 10], [0, 15], [0, 20], [1, 0], [1, 5], [1, 10], [1, 15], [1, 20], [2, 0]]
    return [found, [*ends, [6, 15], [6, 20], [7, 0]]]


for built in (True, False):
    results[f"positions, {'' if built else 'not '}built"] = positions(built=built)
    if NAME == "jax":
        import jax

        default_backend = jax.default_backend
        jax.default_backend = lambda: "gpu"  # where Keras takes a batch before it trains on the one before
        results[f"positions with a look ahead, {'' if built else 'not '}built"] = positions(built=built)
        jax.default_backend = default_backend


# --- damaged images in an evaluation


def damaged_evaluation():
    with loader(on_corrupt="skip") as val, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for first, stop in ((3, 4), (5, 10), (20, 25)):  # in the last two, whole batches
            val._dataset.corrupt.record(first, stop, fastprep.DataError("damaged", path))
        found = model().evaluate(val, verbose=0)
    intact = np.delete(np.arange(25), [3, *range(5, 10), *range(20, 25)])
    x, y = (part[intact] for part in arrays())
    wanted = model().evaluate(x, y, batch_size=5, verbose=0)
    return [bool(np.allclose(found, wanted, rtol=1e-5)), True]  # the batches of arrays are others


results["damaged images"] = damaged_evaluation()
if NAME == "jax":
    jax.default_backend = lambda: "gpu"
    results["damaged images with a look ahead"] = damaged_evaluation()
    jax.default_backend = default_backend


# --- buffers

with loader(shuffle=True, workers=2) as train:
    source = train.get_jax_iterator if NAME == "jax" else train.get_torch_dataloader
    kept = [batch for _ in range(6) for batch in source()]
    with PlainLoader(path, 5, fastprep.CenterCrop(8), device="cpu", shuffle=True) as plain:
        wanted = [x.copy() for _ in range(6) for x, _ in plain]
    pairs = zip(kept, wanted, strict=True)
    results["kept arrays stay as they are"] = [
        [bool((keras.ops.convert_to_numpy(x) == right).all()) for (x, _), right in pairs],
        [True] * len(kept),
    ]
    del kept

with loader(shuffle=True, workers=2) as train:  # work is dispatched on each batch, and the batch let go at once
    source = train.get_jax_iterator if NAME == "jax" else train.get_torch_dataloader
    if NAME == "jax":
        import jax

        ballast = jax.numpy.ones((150, 150))

        @jax.jit
        def compute(x):
            busy = jax.lax.fori_loop(0, 40, lambda _, b: b @ b * 1e-3, ballast)
            return x.sum(axis=(1, 2, 3)) + 0 * busy[0, 0]
    else:

        def compute(x):
            return x.sum(axis=(1, 2, 3))

    sums = [keras.ops.convert_to_numpy(s) for s in [compute(x) for _ in range(6) for x, _ in source()]]
    right = [x.sum(axis=(1, 2, 3)) for x in wanted]
    # the sums are taken in another order
    same = [bool(np.allclose(got, of, rtol=1e-4, atol=1e-2)) for got, of in zip(sums, right, strict=True)]
    results["what is read later is still there"] = [same, [True] * len(right)]

fit = model()
with loader(workers=2, prefetch=2) as train:
    fit.fit(train, epochs=6, verbose=0)
    results["buffers are used again"] = [train.stats()["buffers"] < 6 * len(train), True]  # not one for each batch
results["threads"] = [[thread.name for thread in threading.enumerate() if thread.name.startswith("fastprep")], []]

if NAME == "jax":
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **options: compiled.append(event) if "backend_compile" in event else None
    )

    def n_compiled(call):
        """Count what JAX compiles in a call, leaving out what it compiles once for a process."""
        counts = []
        for _ in range(2):
            compiled.clear()
            call(model(built=True))
            counts.append(len(compiled))
        return counts[-1]

    x, y = arrays(20)
    x, y = x[:20], y[:20]
    with loader(drop_remainder=True) as train, loader(drop_remainder=True) as val:
        ways = {
            "fit": (
                lambda made: made.fit(train, epochs=3, verbose=0),
                lambda made: made.fit(x, y, batch_size=5, epochs=3, verbose=0),
            ),
            "validation": (
                lambda made: made.fit(train, validation_data=val, epochs=3, verbose=0),
                lambda made: made.fit(x, y, batch_size=5, validation_data=(x, y), validation_batch_size=5, epochs=3, verbose=0),
            ),
            "predict": (
                lambda made: [made.predict(val, verbose=0) for _ in range(2)],
                lambda made: [made.predict(x, batch_size=5, verbose=0) for _ in range(2)],
            ),
        }
        counts = {name: [n_compiled(call) for call in calls] for name, calls in ways.items()}
    results["compilations"] = [{name: ours for name, (ours, _) in counts.items()}, {name: of for name, (_, of) in counts.items()}]

    with loader() as train:  # a device that arrays from DLPack would not be on
        jax.config.update("jax_default_device", jax.devices()[1])
        found = [x.devices() == {jax.devices()[1]} for x, _ in train.get_jax_iterator()]
        results["another device"] = [found, [True] * len(train)]
        results["another device: history"] = [
            model().fit(train, epochs=1, verbose=0).history["loss"],
            results["plain"][0][0]["loss"][:1],
        ]
        jax.config.update("jax_default_device", None)
    with loader() as train:
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0"]))
        made = model()
        history = made.fit(train, epochs=1, verbose=0).history
        results["distribution"] = [{type(x).__module__ for x, _ in train.get_jax_iterator()} == {"numpy"}, True]
        results["distribution: history"] = [history["loss"], results["plain"][0][0]["loss"][:1]]

print(json.dumps(results))
