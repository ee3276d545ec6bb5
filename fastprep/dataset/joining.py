"""Labels and weights of all samples, out of what the files have and what the caller gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset.classes import Output, WrongTextError, check_class_names, number_texts
from fastprep.dataset.label_sources import Source, values_of
from fastprep.dataset.nested import by_output, map_outputs
from fastprep.dataset.targets import target_values

if TYPE_CHECKING:
    from fastprep.dataset.dataset import Dataset

Columns = Sequence[dict[str, NDArray]]
"""What each file has, by the names of the columns."""


def join_labels(dataset: Dataset, sources: Any, found: Columns, class_names: Any) -> Any:
    """Return the outputs of a dataset, see `Dataset`.

    Parameters
    ----------
    dataset : Dataset
        Its files; for the errors as well.
    sources : Source, tuple or dict of Source, or None
        Where the labels are, see `fastprep.dataset.label_sources.label_sources`.
    found : sequence of dict
        Columns of labels of each file.
    class_names : sequence of str, tuple or dict of them, or None
        Classes of labels that are texts.

    Returns
    -------
    Output, tuple or dict of Output, or None
        In the structure of `sources`.

    Raises
    ------
    ValueError
        If `class_names` does not go with the labels, or labels that the caller gave are not a row for each sample.
    DataError
        If labels of a file are texts that are not among the classes.
    """
    if sources is None:
        return None
    given = None if class_names is None else by_output(class_names, sources, "class_names", None)
    if given is None:
        given = map_outputs(lambda source: class_names, sources)
    stored = dataset.metadata[0].class_names if isinstance(sources, Source) else ()
    return map_outputs(
        lambda source, names: replace(_output(dataset, source, found, names, stored), source=replace(source, array=None)),
        sources,
        given,
    )


def join_weights(dataset: Dataset, sources: Any, found: Columns) -> Any:
    """Return the weights of the samples in the structure of the outputs, see `Dataset`.

    Parameters
    ----------
    dataset : Dataset
        With its outputs.
    sources : Source, tuple or dict of Source or None, or None
        Where the weights are, see `fastprep.dataset.label_sources.weight_sources`; a single one is for all outputs.
    found : sequence of dict
        Columns of weights of each file.

    Raises
    ------
    ValueError
        If weights that the caller gave are not one for each sample.
    """

    def join(source: Source | None) -> NDArray | None:
        return None if source is None else _values(dataset, source, found, are_weights=True)

    if sources is None:
        return None
    weights = map_outputs(join, sources)
    return map_outputs(lambda output: weights, dataset.outputs) if isinstance(sources, Source) else weights


def _output(dataset: Dataset, source: Source, found: Columns, class_names: Any, stored: tuple[str, ...]) -> Output:
    if source.target is not None:
        if class_names is not None and tuple(class_names) not in ((), stored):
            kind = type(source.target).__name__
            raise ValueError(f"class_names is for labels that are texts, {source.argument} is a {kind}: leave it out")
        return Output(np.empty((dataset.n_samples, 0), np.uint8), stored, target=target_values(dataset, source))
    values = _values(dataset, source, found)
    if values.dtype != object:
        if class_names is not None and tuple(class_names) != ():  # as another loader tells it of such an output
            raise ValueError(f"class_names is for labels that are texts, {source.argument} are {values.dtype} {values.shape}")
        return Output(values, stored)
    names = stored if class_names is None else check_class_names(class_names)
    try:
        return number_texts(values, names, source.argument)
    except WrongTextError as error:
        if source.column is not None:
            raise dataset.error_of(error.sample, error.problem, source) from None
        raise ValueError(f"{source.argument}, sample {error.sample}: {error.problem}") from None


def _values(dataset: Dataset, source: Source, found: Columns, are_weights: bool = False) -> NDArray:
    in_files = [columns[source.column] for columns in found] if source.column is not None and not source.files else []
    return values_of(source, in_files, dataset.file_sizes, dataset.paths, are_weights)
