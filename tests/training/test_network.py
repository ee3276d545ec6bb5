"""Network, loss and optimizer of a run: each option does what its help text promises."""

import math
import sys

import numpy as np
import pytest

from fastprep import train
from fastprep.errors import InputError
from fastprep.training import checkpoint, determinism, network, schedule
from fastprep.training.class_weights import class_weights
from fastprep.training.config import Config

keras = pytest.importorskip("keras")

SHAPE, CLASSES = (10, 10, 3), 3


# --- learning rate


def test_cosine_is_that_of_keras():
    steps, config = 7, Config(schedule="cosine", epochs=5, lr=0.02)
    wanted = keras.optimizers.schedules.CosineDecay(0.002, 4 * steps, warmup_target=0.02, warmup_steps=steps)
    for step in range(5 * steps):
        assert schedule.learning_rate(config, step / steps, []) == pytest.approx(float(wanted(step)), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("options", "losses", "rates"),
    [
        ({}, [], {0: 1, 3.5: 1, 74: 1}),
        ({"warmup": 2}, [], {0: 0.1, 1: 0.55, 2: 1, 50: 1}),
        ({"schedule": "cosine", "epochs": 1}, [], {0: 0.1, 0.5: 0.55}),
        ({"schedule": "cosine", "epochs": 4, "warmup": 0}, [], {0: 1, 2: 0.5, 4: 0}),
        ({"schedule": "step", "step_every": 3, "factor": 0.5}, [], {0: 1, 2.9: 1, 3: 0.5, 5.9: 0.5, 6: 0.25}),
        ({"schedule": "step", "step_every": 3, "factor": 0.5, "warmup": 4}, [], {0: 0.1, 3: 0.775, 4: 0.5}),
        ({"schedule": "plateau", "patience": 2}, [3.0, 2.0, 2.0], {3: 1}),
        ({"schedule": "plateau", "patience": 2}, [3.0, 2.0, 2.0, 2.5], {4: 0.1}),
        ({"schedule": "plateau", "patience": 2}, [3.0, 2.0, 2.0, 2.5, 1.0, 1.5], {6: 0.1}),
        ({"schedule": "plateau", "patience": 2}, [3.0, 2.0, 2.0, 2.5, 9.0, math.nan], {6: 0.01}),
    ],
)
def test_learning_rates(options, losses, rates):
    config = Config(**{"lr": 1.0, **options})
    for time, wanted in rates.items():
        assert schedule.learning_rate(config, time, losses) == pytest.approx(wanted)


# --- networks


def build(name, **options):
    return network.build_model(Config(model=name, **options), SHAPE, CLASSES)


NETWORKS = """
import keras

def positional(a, b):
    return tower(input_shape=a, num_classes=b)

def tower(*, input_shape, num_classes, weights="imagenet"):
    assert weights is None or weights == "imagenet"
    tower.weights = weights
    return keras.Sequential([
        keras.Input(input_shape), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.Flatten(),
        keras.layers.Dense(num_classes, activation="softmax"),
    ])

class Own(keras.Model):
    def __init__(self, classes):
        super().__init__()
        self.pooling, self.dense = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(classes)

    def call(self, x):
        return self.dense(self.pooling(x))

def own(shape, classes):
    return Own(classes)

def fails(shape, classes):
    raise RuntimeError("I do not like squares")

def wrong_output(shape, classes):
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(1)])

def two_inputs(shape, classes):
    one, other = keras.Input(shape), keras.Input(shape)
    flat = keras.layers.Flatten()(keras.layers.Concatenate()([one, other]))
    return keras.Model([one, other], keras.layers.Dense(classes)(flat))

def wrong_input(shape, classes):
    return keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(classes)])

def nothing(shape, classes):
    return None

number = 3
"""


