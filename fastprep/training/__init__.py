"""Training runs: `config` describes a run and `run` trains it; `run_folder`, `state` and `checkpoint` are for resuming it."""
