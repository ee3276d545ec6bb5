"""report.html of a run: what it tells, that it is whole and small, and whose file it replaces."""

import dataclasses
import os
import re
import signal

import pytest
from report_pages import NAMES, drawn_state, run_page

pytest.importorskip("keras")
from small_run import EPOCHS, STEPS, WHOLE, arguments, before_step, files, names, undisturbed  # noqa: F401 - fixtures

from fastprep import train
from fastprep.reports.page import is_replaceable
from fastprep.training import checkpoint
from fastprep.training.config import Config
from fastprep.training.report import command_to_test, describe_start
from fastprep.training.state import RunState
from fastprep.training.throughput import Meter


def test_a_report_tells_results_curves_speed_and_options():
    state = drawn_state(30)
    page = run_page(state, remarks=["said at the end"], optimizer="sgd", world=2)
    for title in ("Loss", "Accuracy", "Learning rate", "Images a second", "Waiting for images"):
        assert f'role="img" aria-label="{title}"' in page
    assert f"<b>{state.best_accuracy:.2%}</b>" in page
    assert f"best epoch {state.best_epoch}" in page
    assert "said at the end" in page
    assert "<dt><code>--optimizer</code></dt><dd><code>sgd</code></dd>" in page
    assert "of the first of 2 processes" in page
    assert "If the run has ended" not in page  # all epochs are over
    for k in (1, 30):
        assert f"<td>{state.history['val_loss'][k - 1]:.4g}</td>" in page
    assert "<script>" not in page
    assert NAMES[0] in page


def test_a_run_that_is_not_over_says_how_it_goes_on():
    page = run_page(drawn_state(3), folder="runs/two", epochs=9)
    assert "3 of 9 epochs are over" in page
    assert "<code>python -m fastprep.train --resume runs/two</code>" in page


def test_a_run_is_to_be_tested_on_the_file_beside_its_training_file(tmp_path):
    command = "python -m fastprep.evaluate runs/two --data"
    assert command_to_test(Config(train="none/train.h5"), "runs/two") == f"{command} FILE"
    assert command_to_test(Config(), "runs/two") == f"{command} FILE"  # the demo
    train_file, test_file = tmp_path / "a-train.h5", tmp_path / "a-test.h5"
    test_file.touch()
    config = Config(train=str(train_file), val="val.h5")
    assert command_to_test(config, "runs/two") == f"{command} {test_file}"
    assert f"<code>{command} {test_file}</code>" in run_page(drawn_state(3), folder="runs/two", train=str(train_file))
    for changed in ({"val": str(test_file)}, {"labels": "ans"}, {"shape": "8x8x3"}):
        assert command_to_test(dataclasses.replace(config, **changed), "runs/two") == f"{command} FILE"
    own = dataclasses.replace(config, model="mine:net")
    assert command_to_test(own, "runs/two") == f"{command} {test_file} --model mine:net"


def test_a_run_at_its_end_says_what_would_go_on():
    state = drawn_state(9)
    assert describe_start(state, 7, Config(epochs=12))[0].startswith("resuming at epoch 10, step 1 of 7; best so far epoch ")
    assert describe_start(state, 7, Config(epochs=9)) == ["nothing is left to train after 9 epochs; a larger --epochs goes on"]
    stopped = dataclasses.replace(state, best_epoch=2)
    wanted = "nothing is left to train after 9 epochs; a larger --early-stop goes on"
    assert describe_start(stopped, 7, Config(epochs=12, early_stop=7)) == [wanted]
    assert describe_start(RunState(), 7, Config()) == []


def test_a_report_of_several_labels_has_the_area_and_says_decisions():
    state = drawn_state(5, several=True)
    page = run_page(state, labels_per_image="several")
    assert 'aria-label="Area under the ROC curve"' in page
    assert "decisions of validation right" in page
    assert f"<b>{state.best_auc:.4f}</b>" in page


def test_a_thousand_epochs_make_a_page_as_small_as_fewer_do():
    page = run_page(drawn_state(1000))
    assert len(page) < 150_000
    assert "The last 200 epochs; history.csv has all." in page
    assert "<tr><td>800</td>" not in page
    assert "<tr><td>801</td>" in page


def test_epochs_of_an_older_version_have_no_speed():
    page = run_page(drawn_state(4, unmeasured=2))
    assert page.count("images a second") == 0
    assert len(re.findall(r"<title>training steps, epoch \d", page)) == 2
    assert "Images a second" not in run_page(drawn_state(4, unmeasured=4))


def test_numbers_that_are_none_are_gaps():
    state = drawn_state(5)
    state.history["loss"] = [float("inf"), float("nan"), 1.0, 2.0, 1e300]
    page = run_page(state)
    assert len(re.findall(r"<title>training, epoch \d: [12]</title>", page)) == 2


def test_measurements_of_an_epoch_are_its_own_whatever_was_saved_in_its_middle():
    state, logs = RunState(), {"val_accuracy": 0.5, "val_loss": 1.0}
    state.measure(Meter(1.0, 0.5, 10))
    state = RunState.from_dict(state.to_dict(), state.throughput)
    state.end_epoch(Config(), logs, Meter(2.0, 0.5, 20))
    state.end_epoch(Config(), logs, Meter(4.0, 0.0, 50))
    assert state.meters == [Meter(3.0, 1.0, 30), Meter(4.0, 0.0, 50)]
    assert state.meter == Meter(7.0, 1.0, 80)
    assert RunState.from_dict(state.to_dict(), state.throughput) == state


def test_a_run_writes_its_report_and_an_interrupted_one_says_where_it_stands(arguments, tmp_path, monkeypatch, capsys):  # noqa: F811
    """SIGTERM in the second epoch, and a file of somebody else in the place of the report of the run that goes on."""
    run = tmp_path / "<b>run"
    before_step(monkeypatch, STEPS + 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert train.main([*arguments, "--out", str(run)]) == 143
    page = (run / "report.html").read_text()
    assert "Interrupted, and saved before epoch 2, step 3." in page
    assert f"1 of {EPOCHS} epochs are over" in page
    assert "&lt;b&gt;run" in page
    assert "<b>run" not in page.replace("<title>", "")
    theirs = tmp_path / "theirs.html"
    theirs.write_text("mine")
    (run / "report.html").unlink()
    (run / "report.html").symlink_to(theirs)
    capsys.readouterr()
    assert train.main(["--trust", "--resume", str(run)]) == 0
    assert "report.html' was not written by fastprep, and stays: move it away for a report" in capsys.readouterr().out
    assert theirs.read_text() == "mine"
    (run / "report.html").unlink()
    assert train.main(["--trust", "--resume", str(run)]) == 0  # it is over, and only the report is written
    assert "not written by fastprep" not in capsys.readouterr().out
    page = (run / "report.html").read_text()
    assert f"<b>{EPOCHS} of {EPOCHS}</b>" in page
    epochs = checkpoint.read(run / "last.keras")[0]["throughput"]["epochs"]
    assert [meter["images"] for meter in epochs] == [43] * EPOCHS
    assert names(run) == WHOLE


def test_the_report_of_a_run_that_is_over_says_what_the_terminal_did(undisturbed):  # noqa: F811
    page = (undisturbed / "run" / "report.html").read_text()
    assert f"<p>{EPOCHS} epochs in " in page
    assert "of the training steps&#x27; time went into waiting for images" in page
    assert "<dt><code>--model</code></dt><dd><code>network_of_faults:network</code></dd>" in page
    assert is_replaceable(undisturbed / "run" / "report.html")
