"""What a user can mend."""

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
