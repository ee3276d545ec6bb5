"""Evaluation of trained networks: `config` and `run` are the command, `candidates` what it tests, the rest its report."""
