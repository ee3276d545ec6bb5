"""The control of `capture.py`, by itself because its failure may leave nothing of the process that can be used."""

from gpu_sections.capture import run_control as run

__all__ = ["run"]
