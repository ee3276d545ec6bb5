"""Training on several ranks: real processes on this machine, with TensorFlow's collectives between them."""

import contextlib
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
import warm_python

from fastprep import train
from fastprep.training import checkpoint

keras = pytest.importorskip("keras")
from keras_backend import needs_tensorflow  # noqa: E402
from small_run import WHOLE  # noqa: E402

from fastprep.training import callbacks  # noqa: E402

needs_tensorflow("several ranks train with TensorFlow's collectives")

NETWORKS = """
import json, os
import keras
import numpy as np
from keras import layers

def plain(shape, classes):
    return keras.Sequential([
        keras.Input(shape), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(classes),
    ])

def full(shape, classes):
    return keras.Sequential([
        keras.Input(shape), layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.3),
        layers.Flatten(), layers.Dense(classes),
    ])

class Overflow(layers.Layer):
    # on rank 1 alone, and in training alone, half precision overflows
    def call(self, x, training=False):
        is_rank_1 = json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1
        return x * 60000.0 * 60000.0 if training and is_rank_1 else x * 0.001

def overflowing(shape, classes):
    return keras.Sequential([keras.Input(shape), Overflow(), layers.Flatten(), layers.Dense(classes)])
"""

# What every rank runs: the command, with a record of what it trained on, and an end where the test wants one.
RANK = """
import json, os, shutil, sys, time
import numpy as np
from fastprep import train
from fastprep.training import callbacks
from fastprep.training.distributed import sync

plan, record = json.loads(sys.argv[1]), {"samples": [], "states": [], "moving": [], "validated": []}
original_average, original_test_end = sync.average_moving, sync.Totals.on_test_end

def average(model, ranks):
    before = [np.asarray(variable).tolist() for variable in model.non_trainable_weights]
    original_average(model, ranks)
    record["moving"].append([before, [np.asarray(variable).tolist() for variable in model.non_trainable_weights]])
    write()

def test_end(totals, logs=None):
    record["validated"].append([np.asarray(variable).tolist() for variable in totals.model.non_trainable_weights])
    original_test_end(totals, logs)

sync.average_moving, sync.Totals.on_test_end = average, test_end
original_begin, original_end = callbacks.RunCallback.on_train_batch_begin, callbacks.RunCallback.on_train_end
original_diverged = callbacks.RunCallback._end_diverged

def begin(callback, batch, logs=None):
    original_begin(callback, batch, logs)
    state = callback.state
    if batch == 0 and not record["states"]:
        record["states"] = [np.asarray(state).tolist() for state in sync._random_states(callback.model)]
    if callback.first_step + batch < len(callback._train):
        samples = callback._train.samples(state.epoch, state.step).tolist()
        record["samples"].append([state.epoch, state.step, samples])
        write()
    if plan.get("copy") == [state.epoch, state.step]:
        shutil.copyfile(callback._saver.folder.last, plan["to"])
    if plan.get("end") == [state.epoch, state.step]:
        time.sleep(plan["hang"]) if "hang" in plan else os.kill(os.getpid(), plan["signal"])

def end(callback, logs=None):
    import zlib
    original_end(callback, logs)
    optimizer = callback.model.optimizer
    variables = [*callback.model.weights, *optimizer.variables]
    record["bits"] = [zlib.crc32(np.asarray(variable).tobytes()) for variable in variables]
    record["history"], record["best"] = callback.state.history, callback.state.best_epoch
    record["iterations"] = int(optimizer.iterations)
    record["scale"] = float(getattr(optimizer, "dynamic_scale", 0))
    write()

def diverged(callback, problem):
    end(callback)
    original_diverged(callback, problem)

def write():
    with open(plan["record"], "w") as file:
        json.dump(record, file)

callbacks.RunCallback.on_train_batch_begin, callbacks.RunCallback.on_train_end = begin, end
callbacks.RunCallback._end_diverged = diverged
sys.exit(train.main(sys.argv[2:]))
"""

TIMEOUT_S = 150  # of all ranks together; an idle machine takes 10


def free_ports(n):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Ended:
    """Exit status and output of a rank, and its record if it wrote one."""

    def __init__(self, process, record):
        self.output, self.errors = process.communicate(timeout=TIMEOUT_S)
        self.status = process.returncode
        self.record = json.loads(record.read_text()) if record.exists() else None


