"""Every exception that a user meets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class InputError(Exception):
    """A wrong argument or unsuitable input of a command: said in one line, without a traceback."""


@contextlib.contextmanager
def input_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors that tell of a file or an argument into one line."""
    try:
        yield
    except kinds as error:
        raise InputError(" ".join(str(error).split())) from error


class DataError(ValueError):
    """A file that is damaged, or not what the arguments say it is.

    Attributes
    ----------
    file : str
    dataset : str or None
    chunk : int or None
        Position of the chunk along the first axis.
    sample : int or None
        Row of the dataset.
    """

    def __init__(
        self, problem: str, file: str, dataset: str | None = None, chunk: int | None = None, sample: int | None = None
    ) -> None:
        self.problem, self.file, self.dataset, self.chunk, self.sample = problem, str(file), dataset, chunk, sample
        place = [f"file {self.file!r}"]
        for word, value in (("dataset", dataset), ("chunk", chunk), ("sample", sample)):
            if value is not None:
                place.append(f"{word} {value!r}")
        super().__init__(f"{', '.join(place)}: {problem}")

    def __reduce__(self) -> tuple:
        return type(self), (self.problem, self.file, self.dataset, self.chunk, self.sample)


class ChangedError(DataError):
    """A file that is not as it was when it was opened first."""


class DamagedIndexError(DataError):
    """A file whose list of chunks can't be true: there is no telling where any of its images lies."""


class MissingMeanError(DataError):
    """A file without a mean, where that of the file was asked for."""


class DeviceUnavailableError(RuntimeError):
    """There is no CUDA device that could be used; the text says what is missing."""


class RankError(Exception):
    """Another rank ended, can't be reached or hangs: said in one line, without a traceback."""
