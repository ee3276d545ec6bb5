"""Exceptions that report problems which the user can fix."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
from collections.abc import Collection, Iterator
from typing import Any

from fastprep.command_lines import option_words


class InputError(Exception):
    """A wrong argument or unsuitable input of a command, reported in one line without a traceback."""


class NotReplacedError(InputError):
    """A file or folder that stays although it was to be replaced: fastprep did not write it, or the same command reads it."""


class AddressError(InputError, ValueError):
    """An address of a remote file that breaks a rule; the message repeats neither a password nor a signature."""


class SettingsError(InputError, ValueError):
    """Settings of a store, or of the cache of remote files, that break a rule: those of an argument, or of the environment."""


def one_line(error: Exception, lacks: Collection[str] = ()) -> str:
    """Return the message of an error on one line, for the user of a command; blanks stay, as they may belong to a file's name.

    Parameters
    ----------
    error : Exception
    lacks : collection of str
        Python's arguments for which the command has no option.
    """
    text = error.for_commands(lacks) if isinstance(error, MissingDatasetError) else str(error)
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


@contextlib.contextmanager
def input_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Turn exceptions of these kinds, about a file or an argument, into an `InputError`, whose text is one line."""
    try:
        yield
    except kinds as error:
        raise InputError(one_line(error)) from error


_KERAS_AND_BACKENDS = ("keras", "tensorflow", "jax", "jaxlib", "torch")


def missing_backend(error: ModuleNotFoundError) -> str | None:
    """Return the line about Keras, or its backend, that is not installed, with the way out.

    Parameters
    ----------
    error : ModuleNotFoundError
        Raised by an import of Keras, or of what imports it.

    Returns
    -------
    str or None
        None if the missing module is neither of them.
    """
    module = (error.name or "").partition(".")[0]
    if module not in _KERAS_AND_BACKENDS:
        return None
    way_out = "install 'fastprep[tensorflow]', 'fastprep[jax]' or 'fastprep[torch]'"
    if module == "keras":
        return f"Keras is not installed: {way_out}"
    asked = os.environ.get("KERAS_BACKEND")
    why = f"KERAS_BACKEND is {asked}" if asked else "KERAS_BACKEND is not set"
    return (
        f"Keras is to run on {module.removesuffix('lib')}, which is not installed ({why}): {way_out}, and set KERAS_BACKEND to it"
    )


class MissingLibraryError(ModuleNotFoundError):
    """A library that is not installed, and which something needs that not all users do; the text says how to install it."""


class DataError(ValueError):
    """A file that is damaged, or differs from what the arguments say about it.

    Attributes
    ----------
    problem : str
        The text, without file, dataset, chunk and sample.
    file : str
    dataset : str or None
    chunk : int or None
        Number of the chunk along the first axis.
    sample : int or None
        Row of the dataset.
    """

    problem: str
    file: str
    dataset: str | None
    chunk: int | None
    sample: int | None

    def __init__(
        self, problem: str, file: str, dataset: str | None = None, chunk: int | None = None, sample: int | None = None
    ) -> None:
        self.problem, self.file, self.dataset, self.chunk, self.sample = problem, str(file), dataset, chunk, sample
        location = [f"file {self.file!r}"]
        for word, value in (("dataset", dataset), ("chunk", chunk), ("sample", sample)):
            if value is not None:
                location.append(f"{word} {value!r}")
        super().__init__(f"{', '.join(location)}: {problem}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problem, self.file, self.dataset, self.chunk, self.sample)


class ChangedError(DataError):
    """A file that has changed since it was first opened."""


class NotFiniteError(DataError):
    """An image with values that are NaN or infinity, or that become infinity in the type of the batch."""


class DamagedIndexError(DataError):
    """A file whose list of chunks can't be true, so that none of its images can be located."""


ONE_INPUT = "a network of several inputs is for Python, fastprep.Loader(..., images={...}): commands take one dataset of images"
"""What users are told who name several inputs on a command line."""


class MissingDatasetError(DataError):
    """A file without the dataset that an argument names.

    Attributes
    ----------
    argument : str
        Name of that argument in Python, such as "images" or "sample_weight"; the option of a command is called alike.
    suggestion : dict of str to object
        Arguments by name with which the file can be loaded; empty if nothing in it seems to be images.
    """

    def __init__(
        self,
        problem: str,
        file: str,
        dataset: str | None = None,
        *,
        argument: str = "images",
        suggestion: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(problem, file, dataset)
        self.argument, self.suggestion = argument, dict(suggestion or {})

    def __str__(self) -> str:
        likely = ", ".join(f"{name}={value!r}" for name, value in self.suggestion.items())
        return f"{super().__str__()}{likely and f'; likely {likely}'} ({self.argument}= takes another name)"

    def for_commands(self, lacks: Collection[str] = ()) -> str:
        """Return the message with the options of a command, in place of Python's arguments; see `one_line`."""
        values = {name: value for name, value in self.suggestion.items() if name not in lacks}
        likely = shlex.join(option_words(values, usual={}))
        option = f"--{self.argument.replace('_', '-')}"
        several = self.argument.endswith("images") and any(mark in self.problem.partition("; it has")[0] for mark in ",={")
        return f"{super().__str__()}{likely and f'; likely {likely}'} ({option} takes another name{several * f'; {ONE_INPUT}'})"

    def __reduce__(self) -> tuple[Any, ...]:
        made = functools.partial(type(self), argument=self.argument, suggestion=self.suggestion)
        return made, (self.problem, self.file, self.dataset)


class MissingMeanError(DataError):
    """A file without a mean, although the mean of the file was asked for."""


class DecodeError(ValueError):
    """Bytes that are not a whole encoded image, such as a JPEG that was cut short, or one that can't be decoded here."""


class DeviceUnavailableError(RuntimeError):
    """A CUDA device that can't be used; the text says what is missing."""


class RankError(Exception):
    """A rank that ended, can't be reached or hangs, reported in one line without a traceback."""
