"""A network for small images and little time: a processor trains it in minutes."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

_STEM, _FILTERS = 16, (32, 64, 128, 128)  # filters of the first convolution, which halves the sides, and of the others
_SMALLEST = 16  # side of which one pixel is left: the first convolution and three poolings halve it


def small_cnn(
    input_shape: Sequence[int], classes: int, *, dropout: float = 0.3, classifier_activation: str | None = "softmax"
) -> keras.Sequential:
    """Build a network of five convolutions with about 250,000 weights, not yet compiled.

    Parameters
    ----------
    input_shape : (int, int, int)
        Shape of one image, (height, width, channels), of 16 pixels or more on a side.
    classes : int
        Number of classes, at least 2.
    dropout : float
        Rate of the dropout before the classifier, at least 0 and below 1.
    classifier_activation : str or None
        Activation of the output: "softmax" for one class an image, "sigmoid" for several labels, None for logits.

    Returns
    -------
    keras.Sequential
        Network from images to class probabilities (logits without an activation), which are float32 whatever the dtype policy.

    Raises
    ------
    ValueError
        If the images are too small, or an argument breaks its rule.

    Notes
    -----
    Each convolution is followed by batch normalisation and ReLU, and all but the first and the last by a pooling; the classifier
    sees the mean of each channel over the image. Unlike AlexNet it has no large dense layers, whose weights cost a processor more
    time than the convolutions do.
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or min(shape[:2]) < _SMALLEST:
        raise ValueError(f"input_shape is height and width of {_SMALLEST} pixels or more, and channels; got {shape}")
    if classes < 2:
        raise ValueError(f"a classifier needs at least 2 classes, not {classes}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is at least 0 and below 1, not {dropout}")
    model = keras.Sequential(name="small_cnn")
    model.add(keras.Input(shape))

    def convolution(filters: int, size: int, stride: int = 1) -> None:
        model.add(layers.Conv2D(filters, size, strides=stride, padding="same", use_bias=False))
        model.add(layers.BatchNormalization(momentum=0.9))  # Keras' 0.99 would lag for several epochs of few steps
        model.add(layers.Activation("relu"))

    convolution(_STEM, 5, stride=2)
    for filters in _FILTERS[:-1]:
        convolution(filters, 3)
        model.add(layers.MaxPooling2D(2))
    convolution(_FILTERS[-1], 3)
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dropout(dropout))
    model.add(layers.Dense(classes))
    # In half precision the loss would be computed from rounded probabilities, so Keras advises float32 here.
    model.add(layers.Activation(classifier_activation, dtype="float32"))
    return model
