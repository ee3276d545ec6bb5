"""Training runs: `config` says what to train, `run` trains; `run_folder`, `state` and `checkpoint` hold what it resumes from."""
