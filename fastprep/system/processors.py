"""How many processors this process may use."""

from __future__ import annotations

import os


def usable_processors() -> int:
    """Count the processors that this process may use; on systems that don't tell, such as macOS, those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
