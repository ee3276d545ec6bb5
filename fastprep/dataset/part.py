"""Part of a dataset: some of its samples, in an order of their own, as a dataset by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprep._sink import Sink
from fastprep.dataset.corrupt import Corrupt, Sinks, Unreadable
from fastprep.dataset.dataset import Dataset
from fastprep.dataset.label_sources import Source
from fastprep.dataset.masked import check_unmasked
from fastprep.dataset.nested import map_outputs
from fastprep.errors import DataError
from fastprep.h5 import read_vector


class Part(Dataset):
    """Some samples of a dataset, numbered from 0 in the order in which they are given.

    Chunks are decoded as for the whole dataset. Samples that can't be read are replaced by samples of the part.

    Parameters
    ----------
    whole : Dataset
        Its files and readers belong to the part from now on.
    rows : ndarray of int64, shape (n,)
        Number of each sample in the whole dataset. A number may come several times.

    Attributes
    ----------
    rows : ndarray of int64, shape (n,)
    """

    def __init__(self, whole: Dataset, rows: NDArray[np.int64]) -> None:
        vars(self).update(vars(whole))
        self.rows = self._rows = rows
        self.n_samples = len(rows)
        # numbered, if they are texts, by the classes of all samples
        self.outputs = map_outputs(lambda output: output and output.take(rows), whole.outputs)
        self.weights = map_outputs(lambda weights: None if weights is None else weights[rows], whole.weights)
        # samples by their rows, where that is not their order; a rank is a place in this
        self._by_row = None if bool((rows[1:] >= rows[:-1]).all()) else np.argsort(rows, kind="stable")
        self._ascending = rows if self._by_row is None else rows[self._by_row]
        self._rank = None if self._by_row is None else _inverse(self._by_row)
        self._part_starts = self._starts_in_part(whole.block_starts)
        # counted by rank
        self.corrupt = None if whole.corrupt is None else Corrupt(self.n_samples, by_sample=whole.corrupt.by_sample)

    def read(self, samples: NDArray[np.int64], *sinks: Sink) -> NDArray[np.int64]:
        """Hand the images of `samples` to a sink, and what is read with them to one each; see `Dataset.read`."""
        if self.corrupt is None:
            self._read(self._rows[samples], np.arange(len(samples), dtype=np.int64), sinks)
            return samples
        return self._at_ranks(self.corrupt.read(self._read_ranks, self._ranks_of(samples), sinks))

    def replaced(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what `read` reads for these samples; see `Dataset.replaced`."""
        return samples if self.corrupt is None else self._at_ranks(self.corrupt.replace(self._ranks_of(samples)))

    def fetch(self, samples: NDArray[np.int64]) -> None:
        """Decode the blocks that hold `samples`; see `Dataset.fetch`."""
        super().fetch(self._rows[samples])

    def complete(self, samples: NDArray[np.int64]) -> None:
        """Complete the indexes of the files of samples; see `ReadTogether.complete`."""
        super().complete(self._rows[samples])

    def ask_for(self, samples: NDArray[np.int64]) -> None:
        """Have the bytes of samples fetched; see `ReadTogether.ask_for`."""
        super().ask_for(self._rows[samples])

    def take(self, values: NDArray) -> NDArray:
        """Return the values of this part out of values for all samples of the files."""
        return values[self.rows]

    def not_finite(self, sample: int, part: int = 0) -> DataError:
        """Return the error of a sample with values that are not finite; see `Dataset.not_finite`."""
        return super().not_finite(int(self._rows[sample]), part)

    def images_of(self, samples: NDArray[np.int64]) -> Iterator[NDArray]:
        """Yield images one by one; see `Dataset.images_of`."""
        return super().images_of(self._rows[samples])

    def image_error(self, sample: int, problem: str, part: int = 0) -> DataError:
        """Return the error of a sample's image, or of what is read with it; see `Dataset.image_error`."""
        return super().image_error(int(self._rows[sample]), problem, part)

    def error_of(self, sample: int, problem: str, source: Source | None) -> DataError:
        """Return the error of a sample's label, which names file, dataset and row."""
        return super().error_of(int(self._rows[sample]), problem, source)

    def path_of(self, sample: int) -> str:
        """Return the path of the file that has a sample."""
        return super().path_of(int(self._rows[sample]))

    @property
    def file_numbers(self) -> NDArray[np.int64]:
        """Number of the file of each sample."""
        return super().file_numbers[self.rows]

    @property
    def block_starts(self) -> NDArray[np.int64] | None:
        """Rank of the first sample of the part in each block, then n_samples; None if no two samples share one."""
        return self._part_starts

    @property
    def block_order(self) -> NDArray[np.int64] | None:
        """Samples by their rows, to which `block_starts` refers; None if that is their own order."""
        return None if self._part_starts is None else self._by_row

    def _starts_in_part(self, starts: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        if starts is None:
            return None
        block = np.searchsorted(starts, self._ascending, side="right")
        firsts = np.concatenate([[0], np.flatnonzero(np.diff(block)) + 1, [self.n_samples]])
        return None if len(firsts) == self.n_samples + 1 else firsts

    def _read_ranks(self, ranks: NDArray[np.int64], slots: NDArray[np.int64], sinks: Sinks) -> None:
        try:
            self._read(self._ascending[ranks], slots, sinks)
        except Unreadable as error:
            first, stop = np.searchsorted(self._ascending, [error.first, error.stop]).tolist()
            raise Unreadable(first, stop, error.error) from None

    def _ranks_of(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        return samples if self._rank is None else self._rank[samples]

    def _at_ranks(self, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        return ranks if self._by_row is None else self._by_row[ranks]


def part_of(whole: Dataset, indices: ArrayLike | slice | str) -> Part:
    """Return the part of a dataset that the argument `indices` of a loader describes.

    Parameters
    ----------
    whole : Dataset
    indices : array_like of int or of bool, slice, or str
        Sample numbers; a mask with an entry for each sample; a slice of all samples; or the name of a dataset of numbers or of a
        mask in each file, which are those of the file's own rows.

    Returns
    -------
    Part

    Raises
    ------
    ValueError
        If they are not of such a kind, name no sample, or name one that there is not.
    OSError, DataError
        See `fastprep.h5.vectors.read_vector`; DataError also if the dataset breaks these rules.
    """
    if isinstance(indices, str):
        firsts, sizes = whole.image_files.starts[:-1].tolist(), whole.file_sizes
        found = (_stored_rows(path, indices, n) for path, n in zip(whole.paths, sizes, strict=True))
        rows = np.concatenate([first + rows for first, rows in zip(firsts, found, strict=True)])
        if len(rows) == 0:
            raise DataError("indices must name a sample at least, but it is empty", whole.paths[0], indices)
    else:
        rows, problem = _rows(indices, whole.n_samples, "sample")
        if problem:
            raise ValueError(f"indices {problem}")
        if len(rows) == 0:
            raise ValueError("indices must name a sample at least, got none")
    return Part(whole, rows)


def _stored_rows(path: str, name: str, n_rows: int) -> NDArray[np.int64]:
    rows, problem = _rows(read_vector(path, name, "indices"), n_rows, "row")
    if problem:
        raise DataError(f"indices {problem}", path, name)
    return rows


def _rows(indices: Any, n: int, noun: str) -> tuple[NDArray[np.int64], str]:
    """Return the numbers that indices stand for, out of 0..n-1, and what is wrong with them, if anything is."""
    none = np.empty(0, np.int64)
    if isinstance(indices, slice):
        try:
            return np.arange(n, dtype=np.int64)[indices], ""
        except (TypeError, ValueError) as error:
            return none, f"must be a slice of integers, got {indices!r}: {error}"
    check_unmasked(indices, "indices")
    try:
        values = np.asarray(indices)
    except ValueError:  # rows of several lengths
        values = np.empty((0, 0), object)
    if values.shape == (0,):
        return none, ""
    if values.ndim != 1 or values.dtype.kind not in "iub":
        found = f"{values.dtype} {values.shape}"
        return none, f"must be a vector of integers or of bools, a slice, or the name of a dataset, got {found}"
    if values.dtype.kind == "b":
        if len(values) != n:
            return none, f"as a mask must have {n} bools, one for each {noun}, got {len(values)}"
        return np.flatnonzero(values), ""
    if (outside := (values < 0) | (values >= n)).any():
        k = int(np.argmax(outside))
        return none, f"must be numbers in 0..{n - 1}, got {values[k]} at place {k}"
    if len(values) == n > 2 and values.max() <= 1:
        return none, f"are {n} zeros and ones, as those of a mask, but not bools: pass mask.astype(bool)"
    return values.astype(np.int64), ""


def _inverse(permutation: NDArray[np.int64]) -> NDArray[np.int64]:
    inverse = np.empty_like(permutation)
    inverse[permutation] = np.arange(len(permutation))
    return inverse
