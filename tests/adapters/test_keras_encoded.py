"""Keras with encoded images of different sizes: the same training, evaluation and prediction as with arrays of their crops."""

import numpy as np
import pytest
from encoded_files import by_pillow_upright, encoded, oracle, write_rows
from optional_libraries import needs
from small_model import small_model

import fastprep

pytest.importorskip("keras")
pytestmark = [needs("simplejpeg"), pytest.mark.usefixtures("no_thread_left")]

N = 23


@pytest.fixture(scope="module")
def rows():
    return encoded(N)


@pytest.fixture(scope="module")
def images(rows):
    return [by_pillow_upright(row) for row in rows]


@pytest.fixture
def path(tmp_path, rows):
    return write_rows(tmp_path / "encoded.h5", rows, labels=True)


def arrays(loader, images, epoch):
    """Return x and y of an epoch in its order, by the oracle."""
    samples = np.concatenate([loader.samples(epoch, step) for step in range(len(loader))])
    return oracle(loader, images, samples, epoch), samples


def test_fit_is_the_same_as_with_arrays(path, images):
    """Difference 0 in the history and in the weights, the partial last batch included."""
    ours, theirs, wanted = small_model(N), small_model(N), []
    crop = fastprep.RandomResizedCrop(8, mirror=True)
    with fastprep.Loader(path, 5, crop, mean=[100, 110, 120], shuffle=True, seed=3) as train:
        for epoch in range(2):
            x, y = arrays(train, images, epoch)
            wanted.append(theirs.fit(x, y, batch_size=5, shuffle=False, verbose=0).history)
        history = ours.fit(train, epochs=2, verbose=0).history
    assert history == {key: [one[key][0] for one in wanted] for key in history}
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_evaluate_and_predict_are_the_same_as_with_arrays(path, images):
    model = small_model(N)
    with fastprep.Loader(path, 5, fastprep.CenterCrop(8, resize=10), mean=[100, 110, 120]) as test:
        x, y = arrays(test, images, 0)
        assert model.evaluate(test, verbose=0) == model.evaluate(x, y, batch_size=5, verbose=0)
        np.testing.assert_array_equal(model.predict(test, verbose=0), model.predict(x, batch_size=5, verbose=0))
    with fastprep.Loader(path, 5, fastprep.TenCrop(8), mean=[100, 110, 120]) as test:
        x = oracle(test, images, np.arange(N), 0)
        # the mean of ten is added up in another order
        wanted = model.predict(x, verbose=0).reshape(N, 10, N).mean(axis=1)
        np.testing.assert_allclose(fastprep.predict(model, test), wanted, rtol=1e-4, atol=1e-3)


def test_an_evaluation_counts_each_intact_image_once(tmp_path, rows, images):
    damaged, intact = [0, 7, 8, 22], [k for k in range(N) if k not in (0, 7, 8, 22)]
    stored = [row[:400] if k in damaged else row for k, row in enumerate(rows)]
    path, model = write_rows(tmp_path / "damaged.h5", stored), small_model(N)
    with fastprep.Loader(path, 4, fastprep.CenterCrop(8, resize=10), mean=None, on_corrupt="skip") as test:
        x = oracle(test, images, np.array(intact), 0)
        wanted = model.evaluate(x, np.array(intact), batch_size=4, verbose=0)
        for _ in range(2):  # the damage is found in the first, and known in the second
            assert model.evaluate(test, verbose=0) == pytest.approx(wanted, rel=1e-5)  # the batches of arrays are others
