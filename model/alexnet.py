"""AlexNet in the tutorial's variant, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import keras
from keras import layers

_STRIDE = 4  # of the first convolution; the other convolutions keep height and width
_POOL, _POOL_STRIDE, _POOLS = 3, 2, 3


def alexnet(
    input_shape: Sequence[int],
    classes: int,
    *,
    l2: float = 2e-4,
    pool_dropout: float = 0.25,
    data_format: str = "channels_last",
    classifier_activation: str | None = "softmax",
) -> keras.Sequential:
    """Build AlexNet, not yet compiled.

    Parameters
    ----------
    input_shape : (int, int, int)
        Shape of one image: (height, width, channels), or (channels, height, width) for `channels_first`.
    classes : int
        Number of classes, at least 2.
    l2 : float
        L2 penalty on the kernel of each convolution and dense layer.
    pool_dropout : float
        Rate of the dropout after each pooling, at least 0 and below 1.
    data_format : {"channels_last", "channels_first"}
        Which axis of an image holds the channels. TensorFlow runs `channels_first` convolutions on GPUs only. Weights
        fit either format, so a network trained in one can be loaded into the other.
    classifier_activation : str or None
        Activation of the output: "softmax" for one class an image, "sigmoid" for several labels, None for logits.

    Returns
    -------
    keras.Sequential
        Network from images to class probabilities (logits without an activation), which are float32 whatever the dtype policy.

    Raises
    ------
    ValueError
        If an argument breaks its rule, for example if the image is smaller than the three pooling layers need.

    Notes
    -----
    The layers are those of Krizhevsky et al. [1]_ in the variant of the tutorial [2]_: one tower instead of two halves,
    batch normalisation after each ReLU in place of local response normalisation, and dropout after each pooling layer, in
    addition to the dense layers, where Krizhevsky et al. have it.

    References
    ----------
    .. [1] A. Krizhevsky, I. Sutskever and G. E. Hinton, "ImageNet classification with deep convolutional neural
       networks", NIPS 2012.
    .. [2] Adrian Rosebrock, "Deep Learning for Computer Vision with Python", Practitioner Bundle, PyImageSearch.
    """
    shape = tuple(input_shape)
    _check(shape, classes, pool_dropout, data_format)
    channel_axis = -1 if data_format == "channels_last" else 1
    model = keras.Sequential(name="alexnet")
    model.add(keras.Input(shape))

    def convolution(filters: int, size: int, stride: int = 1) -> None:
        model.add(
            layers.Conv2D(
                filters,
                size,
                strides=stride,
                padding="same",
                data_format=data_format,
                kernel_regularizer=keras.regularizers.L2(l2),
            )
        )
        model.add(layers.Activation("relu"))
        model.add(layers.BatchNormalization(axis=channel_axis))

    def pooling() -> None:
        model.add(layers.MaxPooling2D(_POOL, strides=_POOL_STRIDE, data_format=data_format))
        model.add(layers.Dropout(pool_dropout))

    def dense(units: int) -> None:
        model.add(layers.Dense(units, kernel_regularizer=keras.regularizers.L2(l2)))

    convolution(96, 11, _STRIDE)
    pooling()
    convolution(256, 5)
    pooling()
    convolution(384, 3)
    convolution(384, 3)
    convolution(256, 3)
    pooling()
    # Flatten puts the channels last first, so the dense kernels are the same in both formats.
    model.add(layers.Flatten(data_format=data_format))
    for _ in range(2):
        dense(4096)
        model.add(layers.Activation("relu"))
        model.add(layers.BatchNormalization())
        model.add(layers.Dropout(0.5))
    dense(classes)
    # In half precision the loss would be computed from rounded probabilities, so Keras advises float32 here.
    model.add(layers.Activation(classifier_activation, dtype="float32"))
    return model


def _check(shape: tuple[int, ...], classes: int, pool_dropout: float, data_format: str) -> None:
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(f"data_format is 'channels_last' or 'channels_first', not {data_format!r}")
    if len(shape) != 3 or not all(isinstance(length, Integral) and length > 0 for length in shape):
        raise ValueError(f"input_shape is three positive integers, not {shape}")
    if classes < 2:
        raise ValueError(f"a classifier needs at least 2 classes, not {classes}")
    if not 0 <= pool_dropout < 1:
        raise ValueError(f"pool_dropout is at least 0 and below 1, not {pool_dropout}")
    height, width = shape[:2] if data_format == "channels_last" else shape[1:]
    smallest = _smallest_side()
    if min(height, width) < smallest:
        raise ValueError(
            f"images of {height}x{width} are too small for AlexNet's {_POOLS} poolings: "
            f"height and width are at least {smallest} in {data_format!r}"
        )


def _smallest_side() -> int:
    """Return the smallest side of an image that leaves one pixel after the last pooling."""
    side = 1
    for _ in range(_POOLS):
        side = (side - 1) * _POOL_STRIDE + _POOL
    return (side - 1) * _STRIDE + 1
