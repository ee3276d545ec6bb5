"""Kinds of models and options: `fit` on a loader is `fit` on arrays, difference 0. More options are in test_keras.py."""

import h5py
import numpy as np
import pytest

import fastprep

keras = pytest.importorskip("keras")
from keras import layers  # noqa: E402
from keras_backend import BACKEND  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_thread_left")

# Whole batches: with a partial last one Keras gives TensorFlow arrays as batches of unknown size, and the graph that it makes
# for those rounds some sums otherwise. (That is seen with nothing but two `tf.data` datasets of the same batches, too.)
N, SHAPE, CLASSES = 20, (8, 8, 3), 3
LOSS = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], "weighted_metrics": []}


def functional(**options):
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    x = layers.Add()([x, layers.Conv2D(4, 1)(x)])
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(x))
    model = keras.Model(inputs, layers.Dense(CLASSES, activation="softmax", dtype="float32")(layers.Dropout(0.3)(x)))
    model.compile("adam", **LOSS, **options)
    return model


def sequential():
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES, activation="softmax")])
    model.compile(keras.optimizers.SGD(0.001, momentum=0.9), **LOSS)
    return model


def not_built_yet():
    model = keras.Sequential([layers.Rescaling(0.01), layers.Flatten(), layers.Dense(CLASSES, activation="softmax")])
    model.compile("rmsprop", **LOSS)
    return model


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.flatten, self.dropout = layers.Flatten(), layers.Dropout(0.4)
        self.dense = layers.Dense(CLASSES, activation="softmax")

    def call(self, x, training=False):
        return self.dense(self.dropout(self.flatten(x), training=training))


def subclassed():
    model = Subclassed()
    model.compile("adam", **LOSS)
    return model


class OwnStepOfTensorflow(keras.Model):
    """As in Keras' guide to custom training steps, as the two below."""

    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
        return {metric.name: metric.result() for metric in self.metrics}


class OwnStepOfJax(keras.Model):
    def loss_and_updates(self, trainable, rest, x, y):
        y_pred, rest = self.stateless_call(trainable, rest, x, training=True)
        return self.compute_loss(x, y, y_pred), rest

    def train_step(self, state, data):
        import jax

        trainable, rest, optimizer, metrics = state
        x, y = data
        (loss, rest), gradients = jax.value_and_grad(self.loss_and_updates, has_aux=True)(trainable, rest, x, y)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        (metric,) = self.metrics
        metrics = metric.stateless_update_state(metrics, loss)
        return {metric.name: metric.stateless_result(metrics)}, (trainable, rest, optimizer, metrics)


