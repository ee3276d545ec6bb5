"""Where labels and weights come from: a column of the files of the images, one of other files, or an array."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset.classes import Output, number_texts
from fastprep.dataset.label_files import SUFFIXES, check_order, images_of_each, other_files
from fastprep.dataset.masked import check_unmasked
from fastprep.dataset.nested import by_output, map_outputs, names_of, outputs_of
from fastprep.h5 import (
    are_weights,
    has_column,
    has_row_each,
    join_columns,
    one_row_each,
    read_labels,
    read_weights,
    warn_of_unwritten_in,
)
from fastprep.transforms import Target


@dataclass(frozen=True, eq=False)
class Source:
    """Where the values of one output come from.

    Attributes
    ----------
    argument : str
        What errors call them, such as "labels" or "labels['age']".
    column : str or None
        Name of a dataset, or "dataset:field"; None for an array.
    files : tuple of str
        Other files that have the column; empty if the files of the images have it.
    array : ndarray or None
    target : Mask, Boxes, Points or None
        Description of targets, which follow the geometry of their images.
    """

    argument: str
    column: str | None = None
    files: tuple[str, ...] = ()
    array: NDArray | None = None
    target: Target | None = None

    @property
    def is_beside_images(self) -> bool:
        """Whether the files of the images have the values, as labels of one row each."""
        return self.column is not None and not self.files and self.target is None


def label_sources(labels: Any, paths: Sequence[str]) -> Any:
    """Return the source of each output that the argument `labels` names.

    Parameters
    ----------
    labels : str, array_like, Mask, Boxes, Points, tuple, list, dict or None
        A name, an array or a target; or several, for a network of several outputs. Of a list or tuple, texts, arrays and targets
        are outputs; anything else is an array.
    paths : sequence of str
        Files of the images.

    Returns
    -------
    Source, tuple of Source, dict of str to Source, or None

    Raises
    ------
    ValueError
        If `labels` is nothing of this.
    OSError
        If it names a file that does not exist.
    """
    if labels is None:
        return None
    if isinstance(labels, list | tuple) and not labels:
        raise ValueError(f"labels must name or be labels, or be None for images without, got {labels!r}")
    named = _outputs_named(labels)
    if isinstance(named, dict) and (not named or not all(isinstance(name, str) for name in named)):
        raise ValueError(f"labels as a dict must map the names of outputs to labels, got {labels!r}")
    if isinstance(named, tuple):
        _check_names(named, paths)
    wanted = labels if named is None else named
    return map_outputs(lambda value, argument: _label_source(value, argument, paths), wanted, names_of(wanted, "labels"))


def names_of_columns(labels: Any) -> Any:
    """Return the argument `labels` with None in place of arrays, or None if it is one array."""
    named = _outputs_named(labels)
    if named is not None:
        return map_outputs(_name, named)
    return _name(labels)


def weight_sources(sample_weight: Any, labels: Any, paths: Sequence[str]) -> Any:
    """Return the source of each output's weights that the argument `sample_weight` names.

    Parameters
    ----------
    sample_weight : str, array_like, tuple, list, dict or None
        Weights of the rows for all outputs together; or, where there are several outputs, those for each of them.
    labels : Source, tuple of Source, dict of str to Source, or None
    paths : sequence of str
        Files of the images.

    Returns
    -------
    Source, or Source and None in the structure of `labels`; None for no weights

    Raises
    ------
    ValueError
        If the outputs are not those of the labels.
    OSError
        If it names a file that does not exist.
    """
    if sample_weight is None:
        return None
    wanted = by_output(sample_weight, labels, "sample_weight", None)
    if wanted is None:
        return _source(sample_weight, "sample_weight", paths)
    names = names_of(wanted, "sample_weight")
    return map_outputs(lambda value, name: None if value is None else _source(value, name, paths), wanted, names)


def columns_of(sources: Any) -> list[str]:
    """Return the names of the columns that the files of the images have, each once."""
    found = [source.column for source in outputs_of(sources) if source is not None and source.is_beside_images]
    return list(dict.fromkeys(found))


def values_of(
    source: Source, beside_images: Sequence[NDArray], counts: Sequence[int], paths: Sequence[str], weights: bool = False
) -> NDArray:
    """Return the values of an output for all samples.

    Parameters
    ----------
    source : Source
    beside_images : sequence of ndarray
        Values of the column in each file of images, if it is there.
    counts : sequence of int
        Number of images in each file.
    paths : sequence of str
        Files of the images.
    weights : bool
        Whether the values are weights.

    Returns
    -------
    ndarray, shape (N, ...)
        Numbers, or texts of type object.

    Raises
    ------
    ValueError
        If an array does not fit.
    OSError, DataError
        If a file of labels can't be read, or does not fit.
    """
    if source.array is not None:
        return _checked_weights(source, sum(counts)) if weights else _checked_array(source, sum(counts))
    assert source.column is not None
    parts = list(beside_images)
    if source.files:
        wanted = images_of_each(source.argument, "labels", len(source.files), counts)
        read = read_weights if weights else read_labels
        parts = [read(path, source.column, n) for path, n in zip(source.files, wanted, strict=True)]
        for path, n in zip(source.files, wanted, strict=True):
            warn_of_unwritten_in(path, source.column, n, "weights" if weights else "labels")
        paths = source.files
    return join_columns(parts, paths, source.column, "weight" if weights else "label")


def read_output(path: str, labels: str, n_samples: int, class_names: Sequence[str]) -> tuple[Output, tuple[str, ...]]:
    """Read the labels that a name stands for, for one file of images.

    Parameters
    ----------
    path : str
        File of the images.
    labels : str
    n_samples : int
    class_names : sequence of str
        Names of the classes; empty for the texts that occur, sorted.

    Returns
    -------
    output : Output
    files : tuple of str
        Other files that the labels are in; empty if they are in that of the images.

    Raises
    ------
    OSError, DataError, ValueError
        If they can't be read, or are not one for each image.
    """
    source = label_sources(labels, [path])
    beside_images = [read_labels(path, source.column, n_samples)] if source.is_beside_images else []
    values = values_of(source, beside_images, [n_samples], [path])
    if values.dtype == object:
        return number_texts(values, class_names, source.argument), source.files
    return Output(values, tuple(class_names)), source.files


def _outputs_named(labels: Any) -> dict[Any, Any] | tuple[Any, ...] | None:
    """Return the labels of several outputs, as a dict or a tuple; None if they are those of one."""
    if isinstance(labels, Mapping):
        return dict(labels)
    return tuple(labels) if isinstance(labels, list | tuple) and any(map(_is_output, labels)) else None


def _check_names(outputs: tuple[Any, ...], paths: Sequence[str]) -> None:
    """Raise a ValueError if texts are the labels themselves, one for each image, and not the names of outputs."""
    names = [value for value in outputs if isinstance(value, str)]
    again = next((name for name, n in Counter(names).items() if n > 1), None)  # classes come again, and outputs hardly ever
    if again is not None and other_files(again) is None and not has_column(paths[0], again):
        raise ValueError(
            f"labels as a list of texts names the dataset of each output, and there is no {again!r}, which it has "
            f"{names.count(again)} times: pass labels that are texts as an array, numpy.array(labels)"
        )


def _is_output(value: Any) -> bool:
    return isinstance(value, str | Target) or hasattr(value, "__array__")


def _name(value: Any) -> str | None:
    name = value.source if isinstance(value, Target) else value
    return name if isinstance(name, str) else None


def _label_source(value: Any, argument: str, paths: Sequence[str]) -> Source:
    if not isinstance(value, Target):
        return _source(value, argument, paths)
    source = named_source(value.source, argument, paths) if isinstance(value.source, str) else Source(argument)
    return replace(source, target=value)


def _source(value: Any, argument: str, paths: Sequence[str]) -> Source:
    if isinstance(value, str):
        return named_source(value, argument, paths)
    check_unmasked(value, argument)
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "iufbUSO" or (array.ndim == 0 and array.dtype.kind not in "iufb"):
        raise ValueError(f"{argument} must be a dataset's name, FILE:NAME, or an array, got {value!r:.80}")
    return Source(argument, array=array)


def named_source(name: str, argument: str, paths: Sequence[str], may_be_array: bool = True) -> Source:
    """Return the source of a name: FILE:NAME if there is such a file, else a column of the files of the images.

    Parameters
    ----------
    name, argument : str
    paths : sequence of str
        Files of the images.
    may_be_array : bool
        Whether the argument may be an array instead.

    Raises
    ------
    ValueError
        If the name may be both, or files of a pattern do not go with those of the images.
    OSError
        If it names a file that does not exist.
    """
    if (found := other_files(name)) is not None:
        files, column = found
        if has_column(paths[0], name):
            raise ValueError(
                f"{argument}={name!r} may be of the file {files[0]!r} or of a dataset in {paths[0]!r}: "
                f"say {os.path.abspath(name)!r} for the file, or {'/' + name!r} for the dataset"
            )
        check_order(name, argument, files, paths, may_be_array)
        return Source(argument, column, files)
    file = name.rpartition(":")[0]
    if file.endswith(SUFFIXES) and not has_column(paths[0], name):
        raise FileNotFoundError(f"{argument}={name!r}: there is no file {file!r}")
    return Source(argument, name)


def _checked_array(source: Source, n_samples: int) -> NDArray:
    array = source.array
    assert array is not None
    if not has_row_each(array.shape, n_samples):
        raise ValueError(f"{source.argument} must have a row for each of the {n_samples} images, got the shape {array.shape}")
    if array.dtype.kind in "USO":
        texts = np.empty(array.size, object)
        texts[:] = [part.decode("utf-8", "replace") if isinstance(part, bytes) else part for part in array.reshape(-1)]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{source.argument} must be an array of numbers or of texts, got {array.dtype} {array.shape}")
        array = texts if array.size == n_samples else texts.reshape(array.shape)
    values = one_row_each(array.view(np.uint8) if array.dtype == np.bool_ else array, n_samples)
    native = values.astype(values.dtype.newbyteorder("=")) if values.dtype.kind != "O" else values
    return np.array(native)  # a copy, which its owner can't change


def _checked_weights(source: Source, n_samples: int) -> NDArray:
    assert source.array is not None
    is_one_each = has_row_each(source.array.shape, n_samples) and source.array.size == n_samples
    if source.array.dtype.kind not in "iufb" or not is_one_each:
        rule = f"{source.argument} must be a dataset's name, or {n_samples} numbers, one for each sample"
        raise ValueError(f"{rule}, got {source.array.dtype} {source.array.shape}")
    weights = np.array(source.array.reshape(-1))
    if (wrong := ~are_weights(weights)).any():
        sample, rule = int(np.argmax(wrong)), f"{source.argument} must not be negative, and finite as float32"
        raise ValueError(f"{rule}, got {weights[sample]} for sample {sample}")
    return weights
