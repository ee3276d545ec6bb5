"""What a test needs of Keras' backend, whichever that is: where a tensor lies, and what a step of a model is given."""

import keras
import pytest

from fastprep.pipeline.buffers import capsule_address

BACKEND = keras.backend.backend()


def needs_tensorflow(what):
    """Skip a module of tests, or a test, that is about TensorFlow itself where Keras runs on another backend."""
    if BACKEND != "tensorflow":
        pytest.skip(f"{what}, and Keras runs on {BACKEND}", allow_module_level=True)


def address(tensor):
    """Return the address of a tensor's memory."""
    if BACKEND == "jax":
        return tensor.unsafe_buffer_pointer()
    if BACKEND == "torch":
        return tensor.data_ptr()
    import tensorflow as tf

    return capsule_address(tf.experimental.dlpack.to_dlpack(tensor))


def values(tensor):
    """Return a tensor's contents as lists."""
    return keras.ops.convert_to_numpy(tensor).tolist()


def spy(note, step="train_step", base=keras.Sequential):
    """Return a class of models that calls `note` with the data of each step; they are compiled with `run_eagerly=True`."""

    def noting(model, *arguments):  # JAX gives the state before the data
        note(arguments[-1])
        return getattr(base, step)(model, *arguments)

    return type("Spy", (base,), {step: noting})