@pytest.fixture
def start(tmp_path):
    """Return a function that runs ranks to their end, each with its own plan and further arguments."""

    def run(world, arguments, plans=None, more=None, absent=()):
        cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(world)]}
        processes, records = [], []
        try:
            for rank in range(world):
                if rank in absent:
                    continue
                where = {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}})}
                path = os.pathsep.join([str(tmp_path), *sys.path])
                record = tmp_path / f"record-{rank}.json"
                record.unlink(missing_ok=True)
                plan = {"record": str(record), **((plans or {}).get(rank, {}))}
                words = [json.dumps(plan), "--rank-timeout", "60", *arguments, *((more or {}).get(rank, []))]
                environment = {**os.environ, **where, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "-1"}
                command = [sys.executable, "-c", RANK, *words]
                streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
                processes.append(warm_python.Popen(command, env=environment, cwd=tmp_path, **streams))
                records.append(record)
            return [Ended(process, record) for process, record in zip(processes, records, strict=True)]
        finally:
            for process in processes:
                process.kill()

    return run


@pytest.fixture
def arguments(make_file, tmp_path, monkeypatch):
    """Return a function that gives the arguments of a run on tiny images, by network and number of images."""
    (tmp_path / "rank_networks.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)

    def make(network, n, batch_size, *more):
        train_file, _, _ = make_file(n=n, name="train.h5")
        val_file, _, _ = make_file(n=21, name="val.h5")
        options = ["--crop", "10", "--batch-size", str(batch_size), "--model", f"rank_networks:{network}", *more]
        return ["--train", str(train_file), "--val", str(val_file), *options]

    return make


def read_history(folder):
    with open(folder / "history.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def flat(steps):
    return [sample for *_, samples in steps for sample in samples]


def check_moving_averages(records):
    """Moving averages of batch normalisation are averaged over the ranks at each save and each validation."""
    assert len(records[0]["validated"]) == 2
    assert records[0]["validated"] == records[1]["validated"]
    for both in zip(*(record["moving"] for record in records), strict=True):
        for variable in range(2):  # mean and variance
            before = [np.array(of_rank[0][variable]) for of_rank in both]
            after = [np.array(of_rank[1][variable]) for of_rank in both]
            np.testing.assert_array_equal(after[0], after[1])
            np.testing.assert_allclose(after[0], (before[0] + before[1]) / 2, rtol=1e-6)
    first = [np.array(record["moving"][0][0][0]) for record in records]
    assert (first[0] != first[1]).all()  # each rank has seen images of its own


def test_a_rank_that_is_killed_ends_all_and_fewer_go_on(arguments, start, tmp_path, monkeypatch):
    options = arguments("full", 43, 2, "--save-every", "3", "--epochs", "2", "--batchnorm-steps", "4")
    out = tmp_path / "run"
    killed = {2: {"end": [0, 5], "signal": signal.SIGKILL}}
    first = start(3, options, killed, {0: ["--out", str(out)]})
    assert [rank.status for rank in first] == [1, 1, -signal.SIGKILL]
    for number, rank in enumerate(first[:2]):
        assert f"fastprep.train: rank {number}: rank 2 (127.0.0.1:" in rank.errors
        assert "ended, or can't be reached any more" in rank.errors
    assert "run folder" in first[0].output
    assert first[1].output == first[2].output == ""
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "last.keras"]  # whole, and nothing else
    assert not (tmp_path / "runs").exists()  # where ranks without --out would have made a folder
    before = flat([step for rank in first for step in rank.record["samples"] if step[1] < 3])  # saved were three steps

    alone = shutil.copytree(out, tmp_path / "alone")
    copy = {0: {"copy": [0, 8], "to": str(alone / "last.keras")}}  # as saved before step 7
    again = start(2, [], copy, {0: ["--trust", "--resume", str(out)], 1: ["--trust", "--resume", "no-such-folder"]})
    assert [rank.status for rank in again] == [0, 0], again[0].errors + again[1].errors
    assert "resuming at epoch 1, step 5 of 10" in again[0].output
    assert again[1].output == ""
    records = [rank.record for rank in again]
    assert records[0]["bits"] == records[1]["bits"]
    assert records[0]["history"] == records[1]["history"]
    assert len(records[0]["history"]["loss"]) == 2
    assert records[0]["states"] != records[1]["states"]  # dropout has other masks on every rank
    check_moving_averages(records)
    assert sorted(p.name for p in out.iterdir()) == WHOLE
    after = [step for record in records for step in record["samples"]]
    epoch = before + flat([step for step in after if step[0] == 0])
    assert len(epoch) == len(set(epoch)) == 42  # 18 and then 24; 1 of 43 does not fill a batch of both ranks
    second = flat([step for step in after if step[0] == 1])
    assert len(second) == len(set(second)) == 40

    monkeypatch.delenv("TF_CONFIG", raising=False)
    samples = []
    original = callbacks.RunCallback.on_train_batch_begin

    def begin(callback, batch, logs=None):
        original(callback, batch, logs)
        if callback.state.epoch == 0 and callback.first_step + batch < len(callback._train):
            samples.extend(callback._train.samples(0, callback.state.step).tolist())

    monkeypatch.setattr(callbacks.RunCallback, "on_train_batch_begin", begin)
    assert train.main(["--trust", "--resume", str(alone)]) == 0
    between = flat([step for step in after if step[0] == 0 and step[1] < 7])
    assert sorted(before + between + samples) == list(range(43))  # three ranks, two, and one that reads all that is left


class Killed(BaseException):
    """Stands for a kill in a test that stays in one process."""


def test_what_is_left_of_an_epoch_may_be_too_little_for_more_ranks(arguments, start, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    out = tmp_path / "run"
    original = callbacks.RunCallback.on_train_batch_begin

    def begin(callback, batch, logs=None):
        original(callback, batch, logs)
        if batch == 20:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.RunCallback, "on_train_batch_begin", begin)
        with pytest.raises(Killed):
            train.main(
                [*arguments("full", 43, 2), "--save-every", "20", "--epochs", "2", "--schedule", "cosine", "--out", str(out)]
            )
    so_far = checkpoint.read(out / "last.keras")[1]
    ranks = start(2, ["--trust", "--resume", str(out)])
    assert [rank.status for rank in ranks] == [0, 0], ranks[0].errors + ranks[1].errors
    assert "resuming at epoch 1, validation; no epoch is over yet" in ranks[0].output
    assert {step[0] for rank in ranks for step in rank.record["samples"]} == {1}
    rows = read_history(out)
    assert len(rows) == 2
    assert all(row["learning_rate"] > 0 for row in rows)
    totals = [so_far[f"metric/{k}"] for k in range(4)]  # of the loss, and of the accuracy: total and count
    assert (rows[0]["loss"], rows[0]["accuracy"]) == pytest.approx((totals[0] / totals[1], totals[2] / totals[3]), rel=1e-6)


def test_ranks_compute_what_one_does_with_their_batches_together(arguments, start, tmp_path, monkeypatch):
    learning = ["--optimizer", "adamw", "--lr", "0.003", "--schedule", "plateau", "--patience", "1", "--class-weight", "balanced"]
    learning += ["--early-stop", "2", "--epochs", "12"]
    options = arguments("plain", 40, 4, *learning)
    ranks = start(2, options, more={0: ["--out", str(tmp_path / "two")]})
    assert [rank.status for rank in ranks] == [0, 0], ranks[0].errors + ranks[1].errors
    records = [rank.record for rank in ranks]
    assert records[0]["bits"] == records[1]["bits"]
    assert records[0]["history"] == records[1]["history"]
    assert records[0]["best"] == records[1]["best"]

    monkeypatch.delenv("TF_CONFIG", raising=False)
    options[options.index("--batch-size") + 1] = "8"
    assert train.main([*options, "--out", str(tmp_path / "one")]) == 0
    two, one = read_history(tmp_path / "two"), read_history(tmp_path / "one")
    assert 2 < len(one) < 12  # stopped early, and on both ranks
    assert len(two) == len(one) == len(records[1]["history"]["loss"])
    for row, expected in zip(two, one, strict=True):
        assert row["val_accuracy"] == expected["val_accuracy"]  # of 21 images: 11 and 10
        assert row["learning_rate"] == expected["learning_rate"]
        assert row == pytest.approx(expected, rel=2e-4)  # sums of 8 and of 4 + 4 are rounded otherwise
    weights = [keras.models.load_model(tmp_path / name / "last.keras").get_weights() for name in ("two", "one")]
    for got, expected in zip(*weights, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-4)


def test_an_overflow_on_one_rank_is_left_out_by_all(arguments, start, tmp_path):
    options = arguments("overflowing", 16, 4, "--precision", "mixed_float16", "--epochs", "1", "--save-every", "1")
    ranks = start(2, options, more={0: ["--out", str(tmp_path / "run")]})
    assert [rank.status for rank in ranks] == [2, 2], ranks[0].errors + ranks[1].errors
    for rank in ranks:  # not one step has changed a weight
        assert "epoch 1: the training loss is not a finite number" in rank.errors
    records = [rank.record for rank in ranks]
    assert records[0]["bits"] == records[1]["bits"]
    assert [record["iterations"] for record in records] == [0, 0]
    assert [record["scale"] for record in records] == [2.0**13, 2.0**13]  # halved by both of two steps


def test_all_ranks_end_if_the_network_diverges(arguments, start, tmp_path):
    options = arguments("plain", 43, 2, "--epochs", "2", "--optimizer", "sgd", "--lr", "1e30")
    ranks = start(2, options, more={0: ["--out", str(tmp_path / "run")]})
    assert [rank.status for rank in ranks] == [2, 2], ranks[0].errors + ranks[1].errors
    for number, rank in enumerate(ranks):
        assert f"fastprep.train: rank {number}: epoch 1: the validation loss is not a number" in rank.errors


@pytest.mark.large
def test_all_ranks_save_and_end_if_one_is_told_to(arguments, start, tmp_path):
    """SIGTERM to one of them: they agree on a step, rank 0 saves there, and the resumed run ends as one that nobody disturbed."""
    options = arguments("plain", 43, 2, "--epochs", "3")
    whole = start(2, options, more={0: ["--out", str(tmp_path / "whole")]})
    ranks = start(2, options, {1: {"end": [1, 3], "signal": signal.SIGTERM}}, {0: ["--out", str(tmp_path / "run")]})
    assert [rank.status for rank in ranks] == [143, 143], ranks[0].errors + ranks[1].errors
    for number, rank in enumerate(ranks):
        assert f"fastprep.train: rank {number}: interrupted, and saved before epoch " in rank.errors
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == WHOLE
    resumed = start(2, ["--trust", "--resume", str(tmp_path / "run")])
    assert [rank.status for rank in resumed] == [0, 0], resumed[0].errors
    assert resumed[0].record["bits"] == resumed[1].record["bits"] == whole[0].record["bits"]
    assert (tmp_path / "run" / "history.csv").read_text() == (tmp_path / "whole" / "history.csv").read_text()


def test_a_rank_that_is_interrupted_ends_all(arguments, start, tmp_path):
    options = arguments("plain", 43, 2, "--epochs", "2")
    ranks = start(2, options, {1: {"end": [1, 3], "signal": signal.SIGINT}}, {0: ["--out", str(tmp_path / "run")]})
    assert [rank.status for rank in ranks] == [1, 130]
    assert "fastprep.train: rank 0: rank 1 (127.0.0.1:" in ranks[0].errors
    said = "interrupted; what the run folder holds is whole; go on with `python -m fastprep.train --resume "
    assert f"fastprep.train: rank 1: {said}" in ranks[1].errors


def test_a_rank_that_hangs_is_not_waited_for(arguments, start, tmp_path):
    options = arguments("plain", 43, 2, "--rank-timeout", "5", "--epochs", "2")
    ranks = start(2, options, {1: {"end": [1, 3], "hang": 12}}, {0: ["--out", str(tmp_path / "run")]})
    assert [rank.status for rank in ranks] == [1, 1]
    assert "fastprep.train: rank 0: another rank did not come within 5 s (--rank-timeout)" in ranks[0].errors, [
        r.errors for r in ranks
    ]
    checkpoint.read(tmp_path / "run" / "last.keras")


def test_ranks_of_different_runs_say_what_differs(arguments, start, make_file, tmp_path):
    options = arguments("plain", 43, 2)
    other, _, _ = make_file(n=44, name="other.h5")
    ranks = start(2, options, more={0: ["--out", str(tmp_path / "run")], 1: ["--lr", "0.5", "--train", str(other)]})
    assert [rank.status for rank in ranks] == [2, 2]
    for number, rank in enumerate(ranks):
        assert f"fastprep.train: rank {number}: rank 1 was started for another run than rank 0: " in rank.errors
        assert "--lr is '0.5', of rank 0 '0.001'" in rank.errors
        assert "--train: number of images is '44', of rank 0 '43'" in rank.errors
    assert not (tmp_path / "run").exists()


def test_what_is_wrong_on_one_rank_ends_all(arguments, start, tmp_path):
    options = arguments("plain", 43, 2)
    ranks = start(2, options, more={0: ["--out", str(tmp_path / "run")], 1: ["--val", "nowhere.h5"]})
    assert [rank.status for rank in ranks] == [1, 2]
    assert "rank 1 (127.0.0.1:" in ranks[0].errors
    assert "can't go on: [Errno 2] No such file or directory: 'nowhere.h5'" in ranks[0].errors
    assert "fastprep.train: rank 1: [Errno 2] No such file or directory: 'nowhere.h5'" in ranks[1].errors
    assert not (tmp_path / "run").exists()


def test_a_rank_that_never_comes_is_named(arguments, start):
    (rank,) = start(2, [*arguments("plain", 43, 2), "--rank-timeout", "2"], absent=[1])
    assert rank.status == 1
    assert "fastprep.train: rank 0: rank 1 (127.0.0.1:" in rank.errors
    assert "did not come within 2 s (--rank-timeout)" in rank.errors
