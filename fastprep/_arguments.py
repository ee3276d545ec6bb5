"""Arguments of a loader, read back under their names."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.kernels.spec import DTypeName, Layout
from fastprep.transforms import Crop


class ReadOnlyArguments:
    """Read-only properties for the arguments of a `Loader`.

    They can't be assigned, because batches, their order and their buffers were laid out for them when the loader was made.
    Arrays are read-only views.
    """

    _arguments: dict[str, Any]

    def _keep_arguments(self, **values: Any) -> None:
        """Keep checked arguments; of those that their owner might change later, a copy."""
        if isinstance(weights := values.get("class_weight"), Mapping):
            values["class_weight"] = dict(weights)
        if not isinstance(weights := values.get("sample_weight"), str | None):
            values["sample_weight"] = np.array(weights)
        self._arguments = {**getattr(self, "_arguments", {}), **values}

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files in their order; a glob pattern is expanded."""
        return self._arguments["files"]

    @property
    def batch_size(self) -> int:
        """Number of samples in a batch."""
        return self._arguments["batch_size"]

    @property
    def crop(self) -> Crop:
        """Crop of the images; for None a `CenterCrop` of the whole image."""
        return self._arguments["crop"]

    @property
    def images(self) -> str:
        """Name of the dataset of images in each file."""
        return self._arguments["images"]

    @property
    def labels(self) -> NDArray | None:
        """Labels of all samples of all shards, shape (N, ...), as batches have them; None for images without labels."""
        return _read_only(self._arguments["labels"])

    @property
    def axes(self) -> str | None:
        """Axes of the images as they were named, "NHWC" or "NHW"; None if they were judged by the shape."""
        return self._arguments["axes"]

    @property
    def labels_name(self) -> str | None:
        """Name of the dataset of labels in each file: the argument `labels`."""
        return self._arguments["labels_name"]

    @property
    def mean(self) -> NDArray[np.float32] | None:
        """Mean that is subtracted, for the loaders of other files: a scalar, shape (C,) or (H, W, C); None for no mean."""
        return _read_only(self._arguments["mean"])

    @property
    def scale(self) -> NDArray[np.float32] | None:
        """Scale that is multiplied with: a scalar, or shape (C,); None for no scale."""
        return _read_only(self._arguments["scale"])

    @property
    def dtype(self) -> DTypeName:
        """Name of the type of x: "float32", "float16" or "bfloat16"."""
        return self._arguments["dtype"]

    @property
    def layout(self) -> Layout:
        """Layout of x: "channels_last" or "channels_first"."""
        return self._arguments["layout"]

    @property
    def num_classes(self) -> int | None:
        """Number of classes of one-hot labels; None for labels as they are stored."""
        return self._arguments["num_classes"]

    @property
    def shuffle(self) -> bool:
        """Whether each epoch has a new order."""
        return self._arguments["shuffle"]

    @property
    def shuffle_window(self) -> int | None:
        """Number of samples that are shuffled together where images share chunks; 0 for all, None if nothing is shuffled."""
        return self._arguments["shuffle_window"]

    @property
    def check_finite(self) -> bool:
        """Whether values of x that are not finite are an error."""
        return self._arguments["check_finite"]

    @property
    def seed(self) -> int:
        """Seed of the order and of random crops."""
        return self._arguments["seed"]

    @property
    def shard(self) -> tuple[int, int]:
        """Pair (rank, world): which share of every epoch this loader has."""
        return self._arguments["shard"]

    @property
    def drop_remainder(self) -> bool:
        """Whether samples that do not fill a batch of every shard are left out."""
        return self._arguments["drop_remainder"]

    @property
    def class_weight(self) -> Mapping[int, float] | None:
        """Weight of each class that was given one; None for no class weights."""
        weights = self._arguments["class_weight"]
        return None if weights is None else types.MappingProxyType(weights)

    @property
    def sample_weight(self) -> NDArray | str | None:
        """Weight of each sample, shape (N,), or the name of their dataset in each file; None for no sample weights."""
        weights = self._arguments["sample_weight"]
        return weights if isinstance(weights, str) else _read_only(weights)

    @property
    def device(self) -> str:
        """Device that was asked for; `stats` tells the one that "auto" took."""
        return self._arguments["device"]

    @property
    def workers(self) -> int:
        """Number of threads that prepare batches."""
        return self._arguments["workers"]

    @property
    def prefetch(self) -> int:
        """Number of finished batches kept ready beyond those that the workers are preparing."""
        return self._arguments["prefetch"]

    @property
    def io(self) -> str:
        """How files are read: "pread" or "mmap"."""
        return self._arguments["io"]

    @property
    def on_corrupt(self) -> str:
        """What is done about images that can't be read: "raise" or "skip"."""
        return self._arguments["on_corrupt"]

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(vars(ReadOnlyArguments).get(name), property):
            argument = "labels" if name == "labels_name" else name
            raise AttributeError(
                f"{name} of a loader can't be changed, because its batches were laid out for it; "
                f"make another loader: fastprep.Loader(..., {argument}=...)"
            )
        super().__setattr__(name, value)


def _read_only(array: NDArray | None) -> Any:
    """Return a view that can't be written to; of a view, because a pickled array comes back writeable."""
    if array is None:
        return None
    view = array.view()
    view.flags.writeable = False
    return view
