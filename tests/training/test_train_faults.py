"""Faults during a run: the train command prints one clear line, and leaves a whole run folder that can be resumed."""

import os
import re
import time

import h5py
import numpy as np
import pytest
from full_disk import run_on_small_disk

from fastprep import train
from fastprep.pipeline import grouping
from fastprep.pipeline.source import BatchSource
from fastprep.training import checkpoint

keras = pytest.importorskip("keras")
from small_run import EPOCHS, STEPS, WHOLE, arguments, before_step, files, names, outcome, undisturbed, wait_until  # noqa: E402, F401

from fastprep.training import callbacks  # noqa: E402


def resume_of(run, network="network"):
    return f"python -m fastprep.train --resume {run} --model network_of_faults:{network}"


# --- files that are changed meanwhile


def flip(path, chunk):
    with h5py.File(path, "r") as file:
        stored = file["images"].id.get_chunk_info_by_coord((chunk, 0, 0, 0))
    with open(path, "r+b") as file:
        file.seek(stored.byte_offset + stored.size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x55]))


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def write_anew(path):
    content = bytearray(path.read_bytes())
    time.sleep(0.02)  # a tick of the file system's clock
    path.write_bytes(content)


CHANGED = "changed or replaced since it was opened first"
AHEAD = 3  # batches that are prepared beyond those handed out: by one worker, and two kept ready


@pytest.fixture
def prepared(monkeypatch):
    """Epoch and step of each batch that was prepared, for a test that has to wait until no read is under way."""
    original, done = BatchSource.prepare, set()

    def prepare(source, epoch, step):
        batch = original(source, epoch, step)
        done.add((epoch, step))
        return batch

    monkeypatch.setattr(BatchSource, "prepare", prepare)
    monkeypatch.setattr(grouping, "MOST_BATCHES", 1)  # batches are made one by one
    return done


def test_a_training_file_that_is_changed_meanwhile(files, arguments, undisturbed, prepared, tmp_path, monkeypatch, capsys):
    """It ends with one line; with the file as it was, the run goes on and ends as one that nobody disturbed."""
    content, times = files[0].read_bytes(), files[0].stat()
    run = tmp_path / "run"
    changes = {
        1: (truncate, rf"dataset 'images', chunk (\d+), sample \1: .*truncated.*; the file was {CHANGED}"),
        2: (write_anew, rf"dataset 'images': {CHANGED}"),
    }
    words = [*arguments, "--out", str(run)]
    for epoch, (change, message) in changes.items():

        def change_between_reads():  # a read in the middle of the change might find less of the file than there is in the end
            wait_until(lambda: (epoch, AHEAD) in prepared)  # noqa: B023 - called in this round
            change(files[0])  # noqa: B023

        with monkeypatch.context() as patch:
            before_step(patch, epoch * STEPS + 1, change_between_reads)
            assert train.main(words) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert re.match(
            rf"fastprep.train: file '{files[0]}', {message}; the run folder is whole: go on with `{resume_of(run)}`\n",
            error,
        )
        assert names(run) == WHOLE
        assert checkpoint.read(run / "last.keras")[0]["course"]["epoch"] == epoch
        files[0].write_bytes(content)
        os.utime(files[0], ns=(times.st_atime_ns, times.st_mtime_ns))
        words = ["--trust", "--resume", str(run)]
    assert train.main(words) == 0
    assert outcome(run) == outcome(undisturbed / "run")


def test_a_training_file_whose_name_is_given_to_another_is_read_on(files, arguments, make_file, tmp_path, monkeypatch):
    """The open file is still the old one, as on any Unix."""
    other, _, _ = make_file(n=9, name="other.h5")
    before_step(monkeypatch, STEPS + 2, lambda: os.replace(other, files[0]))
    assert train.main([*arguments, "--out", str(tmp_path / "run")]) == 0
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == EPOCHS + 1


