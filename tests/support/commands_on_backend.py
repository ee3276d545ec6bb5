"""The commands on the backend of KERAS_BACKEND: trains, resumes and evaluates in a folder, and prints what came out as JSON."""

import contextlib
import io
import json
import os
import shutil
import sys
from pathlib import Path

from fastprep import evaluate, train
from fastprep.training import checkpoint

OPTIONS = ["--crop", "6", "--batch-size", "8", "--epochs", "2", "--model", "saved_network:network", "--save-every", "3"]
OPTIONS += ["--workers", "1", "--schedule", "cosine", "--batchnorm-steps", "2", "--deterministic"]
TRUSTED = ["--trust", "--resume"]


def said(main, *words):
    """Return exit status and standard error of a command."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
        return main(list(words)), errors.getvalue()


def main(folder, saved_run, other_run):
    files = ["--train", str(folder / "train.h5"), "--val", str(folder / "val.h5")]
    whole, halfway = folder / "whole", folder / "halfway"
    save = checkpoint.save

    def save_and_copy(path, *args, metrics, **options):
        save(path, *args, metrics=metrics, **options)
        if metrics and not halfway.exists():  # in the middle of an epoch
            shutil.copytree(path.parent, halfway)

    checkpoint.save = save_and_copy
    found = {"trained": said(train.main, *files, *OPTIONS, "--out", str(whole))}
    checkpoint.save = save
    found["resumed"] = said(train.main, *TRUSTED, str(halfway), *files)
    ends = [checkpoint.read(run / "last.keras")[0] for run in (whole, halfway)]
    found["same end"] = [([crc for _, crc in end["variables"]], end["course"]["history"]) for end in ends]
    words = ["--data", str(folder / "val.h5"), "--trust"]
    found["evaluated"] = said(evaluate.main, str(whole), *words)
    found["epochs"] = []
    for name, run in (("TensorFlow", saved_run), ("the backend of the tests", other_run)):
        moved = folder / f"from {name}"
        shutil.copytree(run, moved)
        found[f"resumed from {name}"] = said(train.main, *TRUSTED, str(moved), *files, "--epochs", "3")
        found["epochs"].append(checkpoint.read(moved / "last.keras")[0]["course"]["epoch"])
        found[f"evaluated from {name}"] = said(evaluate.main, str(moved), *words)
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 0}})
    found["ranks"] = said(train.main, *files, *OPTIONS)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
