"""on_corrupt="skip" in Keras: no evaluation counts an image twice, and no row of a prediction is that of another image."""

import h5py
import keras
import numpy as np
import pytest
from damaged_chunks import damage
from keras_backend import BACKEND, spy, values
from small_model import small_model

import fastprep

pytestmark = pytest.mark.usefixtures("no_thread_left")

N = 24
DAMAGED = [3, 8, 9, 10, 11, 22, 23]  # of batches of four: a part of the first and of the last, and the third
INTACT = np.delete(np.arange(N), DAMAGED)


@pytest.fixture
def path(make_file):
    path, _, _ = make_file(n=N, chunks=(1, 12, 14, 3), compression="gzip", fletcher32=True)
    damage(path, DAMAGED)
    return path


def arrays(path):
    """Return x and y of intact samples."""
    with h5py.File(path) as file:
        images, mean = file["images"], file["images"].attrs["mean"].astype(np.float32)
        x = np.stack([images[int(k)].astype(np.float32) - mean for k in INTACT])
        return x[:, 2:10, 3:11], file["labels"][()][INTACT]


@pytest.mark.parametrize("steps_per_execution", [1, 4] if BACKEND != "torch" else [1])  # Keras refuses others
@pytest.mark.filterwarnings("error:Your input ran out of data")
def test_an_evaluation_counts_each_intact_image_once(path, steps_per_execution):
    model = small_model(steps_per_execution=steps_per_execution)
    wanted = model.evaluate(*arrays(path), batch_size=4, verbose=0)
    with fastprep.Loader(path, 4, fastprep.CenterCrop(8), on_corrupt="skip") as val:
        for _ in range(2):  # the damage is found in the first, and known in the second
            assert model.evaluate(val, verbose=0) == pytest.approx(wanted, rel=1e-5)  # the batches of arrays are others


@pytest.mark.parametrize("batch_size", [1, 2, 4, N])
@pytest.mark.filterwarnings("error:Your input ran out of data")
def test_a_validation_counts_each_intact_image_once(path, batch_size):
    x, y = arrays(path)
    seen = []

    def note(data):
        seen.extend(zip(values(data[1]), np.sum(values(data[0]), axis=(1, 2, 3)), strict=True))

    model = small_model(base=spy(note, "test_step"), run_eagerly=True)
    with fastprep.Loader(path, batch_size, fastprep.CenterCrop(8), on_corrupt="skip") as val:
        model.fit(x[:4], y[:4], validation_data=val, epochs=2, verbose=0)
    wanted = list(zip(y.tolist(), x.sum(axis=(1, 2, 3)).tolist(), strict=True)) * 2
    np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=0.1)


def test_an_iteration_and_a_training_still_replace_images(path):
    seen = []
    with fastprep.Loader(path, 4, fastprep.CenterCrop(8), on_corrupt="skip") as train:
        model = small_model(base=spy(lambda data: seen.extend(values(data[1]))), run_eagerly=True)
        model.fit(train, verbose=0, shuffle=False)
    assert len(seen) == N


@pytest.mark.parametrize("crop", [fastprep.CenterCrop(8), fastprep.TenCrop(8)])
def test_rows_of_damaged_images_are_nan_and_listed(path, caplog, crop):
    model = small_model()
    with fastprep.Loader(path, 4, crop, on_corrupt="skip") as test:
        rows = fastprep.predict(model, test)
        n = crop.n_crops
        wanted = [model.predict_on_batch(test.batch(0, k // 4)[0])[k % 4 * n :][:n].mean(axis=0) for k in INTACT]
        assert test.next_epoch == 0
    assert np.flatnonzero(np.isnan(rows).all(axis=1)).tolist() == DAMAGED
    np.testing.assert_allclose(rows[INTACT], wanted, rtol=1e-5, atol=1e-5)
    assert "predict: 7 samples can't be read, and their rows are NaN: 3, 8, 9, 10, 11, 22, 23" in caplog.text


def test_predict_of_keras_refuses_the_row_of_another_image(path, make_file):
    model, whole = small_model(), make_file(n=N, name="whole.h5")[0]
    with fastprep.Loader(path, 4, fastprep.CenterCrop(8), on_corrupt="skip") as test:
        with pytest.raises(fastprep.DataError, match=r"dataset 'images': sample 3 can't be read, .* use fastprep.predict\("):
            model.predict(test, verbose=0)
        assert len(fastprep.predict(model, test)) == N
        with pytest.raises(fastprep.DataError, match="sample 3 can't be read"):
            model.predict(test, verbose=0)
    with fastprep.Loader(whole, 4, fastprep.CenterCrop(8), on_corrupt="skip") as test:
        assert model.predict(test, verbose=0).shape == (N, 3)


def test_an_output_without_nan_is_refused(path):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.ops.cast(keras.layers.Flatten()(inputs)[:, :2], "int32"))
    with (
        fastprep.Loader(path, 4, fastprep.CenterCrop(8), on_corrupt="skip") as test,
        pytest.raises(ValueError, match=r"must be NaN, which the model's output, int32, does not have; .*\(samples 3, 8, 9"),
    ):
        fastprep.predict(model, test)


def test_predict_refuses_random_crops(path):
    with (
        fastprep.Loader(path, 4, fastprep.RandomCrop(8)) as test,
        pytest.raises(ValueError, match=r"same crops each time for a prediction: CenterCrop, .*; got crop=RandomCrop"),
    ):
        fastprep.predict(small_model(), test)


def test_predict_refuses_several_outputs_and_takes_one_that_has_a_name(make_file):
    path, _, _ = make_file(n=6)
    with fastprep.Loader(path, 4, fastprep.CenterCrop(8), mean=None) as test:
        image = keras.Input(test.output_shape)
        flat = keras.layers.GlobalAveragePooling2D()(image)
        one = keras.Model(image, {"a": flat})
        several = keras.Model(image, {"a": flat, "b": keras.layers.Dense(2)(flat)})
        with pytest.raises(ValueError, match=r"with one output, got 2: model.predict\(loader\) gives them all"):
            fastprep.predict(several, test)
        np.testing.assert_array_equal(fastprep.predict(one, test), one.predict(test, verbose=0)["a"])