@pytest.fixture(autouse=True)
def networks(tmp_path, monkeypatch):
    (tmp_path / "some_networks.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("some_networks", None)


@pytest.mark.parametrize(
    ("name", "logits"),
    [
        ("some_networks:tower", False),
        ("some_networks:positional", False),
        ("some_networks:own", True),
        ("keras.applications:MobileNetV2", False),
        ("keras.applications.mobilenet_v2:MobileNetV2", False),
    ],
)
def test_networks_of_all_sorts(name, logits):
    shape = (32, 32, 3) if "Mobile" in name else SHAPE
    model = network.build_model(Config(model=name), shape, CLASSES)
    assert model.predict(np.zeros((4, *shape)), verbose=0).shape == (4, CLASSES)
    assert network.gives_logits(model, shape) is logits


def test_functions_with_pretrained_weights_are_asked_for_none():
    build("some_networks:tower")
    assert sys.modules["some_networks"].tower.weights is None


@pytest.mark.parametrize(("options", "wanted"), [({}, 2e-4), ({"l2": 1e-3}, 1e-3), ({"l2": 0.0}, 0.0)])
def test_the_penalty_on_the_kernels_of_alexnet(options, wanted):
    model = network.build_model(Config(**options), (67, 67, 3), CLASSES)
    penalties = [layer.kernel_regularizer.l2 for layer in model.layers if hasattr(layer, "kernel_regularizer")]
    assert len(penalties) == 8  # five convolutions, three dense layers
    assert penalties == pytest.approx([wanted] * 8)


@pytest.mark.parametrize(("options", "wanted"), [({}, 0.25), ({"pool_dropout": 0.1}, 0.1), ({"pool_dropout": 0.0}, 0.0)])
def test_the_dropout_behind_the_poolings_of_alexnet(options, wanted):
    model = network.build_model(Config(**options), (67, 67, 3), CLASSES)
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [wanted] * 3 + [0.5] * 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:net", "can't be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("some_networks:net", "can't be imported: AttributeError: module 'some_networks' has no attribute 'net'"),
        ("some_networks:number", "must be a function, got int"),
        ("some_networks:fails", "called with the shape (10, 10, 3) and 3 classes: I do not like squares"),
        ("some_networks:nothing", "must return a Keras model, got NoneType"),
        ("some_networks:wrong_output", "must have an output of 3 numbers, one for each class, got the shape (1,)"),
        (
            "some_networks:two_inputs",
            "must take one input, it has 2; a network of several inputs is for Python, fastprep.Loader(",
        ),
        ("some_networks:wrong_input", "does not take images of (10, 10, 3)"),
        ("alexnet", "too small for AlexNet"),
    ],
)
def test_networks_that_do_not_work_say_why(name, message):
    with pytest.raises(InputError) as caught:
        build(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_precision_is_of_the_network_alone(precision):
    model = build("some_networks:tower", precision=precision)
    assert {layer.dtype_policy.name for layer in model.layers} == {precision}
    assert keras.config.dtype_policy().name == "float32"
    network.compile_model(model, Config(), logits=False)
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (precision == "mixed_float16")


# --- loss and optimizer


@pytest.mark.parametrize(
    ("gpus", "asked", "given"), [([], "auto", False), (["GPU:0"], "auto", "auto"), (["GPU:0"], False, False), ([], True, True)]
)
def test_steps_of_tensorflow_are_compiled_for_gpus_alone_unless_asked(gpus, asked, given, monkeypatch):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras decides for the other backends")
    import tensorflow as tf

    before, seen = keras.Model.compile, []

    def compile_model(self, *arguments, **options):
        seen.append(options["jit_compile"])
        before(self, *arguments, **options)

    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: gpus)
    monkeypatch.setattr(keras.Model, "compile", compile_model)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    network.compile_model(model, Config(), logits=True, jit_compile=asked)
    assert seen == [given]


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_what_it_says(rng, logits, smoothing):
    model = build("some_networks:own" if logits else "some_networks:tower")
    network.compile_model(model, Config(label_smoothing=smoothing), logits)
    x, y = rng.normal(size=(6, *SHAPE)).astype("float32"), rng.integers(0, CLASSES, 6)
    rows = keras.ops.convert_to_numpy(model(x)).astype("float64")
    if logits:
        rows = np.exp(rows) / np.exp(rows).sum(axis=1)[:, None]
    wanted_rows = (1 - smoothing) * np.eye(CLASSES)[y] + smoothing / CLASSES
    wanted = -(wanted_rows * np.log(rows)).sum(axis=1).mean()
    got = model.evaluate(x, np.eye(CLASSES)[y] if smoothing else y, verbose=0, return_dict=True)
    assert got["loss"] == pytest.approx(wanted, rel=1e-4)
    assert got["accuracy"] == pytest.approx((rows.argmax(axis=1) == y).mean())


