"""Evaluation of trained networks: `config` and `run` are the command, `metrics` and `report` its numbers and tables."""
