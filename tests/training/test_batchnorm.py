"""Batch normalisation measured anew: against sums in numpy, and in the runs that ask for it."""

import csv
import json

import numpy as np
import pytest

import fastprep
from fastprep import train

keras = pytest.importorskip("keras")
from fastprep.training import batchnorm  # noqa: E402

EPSILON = 1e-3  # of Keras' batch normalisation

NETWORKS = """
import keras
from keras import layers

def network(shape, classes, *first):
    return keras.Sequential([
        keras.Input(shape), *first, layers.Dropout(0.5), layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(),
        layers.Flatten(), layers.Dense(classes),
    ])

def augmented(shape, classes):
    return network(shape, classes, layers.RandomTranslation(0.2, 0.2))

def without(shape, classes):
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(classes)])
"""


class Pair(keras.layers.Layer):
    """A layer of layers, neither a model nor a wrapper."""

    def __init__(self):
        super().__init__()
        self.dropout, self.norm = keras.layers.Dropout(0.5), keras.layers.BatchNormalization()

    def call(self, x, training=False):
        return self.norm(self.dropout(x, training=training), training=training)


def network():
    keras.utils.set_random_seed(4)
    inner = [keras.layers.GaussianDropout(0.4), keras.layers.Dense(3, activation="relu"), Pair()]
    norm, layers = keras.layers.BatchNormalization(momentum=0.7), keras.layers
    outer = [layers.Dense(6), layers.AlphaDropout(0.3), norm, keras.Sequential([keras.Input((6,)), *inner]), layers.Dense(2)]
    model = keras.Sequential([keras.Input((5,)), *outer])
    for layer, mean, scale in ((norm, 2, 3), (inner[2].norm, -1, 0.5)):
        layer.gamma.assign(np.full(layer.gamma.shape, scale))
        layer.beta.assign(np.full(layer.beta.shape, mean))
    return model


def norms_of(model):
    return model.layers[2], model.layers[3].layers[-1].norm


def dropouts_of(model):
    return model.layers[1], model.layers[3].layers[0], model.layers[3].layers[-1].dropout


def batches(n=7, rows=9):
    generator = np.random.default_rng(2)
    return [generator.normal(k, 1 + k, (rows, 5)).astype(np.float32) for k in range(n)]


def reference(model, xs):
    """Means and variances of both batch normalisations over all batches, each of which is normalised by itself; no dropout."""
    first, second = model.layers[0], model.layers[3].layers[1]
    seen = ([], [])
    for x in xs:
        values = x.astype(np.float64) @ np.asarray(first.kernel) + np.asarray(first.bias)
        seen[0].append(values)
        values = 3 * (values - values.mean(axis=0)) / np.sqrt(values.var(axis=0) + EPSILON) + 2
        values = np.maximum(0, values @ np.asarray(second.kernel) + np.asarray(second.bias))
        seen[1].append(values)
    return [(np.concatenate(of_one).mean(axis=0), np.concatenate(of_one).var(axis=0)) for of_one in seen]


@pytest.mark.parametrize("before", [0.0, np.nan, np.inf])
def test_means_and_variances_are_those_without_dropout_over_all_batches(before):
    model, xs = network(), batches()
    for norm in norms_of(model):
        norm.moving_mean.assign(np.full(norm.moving_mean.shape, before))
    weights = [np.asarray(variable).copy() for variable in model.trainable_weights]
    batchnorm.measure(model, iter(xs))
    for norm, (mean, variance) in zip(norms_of(model), reference(model, xs), strict=True):
        # in float32, through two layers
        np.testing.assert_allclose(np.asarray(norm.moving_mean), mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(np.asarray(norm.moving_variance), variance, rtol=1e-4)
    for was, variable in zip(weights, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(was, np.asarray(variable))


@pytest.mark.parametrize("fails", [False, True])
def test_momentum_and_dropout_are_afterwards_what_they_were(fails):
    model = network()
    xs = [*batches(2), np.zeros((2, 99), np.float32)] if fails else batches(2)
    if fails:
        with pytest.raises(ValueError, match="99"):
            batchnorm.measure(model, xs)
        for norm in norms_of(model):
            np.testing.assert_array_equal(np.asarray(norm.moving_mean), np.zeros(norm.moving_mean.shape))
            np.testing.assert_array_equal(np.asarray(norm.moving_variance), np.ones(norm.moving_mean.shape))
    else:
        batchnorm.measure(model, xs)
    assert [norm.momentum for norm in norms_of(model)] == [0.7, 0.99]
    assert [layer.rate for layer in dropouts_of(model)] == [0.3, 0.4, 0.5]
    generators = [np.asarray(layer.seed_generator.state).tolist() for layer in dropouts_of(model)]
    assert generators == [np.asarray(layer.seed_generator.state).tolist() for layer in dropouts_of(network())]


def test_what_is_frozen_stays():
    model = network()
    first, second = norms_of(model)
    first.trainable = False
    assert batchnorm.learning_norms(model) == [second]
    batchnorm.measure(model, batches())
    np.testing.assert_array_equal(np.asarray(first.moving_mean), np.zeros(6))
    np.testing.assert_array_equal(np.asarray(first.moving_variance), np.ones(6))
    assert (np.asarray(second.moving_mean) != 0).any()


def test_without_batch_normalisation_nothing_is_read():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    xs = iter(batches(1))
    batchnorm.measure(model, xs)
    assert next(xs) is not None


def test_what_was_never_called_is_left_out():
    class Unused(keras.Model):
        def __init__(self):
            super().__init__()
            self.used, self.unused = keras.layers.BatchNormalization(), keras.layers.BatchNormalization()

        def call(self, x, training=False):
            return self.used(x, training=training)

    model = Unused()
    with pytest.raises(ValueError, match="a model that is built"):
        batchnorm.measure(model, batches())
    model(batches(1)[0])
    batchnorm.measure(model, batches())
    mean = np.concatenate(batches()).mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(np.asarray(model.used.moving_mean), mean, rtol=1e-4, atol=1e-5)  # in float32
    assert not model.unused.built


def test_other_noise_goes_on_as_if_nothing_had_been():
    """Random augmentation, which stays on, has drawn no number, and Gaussian noise is off."""
    models = []
    for _ in range(2):
        keras.utils.set_random_seed(6)
        noise, norm = keras.layers.GaussianNoise(1.0), keras.layers.BatchNormalization()
        flip = keras.layers.RandomFlip()
        models.append(keras.Sequential([keras.Input((4, 4, 1)), flip, noise, norm]))
    x = np.random.default_rng(1).normal(size=(30, 4, 4, 1)).astype(np.float32)
    batchnorm.measure(models[0], [x])
    np.testing.assert_allclose(np.asarray(models[0].layers[2].moving_variance), x.var(), rtol=1e-4)  # in float32
    assert models[0].layers[1].stddev == 1.0
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(model(x, training=True)) for model in models))