class OwnStepOfTorch(keras.Model):
    def train_step(self, data):
        import torch

        x, y = data
        self.zero_grad()
        loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        loss.backward()
        with torch.no_grad():
            self.optimizer.apply([weight.value.grad for weight in self.trainable_weights], self.trainable_weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
        return {metric.name: metric.result() for metric in self.metrics}


OWN_STEP = {"tensorflow": OwnStepOfTensorflow, "jax": OwnStepOfJax, "torch": OwnStepOfTorch}[BACKEND]


def own_train_step():
    inputs = keras.Input(SHAPE)
    model = OWN_STEP(inputs, layers.Dense(CLASSES, activation="softmax")(layers.Flatten()(inputs)))
    model.compile("adam", loss=LOSS["loss"])
    return model


class TwoHeads(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        losses = keras.losses.sparse_categorical_crossentropy
        return sum(keras.ops.mean(losses(y[:, k], y_pred[name])) for k, name in enumerate(("first", "second")))


def two_outputs():
    inputs = keras.Input(SHAPE)
    x = layers.Flatten()(inputs)
    heads = {name: layers.Dense(CLASSES, activation="softmax", name=name)(x) for name in ("first", "second")}
    model = TwoHeads(inputs, heads)
    model.compile("adam")
    return model


def application(name):
    """A network of keras.applications, from scratch, on images as small as it takes."""
    body = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
    model = keras.Model(body.input, layers.Dense(CLASSES, activation="softmax")(body.output))
    model.compile("adam", **LOSS)
    return model


MODELS = {
    "functional": functional,
    "sequential": sequential,
    "not built yet": not_built_yet,
    "subclassed": subclassed,
    "custom train_step": own_train_step,
    "steps_per_execution": lambda: functional(steps_per_execution=3),
    "jit_compile": lambda: functional(jit_compile=True),
    "mixed float16": functional,
    "mixed bfloat16": functional,
    "class weights": functional,
    "sample weights": functional,
    "one-hot": sequential,
    "two outputs": two_outputs,
    "ResNet50": lambda: application("ResNet50"),
    "MobileNetV3Small": lambda: application("MobileNetV3Small"),
}
if BACKEND == "torch":  # where Keras refuses it
    del MODELS["steps_per_execution"]
APPLICATIONS = ("ResNet50", "MobileNetV3Small")


@pytest.fixture
def path(make_file, request):
    large = getattr(request.node, "callspec", None) and request.node.callspec.params.get("name") in APPLICATIONS
    return make_file(n=N, **({"height": 34, "width": 34} if large else {}))[0]


class Seeds(keras.callbacks.Callback):
    """On torch all dropout draws from one generator, from which the DataLoader of arrays draws as well, once an epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        if BACKEND == "torch":
            import torch

            torch.manual_seed(batch)


def begin_anew(model, variables):
    """Give a model and its optimizer, Adam, the values from before any training; the graphs that were made of it are kept."""
    for variable, value in zip(model.variables, variables, strict=True):
        variable.assign(value)
    for variable in model.optimizer.variables:
        if not variable.path.endswith("learning_rate"):
            variable.assign(np.zeros(variable.shape, variable.dtype))


def fit_both(path, name):
    """Fit a model on a loader, and another one like it on the same images as arrays; return ((history, weights), ...).

    Of the large ones the other one is the same, begun anew, whose graphs need not be made a second time.
    """
    options = {"crop": fastprep.CenterCrop(32 if name in APPLICATIONS else 8)}
    epochs = 1 if name in APPLICATIONS else 2
    if name == "class weights":
        options["class_weight"] = {0: 0.5, 2: 3.0}
    if name == "sample weights":
        with h5py.File(path, "r+") as file:
            file["trust"] = np.linspace(0, 2, N)
        options["sample_weight"] = "trust"
    if name == "one-hot":
        options["num_classes"] = CLASSES
    if name == "two outputs":
        with h5py.File(path, "r+") as file:
            labels = file["labels"][()]
            del file["labels"]
            file["labels"] = np.stack([labels, labels[::-1]], axis=1)

    def build():
        keras.utils.set_random_seed(1)
        keras.config.set_dtype_policy(f"mixed_{name.removeprefix('mixed ')}" if name.startswith("mixed") else "float32")
        try:
            model = MODELS[name]()
        finally:
            keras.config.set_dtype_policy("float32")
        if name == "one-hot":
            model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        return model

    with fastprep.Loader(path, 5, **options) as train, fastprep.Loader(path, 4, **options) as val:
        batches = [[np.array(part) for part in train.batch(0, step)] for step in range(len(train))]
        x, y, *weights = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        ours = build()
        theirs = ours if name in APPLICATIONS else build()
        start = [keras.ops.convert_to_numpy(variable) for variable in ours.variables]
        history = ours.fit(train, validation_data=val, epochs=epochs, callbacks=[Seeds()], verbose=0).history
        weights_of_ours = ours.get_weights()
        if theirs is ours:
            begin_anew(ours, start)
        validation = (x, y, *weights)
        wanted = theirs.fit(
            x,
            y,
            sample_weight=weights[0] if weights else None,
            batch_size=5,
            shuffle=False,
            validation_data=validation,
            validation_batch_size=4,
            epochs=epochs,
            callbacks=[Seeds()],
            verbose=0,
        ).history
    return (history, weights_of_ours), (wanted, theirs.get_weights())


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.large] * (name in APPLICATIONS)) for name in MODELS])
def test_fit_on_a_loader_is_fit_on_arrays(path, name):
    (history, ours), (wanted, theirs) = fit_both(path, name)
    assert history == wanted
    assert np.isfinite(history["loss"]).all()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


class Stop(Exception):
    pass


def test_backup_and_restore_goes_on_like_with_arrays(path, tmp_path):
    """Keras' own callback, with epochs as its unit. Without dropout: it does not keep the state of random generators."""

    class Fail(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise Stop

    def fit(folder, *data, **options):
        history = []
        for stop in ([Fail()], []):
            keras.utils.set_random_seed(1)
            model = sequential()
            record = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: history.append((epoch, dict(logs))))
            callbacks = [keras.callbacks.BackupAndRestore(folder), record, *stop]
            try:
                model.fit(*data, callbacks=callbacks, epochs=4, verbose=0, **options)
            except Stop:
                continue
        return history, model.get_weights()

    with fastprep.Loader(path, 5, fastprep.CenterCrop(8)) as train:
        batches = [[np.array(part) for part in train.batch(0, step)] for step in range(len(train))]
        x, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        history, weights = fit(tmp_path / "ours", train)
    wanted, wanted_weights = fit(tmp_path / "theirs", x, y, batch_size=5, shuffle=False)
    assert [epoch for epoch, _ in history] == [0, 1, 2, 3]
    assert history == wanted
    for a, b in zip(weights, wanted_weights, strict=True):
        np.testing.assert_array_equal(a, b)
