"""Arguments of a loader, read back under their names."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset import map_outputs
from fastprep.kernels.choices import Layout
from fastprep.transforms import Crop, Target


def unless_none(value: Any) -> Any:
    """Return an argument, and None for the word "none", which commands have in its place."""
    return None if isinstance(value, str) and value == "none" else value


class ReadOnlyArguments:
    """Read-only properties for the arguments of a `Loader`.

    They can't be assigned, because batches, their order and their buffers were laid out for them when the loader was made.
    Arrays are read-only views.
    """

    _arguments: dict[str, Any]

    def _keep_arguments(self, **values: Any) -> None:
        """Keep checked arguments; of those that their owner might change later, a copy."""
        for name in ("class_weight", "sample_weight", "num_classes", "sampling", "mix"):
            if name in values:
                values[name] = _copied(values[name])
        for name in ("images", "shape"):
            if name in values:
                values[name] = _by_name(lambda value: tuple(value) if isinstance(value, list) else value, values[name])
        if "color" in values:
            values["color"] = _by_name(lambda colors: colors or None, values["color"])
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
    def decode(self) -> str:
        """Where JPEGs are decoded if batches are made on a CUDA device: "cpu" or "device"."""
        return self._arguments["decode"]

    @property
    def images(self) -> Any:
        """Name of the dataset of images in each file, or the names of datasets of one image; for several inputs a dict."""
        return _own(self._arguments["images"])

    @property
    def labels(self) -> Any:
        """Labels of all samples of all shards, shape (N, ...), as batches have them: an array, or a tuple or dict of arrays for
        several outputs; the `Mask`, `Boxes` or `Points` itself in their place; None for images without labels.
        """
        return _read_only(self._arguments["labels"])

    @property
    def axes(self) -> Any:
        """Axes of the images as they were named, such as "NCHW"; None if the file says. For several inputs a dict."""
        return _own(self._arguments["axes"])

    @property
    def shape(self) -> Any:
        """Height, width and channels of an image in a dataset of flat rows; for several inputs a dict of them."""
        return _own(self._arguments["shape"])

    @property
    def channels(self) -> Any:
        """Number in the file of each channel of x; None if none were named. For several inputs a dict."""
        return _own(self._arguments["channels"])

    @property
    def labels_name(self) -> Any:
        """Name of the labels, or a tuple or dict of names: the argument `labels`, with None in place of arrays."""
        return self._arguments["labels_name"]

    @property
    def policy(self) -> Any:
        """What operations are drawn for each row of x; None for none."""
        return self._arguments["policy"]

    @property
    def color(self) -> Any:
        """What is done to the colours of each image, in this order; None for nothing. For several inputs a dict."""
        return _own(self._arguments["color"])

    @property
    def erase(self) -> Any:
        """How a rectangle of each row of x is erased; None for no erasing."""
        return self._arguments["erase"]

    @property
    def blend(self) -> Any:
        """How images of a batch are blended; None for no blending."""
        return self._arguments["blend"]

    @property
    def transform(self) -> Any:
        """Function of the user's own that x of each batch goes through; None for none."""
        return self._arguments["transform"]

    @property
    def standardize(self) -> Any:
        """Whether each output image is brought to mean 0 and standard deviation 1; for several inputs a dict."""
        return _own(self._arguments["standardize"])

    @property
    def indices(self) -> NDArray[np.int64] | None:
        """Number in the files of each sample of a part, shape (n_samples,); None where all samples are taken."""
        return _read_only(self._arguments["indices"])

    @property
    def mean(self) -> Any:
        """Mean that is subtracted, for the loaders of other files: a scalar, shape (C,) or (H, W, C); None for no mean.

        For several inputs a dict.
        """
        return _read_only(self._arguments["mean"])

    @property
    def scale(self) -> Any:
        """Scale that is multiplied with: a scalar, or shape (C,); None for no scale. For several inputs a dict."""
        return _read_only(self._arguments["scale"])

    @property
    def dtype(self) -> Any:
        """Name of the type of x: "float32", "float16" or "bfloat16"; for several inputs a dict of them."""
        return _own(self._arguments["dtype"])

    @property
    def layout(self) -> Layout:
        """Layout of x: "channels_last" or "channels_first"."""
        return self._arguments["layout"]

    @property
    def num_classes(self) -> Any:
        """Number of classes of one-hot labels, perhaps a tuple or dict of them; None for labels as they are stored."""
        return self._arguments["num_classes"]

    @property
    def shuffle(self) -> bool:
        """Whether each epoch has a new order; True as well with `sampling` or `mix`."""
        return self._arguments["shuffle"]

    @property
    def shuffle_window(self) -> int | None:
        """Number of samples that are shuffled together where images share chunks; 0 for all, None if nothing is shuffled."""
        return self._arguments["shuffle_window"]

    @property
    def sampling(self) -> NDArray[Any] | str | None:
        """Draws with replacement: "balanced", weights, shape (N,), or the name of their dataset; None for each sample once."""
        return _read_only(self._arguments["sampling"])

    @property
    def mix(self) -> Mapping[str, float] | None:
        """Share of each file, or of each pattern, in draws with replacement; None for no shares."""
        shares = self._arguments["mix"]
        return None if shares is None else types.MappingProxyType(shares)

    @property
    def check_finite(self) -> bool:
        """Whether values of x that are not finite are an error."""
        return self._arguments["check_finite"]

    @property
    def seed(self) -> int:
        """Seed of the order, of draws and of random crops."""
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
    def class_weight(self) -> Any:
        """Weight of each class that was given one, for several outputs perhaps a tuple or dict; None for no class weights."""
        weights = self._arguments["class_weight"]
        return types.MappingProxyType(weights) if isinstance(weights, dict) else weights

    @property
    def sample_weight(self) -> Any:
        """Weight of each sample, shape (N,), or the name of their dataset in each file, for several outputs perhaps a tuple or
        dict; None for no sample weights.
        """
        return _read_only(self._arguments["sample_weight"])

    @property
    def storage_options(self) -> Mapping[str, Any] | None:
        """How remote files are reached; None for what the environment says."""
        options = self._arguments["storage_options"]
        return None if options is None else types.MappingProxyType(options)

    @property
    def cache(self) -> str | None:
        """Folder for what was read of remote files; None for none that lasts."""
        return self._arguments["cache"]

    @property
    def cache_bytes(self) -> int | None:
        """Bytes of remote files that are kept; None for the default."""
        return self._arguments["cache_bytes"]

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


def _copied(value: Any) -> Any:
    """Return a copy of an argument, or of each output's part of it, as numbers if it is array_like."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {key: _copied(part) if isinstance(part, Mapping | list | np.ndarray) else part for key, part in value.items()}
    nested = str | Mapping | list | np.ndarray | None
    if isinstance(value, list | tuple) and any(isinstance(part, nested) for part in value):
        return tuple(map(_copied, value))
    return np.array(value)


def _by_name(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply a function to a value, or to that of each input."""
    return {name: function(part) for name, part in value.items()} if isinstance(value, dict) else function(value)


def _own(value: Any) -> Any:
    """Return a value, or a dict that its reader may change."""
    return dict(value) if isinstance(value, dict) else value


def _read_only(array: Any) -> Any:
    """Return a view that can't be written to, of each output; of a view, because a pickled array comes back writeable."""
    if array is None or isinstance(array, str | Target):
        return array
    if isinstance(array, dict | tuple):
        return map_outputs(_read_only, array)
    view = array.view()
    view.flags.writeable = False
    return view
