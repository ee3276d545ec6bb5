"""Arguments of Keras that a loader makes meaningless, and evaluations in the middle of a training."""

import copy
import re

import h5py
import numpy as np
import pytest
from small_model import small_model

import fastprep
from fastprep.loader import Loader as PlainLoader

keras = pytest.importorskip("keras")
from keras_backend import spy, values  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_thread_left")

N = 23
Y, WEIGHTS = np.zeros(N), np.ones(N)


@pytest.fixture
def numbered(make_file):
    """Return a function that writes a file whose labels are the numbers of the samples, and returns its path."""

    def make(name):
        path, _, _ = make_file(n=N, name=name)
        with h5py.File(path, "r+") as file:
            file["labels"][...] = np.arange(N)
        return path

    return make


@pytest.fixture
def loader(numbered):
    """Return a loader of five steps, the last one partial."""
    path = numbered("train.h5")
    with fastprep.Loader(path, 5, fastprep.RandomCrop(8), shuffle=True) as loader:
        yield loader


@pytest.fixture
def val(numbered):
    with fastprep.Loader(numbered("val.h5"), 4, fastprep.CenterCrop(8)) as loader:
        yield loader


@pytest.fixture
def model():
    """Return a model that notes the labels of each training step in `seen`."""
    seen = []
    model = small_model(classes=N, base=spy(lambda data: seen.append(values(data[1]))), run_eagerly=True)
    object.__setattr__(model, "seen", seen)  # the list itself, and not Keras' own kind of list
    return model


def epochs(loader, numbers):
    return [loader.samples(epoch, step).tolist() for epoch in numbers for step in range(len(loader))]


# --- arguments without effect


@pytest.mark.parametrize(
    ("method", "options", "name"),
    [
        ("fit", {"y": Y}, "y"),
        ("fit", {"sample_weight": WEIGHTS}, "sample_weight"),
        ("fit", {"class_weight": {0: 1.0, 7: 50.0}}, "class_weight"),
        ("fit", {"batch_size": 2}, "batch_size"),
        ("fit", {"epochs": 3, "steps_per_epoch": 5, "class_weight": {}}, "class_weight"),
        ("evaluate", {"y": Y}, "y"),
        ("evaluate", {"sample_weight": WEIGHTS}, "sample_weight"),
        ("evaluate", {"batch_size": 2}, "batch_size"),
        ("predict", {"batch_size": 2}, "batch_size"),
    ],
)
def test_an_argument_that_has_no_effect_is_refused(loader, model, method, options, name):
    with pytest.raises(
        ValueError, match=rf"^{method}: {name} has no effect .*Loader\({name if name != 'y' else 'labels'}=...\)$"
    ):
        getattr(model, method)(loader, **options, verbose=0)
    assert loader.stats()["batches"] == 0


@pytest.mark.parametrize(
    ("others", "options", "name"),
    [
        ([Y], {}, "validation_data of fit: y"),
        ([None, WEIGHTS], {}, "validation_data of fit: sample_weight"),
        ([], {"validation_batch_size": 2}, "fit: validation_batch_size"),
    ],
)
@pytest.mark.parametrize("source", ["a loader", "arrays"])
def test_an_argument_that_has_no_effect_on_the_validation_is_refused(loader, val, model, source, others, options, name):
    options = {"validation_data": (val, *others), "verbose": 0, **options}
    data = [loader] if source == "a loader" else loader.batch(0, 0)
    with pytest.raises(ValueError, match=f"^{name} has no effect "):
        model.fit(*data, **options)
    assert val.stats()["batches"] == 0
    if source == "a loader":
        assert model.seen == []  # before the first epoch, not after it


def test_arguments_that_are_not_for_the_loader_are_left_alone(loader, val, model):
    x, y = loader.batch(0, 0)
    model.fit(x, y, batch_size=2, sample_weight=np.ones(len(y)), class_weight=None, validation_data=val, verbose=0)
    model.fit(loader, batch_size=5, validation_data=(x, y), validation_batch_size=2, verbose=0)
    assert model.evaluate(val, batch_size=4, verbose=0)


