"""What a person sees of a loader: its line, its page in a notebook, figures of its batches, and a table of what it has read."""

from fastprep.presentation.presented import Presented
from fastprep.presentation.stats import Stats

__all__ = ["Presented", "Stats"]
