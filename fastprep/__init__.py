"""fastprep feeds Keras models from HDF5 image files.

>>> train = fastprep.Loader("train.h5", batch_size=128, crop=fastprep.RandomCrop(227, mirror=True), shuffle=True)
>>> model.fit(train)

Importing the package needs neither Keras, TensorFlow, cupy nor a GPU. `Loader` and `predict` are looked up at first use,
because they bring Keras in where there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastprep import kernels
from fastprep._version import __version__
from fastprep.crops import CenterCrop, RandomCrop, TenCrop

if TYPE_CHECKING:
    from fastprep.feed import Loader, predict
    from fastprep.h5 import DataError
    from fastprep.means import image_mean

__all__ = ["CenterCrop", "DataError", "Loader", "RandomCrop", "TenCrop", "__version__", "image_mean", "kernels", "predict"]

_KERAS_AND_BACKENDS = {"keras", "tensorflow", "jax", "jaxlib", "torch"}


def __getattr__(name: str) -> Any:
    value: Any
    if name == "Loader":
        value = _loader_class()
    elif name == "predict":
        from fastprep.feed import predict as value
    elif name == "DataError":
        from fastprep.h5 import DataError as value
    elif name == "image_mean":
        from fastprep.means import image_mean as value
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _loader_class() -> type:
    """Choose the loader that Keras takes for one of its own, or the plain one where there is no Keras."""
    try:
        from fastprep import feed
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _KERAS_AND_BACKENDS:
            raise
        from fastprep.loader import Loader

        return Loader
    return feed.Loader