def test_an_image_that_can_not_be_read_is_an_error_or_left_out(files, arguments, tmp_path, capsys):
    """The line names the option that leaves it out, which may be given to a resumed run, too."""
    flip(files[0], 17)
    flip(files[1], 3)
    run = tmp_path / "run"
    assert train.main([*arguments, "--out", str(run)]) == 2
    error = capsys.readouterr().err
    assert f"file {str(files[0])!r}, dataset 'images', chunk 17, sample 17: " in error
    assert error.endswith(f"go on with `{resume_of(run)}`, and --on-corrupt skip to leave such images out\n")
    assert train.main(["--trust", "--resume", str(run), "--on-corrupt", "skip"]) == 0
    printed = capsys.readouterr().out
    effects = {"training": "the next ones took their place", "validation": "they were left out"}
    for word, n, k, path in (("training", 43, 17, files[0]), ("validation", 20, 3, files[1])):
        count = f"1 of {n} {word} images can't be read, and {effects[word]} (--on-corrupt skip): "
        assert f"{count}file {str(path)!r}, dataset 'images', chunk {k}, sample {k}: " in printed
    assert names(run) == WHOLE


def test_an_error_has_a_line_of_its_own_on_a_terminal(files, arguments, tmp_path, monkeypatch, capsys):
    flip(files[0], 17)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("fastprep.cli.progress._EVERY_S", 0.0)
    assert train.main([*arguments, "--out", str(tmp_path / "run")]) == 2
    assert re.fullmatch(r"epoch 1/3 ━*─*  step \d/6.*\x1b\[0K\n", capsys.readouterr().out.split("\r")[-1])


# --- a full disk


def test_a_disk_that_is_full(arguments, undisturbed, tmp_path):
    """The network and its optimizer take 3.7 MB: there is room for one last.keras, and not for the next beside it."""
    arguments = [*arguments, "--epochs", "1", "--save-every", "2", "--model", "network_of_faults:big"]
    script = f"""
    import pathlib
    from fastprep import train
    from fastprep.training import checkpoint
    from fastprep.training.run_folder import RunFolder
    sys.path.insert(0, {str(undisturbed)!r})
    say = lambda *words: print(*words, file=sys.stderr, flush=True)
    def attempt(size, *words):
        resize(size)
        say("status", train.main([*words]), *listing("run"))
    run = disk + "/run"
    attempt("1m", *{arguments!r}, "--out", run)
    attempt("5m", "--trust", "--resume", run)
    say("step", checkpoint.read(pathlib.Path(run) / "last.keras")[0]["course"]["step"])
    original = RunFolder.publish
    def publish(folder, state):  # the model is saved, and then the disk is full to the last byte
        try:
            with open(disk + "/filler", "wb", buffering=0) as file:
                while file.write(bytes(4096)): pass
        except OSError: pass
        original(folder, state)
    RunFolder.publish = publish
    attempt("20m", "--trust", "--resume", run)
    RunFolder.publish = original
    os.unlink(disk + "/filler")
    attempt("20m", "--trust", "--resume", run)
    """
    done = run_on_small_disk(tmp_path / "disk", "1m", script)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "disk" / "run"
    lines = [line for line in done.stderr.splitlines() if line.startswith(("fastprep.train:", "status", "step"))]

    def full(name):
        problem = f"[Errno 28] No space left on device: '{run / name}'"
        return f"fastprep.train: {problem}; the run folder is whole: go on with `{resume_of(run, 'big')}`"

    assert lines == [
        full("last.keras"),
        "status 2 config.json",
        full("last.keras"),
        "status 2 config.json last.keras",
        "step 0",
        full("history.csv"),
        "status 2 best.keras config.json last.keras loader.jsonl",
        "status 0 " + " ".join(WHOLE),
    ]


# --- not enough memory


def test_no_memory_for_a_batch(arguments, tmp_path, monkeypatch, capsys):
    """The error is the loader's (tests/test_faults.py); the run can be resumed with fewer workers, which take fewer buffers."""
    run = tmp_path / "run"

    def full(*_):
        raise MemoryError("no memory for a batch of 9600 bytes")

    with monkeypatch.context() as patch:
        before_step(patch, 0, lambda: patch.setattr("fastprep.pipeline.buffers.HostMemory.allocate", full))
        assert train.main([*arguments, "--out", str(run)]) == 2
    message = "fastprep.train: no memory for a batch of 9600 bytes; the run folder is whole: go on with "
    assert capsys.readouterr().err == f"{message}`{resume_of(run)}`\n"


# --- a network that diverges


