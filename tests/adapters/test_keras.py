"""Keras: no copy between the kernel and the training step, and the same training as with arrays."""

import sys
import textwrap
import warnings

import h5py
import numpy as np
import pytest
import warm_python
from noted_addresses import note_addresses
from small_model import small_model

import fastprep
from fastprep.loader import Loader as PlainLoader

keras = pytest.importorskip("keras")
from keras_backend import BACKEND, address, needs_tensorflow, spy, values  # noqa: E402

from fastprep.adapters.keras_base import to_backend  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_thread_left")

N = 23


@pytest.fixture
def path(make_file):
    return make_file(n=N)[0]


def arrays(loader, epoch=0):
    """Whole epoch as arrays, which `fit` then cuts into the same batches."""
    batches = [[np.array(part) for part in loader.batch(epoch, step)] for step in range(len(loader))]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_training_step_sees_the_memory_the_kernel_wrote(path, dtype):
    seen = []
    with fastprep.Loader(path, 4, fastprep.RandomCrop(8, mirror=True), shuffle=True, dtype=dtype) as loader:
        written = note_addresses(loader)
        model = small_model(base=spy(lambda data: seen.append(address(data[0]))), run_eagerly=True)
        model.fit(loader, epochs=2, verbose=0)
        assert len(seen) == 2 * len(loader) == 12
        assert seen == [written[epoch, step] for epoch in range(2) for step in range(6)]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_compiled_training_step_sees_it_too(path, dtype):
    """In TensorFlow's graph; on JAX and torch both kinds of steps are given their batches by the same iterator."""
    needs_tensorflow("this looks into TensorFlow's graph")
    import tensorflow as tf

    seen = []

    class Spy(keras.Sequential):
        def train_step(self, data):
            where = tf.py_function(lambda t: np.int64(address(t)), [data[0]], tf.int64)
            tf.py_function(lambda a: seen.append(int(a)), [where], [])
            with tf.control_dependencies([where]):
                return super().train_step(data)

    with fastprep.Loader(path, 4, fastprep.RandomCrop(8, mirror=True), shuffle=True, dtype=dtype) as loader:
        written = note_addresses(loader)
        small_model(base=Spy).fit(loader, epochs=2, verbose=0)
        assert seen == [written[epoch, step] for epoch in range(2) for step in range(6)]


def test_fit_is_the_same_as_with_arrays(path):
    """Difference 0 in the history and in the weights, the partial last batch and validation included."""
    options = {"batch_size": 5, "crop": fastprep.CenterCrop(8)}
    with fastprep.Loader(path, **options) as train, fastprep.Loader(path, 4, fastprep.CenterCrop(8)) as val:
        x, y = arrays(train)
        ours, theirs = small_model(), small_model()
        history = ours.fit(train, validation_data=val, epochs=3, verbose=0).history
        wanted = theirs.fit(
            x, y, batch_size=5, shuffle=False, validation_data=(x, y), validation_batch_size=4, epochs=3, verbose=0
        ).history
    assert history == wanted
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


STEPS_PER_EXECUTION = [1, 2, 3, 4] if BACKEND != "torch" else [1]  # Keras refuses others there
WAYS = [{"run_eagerly": True}, {"jit_compile": True}, *({"steps_per_execution": n} for n in STEPS_PER_EXECUTION[1::2])]


@pytest.mark.parametrize("options", WAYS)
def test_fit_is_the_same_however_keras_runs_it(path, options):
    with fastprep.Loader(path, 5, fastprep.RandomCrop(8), shuffle=True, seed=3) as train:
        wanted_model, wanted = small_model(**options), []
        for epoch in range(2):
            x, y = arrays(train, epoch)
            wanted.append(wanted_model.fit(x, y, batch_size=5, shuffle=False, verbose=0).history)
        history = small_model(**options).fit(train, epochs=2, verbose=0).history
    assert history == {key: [w[key][0] for w in wanted] for key in history}


def test_class_weights_arrive(path):
    weights = {0: 0.25, 1: 4.0}
    with fastprep.Loader(path, 5, fastprep.CenterCrop(8), class_weight=weights) as train:
        x, y, _ = arrays(train)
        history = small_model().fit(train, epochs=2, verbose=0).history
    wanted = small_model().fit(x, y, batch_size=5, shuffle=False, class_weight={**weights, 2: 1.0}, epochs=2, verbose=0).history
    assert history == wanted


