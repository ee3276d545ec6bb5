"""Keras trains on masks, boxes and points of a loader as it does on the same arrays."""

import h5py
import numpy as np
import pytest

import fastprep
from fastprep import Boxes, Mask, Points

keras = pytest.importorskip("keras")

pytestmark = pytest.mark.usefixtures("no_thread_left")

N = 20  # whole batches: Keras weights a partial one otherwise in the loss of each output


@pytest.fixture
def path(make_file, rng):
    path, images, _ = make_file(n=N)
    with h5py.File(path, "r+") as file:
        file["masks"] = (images[..., 0] > 100).astype("uint8") + (images[..., 1] > 200)
        file["boxes"] = np.sort(rng.uniform(0, 12, (N, 2, 2, 2)), axis=2).reshape(N, 2, 4)
        file["points"] = rng.uniform(0, 12, (N, 3, 2))
    return path


def network():
    """Return a small network with an output for each kind of target."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Dense(4, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    flat = keras.layers.Flatten()(x)
    outputs = {
        "mask": keras.layers.Dense(3, activation="softmax", name="mask")(x),
        "boxes": keras.layers.Reshape((2, 4), name="boxes")(keras.layers.Dense(8)(flat)),
        "points": keras.layers.Reshape((3, 3), name="points")(keras.layers.Dense(9)(flat)),
    }
    model = keras.Model(inputs, outputs)
    loss = {"mask": "sparse_categorical_crossentropy", "boxes": "mse", "points": "mae"}
    model.compile(keras.optimizers.SGD(0.001), loss=loss)
    return model


LABELS = {"mask": fastprep.Mask("masks"), "boxes": fastprep.Boxes("boxes"), "points": fastprep.Points("points")}


def arrays(loader, epoch):
    batches = [loader.batch(epoch, step) for step in range(len(loader))]
    x = np.concatenate([np.array(x) for x, _ in batches])
    return x, {name: np.concatenate([np.array(y[name]) for _, y in batches]) for name in LABELS}


def test_fit_evaluate_and_predict_are_the_same_as_with_arrays(path):
    crop = fastprep.RandomResizedCrop(8, mirror=True)
    ours, theirs = network(), network()
    with (
        fastprep.Loader(path, 5, crop, labels=LABELS, shuffle=True, seed=3, device="cpu") as train,
        fastprep.Loader(path, 5, fastprep.CenterCrop(8), labels=LABELS, device="cpu") as val,
    ):
        wanted = []
        for epoch in range(2):
            x, y = arrays(train, epoch)
            wanted.append(theirs.fit(x, y, batch_size=5, shuffle=False, verbose=0).history)
        history = ours.fit(train, epochs=2, verbose=0).history
        x, y = arrays(val, 0)
        assert ours.evaluate(val, verbose=0) == theirs.evaluate(x, y, batch_size=5, verbose=0)
        predicted, right = ours.predict(val, verbose=0), theirs.predict(x, batch_size=5, verbose=0)
    assert history == {key: [epoch[key][0] for epoch in wanted] for key in history}
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for name in LABELS:
        np.testing.assert_array_equal(predicted[name], right[name])


def test_a_mask_alone_is_an_output_and_tensors_have_its_type(path):
    with fastprep.Loader(path, 5, fastprep.CenterCrop(8), labels=fastprep.Mask("masks"), device="cpu") as loader:
        model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Dense(3, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(loader, verbose=0)
        for (_, tensor), (_, y) in zip(loader.tensors(), [loader.batch(1, step) for step in range(len(loader))], strict=True):
            values = keras.ops.convert_to_numpy(tensor)
            assert values.dtype == np.uint8
            np.testing.assert_array_equal(values, y)


@pytest.mark.parametrize("batch_size", [14, 9])
@pytest.mark.parametrize("labels", [Mask("depths"), Boxes("boxes"), Points("points"), "depths", "grid"])
def test_weights_multiply_the_losses_of_their_images(make_file, rng, labels, batch_size):
    """Also where a batch has as many images as masks have columns, or as there are boxes or points in an image."""
    path, _, _ = make_file(n=14)
    with h5py.File(path, "r+") as file:
        file["depths"] = rng.uniform(0, 1, (14, 12, 14))
        file["grid"], file["boxes"] = rng.uniform(0, 1, (14, 12, 14, 2)), [[[1.0, 2, 5, 6]] * 14] * 14
        file["points"] = rng.uniform(0, 12, (14, 14, 2))
    weights = np.linspace(0, 1, 14).astype(np.float32)
    with fastprep.Loader(path, batch_size, None, labels=labels, sample_weight=weights) as loader:
        _, y, w = loader.batch(0, 0)
    y, loss = np.asarray(y, np.float32), keras.losses.MeanSquaredError(reduction="sum")
    each = [float(loss(y[k : k + 1] * 0, y[k : k + 1])) for k in range(batch_size)]
    assert float(loss(y * 0, y, sample_weight=np.asarray(w))) == pytest.approx(np.dot(each, weights[:batch_size]), rel=1e-5)


@pytest.mark.parametrize("labels", ["labels", Mask("masks")])
def test_predict_refuses_to_average_what_lies_in_ten_crops(make_file, labels):
    path, images, _ = make_file(n=4)
    with h5py.File(path, "r+") as file:
        file["masks"] = np.zeros(images.shape[:3], "u1")
    inputs = keras.Input((8, 8, 3))
    maps = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))
    classes = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    with fastprep.Loader(path, 2, fastprep.TenCrop(8), labels=labels) as loader:
        with pytest.raises(ValueError, match="predict averages the 10 crops of each sample"):
            fastprep.predict(maps, loader)
        if labels == "labels":
            assert fastprep.predict(classes, loader).shape == (4, 3)
        else:
            with pytest.raises(ValueError, match="labels such as masks, boxes or points would lie elsewhere"):
                fastprep.predict(classes, loader)
    with fastprep.Loader(path, 2, fastprep.CenterCrop(8), labels=labels) as loader:
        assert fastprep.predict(maps, loader).shape == (4, 8, 8, 2)


def classifier():
    keras.utils.set_random_seed(2)
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(inputs)))


@pytest.fixture
def with_damaged_masks(make_file):
    """A file of images in chunks of one, one of which is damaged, and of masks in chunks of 4, all of which are."""
    path, _, _ = make_file(n=N, chunks=(1, 12, 14, 3), compression="gzip", fletcher32=True)
    with h5py.File(path, "r+") as file:
        file.create_dataset("masks", data=np.ones((N, 12, 14), "u1"), chunks=(4, 12, 14), compression="gzip", fletcher32=True)
        masks, images = (file[name].id for name in ("masks", "images"))
        chunks = [masks.get_chunk_info(k) for k in range(masks.get_num_chunks())] + [images.get_chunk_info(3)]
    content = bytearray(path.read_bytes())
    for chunk in chunks:
        content[chunk.byte_offset + chunk.size // 2] ^= 0x55
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("labels", [Mask("masks"), {"mask": Mask("masks"), "class": "labels"}], ids=["mask", "with classes"])
@pytest.mark.parametrize("indices", [None, np.arange(N)[::-1]], ids=["all", "part"])
def test_predictions_read_no_masks_so_that_damaged_ones_are_no_obstacle(with_damaged_masks, labels, indices):
    path, model = with_damaged_masks, classifier()
    rows = np.arange(N) if indices is None else indices
    whole = rows != 3
    options = {"mean": None, "on_corrupt": "skip", "device": "cpu", "indices": indices}
    with fastprep.Loader(path, 5, fastprep.CenterCrop(8), labels=None, **options) as plain:
        wanted = fastprep.predict(model, plain)
    with fastprep.Loader(path, 5, fastprep.CenterCrop(8), labels=labels, **options) as loader:
        with pytest.raises(fastprep.DataError, match="dataset 'masks'"):
            loader.batch(0, 0)  # after which the loader knows that no sample is whole
        found = fastprep.predict(model, loader)
        assert loader.stats()["corrupt"]["samples"] == N
        with pytest.raises(fastprep.DataError, match=r"dataset 'images': sample .* can't be read, .* use fastprep\.predict"):
            model.predict(loader, verbose=0)
    np.testing.assert_array_equal(found, wanted)
    assert np.isnan(found).all(axis=1).tolist() == (~whole).tolist()
    intact = {**options, "indices": rows[whole], "on_corrupt": "raise"}
    with fastprep.Loader(path, 5, fastprep.CenterCrop(8), labels=labels, **intact) as loader:
        for predicted in (model.predict(loader, verbose=0), fastprep.predict(model, loader)):
            np.testing.assert_array_equal(predicted, wanted[whole])
        model.compile("sgd", "mse")
        with pytest.raises(fastprep.DataError, match="dataset 'masks'"):
            model.evaluate(loader, verbose=0)


def test_predictions_of_a_loader_with_weights_blends_and_targets_are_those_of_its_images(path):
    model, weights = classifier(), np.linspace(0, 1, N)
    labels = {"mask": Mask("masks"), "boxes": Boxes("boxes"), "points": Points("points"), "class": "labels"}
    with (
        fastprep.Loader(path, 6, fastprep.CenterCrop(8), labels=labels, sample_weight=weights, device="cpu") as loader,
        fastprep.Loader(path, 6, fastprep.CenterCrop(8), labels=None, device="cpu") as plain,
    ):
        before = loader.stats()
        np.testing.assert_array_equal(fastprep.predict(model, loader), fastprep.predict(model, plain))
        assert loader.stats()["samples"] == before["samples"] + N
        assert loader.next_epoch == 0
