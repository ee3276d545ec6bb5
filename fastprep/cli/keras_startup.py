"""Start of Keras and its backend without the messages that concern no user, or one line that says what is missing."""

from __future__ import annotations

import contextlib
import glob
import os
import sys
import tempfile

from fastprep.cli.output import write_message
from fastprep.errors import InputError, missing_backend
from fastprep.system import nameless_file

_NOISE = (
    "All log messages before absl::InitializeLog",
    "oneDNN custom operations are on",
    "binary is optimized to use available CPU instructions",
    "To enable the following instructions",
    "Attempting to register factory for plugin cu",
    "Unable to register cu",
    "computation placer already registered",
)
BACKENDS = ("tensorflow", "jax", "torch")
_NO_GPU = ("Could not find cuda drivers", "failed call to cuInit", "CUDA error: Failed call to cuInit")


def start_keras(first_operation: bool = True) -> str:
    """Import Keras and its backend, and pass on only those of their messages on standard error that may matter.

    Parameters
    ----------
    first_operation : bool
        Whether to start the backend's devices as well.

    Returns
    -------
    str
        The backend: "tensorflow", "jax" or "torch".

    Raises
    ------
    InputError
        If Keras or its backend is not installed, the backend is another one, or TensorFlow has no folder for temporary files.
    ImportError
        If one of them can't be loaded for another reason; then all messages are passed on.
    """
    _set_defaults()
    if sys.modules.get("keras") is None:
        asked = os.environ.get("KERAS_BACKEND") or "tensorflow"
        if asked not in BACKENDS:  # Keras itself would fail with a traceback, or later
            raise InputError(_no_such(asked))
        _check_temporary(asked)
        _import_quietly(first_operation)
    import keras

    if (backend := keras.backend.backend()) not in BACKENDS:
        raise InputError(_no_such(backend))
    return backend


def _set_defaults() -> None:
    """Set what the backends read from the environment at their start."""
    # 3 also hides the error about a missing CUDA driver on a machine without a GPU
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if _has_gpu() else "3")
    # otherwise TensorFlow takes all of a GPU's memory, and JAX three quarters of it, and the loader needs some
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def _has_gpu() -> bool:
    return bool(glob.glob("/dev/nvidia*"))


def _no_such(backend: str) -> str:
    return f"KERAS_BACKEND must be tensorflow, jax or torch, got {backend!r}; set it to one that is installed"


def _check_temporary(backend: str) -> None:
    try:
        tempfile.gettempdir()
    except OSError as error:
        if backend == "tensorflow":
            raise InputError(f"TensorFlow needs a folder for temporary files: {error.strerror}; set TMPDIR to one") from None


def _import_quietly(first_operation: bool) -> None:
    """Import Keras, with standard error kept until it is known what of it matters."""
    noise: tuple[str, ...] = _NOISE if _has_gpu() else _NOISE + _NO_GPU
    with open(nameless_file(in_memory=True), "w+b") as messages:  # no folder for temporary files is needed
        try:
            before = os.dup(2)
        except OSError:  # there is no standard error to keep clean
            _import(first_operation)
            return
        try:
            os.dup2(messages.fileno(), 2)  # C++ code writes to this descriptor, whatever sys.stderr is
            _import(first_operation)
        except ImportError:
            noise = ()
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)
            messages.seek(0)
            lines = messages.read().decode("utf-8", "replace").splitlines()
            with contextlib.suppress(OSError):
                for line in lines:
                    if not any(known in line for known in noise):
                        write_message(line)


def _import(first_operation: bool) -> None:
    try:
        import keras
    except ModuleNotFoundError as error:
        if (problem := missing_backend(error)) is None:
            raise
        raise InputError(problem) from error
    if first_operation:
        keras.ops.add(1, keras.ops.zeros(()))  # this writes messages, too