def test_sample_weights_arrive(path):
    own = np.linspace(0, 2, 23, dtype="float32")
    with fastprep.Loader(path, 5, fastprep.CenterCrop(8), sample_weight=own) as train:
        x, y, _ = arrays(train)
        history = small_model().fit(train, epochs=2, verbose=0).history
    wanted = small_model().fit(x, y, batch_size=5, shuffle=False, sample_weight=own, epochs=2, verbose=0).history
    assert history == wanted


def test_evaluate_and_predict_cover_all_samples_in_file_order(path):
    model = small_model()
    with fastprep.Loader(path, 4, fastprep.CenterCrop(8)) as loader:
        x, y = arrays(loader)
        assert len(x) == N
        assert model.evaluate(loader, verbose=0) == model.evaluate(x, y, batch_size=4, verbose=0)
        np.testing.assert_array_equal(model.predict(loader, verbose=0), model.predict(x, batch_size=4, verbose=0))
        np.testing.assert_array_equal(fastprep.predict(model, loader), model.predict(x, batch_size=4, verbose=0))


def test_predict_averages_ten_crops(path):
    model = small_model()
    with fastprep.Loader(path, 4, fastprep.TenCrop(8)) as loader:
        rows = np.concatenate([model.predict_on_batch(x) for x, _ in loader])
        for _ in range(2):  # wherever an earlier iteration was left
            next(iter(loader))
            np.testing.assert_allclose(fastprep.predict(model, loader), rows.reshape(N, 10, 3).mean(axis=1), rtol=1e-6)


def test_predict_without_labels(path):
    with fastprep.Loader(path, 4, fastprep.CenterCrop(8), labels=None) as loader:
        assert fastprep.predict(small_model(), loader).shape == (N, 3)


@pytest.mark.parametrize("options", [{"shuffle": True}, {"shard": (0, 2)}, {"drop_remainder": True}])
def test_predict_refuses_what_would_miss_or_mix_samples(path, options):
    with (
        fastprep.Loader(path, 4, fastprep.CenterCrop(8), **options) as loader,
        pytest.raises(ValueError, match="every sample in file order"),
    ):
        fastprep.predict(small_model(), loader)


def test_predict_with_its_arguments_swapped(path):
    with (
        fastprep.Loader(path, 4, fastprep.CenterCrop(8)) as loader,
        pytest.raises(ValueError, match="takes a model and a loader"),
    ):
        fastprep.predict(loader, small_model())


