"""The rows of bytes of one dataset: how many there are, and where they are, whatever way the file has to tell that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DataError
from fastprep.h5.cache import Scratch
from fastprep.h5.file_bytes import FileBytes
from fastprep.h5.groups import ImageGroup

_MOST_BYTES = 2**28  # of a row in a smaller file, whose filters make it larger


class RowPlaces(ABC):
    """Where the rows of one dataset are. There is a sub-class for each way of finding them; none of them knows what rows hold."""

    @abstractmethod
    def lengths(self, samples: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the lengths of rows in bytes as the file says them, which may be damaged; None if only reading tells them."""

    @property
    def n_bytes(self) -> int | None:
        """Size of all rows together, in bytes, as the file says it; None if only reading tells it."""
        return None

    @property
    def n_empty(self) -> int:
        """Number of rows without bytes, as far as that is known before they are read."""
        return 0

    @property
    def advice(self) -> str:
        """What to do about rows that are no images, if the layout is the reason."""
        return ""

    def remember(self) -> Any:
        """Return what a reader keeps between calls of `read`, which threads share; each process makes it anew."""
        return None

    def extents(self, index: RowIndex, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return offsets and sizes of ranges of the file that probably have what `read` needs, to ask for them early."""
        return np.empty(0, np.int64), np.empty(0, np.int64)

    @abstractmethod
    def read(
        self, index: RowIndex, file: FileBytes, kept: Any, samples: NDArray[np.int64], scratch: Scratch
    ) -> list[NDArray[np.uint8]]:
        """Read rows without HDF5.

        Parameters
        ----------
        index : RowIndex
            That of these places, for what is known of the file.
        file : FileBytes
            Those of `index.holder`.
        kept : object
            From `remember`, for that file.
        samples : ndarray of int64, shape (n,)
            Rows of the dataset, 0..N-1.
        scratch : Scratch
            Its memory for "rows" holds the result.

        Returns
        -------
        list of ndarray of uint8
            The bytes of each row, valid until this thread asks `scratch` for "rows" again.

        Raises
        ------
        OSError
            If the system fails to read.
        DataError
            If a row can't be where the file says, naming its sample.
        """

    @abstractmethod
    def read_by_hdf5(self, dataset: h5py.Dataset | ImageGroup, index: RowIndex, sample: int) -> NDArray[np.uint8]:
        """Read one row through HDF5, in memory of its own; errors are those of h5py, or a DataError."""


@dataclass(frozen=True, eq=False)
class RowIndex:
    """The rows of one dataset: how many there are, and where they are.

    Attributes
    ----------
    file, dataset : str
        As the user named them.
    path : str
        Absolute path of the file.
    n : int
        Number of rows.
    holder : str
        Absolute path of the file that has the bytes; not `path` where a link leads elsewhere.
    identity : tuple of int
        Device, inode, size and modification time of `holder` when it was indexed.
    layout : str
        For people, how the rows are stored: "contiguous", "chunked, 1024 rows each, filters gzip", ...
    reason : str
        Why HDF5 has to read this dataset; empty if it is read directly.
    places : RowPlaces
        Where each row is.
    members : tuple of str
        Names of the datasets of rows that have one each; empty for rows in one dataset.
    """

    file: str
    dataset: str
    path: str
    n: int
    holder: str
    identity: tuple[int, ...]
    layout: str
    reason: str
    places: RowPlaces
    members: tuple[str, ...] = ()

    @property
    def file_bytes(self) -> int:
        """Size of `holder`, in bytes."""
        return self.identity[2]

    def name_of(self, sample: int) -> str:
        """Name of the dataset that has a row."""
        return self.members[sample] if self.members else self.dataset

    def by_hdf5(self, reason: str) -> RowIndex:
        """Return the index of a dataset that HDF5 has to read after all, for the given reason."""
        return replace(self, reason=reason, layout=f"read by HDF5: {reason}")


def check_claims(index: RowIndex, samples: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
    """Compare the lengths of rows with the size of their file, before memory is taken.

    Raises
    ------
    DataError
        If a row is longer than 256 MiB and than the file, as padding is that was never written.
    """
    most = max(_MOST_BYTES, index.file_bytes)
    if len(lengths) and lengths.max() > most:
        k = int(np.argmax(lengths))
        sample = int(samples[k])
        problem = f"it has {lengths[k]} bytes, in a file of {index.file_bytes}; the file is damaged"
        raise DataError(problem, index.file, index.name_of(sample), None, sample)
