"""Sections of `gpu.py`: what each measures, the time it may take, and the environment that its process needs.

A section is a function `run(job)` of a module of this folder, which yields rows of the table. `__main__.py` calls it in a process
of its own. It raises `LeftOut`, or an ImportError, if something is missing that it needs.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from gpu_sections.rows import Job, Row

WITHOUT_GRAPHS = "--xla_gpu_enable_command_buffer="
"""The flag of XLA's that names what is captured into graphs: here nothing."""


@dataclass(frozen=True)
class Section:
    """A section of the table.

    Attributes
    ----------
    name : str
    module : str
        Module of this folder whose `run` it is.
    limit_s : float
        Seconds that it may take, the start of its process included.
    environment : dict of str
        Variables of its process.
    """

    name: str
    module: str
    limit_s: float
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, job: Job) -> Iterator[Row]:
        """Measure, row by row."""
        return importlib.import_module(f"gpu_sections.{self.module}").run(job)


_JAX = {"KERAS_BACKEND": "jax"}
SECTIONS = {
    section.name: section
    for section in (
        Section("environment", "environment", 60),
        Section("bits", "bits", 180),
        Section("kernel", "kernel", 120),
        Section("others", "others", 120),
        Section("dali", "dali", 90),
        Section("link", "link", 60),
        Section("loader", "loader", 120),
        Section("late", "late", 90),
        Section("capture", "capture", 60),
        Section("capture-control", "capture_control", 60),
        Section("fit-torch", "fit", 180, {"KERAS_BACKEND": "torch"}),
        Section("fit-jax", "fit", 240, _JAX),
        Section("fit-jax-without-graphs", "fit", 240, {**_JAX, "XLA_FLAGS": WITHOUT_GRAPHS}),
    )
}
