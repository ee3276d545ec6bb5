"""Keras trains networks of several inputs on a loader as it does on the same arrays, without a copy of any input."""

import h5py
import numpy as np
import pytest

import fastprep

keras = pytest.importorskip("keras")
from keras_backend import address, spy  # noqa: E402
from two_inputs import epoch_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_thread_left")

N = 20  # whole batches: Keras weights a partial one otherwise in the loss of each output
OPTIONS = {
    "images": {"rgb": "images", "depth": "depth"},
    "mean": {"rgb": "file", "depth": None},
    "scale": {"rgb": 1 / 255, "depth": 1e-4},
    "dtype": {"rgb": "float32", "depth": "float16"},
}


@pytest.fixture
def path(make_file, rng):
    path, _, _ = make_file(n=N)
    with h5py.File(path, "r+") as file:
        file["depth"] = rng.integers(0, 60000, (N, 12, 14)).astype("uint16")
    return path


def network(base=keras.Model, **options):
    """Return a network whose inputs are in another order than the loader's."""
    keras.utils.set_random_seed(1)
    inputs = {"depth": keras.Input((8, 8, 1), name="depth"), "rgb": keras.Input((8, 8, 3), name="rgb")}
    maps = [keras.layers.Conv2D(3, 3, activation="relu")(image) for image in inputs.values()]
    x = keras.layers.Flatten()(keras.layers.Concatenate()(maps))
    model = base(inputs, keras.layers.Dense(3)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], weighted_metrics=[], **options)
    return model


@pytest.mark.parametrize("weights", [None, {0: 0.5}])
def test_fit_evaluate_and_predict_are_the_same_as_with_arrays(path, weights):
    """History and weights: difference 0."""
    options, ours, theirs, wanted = {**OPTIONS, "class_weight": weights, "device": "cpu"}, network(), network(), []
    with (
        fastprep.Loader(path, 5, fastprep.RandomResizedCrop(8, mirror=True), shuffle=True, seed=3, **options) as train,
        fastprep.Loader(path, 5, fastprep.CenterCrop(8), **options) as val,
    ):
        for epoch in range(2):
            x, y, *rest = epoch_of(train, epoch)
            wanted.append(theirs.fit(x, y, 5, sample_weight=rest[0] if rest else None, shuffle=False, verbose=0).history)
        history = ours.fit(train, epochs=2, verbose=0).history
        x, y, *rest = epoch_of(val)
        scores = theirs.evaluate(x, y, 5, sample_weight=rest[0] if rest else None, verbose=0)
        assert ours.evaluate(val, verbose=0) == scores
        predicted, right = ours.predict(val, verbose=0), theirs.predict(x, 5, verbose=0)
        np.testing.assert_array_equal(fastprep.predict(ours, val), right)
    assert history == {key: [one[key][0] for one in wanted] for key in history}
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(predicted, right)


def test_the_training_step_sees_the_memory_the_kernel_wrote(path):
    seen, made = [], {}
    with fastprep.Loader(path, 5, fastprep.RandomCrop(8), shuffle=True, **OPTIONS, device="cpu") as loader:
        original = loader._source.prepare

        def prepare(epoch, step):
            batch = original(epoch, step)
            made[step] = {name: array.ctypes.data for name, array in batch.x.items()}
            return batch

        loader._source.prepare = prepare
        note = spy(lambda data: seen.append({name: address(x) for name, x in data[0].items()}), base=keras.Model)
        network(note, run_eagerly=True).fit(loader, verbose=0)
        assert seen == [made[step] for step in range(4)]
        assert all(addresses["rgb"] != addresses["depth"] for addresses in seen)


def test_tensors_outlive_the_loader_and_ten_crops_are_averaged(path):
    with fastprep.Loader(path, 4, fastprep.TenCrop(8), **OPTIONS, labels=None, device="cpu") as loader:
        kept, wanted = list(loader.tensors()), [loader.batch(0, step) for step in range(5)]
        model = network()
        rows = fastprep.predict(model, loader)
        x = {name: np.concatenate([np.array(batch[name]) for batch in wanted]) for name in OPTIONS["images"]}
        right = model.predict(x, 40, verbose=0).reshape(N, 10, 3).mean(axis=1, dtype="float32")
        np.testing.assert_array_equal(rows, right)
    del loader
    for tensors, arrays in zip(kept, wanted, strict=True):
        for name in OPTIONS["images"]:
            values = keras.ops.convert_to_numpy(tensors[name])
            assert values.dtype == arrays[name].dtype
            np.testing.assert_array_equal(values, arrays[name])


def test_colour_counts_as_drawn_for_a_prediction(path):
    color = {"rgb": fastprep.ColorJitter(0.4)}
    with (
        fastprep.Loader(path, 4, fastprep.CenterCrop(8), **OPTIONS, color=color) as loader,
        pytest.raises(ValueError, match="must give the same images each time"),
    ):
        fastprep.predict(network(), loader)


def test_an_evaluation_leaves_out_samples_of_which_one_input_is_damaged(make_file, rng):
    path, _, _ = make_file(n=N)
    with h5py.File(path, "r+") as file:
        depth = rng.integers(0, 200, (N, 12, 14)).astype("uint16")
        file.create_dataset("depth", data=depth, chunks=(2, 12, 14), compression="gzip")
        place = file["depth"].id.get_chunk_info(3)
    content = bytearray(path.read_bytes())
    content[place.byte_offset + place.size // 2] ^= 0x55
    path.write_bytes(content)
    model, intact = network(), np.setdiff1d(np.arange(N), [6, 7])
    with fastprep.Loader(path, 4, fastprep.CenterCrop(8), **OPTIONS, on_corrupt="skip", device="cpu") as loader:
        scores = model.evaluate(loader, verbose=0)
        assert loader.stats()["corrupt"]["samples"] == 2
        rows = fastprep.predict(model, loader)
        assert np.flatnonzero(np.isnan(rows).any(axis=1)).tolist() == [6, 7]
        with fastprep.Loader(path, 18, fastprep.CenterCrop(8), **OPTIONS, indices=intact, device="cpu") as rest:
            np.testing.assert_allclose(scores, model.evaluate(rest, verbose=0), rtol=1e-5)  # batches of other sizes
