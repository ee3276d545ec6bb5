"""Files without a name, which end with their descriptor."""

from __future__ import annotations

import os
import tempfile


def nameless_file(in_memory: bool = False) -> int:
    """Return the descriptor of a new file without a name, open for reading and writing.

    Parameters
    ----------
    in_memory : bool
        Have it in memory, which needs no folder for temporary files. Only Linux and FreeBSD can; elsewhere it is in that folder.

    Raises
    ------
    OSError
        If there is no room, or no folder for temporary files.
    """
    if in_memory and hasattr(os, "memfd_create"):
        return os.memfd_create("fastprep")
    descriptor, name = tempfile.mkstemp(prefix="fastprep-")
    os.unlink(name)
    return descriptor
