import keras
import numpy as np
import pytest

from fastprep.model import alexnet

# Class and channels-last output shape of each layer for 227x227x3 images and 2 classes: the first convolution gives
# ceil(227 / 4) = 57 pixels a side, the poolings give (57 - 3) // 2 + 1 = 28, then 13, then 6.
TABLE = [
    ("Conv2D", (57, 57, 96)),
    ("Activation", (57, 57, 96)),
    ("BatchNormalization", (57, 57, 96)),
    ("MaxPooling2D", (28, 28, 96)),
    ("Dropout", (28, 28, 96)),
    ("Conv2D", (28, 28, 256)),
    ("Activation", (28, 28, 256)),
    ("BatchNormalization", (28, 28, 256)),
    ("MaxPooling2D", (13, 13, 256)),
    ("Dropout", (13, 13, 256)),
    ("Conv2D", (13, 13, 384)),
    ("Activation", (13, 13, 384)),
    ("BatchNormalization", (13, 13, 384)),
    ("Conv2D", (13, 13, 384)),
    ("Activation", (13, 13, 384)),
    ("BatchNormalization", (13, 13, 384)),
    ("Conv2D", (13, 13, 256)),
    ("Activation", (13, 13, 256)),
    ("BatchNormalization", (13, 13, 256)),
    ("MaxPooling2D", (6, 6, 256)),
    ("Dropout", (6, 6, 256)),
    ("Flatten", (9216,)),
    ("Dense", (4096,)),
    ("Activation", (4096,)),
    ("BatchNormalization", (4096,)),
    ("Dropout", (4096,)),
    ("Dense", (4096,)),
    ("Activation", (4096,)),
    ("BatchNormalization", (4096,)),
    ("Dropout", (4096,)),
    ("Dense", (2,)),
    ("Activation", (2,)),
]

CONVOLUTIONS = [(11, 3, 96), (5, 96, 256), (3, 256, 384), (3, 384, 384), (3, 384, 256)]  # side, channels in, channels out
DENSES = [(6 * 6 * 256, 4096), (4096, 4096), (4096, 2)]
NORMALIZED = [96, 256, 384, 384, 256, 4096, 4096]


@pytest.fixture(scope="module")
def model():
    return alexnet((227, 227, 3), 2)


@pytest.fixture(scope="module")
def channels_first():
    return alexnet((3, 227, 227), 2, data_format="channels_first")


def of_class(model, *classes):
    return [layer for layer in model.layers if isinstance(layer, classes)]


def test_layer_table(model):
    assert [(type(layer).__name__, layer.output.shape[1:]) for layer in model.layers] == TABLE
    assert not model.compiled


def test_layer_table_channels_first(channels_first):
    expected = [(name, (shape[-1], *shape[:-1])) for name, shape in TABLE]
    assert [(type(layer).__name__, layer.output.shape[1:]) for layer in channels_first.layers] == expected
    norms = of_class(channels_first, keras.layers.BatchNormalization)
    assert [layer.gamma.shape[0] for layer in norms] == NORMALIZED
    assert [layer.axis for layer in norms] == [1] * 5 + [-1] * 2


def test_settings(model):
    convolutions = of_class(model, keras.layers.Conv2D)
    assert [layer.strides for layer in convolutions] == [(4, 4)] + [(1, 1)] * 4
    assert [layer.kernel.shape for layer in convolutions] == [(side, side, i, o) for side, i, o in CONVOLUTIONS]
    assert {layer.padding for layer in convolutions} == {"same"}
    pools = of_class(model, keras.layers.MaxPooling2D)
    assert {(layer.pool_size, layer.strides, layer.padding) for layer in pools} == {((3, 3), (2, 2), "valid")}
    assert [layer.rate for layer in of_class(model, keras.layers.Dropout)] == [0.25, 0.25, 0.25, 0.5, 0.5]
    activations = of_class(model, keras.layers.Activation)
    assert [layer.activation.__name__ for layer in activations] == ["relu"] * 7 + ["softmax"]


def test_parameter_count(model, channels_first):
    kernels = sum(side * side * i * o for side, i, o in CONVOLUTIONS) + sum(i * o for i, o in DENSES)
    biases = sum(o for *_, o in CONVOLUTIONS) + sum(o for _, o in DENSES)
    # Scale and shift are trained, the moving mean and variance are not; count_params counts all four.
    normalizations = 4 * sum(NORMALIZED)
    assert (kernels, biases, normalizations) == (58_279_968, 9_570, 38_272)
    expected = kernels + biases + normalizations
    assert model.count_params() == channels_first.count_params() == expected


def test_l2_on_each_kernel():
    model = alexnet((57, 57, 1), 2, l2=0.25)
    weighted = of_class(model, keras.layers.Conv2D, keras.layers.Dense)
    assert len(weighted) == 8
    for layer in weighted:
        assert isinstance(layer.kernel_regularizer, keras.regularizers.L2)
        assert float(layer.kernel_regularizer.l2) == 0.25
        assert layer.bias_regularizer is None


def test_default_l2(model):
    for layer in of_class(model, keras.layers.Conv2D, keras.layers.Dense):
        assert float(layer.kernel_regularizer.l2) == pytest.approx(2e-4)


def test_weights_fit_either_format(model, channels_first):
    assert [w.shape for w in model.weights] == [w.shape for w in channels_first.weights]


def test_smallest_image_gives_probabilities():
    probabilities = np.asarray(alexnet((57, 57, 1), 3)(np.zeros((2, 57, 57, 1), "float32")))
    assert probabilities.shape == (2, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_probabilities_are_float32_in_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = alexnet((57, 57, 1), 2)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.layers[0].compute_dtype == "bfloat16"
    assert model.layers[-1].compute_dtype == "float32"
    assert model.layers[-1].output.dtype == "float32"


@pytest.mark.parametrize(
    "shape", [(), (227, 227), (227, 227, 3, 1), (227, 227, 0), (-227, 227, 3), (227.0, 227, 3), (None, 227, 3)]
)
def test_shape_must_be_three_positive_integers(shape):
    with pytest.raises(ValueError, match="input_shape is three positive integers"):
        alexnet(shape, 2)


@pytest.mark.parametrize(
    ("shape", "data_format"),
    [((56, 227, 3), "channels_last"), ((227, 56, 3), "channels_last"), ((3, 227, 56), "channels_first")],
)
def test_too_small_image(shape, data_format):
    with pytest.raises(ValueError, match=r"too small for AlexNet's 3 poolings: height and width are at least 57"):
        alexnet(shape, 2, data_format=data_format)


def test_layout_mixed_up_is_too_small():
    with pytest.raises(ValueError, match=r"images of 227x3 are too small .* in 'channels_first'"):
        alexnet((227, 227, 3), 2, data_format="channels_first")


@pytest.mark.parametrize("classes", [1, 0, -2])
def test_too_few_classes(classes):
    with pytest.raises(ValueError, match=f"at least 2 classes, not {classes}"):
        alexnet((227, 227, 3), classes)


def test_unknown_data_format():
    with pytest.raises(ValueError, match="'channels_last' or 'channels_first', not 'NHWC'"):
        alexnet((227, 227, 3), 2, data_format="NHWC")


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_of_dropout_that_is_none(rate):
    with pytest.raises(ValueError, match=f"pool_dropout is at least 0 and below 1, not {rate}"):
        alexnet((227, 227, 3), 2, pool_dropout=rate)
