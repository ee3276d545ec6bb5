"""Keras with turned, resized and mapped images: the same training as with arrays, and predictions of what stays the same."""

import numpy as np
import pytest
from small_model import small_model

import fastprep

pytest.importorskip("keras")

pytestmark = pytest.mark.usefixtures("no_thread_left")

POLICIES = [
    fastprep.RandAugment(),
    fastprep.TrivialAugment(fill=(1, 2, 3)),
    fastprep.TrivialAugment(operations=("brightness", "contrast", "color")),
]
CROPS = [
    fastprep.RandomResizedCrop(8, mirror=True, turn=True),
    fastprep.RandomCrop(8, resize=10, mirror=True),
    fastprep.Resize((8, 8)),
    fastprep.RandomAffine(8, 30, (0.1, 0.1), (0.8, 1.2), 10),
]


class Corner:
    """A crop of a user's own, which says nothing of whether it is random."""

    height_width, n_crops = (8, 8), 1

    def table(self, height, width, samples, seed, epoch):
        return np.array([[k, 0, 0, 0] for k in range(len(samples))], np.int32)


@pytest.fixture
def path(make_file):
    return make_file(n=23)[0]


def epoch_of(loader, epoch):
    batches = [loader.batch(epoch, step) for step in range(len(loader))]
    return [np.concatenate([np.array(part) for part in parts]) for parts in zip(*batches, strict=True)]


@pytest.mark.parametrize(
    ("crop", "policy"),
    [(crop, None) for crop in CROPS] + [(CROPS[0], policy) for policy in POLICIES],
    ids=lambda part: type(part).__name__,
)
def test_fit_is_the_same_as_with_arrays(path, crop, policy):
    """Difference 0 in the history and in the weights, the partial last batch included."""
    ours, theirs, wanted = small_model(), small_model(), []
    with fastprep.Loader(path, 5, crop, policy=policy, shuffle=True, seed=3) as train:
        for epoch in range(2):
            x, y = epoch_of(train, epoch)
            wanted.append(theirs.fit(x, y, batch_size=5, shuffle=False, verbose=0).history)
        history = ours.fit(train, epochs=2, verbose=0).history
    assert history == {key: [one[key][0] for one in wanted] for key in history}
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("crop", CROPS, ids=lambda crop: type(crop).__name__)
def test_predict_refuses_random_geometry(path, crop):
    with fastprep.Loader(path, 4, crop) as test:
        if isinstance(crop, fastprep.Resize):
            assert fastprep.predict(small_model(), test).shape == (23, 3)
            return
        with pytest.raises(
            ValueError, match=rf"same crops each time for a prediction: .*Resize.*; got crop={type(crop).__name__}"
        ):
            fastprep.predict(small_model(), test)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_predict_refuses_policies(path, policy):
    with (
        fastprep.Loader(path, 4, fastprep.CenterCrop(8), policy=policy) as test,
        pytest.raises(ValueError, match="the same images each time for a prediction: make one without policy=, color="),
    ):
        fastprep.predict(small_model(), test)


def test_predict_takes_a_crop_of_ones_own_unless_it_is_random(path):
    with fastprep.Loader(path, 4, Corner()) as test:
        x, _ = epoch_of(test, 0)
        np.testing.assert_allclose(
            fastprep.predict(small_model(), test), small_model().predict(x, verbose=0), rtol=1e-5, atol=1e-4
        )

    class RandomCorner(Corner):
        is_random = True

    with fastprep.Loader(path, 4, RandomCorner()) as test, pytest.raises(ValueError, match="same crops each time"):
        fastprep.predict(small_model(), test)


def test_standardised_images_are_those_of_tensorflow_and_are_predicted(path):
    tf = pytest.importorskip("tensorflow")
    with (
        fastprep.Loader(path, 4, fastprep.CenterCrop(8), mean=None) as plain,
        fastprep.Loader(path, 4, fastprep.CenterCrop(8), mean=None, standardize=True) as test,
    ):
        x, _ = epoch_of(test, 0)
        wanted = tf.image.per_image_standardization(epoch_of(plain, 0)[0]).numpy()
        np.testing.assert_allclose(x, wanted, atol=1e-5)
        np.testing.assert_allclose(
            fastprep.predict(small_model(), test), small_model().predict(x, verbose=0), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("order", ["tutorial", "torchvision"])
def test_predict_averages_ten_crops_of_resized_images(path, order):
    with fastprep.Loader(path, 4, fastprep.TenCrop(8, order, resize=10)) as test:
        x, _ = epoch_of(test, 0)
        wanted = small_model().predict(x, verbose=0).reshape(23, 10, 3).mean(axis=1)
        np.testing.assert_allclose(fastprep.predict(small_model(), test), wanted, rtol=1e-4, atol=1e-3)
