"""What a section is asked for, and the rows that it gives."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Value = float | int | str


class LeftOut(Exception):
    """Something is missing, on this machine or in this environment, that a section needs; the text says what."""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes
    ----------
    name : str
    values : dict
        Numbers by their units ("GB/s", "of copy"), which the table prints behind them, and texts under an empty unit.
    ok : bool or None
        Whether the row is what it has to be; None for a measurement, which may be anything.
    """

    name: str
    values: dict[str, Value]
    ok: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the row as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Sizes:
    """Sizes of what is measured.

    Attributes
    ----------
    image : (int, int, int)
        Height, width and channels of the source images, uint8.
    crop : int
        Height and width of the crops.
    batch : int
    file : int
        Number of images in the file that the loaders read.
    plain_bytes : int
        Size of the plain copies with which others are compared; far more than a cache holds.
    seconds : float
        Time for each measurement by the clock of the host.
    queued : int
        How often what is timed is queued between two events.
    """

    image: tuple[int, int, int] = (256, 256, 3)
    crop: int = 227
    batch: int = 128
    file: int = 4096
    plain_bytes: int = 256 << 20
    seconds: float = 1.0
    queued: int = 20


TINY = Sizes((32, 34, 3), 27, 8, 48, 1 << 14, 0.01, 4)
"""Of a dry run."""


@dataclass(frozen=True)
class Job:
    """What a section is asked for.

    Attributes
    ----------
    folder : str
        Folder for temporary files, which the sections share.
    rounds : int
        Number of timings, all in turn.
    is_dry : bool
        Whether everything runs on the tests' stand-in for cupy, or on the CPU, with tiny sizes: to find mistakes in the sections.
        The numbers of a dry run mean nothing.
    """

    folder: str
    rounds: int = 7
    is_dry: bool = False
    sizes: Sizes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", TINY if self.is_dry else Sizes())

    @property
    def loader_device(self) -> str:
        """Device for loaders whose batches go to another library, which can't read the stand-in's memory."""
        return "cpu" if self.is_dry else "cuda:0"

    def as_json(self) -> dict[str, Any]:
        """Return the arguments of the job."""
        return {"folder": self.folder, "rounds": self.rounds, "is_dry": self.is_dry}


def ratios(values: Sequence[float], references: Sequence[float]) -> tuple[float, str]:
    """Return the median of the ratios of each round, and their spread as a text.

    Parameters
    ----------
    values, references : sequence of float
        One for each round.
    """
    each = [value / reference for value, reference in zip(values, references, strict=True)]
    return statistics.median(each), f"({min(each):.2f} - {max(each):.2f})"


def share_of_copy(n_bytes: int, seconds: Sequence[float], copy_bytes: int, copy_seconds: Sequence[float]) -> tuple[float, str]:
    """Return which part of the bandwidth of a plain copy something reaches: bytes moved / time / bandwidth of the copy.

    Parameters
    ----------
    n_bytes : int
        Bytes that it reads and writes.
    seconds : sequence of float
        Its time in each round.
    copy_bytes : int
        Bytes that the copy reads and writes.
    copy_seconds : sequence of float
        The copy's time in the same rounds.

    Returns
    -------
    float, str
        The median over the rounds, and their spread as a text.
    """
    return ratios([n_bytes / s for s in seconds], [copy_bytes / s for s in copy_seconds])
