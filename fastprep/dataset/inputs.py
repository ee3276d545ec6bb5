"""Inputs of a network: images of several datasets by the names of the inputs, read together and transformed alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastprep.dataset.dataset import Dataset
from fastprep.dataset.label_files import images_of_each
from fastprep.dataset.label_sources import Source, named_source
from fastprep.dataset.paths import Paths, expand_paths
from fastprep.errors import DataError
from fastprep.h5 import Images, wrong_pair


def by_input(value: Any, inputs: Any, argument: str) -> Any:
    """Return what an argument says of each input, in the structure of the inputs.

    Parameters
    ----------
    value : object
        A mapping says something of each input; anything else is for all of them.
    inputs : object or dict
        A dict by the names of the inputs, where there are several.
    argument : str

    Raises
    ------
    ValueError
        If a mapping does not have all names and only these, or there are no names.
    """
    if not isinstance(value, Mapping):
        return dict.fromkeys(inputs, value) if isinstance(inputs, dict) else value
    if not isinstance(inputs, dict):
        found = ", ".join(map(repr, value))
        raise ValueError(f"{argument} as a dict is for inputs that images= names, a dict as well; got {found}, and one input")
    missing, unknown = [name for name in inputs if name not in value], [name for name in value if name not in inputs]
    if missing or unknown:
        rule = f"{argument} as a dict must have {'no names but those' if unknown else 'each name'} that images= has"
        found = f"has {unknown[0]!r}" if unknown else f"lacks {missing[0]!r}"
        raise ValueError(f"{rule}, {', '.join(map(repr, inputs))}; it {found}")
    return {name: value[name] for name in inputs}


def open_dataset(
    files: Paths,
    images: Images | Mapping[str, Images],
    labels: Any,
    weights: Any,
    io: str,
    on_corrupt: str,
    axes: Any,
    shape: Any,
    channels: Any,
    class_names: Any,
) -> Dataset:
    """Open the images of one input, or of several, with labels and weights.

    Parameters
    ----------
    files, labels, weights, io, on_corrupt, class_names
        As in `Dataset`.
    images : str, sequence of str, or mapping of str to these
        By the names of the inputs, where there are several: names of datasets in `files`, or FILE:NAME.
    axes, shape, channels : object
        As in `Dataset`; a mapping for several inputs.

    Returns
    -------
    Dataset
        Of the first input in `files`, with the others.

    Raises
    ------
    ValueError, OSError, DataError
        As `Dataset`; also if the images of the inputs are not as many, or not of one height and width.
    """
    inputs = dict(images) if isinstance(images, Mapping) else images
    if isinstance(inputs, dict) and (not inputs or not all(isinstance(name, str) and name for name in inputs)):
        raise ValueError(f"images as a dict must map the names of inputs to names of datasets, got {images!r}")
    of_axes, of_shape, of_channels = (
        by_input(value, inputs, argument) for value, argument in ((axes, "axes"), (shape, "shape"), (channels, "channels"))
    )
    if not isinstance(inputs, dict):
        return Dataset(files, inputs, labels, weights, io, on_corrupt, of_axes, of_shape, of_channels, class_names)
    sources = _sources(inputs, expand_paths(files))
    first = next(name for name, source in sources.items() if not source.files)

    def open_one(name: str, own_files: Paths, labels: Any, weights: Any, mode: str, **options: Any) -> Dataset:
        own_images, own = sources[name].column or inputs[name], (of_axes[name], of_shape[name], of_channels[name])
        return Dataset(own_files, own_images, labels, weights, io, mode, *own, **options)

    dataset = open_one(first, files, labels, weights, on_corrupt, class_names=class_names)
    others = {}
    for name, source in sources.items():
        if name != first:
            counts = images_of_each(source.argument, "", len(source.files) or len(dataset.paths), dataset.file_sizes)
            own = list(source.files) or files
            others[name] = open_one(name, own, None, None, "raise", handles=dataset.handles, counts=counts)
            _check_fits(others[name], name, dataset, first, counts)
            if isinstance(inputs[name], str) and isinstance(inputs[first], str):  # lists are in the order that their owner chose
                _check_pairs(others[name], dataset)
    dataset.read_with(list(inputs), others)
    return dataset


def _sources(inputs: dict[str, Images], paths: list[str]) -> dict[str, Source]:
    """Return where the images of each input are: in the files of the loader, or in others."""
    sources = {
        name: named_source(value, f"images[{name!r}]", paths, may_be_array=False)
        if isinstance(value, str)
        else Source(f"images[{name!r}]")
        for name, value in inputs.items()
    }
    if all(source.files for source in sources.values()):
        found = ", ".join(repr(value) for value in inputs.values())
        raise ValueError(f"images must name a dataset in `files` for one input or more, got only those of other files: {found}")
    return sources


def _check_fits(images: Dataset, name: str, others: Dataset, other: str, counts: list[int]) -> None:
    """Check that an input has the images that belong to those of another one."""
    for path, n, wanted in zip(images.paths, images.file_sizes, counts, strict=True):
        if n != wanted:
            rule = f"images[{name!r}] must have one for each of the {wanted} of images[{other!r}]"
            raise DataError(f"{rule}, found {n}; or, if these are other axes, say which: axes=", path, images.images)
    (height, width), (wanted_height, wanted_width) = images.image_shape[:2], others.image_shape[:2]
    has_size_each = images.is_encoded and others.is_encoded
    if (height, width) != (wanted_height, wanted_width) and not has_size_each:
        found = f"images[{name!r}] have {height}x{width} pixels, and images[{other!r}] {wanted_height}x{wanted_width}"
        way_out = "all inputs share one crop: store both in one size; or, if these are other axes, say which: axes="
        raise DataError(f"{found}; {way_out}", images.paths[0], images.images)


def _check_pairs(images: Dataset, others: Dataset) -> None:
    """Check, by the names of images that have a dataset each, that those of two inputs go together."""
    if len(images.paths) != len(others.paths):
        return
    for mine, its in zip(images.image_files.readers, others.image_files.readers, strict=True):
        names, wanted = mine.index.members, its.index.members
        if names and wanted and (place := wrong_pair(names, wanted, alike=True)) is not None:
            problem = f"images of inputs are paired in natural order, but {names[place]!r} does not belong to {wanted[place]!r}"
            raise DataError(f"{problem}; name both by lists of datasets, in one order", mine.index.file)
