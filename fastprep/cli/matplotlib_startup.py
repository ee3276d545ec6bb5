"""Start of matplotlib, also where neither the home folder nor the folder for temporary files can be written to."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path


def start_matplotlib(path: str | os.PathLike[str]) -> None:
    """Import matplotlib, with a cache beside the drawing for the moment if it has no other place for one.

    matplotlib makes a list of the fonts of the system when it is imported, and can't be imported where it may not keep that. The
    folder of the drawing can be written to in any case. Where there is a folder for temporary files, this does nothing.

    Parameters
    ----------
    path : str or path
        File that is going to be drawn.

    Raises
    ------
    OSError
        If that folder can't be written to either.
    """
    if "matplotlib.font_manager" in sys.modules:
        return
    try:
        tempfile.gettempdir()  # where matplotlib goes if the home folder can't be written to
    except OSError:
        _import_with_cache(Path(os.path.abspath(path)).parent / f".matplotlib.fastprep-{secrets.token_hex(8)}.part")


def _import_with_cache(cache: Path) -> None:
    """Import matplotlib with a cache that is removed at once; an import that failed could not be repeated."""
    before = os.environ.get("MPLCONFIGDIR")
    cache.mkdir(parents=True)
    try:
        os.environ["MPLCONFIGDIR"] = str(cache)
        import matplotlib.font_manager  # noqa: F401 - makes the list
    finally:
        os.environ.pop("MPLCONFIGDIR")
        if before is not None:
            os.environ["MPLCONFIGDIR"] = before
        shutil.rmtree(cache, ignore_errors=True)