def test_a_network_that_diverges_ends_the_run(arguments, tmp_path, capsys):
    """Its accuracy is that of the largest class, which is no reason to keep it as the best model."""
    run = tmp_path / "run"
    options = ["--model", "network_of_faults:big", "--optimizer", "sgd", "--lr", "1e30"]
    assert train.main([*arguments, *options, "--out", str(run)]) == 2
    output, error = capsys.readouterr()
    assert "epoch 1/3  loss nan (val nan)  accuracy 0." in output
    assert error.count("\n") == 1
    assert re.match("fastprep.train: epoch 1: the validation loss is not a number: .* there is no best.keras. Begin anew", error)
    assert names(run) == ["config.json", "last.keras", "loader.jsonl"]
    again = ["--trust", "--config", str(run / "config.json"), "--lr", "1e-3", "--out", str(tmp_path / "again")]
    assert train.main(again) == 0
    assert names(tmp_path / "again") == WHOLE


def test_what_was_saved_before_it_diverged_stays(arguments, tmp_path, monkeypatch, capsys):
    run, losses = tmp_path / "run", iter([2.0, 1.0, float("nan")])
    original = keras.Model.evaluate

    def evaluate(model, *args, **options):
        return {**original(model, *args, **options), "loss": next(losses)}

    monkeypatch.setattr(keras.Model, "evaluate", evaluate)
    assert train.main([*arguments, "--out", str(run), "--monitor", "loss"]) == 2
    assert "epoch 3: the validation loss is not a number" in (error := capsys.readouterr().err)
    assert "best.keras is of epoch 2" in error
    assert names(run) == WHOLE
    assert checkpoint.read(run / "last.keras")[0]["course"]["history"]["val_loss"] == [2.0, 1.0]


def poison(callback, name):
    """Put a NaN into a weight, or a slot of the optimizer."""
    model = callback.model
    variables = model.weights if name == "kernel" else model.optimizer.variables
    variable = next(each for each in variables if each.path.endswith(name))
    values = np.array(variable)
    values.flat[0] = np.nan
    variable.assign(values)


@pytest.mark.parametrize(("step", "name"), [(2, "kernel"), (STEPS - 1, "kernel"), (2, "momentum")])
def test_weights_that_are_not_finite_are_never_saved(arguments, tmp_path, monkeypatch, capsys, step, name):
    """In the second epoch, at a save within it and at its end; a network may well have a finite loss with such weights."""
    run, original = tmp_path / "run", callbacks.RunCallback.on_train_batch_begin

    def begin(callback, batch, logs=None):
        if (callback.state.epoch, batch) == (1, step):
            poison(callback, name)
        original(callback, batch, logs)

    evaluate = keras.Model.evaluate
    monkeypatch.setattr(callbacks.RunCallback, "on_train_batch_begin", begin)
    monkeypatch.setattr(keras.Model, "evaluate", lambda *args, **options: {**evaluate(*args, **options), "loss": 1.0})
    monkeypatch.setattr(callbacks.RunCallback, "_learned", lambda callback: True)
    assert train.main([*arguments, "--save-every", "2", "--optimizer", "sgd", "--out", str(run)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "fastprep.train: epoch 2: weights of the network are not finite (" in error
    assert "best.keras is of epoch 1" in error
    model = keras.models.load_model(run / "last.keras")
    assert all(np.isfinite(np.asarray(v)).all() for v in (*model.weights, *model.optimizer.variables))
    assert checkpoint.read(run / "last.keras")[0]["course"]["epoch"] == 1
    assert names(run) == WHOLE


def test_a_training_loss_that_is_not_a_number_ends_the_run(arguments, files, tmp_path, capsys):
    """In half precision every step may overflow: no weight changes, and validation says nothing."""
    with h5py.File(files[0], "r+") as file:
        weights = np.ones(43, np.float32)
        weights[5:15] = 3e38  # the sum of these losses overflows, and gradients with the scale of half precision all the more
        file["trust"] = weights
    run = tmp_path / "run"
    options = ["--precision", "mixed_float16", "--sample-weight", "trust", "--batch-size", "43", "--out", str(run)]
    assert train.main([*arguments, *options]) == 2
    error = capsys.readouterr().err
    assert "fastprep.train: epoch 1: the training loss is not a finite number" in error
    assert error.count("\n") == 1
    assert names(run) == ["config.json", "last.keras", "loader.jsonl"]