@pytest.mark.parametrize(
    ("options", "kind", "facts"),
    [
        ({}, "Adam", {"weight_decay": None}),
        ({"optimizer": "adamw"}, "AdamW", {"weight_decay": 0.004}),
        ({"optimizer": "adamw", "weight_decay": 0.05}, "AdamW", {"weight_decay": 0.05}),
        ({"optimizer": "sgd"}, "SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": None}),
        ({"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.01}, "SGD", {"momentum": 0.0, "nesterov": False}),
    ],
)
def test_optimizers(options, kind, facts):
    model = build("some_networks:tower")
    network.compile_model(model, Config(**options), logits=False)
    optimizer = model.optimizer
    assert type(optimizer).__name__ == kind
    assert {name: getattr(optimizer, name) for name in facts} == facts
    if optimizer.weight_decay:
        decayed = {v.name for v in model.trainable_variables if optimizer._use_weight_decay(v)}
        assert decayed == {"kernel"}


# --- weights of another model


def test_weights_of_a_saved_model_and_new_ones_for_other_classes(tmp_path):
    source = network.build_model(Config(model="some_networks:tower", seed=1), SHAPE, 5)
    source.save(tmp_path / "source.keras")
    model = build("some_networks:tower", seed=2)
    before = model.layers[-1].get_weights()
    said = network.take_weights(model, str(tmp_path / "source.keras"))
    assert said == f"weights of 2 layers from {tmp_path / 'source.keras'}; new ones for {model.layers[-1].name}"
    for ours, theirs in zip(model.layers[:-1], source.layers[:-1], strict=True):
        for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(model.layers[-1].get_weights()[0], before[0])


def test_weights_by_name_and_weights_that_fit_nowhere(tmp_path):
    source = keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(4, 3, name="shared"), keras.layers.Flatten()])
    source.save(tmp_path / "source.keras")
    layers = [keras.layers.Conv2D(4, 3, name="shared"), keras.layers.Flatten(), keras.layers.Dense(2, name="own")]
    model = keras.Sequential([keras.Input(SHAPE), *layers])
    assert "new ones for own" in network.take_weights(model, str(tmp_path / "source.keras"))
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], source.layers[0].get_weights()[0])
    other = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(InputError, match=r"no layer of .* fits one of the network"):
        network.take_weights(other, str(tmp_path / "source.keras"))
    (tmp_path / "bad.keras").write_text("nothing")
    with pytest.raises(InputError, match="can't be loaded"):
        network.take_weights(other, str(tmp_path / "bad.keras"))


def test_frozen_layers_do_not_change(make_file, tmp_path, capsys):
    path, _, _ = make_file(n=16)
    common = ["--train", str(path), "--val", str(path), "--crop", "10", "--batch-size", "8", "--epochs", "1"]
    common += ["--model", "some_networks:tower"]
    assert train.main([*common, "--out", str(tmp_path / "a")]) == 0
    weights = ["--weights", str(tmp_path / "a" / "best.keras")]
    for name, wanted, kept in (("count", "2", 2), ("pattern", "conv2d*", 1)):
        assert train.main([*common, *weights, "--freeze", wanted, "--out", str(tmp_path / name)]) == 0
        assert f"{kept} of 3 layers with weights stay as they are" in capsys.readouterr().out
        source = keras.models.load_model(tmp_path / "a" / "best.keras")
        model = keras.models.load_model(tmp_path / name / "best.keras")
        same = [
            all(np.array_equal(a, b) for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True))
            for ours, theirs in zip(model.layers, source.layers, strict=True)
            if ours.weights
        ]
        assert same == [True] * kept + [False] * (3 - kept)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [("nothing*", "matches no layer; those with weights are"), ("0", "matches no layer"), ("*", "leaves nothing to train")],
)
def test_freezing_none_or_all_is_an_error(wanted, message):
    with pytest.raises(InputError, match=message):
        network.freeze(build("some_networks:tower"), wanted)


# --- class weights