@pytest.mark.parametrize(
    ("options", "n_steps", "message"),
    [
        ({}, 4, "after every epoch of 4 steps comes one of 1; leave .* out.*drop_remainder=True for epochs of 4 steps"),
        ({"drop_remainder": True}, 3, "after every epoch of 3 steps comes one of 1; .*has every sample once$"),
        ({}, 2, "after every 2 epochs of 2 steps comes one of 1; .*has every sample once$"),
        ({}, 7, "an epoch of this loader has 5 steps, so no epoch of fit has more; leave steps_per_epoch out"),
        ({}, 5, None),
        ({}, 1, None),
        ({}, None, None),
        ({"drop_remainder": True}, 2, None),
    ],
)
def test_steps_that_make_epochs_uneven_are_warned_of(loader, model, caplog, options, n_steps, message):
    with fastprep.Loader(loader.files, 5, loader.crop, shuffle=True, **options) as train:
        model.fit(train, steps_per_epoch=n_steps, epochs=0, verbose=0)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("fastprep")]
    if message is None:
        assert said == []
    else:
        (line,) = said
        assert line.startswith(f"fit: steps_per_epoch={n_steps} does not fit: ")
        assert re.search(message, line)


@pytest.mark.parametrize("n_steps", [2, 9])
@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # for nine steps Keras says so, too
def test_an_evaluation_that_is_not_one_epoch_is_warned_of(loader, val, model, caplog, n_steps):
    effect = "the evaluation leaves samples out" if n_steps == 2 else "there are no more"
    model.fit(loader, validation_data=val, validation_steps=n_steps, epochs=0, verbose=0)
    assert f"validation_steps={n_steps}, but an epoch of this loader has 6 steps: {effect}" in caplog.text
    model.evaluate(val, steps=n_steps, verbose=0)
    assert f" steps={n_steps}, but an epoch of this loader has 6 steps: {effect}; leave steps out" in caplog.text


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_order_that_the_loader_does_not_have_is_warned_of(loader, model, caplog, shuffle):
    with fastprep.Loader(loader.files, 5, loader.crop, shuffle=not shuffle) as other:
        model.fit(other, shuffle=shuffle, epochs=0, verbose=0)
    assert ("call fit(shuffle=False) if that order is meant" if shuffle else "shuffle=False has no effect") in caplog.text
    caplog.clear()
    with fastprep.Loader(loader.files, 5, loader.crop, shuffle=shuffle) as other:
        model.fit(other, shuffle=shuffle, epochs=0, verbose=0)
    assert "shuffle" not in caplog.text


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_prediction_in_another_order_than_that_of_the_file_is_warned_of(loader, model, caplog, shuffle):
    with fastprep.Loader(loader.files, 5, loader.crop, shuffle=shuffle) as other:
        model.predict(other, verbose=0)
    assert ("so that the rows are not in the order of the file: make one with shuffle=False" in caplog.text) == shuffle


# --- evaluations beside a training


def test_validation_by_the_loader_of_the_training_does_not_take_epochs_from_it(loader, model):
    model.fit(loader, validation_data=loader, epochs=3, verbose=0)
    assert model.seen == epochs(loader, range(3))
    assert loader.next_epoch == 3


