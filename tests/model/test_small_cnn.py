"""The small network of first runs: its size, its smallest images, and what it refuses."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fastprep.model import small_cnn  # noqa: E402 - it imports keras


def test_it_is_small_and_gives_probabilities():
    model = small_cnn((16, 16, 3), 4)
    assert model.count_params() < 300_000
    probabilities = np.asarray(keras.ops.convert_to_numpy(model(np.ones((2, 16, 16, 3), "float32"))))
    assert probabilities.shape == (2, 4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_it_takes_images_of_any_side_and_ends_as_asked():
    model = small_cnn((113, 85, 1), 2, dropout=0, classifier_activation=None)
    assert model.output_shape == (None, 2)
    assert model.layers[-1].activation is keras.activations.linear


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((15, 85, 1), {}, r"16 pixels or more, and channels; got \(15, 85, 1\)"),
        ((85, 85), {}, r"got \(85, 85\)"),
        ((85, 85, 1), {"classes": 1}, "at least 2 classes, not 1"),
        ((85, 85, 1), {"dropout": 1.0}, "dropout is at least 0 and below 1, not 1.0"),
    ],
)
def test_arguments_that_break_a_rule(shape, options, message):
    with pytest.raises(ValueError, match=message):
        small_cnn(shape, **{"classes": 2, **options})
