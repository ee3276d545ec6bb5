"""Evaluation of trained networks: `config` and `run` for the command, `metrics` and `report` for its numbers."""