def test_class_weights():
    counts, names = np.array([6, 2, 0, 4]), ("cat", "dog", "emu", "owl")
    assert class_weights("none", counts, names) is None
    balanced = class_weights("balanced", counts, names)
    assert balanced == {0: 12 / 18, 1: 12 / 6, 3: 12 / 12}
    assert sum(balanced[k] * counts[k] for k in balanced) == pytest.approx(12)  # the loss keeps its size
    assert class_weights("cat:0.5, 3:2", counts, names) == {0: 0.5, 3: 2.0}
    assert class_weights("0:1", counts, ()) == {0: 1.0}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("cow:1", "classes are cat, dog, emu, owl; got 'cow:1'"),
        ("cat", "must be none, balanced, or CLASS:WEIGHT"),
        ("emu:1", "the training file has no images of class 'emu'"),
        ("9:1", "the training file has no images of class '9'"),
        ("cat:-1", "must be finite and not negative, got 'cat:-1'"),
    ],
)
def test_class_weights_that_make_no_sense(wanted, message):
    with pytest.raises(InputError) as caught:
        class_weights(wanted, np.array([6, 2, 0, 4]), ("cat", "dog", "emu", "owl"))
    assert message in str(caught.value)


# --- a whole run with each option


@pytest.mark.parametrize(
    "options",
    [
        ["--optimizer", "sgd", "--class-weight", "balanced", "--schedule", "step", "--step-every", "1"],
        ["--optimizer", "adamw", "--label-smoothing", "0.1", "--schedule", "plateau", "--patience", "1"],
        ["--precision", "mixed_bfloat16", "--warmup", "2", "--deterministic"],
    ],
    ids=lambda options: options[1],
)
def test_runs_with_options(make_file, tmp_path, capsys, options, monkeypatch):
    monkeypatch.setattr(determinism, "enable", lambda: None)  # it can't be taken back
    path, _, _ = make_file(n=20)
    files = ["--train", str(path), "--val", str(path), "--crop", "10", "--batch-size", "8", "--epochs", "2"]
    assert train.main([*files, *options, "--model", "some_networks:tower", "--out", str(tmp_path / "run")]) == 0
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    first, last = (float(row.split(",")[rows[0].split(",").index("learning_rate")]) for row in rows[1:])
    if "step" in options:
        assert (first, last) == pytest.approx((1e-3, 1e-4))
    if "--warmup" in options:
        assert first < last < 1e-3


def test_early_stop(make_file, tmp_path, capsys):
    path, _, _ = make_file(n=20)
    files = ["--train", str(path), "--val", str(path), "--crop", "10", "--batch-size", "8", "--epochs", "9"]
    # nothing gets better with a learning rate that changes no bit of the weights
    options = ["--lr", "1e-30", "--optimizer", "sgd", "--early-stop", "2", "--model", "some_networks:own"]
    assert train.main([*files, *options, "--out", str(tmp_path / "run")]) == 0
    assert "stopped early: 2 epochs without a better model" in capsys.readouterr().out
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 1 + 3


@pytest.mark.parametrize(("monitor", "best", "accuracy"), [("accuracy", 2, "70.00%"), ("loss", 4, "60.00%")])
def test_the_best_model(make_file, tmp_path, capsys, monkeypatch, monitor, best, accuracy):
    original, results = keras.Model.evaluate, iter([(0.5, 3.0), (0.7, 2.0), (0.7, 2.5), (0.6, 1.0), (0.5, 1.0)])

    def evaluate(model, *args, **options):
        original(model, *args, **options)
        return dict(zip(("accuracy", "loss"), next(results), strict=True))

    monkeypatch.setattr(keras.Model, "evaluate", evaluate)
    path, _, _ = make_file(n=20)
    files = ["--train", str(path), "--val", str(path), "--crop", "10", "--batch-size", "8", "--epochs", "5"]
    assert train.main([*files, "--model", "some_networks:own", "--monitor", monitor, "--out", str(tmp_path / "run")]) == 0
    assert f"best epoch {best}: {accuracy} of" in capsys.readouterr().out
    assert checkpoint.read(tmp_path / "run" / "best.keras")[0]["course"]["epoch"] == best


def test_a_network_that_can_not_be_saved_is_told_before_it_is_trained(make_file, tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise TypeError("say how to save me")

    monkeypatch.setattr(keras.Model, "save", fail)
    path, _, _ = make_file(n=20)
    files = ["--train", str(path), "--val", str(path), "--crop", "10", "--batch-size", "8", "--epochs", "1"]
    assert train.main([*files, "--model", "some_networks:tower", "--out", str(tmp_path / "run")]) == 2
    assert "the network can't be saved: say how to save me" in capsys.readouterr().err
