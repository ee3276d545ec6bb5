"""Facts of a loader in words, for its line and for its page in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset import class_numbers, label_rows
from fastprep.dataset.classes import Output
from fastprep.presentation.stats import counted
from fastprep.presentation.titles import name_of
from fastprep.presentation.undo import Normalisation, undoing_in_words

if TYPE_CHECKING:
    from fastprep.presentation.presented import Presented

_MOST_FILES = 5  # that are named
_MOST_CLASSES = 10  # that have their counts
_MOST_COUNTED = 2**20  # classes, up to which they are counted without being sorted


def line_of(loader: Presented) -> str:
    """Return the line that stands for a loader."""
    files = repr(loader.files[0]) if len(loader.files) == 1 else f"{len(loader.files):,} files"
    steps = f"{counted(len(loader), 'step')} of {loader.batch_size:,}"
    return f"<fastprep.Loader {files}: {images_in_words(loader)}, {steps}, {loader.crop}, {loader._sampler.describe()}>"


def images_in_words(loader: Presented) -> str:
    """Return number, size and type of the images."""
    dataset = loader._dataset
    inputs = dataset.each_input
    height, width, n_channels = dataset.image_shape
    channels, types = str(n_channels), str(dataset.first_index.stored_dtype)
    if isinstance(inputs, dict):
        channels = "(" + ", ".join(f"{name}: {images.image_shape[2]}" for name, images in inputs.items()) + ")"
        types = ", ".join(dict.fromkeys(str(images.first_index.stored_dtype) for images in inputs.values()))
    part = f" of {dataset.n_in_files:,}" if dataset.rows is not None else ""
    size = f"any size, {channels} channels" if dataset.has_sizes else f"{height}x{width}x{channels}"
    if dataset.is_encoded:
        types = "encoded"
    return f"{dataset.n_samples:,}{part} images of {size}{', ' if dataset.has_sizes else ' '}{types}"


class Count(NamedTuple):
    """Number of samples of something that has a name."""

    name: str
    n: int


def facts_of(loader: Presented) -> Iterator[tuple[str, list[str | Count]]]:
    """Yield what there is to know of a loader: a name, and texts or counts, that may hold what the files' authors chose."""
    dataset = loader._dataset
    sizes = dataset.file_sizes if len(dataset.paths) > 1 else []
    counts = [Count(path, n) for path, n in zip(dataset.paths, sizes, strict=False)]
    yield "files", _few(counts or dataset.paths, _MOST_FILES)
    order = {name: letters for name, letters in _by_name(loader.channel_order).items() if letters}
    yield (
        "images",
        [images_in_words(loader), *(f"channels {name} {letters}".replace("  ", " ") for name, letters in order.items())],
    )
    yield "x", [f"{name} {_shape(loader, spec)}".strip() for name, spec in _by_name(loader._spec).items()]
    last = loader._sampler.samples(0, len(loader) - 1)
    rest = f", the last of {len(last):,}" if len(last) < loader.batch_size else ""
    yield "batches", [f"{counted(len(loader), 'step')} of {loader.batch_size:,} samples{rest}"]
    named = {"crop": loader.crop, "policy": loader.policy, "color": loader.color, "erase": loader.erase, "blend": loader.blend}
    for name, value in named.items():
        if value is not None:
            yield name, list(map(str, value)) if isinstance(value, tuple) else [str(value)]
    if loader.transform is not None:
        yield "transform", [getattr(loader.transform, "__qualname__", None) or type(loader.transform).__name__]
    yield "normalisation", [f"{name} {_normalisation(spec)}".strip() for name, spec in _by_name(loader._spec).items()]
    shard = f", shard {loader.shard[0]} of {loader.shard[1]}" if loader.shard[1] > 1 else ""
    seed = f", seed {loader.seed}" if loader.shuffle or loader._source.augmentation.is_random else ""
    yield "order", [f"{loader._sampler.describe()}{seed}{shard}"]
    yield "next", [f"epoch {loader.next_epoch}, step {loader.next_step}"]


def labels_of(loader: Presented) -> Iterator[tuple[str, list[str | Count]]]:
    """Yield the labels of each output: its name, and the classes with their counts or the kind of numbers."""
    outputs: Any = loader._dataset.outputs
    if outputs is None:
        yield "labels", ["none: batches are x alone"]
        return
    named: Mapping[str, Output] = (
        {f"labels {name}": output for name, output in outputs.items()}
        if isinstance(outputs, dict)
        else {f"labels {k}": output for k, output in enumerate(outputs)}
        if isinstance(outputs, tuple)
        else {"labels": outputs}
    )
    for name, output in named.items():
        yield name, _classes(output)


def _classes(output: Output) -> list[str | Count]:
    if output.target is not None:
        kind = output.target.description
        source = repr(kind.source) if isinstance(kind.source, str) else "an array"
        return [f"{type(kind).__name__} of {source}, which follow the images"]
    counts = _counts(output)
    if counts is None:
        return [f"{output.values.dtype} {output.values.shape}"]
    named = [Count(name_of(number, output.class_names), n) for number, n in counts]
    return [counted(len(counts), "class", "classes"), *_few(named, _MOST_CLASSES)]


def _counts(output: Output) -> list[tuple[int, int]] | None:
    """Return the number of each class, and of its samples; None if labels are not classes."""
    numbers = class_numbers(output.values)
    n_named = len(output.class_names)
    if numbers is None:
        rows = label_rows(output.values)
        return None if rows is None else list(enumerate(np.count_nonzero(rows, axis=0).tolist()))
    if len(numbers) == 0 or numbers.min() < 0:
        return None
    counted = _count(numbers)
    return sorted({**dict.fromkeys(range(n_named), 0), **counted}.items())


def _count(numbers: NDArray[np.integer]) -> dict[int, int]:
    if numbers.max() < _MOST_COUNTED:
        counts = np.bincount(numbers.astype(np.int64, copy=False))
        return {int(number): int(counts[number]) for number in np.flatnonzero(counts)}
    return {int(number): int(n) for number, n in zip(*np.unique(numbers, return_counts=True), strict=True)}


def mean_in_words(loader: Presented) -> str:
    """Return what was done about the mean of images that are drawn."""
    return undoing_in_words(map(Normalisation.of, _by_name(loader._spec).values()))


def _normalisation(spec: Any) -> str:
    mean = "no mean" if spec.mean is None else f"mean {_numbers(spec.mean_values)}"
    scale = "" if spec.scale is None else f", scale {_numbers(spec.scale_values)}"
    return mean + scale + ", standardised" * bool(spec.standardize)


def _numbers(values: NDArray[np.float32]) -> str:
    if values.ndim > 1:
        return f"image of {'x'.join(map(str, values.shape))}"
    few = values[:4].tolist() if len(set(values.tolist())) > 1 else values[:1].tolist()
    return ", ".join(f"{value:.5g}" for value in few) + ", …" * (len(few) < len(values) and len(few) > 1)


def _shape(loader: Presented, spec: Any) -> str:
    rows = loader.batch_size * loader.crop.n_crops
    return f"{spec.out_shape(rows)} {spec.dtype}, {spec.layout.replace('_', ' ')}"


def _by_name(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"": value}


def _few(values: Sequence[str | Count], most: int) -> list[str | Count]:
    """Return the first values, and how many more there are."""
    return [*values[:most], *[f"and {len(values) - most:,} more"] * (len(values) > most)]