def test_no_batch_is_an_error_and_changes_nothing():
    model = network()
    with pytest.raises(ValueError, match="needs at least one batch, got none"):
        batchnorm.measure(model, [])
    np.testing.assert_array_equal(np.asarray(norms_of(model)[0].moving_variance), np.ones(6))


@pytest.fixture
def command(make_file, tmp_path, monkeypatch):
    """Return the arguments of a run with one of the networks, and its files."""
    (tmp_path / "norm_networks.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    files = {name: str(make_file(n=n, name=f"{name}.h5")[0]) for name, n in (("train", 43), ("val", 20))}

    def make(name, *more):
        options = ["--crop", "10", "--batch-size", "8", "--epochs", "2", "--model", f"norm_networks:{name}"]
        return ["--train", files["train"], "--val", files["val"], *options, *more], files["train"], files["val"]

    return make


@pytest.mark.parametrize(("steps", "taken"), [(2, 2), (6, 5), (100, 5)])  # the sixth batch has 3 images
def test_a_run_measures_before_it_validates(command, tmp_path, steps, taken):
    words, train_file, _ = command("network", "--batchnorm-steps", str(steps), "--seed", "5", "--out", str(tmp_path / "run"))
    assert train.main(words) == 0
    model = keras.models.load_model(tmp_path / "run" / "last.keras")
    crop = fastprep.RandomCrop(10, mirror=True)
    with fastprep.Loader(train_file, 8, crop, shuffle=True, seed=5, labels=None, device="cpu") as loader:
        xs = [np.array(loader.batch(2, step)) for step in range(taken)]  # of the epoch that would have been next
    convolution, norm = model.layers[1], model.layers[2]
    values = [np.maximum(0, np.asarray(convolution.convolution_op(x, convolution.kernel) + convolution.bias)) for x in xs]
    flat = np.concatenate(values).astype(np.float64).reshape(-1, 4)
    np.testing.assert_allclose(np.asarray(norm.moving_mean), flat.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(np.asarray(norm.moving_variance), flat.var(axis=0), rtol=1e-4)


def test_it_changes_what_is_validated_and_not_what_is_trained(command, tmp_path):
    found = []
    for steps in ("0", "3"):
        run = tmp_path / steps
        words, _, val_file = command("augmented", "--batchnorm-steps", steps, "--out", str(run))
        assert train.main(words) == 0
        with open(run / "history.csv", newline="") as file:
            *_, last = csv.DictReader(file)
        model = keras.models.load_model(run / "last.keras")
        with fastprep.Loader(val_file, 8, fastprep.CenterCrop(10), mean="file", device="cpu") as val:
            loss, _ = model.evaluate(val, verbose=0)
        assert float(last["val_loss"]) == pytest.approx(loss, rel=1e-5)  # in float32; validated was what is saved
        found.append((model, last))
    (plain, plain_row), (measured, measured_row) = found
    for without, with_it in zip(plain.trainable_weights, measured.trainable_weights, strict=True):
        np.testing.assert_array_equal(np.asarray(without), np.asarray(with_it))
    assert plain_row["loss"] == measured_row["loss"]
    assert plain_row["val_loss"] != measured_row["val_loss"]
    assert (np.asarray(plain.layers[3].moving_variance) != np.asarray(measured.layers[3].moving_variance)).all()


@pytest.mark.parametrize(("name", "steps"), [("network", 128), ("without", 0)])
def test_it_is_measured_wherever_there_is_batch_normalisation(command, tmp_path, monkeypatch, name, steps):
    measured = []
    monkeypatch.setattr(batchnorm, "measure", lambda model, batches: measured.append(len(list(batches))))
    assert train.main(command(name, "--epochs", "1", "--out", str(tmp_path / "run"))[0]) == 0
    assert measured == [5] * (steps > 0)  # the whole batches of an epoch
    assert json.loads((tmp_path / "run" / "config.json").read_text())["batchnorm_steps"] == steps


def test_a_measurement_has_enough_batches_and_enough_images():
    assert [batchnorm.suitable_steps(size) for size in (1, 8, 63, 64, 128, 4096)] == [1024, 128, 17, 16, 16, 16]


def test_wrong_use_is_one_clear_line(command, capsys):
    for words, said in (
        (command("network", "--batchnorm-steps", "-1")[0], "--batchnorm-steps must be at least 0, got -1"),
        (
            command("without", "--batchnorm-steps", "3")[0],
            "has no batch normalisation that learns; say --batchnorm-steps 0",
        ),
    ):
        assert train.main(words) == 2
        assert said in capsys.readouterr().err