def test_evaluations_between_and_during_fits_do_not_move_the_loader(loader, model):
    class Evaluate(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                before = loader.state_dict()
                found.append(self.model.evaluate(loader, verbose=0))  # on JAX `self.model` alone has weights in it now
                model.predict(loader, verbose=0)
                assert loader.state_dict() == before

    found = []
    model.fit(loader, epochs=1, verbose=0)
    model.evaluate(loader, verbose=0)
    model.fit(loader, epochs=2, verbose=0, callbacks=[Evaluate()])
    assert model.seen == epochs(loader, range(3))
    assert len(found) == 2
    assert loader.state_dict()["epoch"] == 3


def test_an_evaluation_has_all_samples_wherever_the_loader_stands(loader, model):
    with PlainLoader(loader.files, 3, loader.crop, shuffle=True, shard=(0, 2)) as other:
        other.set_epoch(1, 2)
        loader.load_state_dict(other.state_dict())  # after 12 of the samples, which are two batches and a part of one
    before = loader.state_dict()
    assert len(model.predict(loader, verbose=0)) == N
    assert loader.state_dict() == before
    model.fit(loader, verbose=0)
    assert len(set(np.concatenate(model.seen))) == sum(map(len, model.seen)) == N - 12


def test_evaluations_are_comparable(loader, model):
    """Each is by the epoch that a training would read next, so that two of them differ by the model alone."""
    assert model.evaluate(loader, verbose=0) == model.evaluate(loader, verbose=0)
    x = np.concatenate([loader.batch(0, step)[0] for step in range(5)])
    np.testing.assert_array_equal(model.predict(loader, verbose=0), model.predict(x, batch_size=5, verbose=0))


def test_an_evaluation_that_is_cut_off_by_another_is_an_error(loader, model):
    class Again(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            small_model(classes=N).evaluate(loader, verbose=0)

    with pytest.raises(RuntimeError, match="began another iteration, before this one was over"):
        model.evaluate(loader, callbacks=[Again()], verbose=0)


# --- copies of callbacks


def test_a_deep_copy_of_the_callback_speaks_to_the_loader_that_is_trained_with(loader, model):
    callbacks = [fastprep.EpochSync(loader)]
    for _ in range(2):  # as a tuner does for each trial
        model.seen.clear()
        model.fit(loader, epochs=2, callbacks=copy.deepcopy(callbacks), verbose=0)
        assert model.seen == epochs(loader, range(2))
    assert copy.deepcopy(callbacks)[0] is not callbacks[0]


def test_a_callback_for_another_loader_is_refused(loader, val, model):
    with pytest.raises(ValueError, match=r"^EpochSync must have the loader that fit is given, <.*train.h5.*>, got <.*val.h5.*>$"):
        model.fit(loader, validation_data=val, callbacks=[fastprep.EpochSync(val)], verbose=0)
    model.fit(batches_of(loader), steps_per_epoch=1, callbacks=[fastprep.EpochSync(loader)], verbose=0)


def batches_of(loader):
    """Return a generator, as others wrap a loader."""
    yield from loader


def test_a_loader_and_its_callback_that_are_copied_together_stay_together(loader):
    twin, sync = copy.deepcopy((loader, fastprep.EpochSync(loader)))
    with twin:
        assert twin is not loader
        assert sync.loader is twin


def test_draws_with_replacement_are_for_training(numbered, model, caplog):
    with fastprep.Loader(numbered("drawn.h5"), 5, fastprep.CenterCrop(8), sampling="balanced") as drawn:
        with pytest.raises(ValueError, match="give every sample once: make one for predictions without sampling= and mix="):
            fastprep.predict(model, drawn)
        model.fit(drawn, epochs=2, verbose=0)
        assert [len(labels) for labels in model.seen] == 2 * [5, 5, 5, 5, 3]
        assert model.seen == [drawn.labels[drawn.samples(k, step)].tolist() for k in range(2) for step in range(5)]
        assert not [record for record in caplog.records if "replacement" in record.getMessage()]
        model.evaluate(drawn, verbose=0)
        model.fit(drawn, validation_data=drawn, verbose=0)
    warned = [record.getMessage() for record in caplog.records if "draws samples with replacement" in record.getMessage()]
    assert [text.partition(":")[0] for text in warned] == ["evaluate", "validation_data of fit"]
