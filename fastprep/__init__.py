"""fastprep feeds Keras models from HDF5 image files.

>>> train = fastprep.Loader("train.h5", batch_size=128, crop=fastprep.RandomCrop(227, mirror=True), shuffle=True)
>>> model.fit(train)

Importing the package needs neither Keras, TensorFlow, cupy nor a GPU. Names are looked up at first use; `Loader`,
`EpochSync`, `LoaderMetrics` and `predict` then import Keras. Without Keras, `Loader` is `fastprep.loader.Loader`: the same loader
without the methods for Keras.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fastprep._log import set_up
from fastprep._version import __version__

if TYPE_CHECKING:
    from fastprep import errors, h5, kernels, loader, model
    from fastprep.adapters.keras import EpochSync, Loader
    from fastprep.adapters.loader_metrics import LoaderMetrics
    from fastprep.adapters.predict import predict
    from fastprep.dataset import image_covariance, image_mean
    from fastprep.errors import DataError, DeviceUnavailableError, MissingMeanError
    from fastprep.presentation.given import show
    from fastprep.sampling.splitting import folds, split
    from fastprep.transforms import (
        Boxes,
        CenterCrop,
        ChannelPermutation,
        ColorJitter,
        CutMix,
        Lighting,
        Mask,
        MixUp,
        MixUpOrCutMix,
        Points,
        RandAugment,
        RandomAffine,
        RandomCrop,
        RandomErasing,
        RandomResizedCrop,
        Resize,
        TenCrop,
        TrivialAugment,
    )

__all__ = [
    "Boxes",
    "CenterCrop",
    "ChannelPermutation",
    "ColorJitter",
    "CutMix",
    "DataError",
    "DeviceUnavailableError",
    "EpochSync",
    "Lighting",
    "Loader",
    "LoaderMetrics",
    "Mask",
    "MissingMeanError",
    "MixUp",
    "MixUpOrCutMix",
    "Points",
    "RandAugment",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomResizedCrop",
    "Resize",
    "TenCrop",
    "TrivialAugment",
    "__version__",
    "errors",
    "folds",
    "h5",
    "image_covariance",
    "image_mean",
    "kernels",
    "loader",
    "model",
    "predict",
    "show",
    "split",
]

_HOMES = {
    "Boxes": "transforms",
    "CenterCrop": "transforms",
    "ChannelPermutation": "transforms",
    "ColorJitter": "transforms",
    "CutMix": "transforms",
    "DataError": "errors",
    "DeviceUnavailableError": "errors",
    "EpochSync": "adapters.keras",
    "Lighting": "transforms",
    "Loader": "adapters.keras",
    "LoaderMetrics": "adapters.loader_metrics",
    "Mask": "transforms",
    "MissingMeanError": "errors",
    "MixUp": "transforms",
    "MixUpOrCutMix": "transforms",
    "Points": "transforms",
    "RandAugment": "transforms",
    "RandomAffine": "transforms",
    "RandomCrop": "transforms",
    "RandomErasing": "transforms",
    "RandomResizedCrop": "transforms",
    "Resize": "transforms",
    "TenCrop": "transforms",
    "TrivialAugment": "transforms",
    "folds": "sampling.splitting",
    "image_covariance": "dataset",
    "image_mean": "dataset",
    "predict": "adapters.predict",
    "split": "sampling.splitting",
}
_MODULES = ("errors", "h5", "kernels", "loader", "model", "show")  # the last one can be called

set_up()


if not TYPE_CHECKING:  # to a checker, a module with this function has every name, misspelt ones too

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f"fastprep.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            module = importlib.import_module(f"fastprep.{_HOMES[name]}")
        except ModuleNotFoundError as error:
            from fastprep.errors import missing_backend

            if (problem := missing_backend(error)) is None:
                raise
            if name != "Loader":
                raise ModuleNotFoundError(f"fastprep.{name} needs Keras. {problem}", name=error.name) from None
            module = importlib.import_module("fastprep.loader")  # the same loader without the methods for Keras
        value = globals()[name] = getattr(module, name)
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
