"""The interface between long work and whatever shows its progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # name of a stage, number of images that are done, number of all images