def labels_seen(loader, **fit_options):
    """Train, and return the labels of every step of every epoch."""
    seen = []

    class Epochs(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append([])

    model = small_model(classes=N, base=spy(lambda data: seen[-1].append(values(data[1]))), run_eagerly=True)
    model.fit(loader, callbacks=[Epochs(), *fit_options.pop("callbacks", [])], verbose=0, **fit_options)
    return seen


@pytest.fixture
def numbered(path):
    with h5py.File(path, "r+") as file:
        file["labels"][...] = np.arange(N)
    return path


def wanted_labels(loader, epochs):
    return [[loader.samples(e, s).tolist() for s in range(len(loader))] for e in epochs]


def test_each_epoch_of_fit_is_the_next_epoch(numbered):
    with fastprep.Loader(numbered, 5, fastprep.CenterCrop(8), shuffle=True) as loader:
        assert labels_seen(loader, epochs=3, validation_data=loader.batch(0, 0)) == wanted_labels(loader, range(3))
        assert labels_seen(loader, epochs=1) == wanted_labels(loader, [3])


def test_epochs_of_one_batch_are_one_after_the_other(numbered):
    with fastprep.Loader(numbered, N, fastprep.RandomCrop(8), shuffle=True) as loader:
        assert len(loader) == 1
        written = note_addresses(loader)
        assert labels_seen(loader, epochs=4) == wanted_labels(loader, range(4))
        assert [*written][:4] == [(epoch, 0) for epoch in range(4)]
        assert (loader.state_dict()["epoch"], loader.state_dict()["seen"]) == (4, 0)
        assert labels_seen(loader, epochs=1) == wanted_labels(loader, [4])
        sync = [fastprep.EpochSync(loader)]
        assert labels_seen(loader, initial_epoch=7, epochs=9, callbacks=sync) == wanted_labels(loader, [7, 8])
        assert loader.state_dict()["epoch"] == 9


def test_initial_epoch_with_the_callback(numbered):
    with fastprep.Loader(numbered, 5, fastprep.CenterCrop(8), shuffle=True) as loader:
        assert labels_seen(loader, initial_epoch=4, epochs=6, callbacks=[fastprep.EpochSync(loader)]) == wanted_labels(
            loader, [4, 5]
        )


@pytest.mark.parametrize("steps_per_execution", STEPS_PER_EXECUTION)
@pytest.mark.filterwarnings("error:Your input ran out of data")
def test_fit_resumes_in_the_middle_of_an_epoch(numbered, steps_per_execution):
    with fastprep.Loader(numbered, 5, fastprep.CenterCrop(8), shuffle=True) as loader:
        loader.load_state_dict({**loader.state_dict(), "epoch": 2, "seen": 10})
        seen = []
        base = spy(lambda data: seen.append(values(data[1])))
        model = small_model(classes=N, base=base, run_eagerly=True, steps_per_execution=steps_per_execution)
        model.fit(loader, initial_epoch=2, epochs=5, callbacks=[fastprep.EpochSync(loader)], verbose=0)
        wanted = [step for epoch in wanted_labels(loader, [2, 3, 4]) for step in epoch]
        assert seen == wanted[2:]


@pytest.mark.filterwarnings("error:Your input ran out of data")
def test_fit_resumes_an_epoch_of_which_nothing_is_left(numbered):
    """As on a rank that has read its part when others have not. On JAX and torch Keras can't, and an error says so."""
    filters = [*warnings.filters]
    model = small_model(classes=N)
    with fastprep.Loader(numbered, 5, fastprep.CenterCrop(8), shuffle=True) as loader:
        model.fit(loader, epochs=1, verbose=0)  # Keras has no results of metrics before the first batch
        loader.set_epoch(2, len(loader))
        options = {"callbacks": [fastprep.EpochSync(loader)], "verbose": 0}
        if BACKEND == "tensorflow":
            model.fit(loader, initial_epoch=2, epochs=4, **options)
            assert loader.stats()["samples"] == 2 * N
        else:
            with pytest.raises(
                ValueError, match=rf"^fit: nothing is left of epoch 2, .* on {BACKEND} .*loader.set_epoch\(3\) and"
            ):
                model.fit(loader, initial_epoch=2, epochs=4, **options)
            loader.set_epoch(3)
            model.fit(loader, initial_epoch=3, epochs=4, **options)
        assert (loader.next_epoch, loader.next_step) == (4, 0)
    assert warnings.filters == filters


def test_epoch_sync_leaves_steps_per_epoch_alone(numbered):
    with fastprep.Loader(numbered, 4, fastprep.CenterCrop(8), shuffle=True) as loader:
        seen = labels_seen(loader, initial_epoch=1, epochs=5, steps_per_epoch=3, callbacks=[fastprep.EpochSync(loader)])
        assert [step for epoch in seen for step in epoch] == [s for e in wanted_labels(loader, [1, 2]) for s in e]


def test_an_early_stop_leaves_nothing_running(numbered):
    class StopAtThird(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    with fastprep.Loader(numbered, 2, fastprep.CenterCrop(8), shuffle=True) as loader:
        seen = labels_seen(loader, epochs=5, callbacks=[StopAtThird()])
        assert seen == [wanted_labels(loader, [0])[0][:3]]
        retired = loader._iterator
        assert labels_seen(loader, epochs=1) == wanted_labels(loader, [1])
        assert not retired._ahead
        with pytest.raises(RuntimeError, match="began another iteration"):
            next(retired)


@pytest.mark.parametrize(
    "cut",
    [lambda loader: loader.close(), lambda loader: small_model(classes=N).fit(loader, verbose=0)],
    ids=["close", "another fit"],
)
def test_an_iteration_that_is_cut_off_is_not_a_short_epoch(numbered, cut):
    class Cut(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                cut(loader)

    with fastprep.Loader(numbered, 2, fastprep.CenterCrop(8), shuffle=True) as loader:
        with pytest.raises(RuntimeError, match="was closed, or began another iteration, before this one was over"):
            small_model(classes=N).fit(loader, epochs=2, callbacks=[Cut()], verbose=0)
        loader.set_epoch(5)
        assert labels_seen(loader, epochs=1) == wanted_labels(loader, [5])


def test_steps_per_epoch_go_on_where_the_last_epoch_stopped(numbered):
    with fastprep.Loader(numbered, 4, fastprep.CenterCrop(8), shuffle=True) as loader:
        seen = labels_seen(loader, epochs=4, steps_per_epoch=3)
    assert [step for epoch in seen for step in epoch] == [s for e in wanted_labels(loader, [0, 1]) for s in e]


def test_a_model_that_fails_leaves_the_loader_usable(numbered):
    class Failing(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("no")

    with fastprep.Loader(numbered, 4, fastprep.CenterCrop(8)) as loader:
        with pytest.raises(RuntimeError, match="no"):
            small_model(classes=N).fit(loader, callbacks=[Failing()], verbose=0)
        assert labels_seen(loader, epochs=1) == wanted_labels(loader, [0])


def test_a_damaged_file_stops_fit_with_its_own_error(make_damaged_file):
    path = make_damaged_file(40, 1, 40)
    with (
        fastprep.Loader(path, 4, fastprep.CenterCrop(8)) as loader,
        pytest.raises(fastprep.DataError, match="chunk 17, sample 17"),
    ):
        small_model().fit(loader, verbose=0)


@pytest.mark.parametrize("batch_size", [4, 40])
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_a_model_outlives_a_damaged_file(make_damaged_file, make_file, method, batch_size):
    """With the weights it has then, which Keras' JAX trainer takes out of it. The damage is in the first batch, or later."""
    model = small_model()
    with (
        fastprep.Loader(make_damaged_file(40, 1, 40), batch_size, fastprep.CenterCrop(8)) as damaged,
        fastprep.Loader(make_file(n=N, name="whole.h5")[0], 4, fastprep.CenterCrop(8)) as loader,
    ):
        for _ in range(2):  # while Keras builds the model's metrics, and without that
            model.fit(loader, verbose=0)
            before = [*model.get_weights(), *(keras.ops.convert_to_numpy(v) for v in model.optimizer.variables)]
            with pytest.raises(fastprep.DataError, match="sample 17"):
                getattr(model, method)(damaged, verbose=0)
            after = [*model.get_weights(), *(keras.ops.convert_to_numpy(v) for v in model.optimizer.variables)]
            for was, became in zip(before, after, strict=True):
                assert np.array_equal(was, became) or (method == "fit" and batch_size == 4)  # some of its steps were done
            assert np.isfinite(model.evaluate(loader, verbose=0)).all()


def test_tensors_outlive_loader_and_batch(path):
    with fastprep.Loader(path, 4, fastprep.CenterCrop(8)) as loader:
        batches = [loader._source.prepare(0, step) for step in range(6)]
        wanted = [batch.x.copy() for batch in batches]
        outlived = [to_backend(batch, "float32") for batch in batches]
        del batches
    for tensor, x in zip(outlived, wanted, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(tensor), x)


def as_float32(x):
    """Return x in numpy, which has no bfloat16; float32 has all its values."""
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float32"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_loop_of_ones_own_gets_tensors_where_the_kernel_wrote_them(numbered, dtype):
    options = {"shuffle": True, "class_weight": {0: 0.5}, "dtype": dtype}
    with fastprep.Loader(numbered, 4, fastprep.RandomCrop(8, mirror=True), **options) as loader:
        written, kept = note_addresses(loader), []
        for step, (x, y, weights) in enumerate(loader.tensors()):
            kept.append((x, loader.batch(0, step)))
            assert loader.state_dict()["seen"] == (4 * step + 4 if step < 5 else 0)
            assert address(x) == written[0, step]
            types = [keras.backend.standardize_dtype(part.dtype) for part in (x, y, weights)]
            assert types == [dtype, "int32" if BACKEND == "jax" else "int64", "float32"]  # JAX has no int64 by default
            np.testing.assert_array_equal(y, kept[-1][1][1])
            np.testing.assert_array_equal(weights, kept[-1][1][2])
        assert len(kept) == len(loader)
        for x, (wanted, *_) in kept:  # the tensors alone keep the memory
            np.testing.assert_array_equal(as_float32(x), np.array(wanted).astype("float32"))
        assert [len(x) for x, *_ in loader.tensors()] == [4, 4, 4, 4, 4, 3]
        assert loader.next_epoch == 2


def test_tensors_go_on_in_the_middle_of_an_epoch_and_need_no_labels(numbered):
    with fastprep.Loader(numbered, 5, fastprep.TenCrop(8), labels=None) as loader:
        loader.load_state_dict({**loader.state_dict(), "seen": 15})
        assert [tuple(x.shape) for x in loader.tensors()] == [(50, 8, 8, 3), (30, 8, 8, 3)]


def test_tensors_on_a_backend_without_a_hand_over(path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with (
        fastprep.Loader(path, 4, fastprep.CenterCrop(8)) as loader,
        pytest.raises(NotImplementedError, match="this is numpy, with batches in 1 part"),
    ):
        loader.tensors()


def test_bfloat16_tensors(path):
    with fastprep.Loader(path, 4, fastprep.CenterCrop(8), dtype="bfloat16") as loader:
        batch = loader._source.prepare(0, 0)
        tensor = to_backend(batch, "bfloat16")
        assert keras.backend.standardize_dtype(tensor.dtype) == "bfloat16"
        np.testing.assert_array_equal(as_float32(tensor), batch.x.astype("float32"))
        small_model().fit(loader, verbose=0)


def test_a_misaligned_buffer_is_refused_before_tensorflow_sees_it(path):
    pytest.importorskip("tensorflow")
    from fastprep.adapters.tensorflow import to_tensors

    class Misaligned:
        address = 4096 + 16

    with fastprep.Loader(path, 4, fastprep.CenterCrop(8)) as loader:
        batch = loader._source.prepare(0, 0)._replace(lease=Misaligned())
        with pytest.raises(RuntimeError, match="not aligned to 64 bytes"):
            to_tensors(batch, "float32")


def test_a_keras_without_the_adapter_class_still_trains(numbered):
    """The way through `keras.utils.PyDataset`, should Keras ever move its private class."""
    script = f"""
        import sys, keras
        sys.modules["keras.src.trainers.data_adapters.data_adapter"] = None
        import fastprep
        from fastprep.adapters import keras as keras_adapter
        assert keras_adapter.DataAdapter is None and issubclass(fastprep.Loader, keras.utils.PyDataset)
        seen = []
        class Spy(keras.Sequential):
            def train_step(self, *arguments):
                seen.append(keras.ops.convert_to_numpy(arguments[-1][1]).tolist())
                return super().train_step(*arguments)
        model = Spy([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense({N})])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
        with fastprep.Loader({str(numbered)!r}, 5, fastprep.CenterCrop(8), shuffle=True) as loader:
            model.fit(loader, epochs=2, shuffle=False, verbose=0)
            assert seen == [loader.samples(e, s).tolist() for e in range(2) for s in range(len(loader))], seen
            assert model.predict(loader, verbose=0).shape == ({N}, {N})
        print("trained")
    """
    assert "trained" in run(script)


def run(script):
    done = warm_python.run([sys.executable, "-c", textwrap.dedent(script)], timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_loader_for_keras_is_the_plain_one_and_more():
    assert issubclass(fastprep.Loader, PlainLoader)
    assert fastprep.Loader.__doc__ == PlainLoader.__doc__


def test_arguments_of_a_loader_for_keras_can_not_be_assigned_either(path):
    with fastprep.Loader(path, 4, fastprep.RandomCrop(8), workers=2) as loader:
        small_model().fit(loader, verbose=0)
        assert (loader.batch_size, loader.crop, loader.workers) == (4, fastprep.RandomCrop(8), 2)
        with pytest.raises(
            AttributeError, match=r"^crop of a loader can't be changed, .* fastprep.Loader\(\.\.\., crop=\.\.\.\)"
        ):
            loader.crop = fastprep.CenterCrop(6)
        assert small_model().evaluate(loader, verbose=0)
