"""What a person sees of batches: a loader's line, its page in a notebook, figures of batches, and a table of what was read."""

from fastprep.presentation.presented import Presented
from fastprep.presentation.stats import Stats

__all__ = ["Presented", "Stats"]
