"""Operations that give the same bits every time, on each backend of Keras."""

from __future__ import annotations

import os

_XLA = "--xla_gpu_deterministic_ops=true"


def prepare() -> None:
    """Set what JAX and cuBLAS read from the environment when they start; called before Keras is imported."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "--xla_gpu_deterministic_ops" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_XLA}".strip()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it torch refuses to multiply matrices on a GPU


def enable() -> None:
    """Restrict Keras' backend to such operations; one that it has only in another form raises an error when it is used.

    JAX has no call for it: XLA was told by `prepare`.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "torch":
        from fastprep.adapters.torch import make_deterministic

        make_deterministic()
