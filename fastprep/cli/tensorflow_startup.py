"""Start of Keras and TensorFlow without the messages that concern no user."""

from __future__ import annotations

import contextlib
import glob
import os
import sys
import tempfile

from fastprep.cli.output import write_message
from fastprep.errors import InputError

_NOISE = (
    "All log messages before absl::InitializeLog",
    "oneDNN custom operations are on",
    "binary is optimized to use available CPU instructions",
    "To enable the following instructions",
    "Attempting to register factory for plugin cu",
    "Unable to register cu",
    "computation placer already registered",
)
_NO_GPU = ("Could not find cuda drivers", "failed call to cuInit", "CUDA error: Failed call to cuInit")


def start_tensorflow(first_operation: bool = True) -> None:
    """Import Keras and TensorFlow, and pass on only those of their messages on standard error that may matter.

    Parameters
    ----------
    first_operation : bool
        Whether to start TensorFlow's devices as well.

    Raises
    ------
    InputError
        If there is no folder for temporary files.
    ImportError
        If one of them is missing or can't be loaded; then all messages are passed on.
    """
    has_gpu = bool(glob.glob("/dev/nvidia*"))
    # 3 also hides the error about a missing CUDA driver on a machine without a GPU
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if has_gpu else "3")
    # otherwise TensorFlow takes all of a GPU's memory, and the loader needs some
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if "tensorflow" in sys.modules:
        return
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise InputError(f"TensorFlow needs a folder for temporary files: {error.strerror}; set TMPDIR to one") from None
    noise: tuple[str, ...] = _NOISE if has_gpu else _NOISE + _NO_GPU
    with open(os.memfd_create("fastprep-messages"), "w+b") as messages:  # no folder for temporary files is needed
        try:
            before = os.dup(2)
        except OSError:  # there is no standard error to keep clean
            return
        try:
            os.dup2(messages.fileno(), 2)  # C++ code writes to this descriptor, whatever sys.stderr is
            import keras
            import tensorflow

            if first_operation:
                keras.ops.add(1, tensorflow.zeros(()))  # this writes messages, too
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
