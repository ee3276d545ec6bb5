"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[str]:
    """Write under a temporary name beside `path`, and give the file its name at the end.

    Parameters
    ----------
    path : str or path
        Where the file shall be; one that is there is replaced. Missing folders are made.

    Yields
    ------
    str
        The temporary name: hidden, in the same folder, with the same ending (Keras chooses its format by it).
    """
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    stem, ending = os.path.splitext(name)
    temporary = os.path.join(folder, f".{stem}.{os.getpid()}.part{ending}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
