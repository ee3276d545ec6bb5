"""The time that is left of an epoch and of a run."""

import pytest
from fake_clock import FakeClock

from fastprep.training import progress
from fastprep.training.progress import RunProgress, TimeLeft
from fastprep.training.state import RunState
from fastprep.training.throughput import Meter


@pytest.fixture
def clock(monkeypatch):
    clock = FakeClock(1000.0)
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_the_first_step_in_which_backends_compile_does_not_count(clock):
    left = TimeLeft(n_epochs=3, n_steps=10)
    left.begin_epoch(0)
    assert left.describe(0, 0) == ""
    clock.now += 60  # compiles
    assert left.describe(0, 1) == ""
    clock.now += 2
    assert left.describe(0, 2) == "0:16 left"
    clock.now += 12  # four steps
    assert left.describe(0, 6) == "0:11 left"  # 14 s for five steps: four more take 11.2 s


def test_a_run_goes_on_as_its_last_whole_epoch_with_validation(clock):
    left = TimeLeft(n_epochs=4, n_steps=10)
    left.begin_epoch(0)
    clock.now += 100
    left.end_epoch()
    left.begin_epoch(0)
    assert left.describe(1, 1) == "run 4:50 left"
    clock.now += 8
    assert left.describe(1, 2) == "1:04 left, run 4:40"  # 2.8 epochs of 100 s


def test_a_run_of_one_step_an_epoch_says_how_long_it_takes(clock):
    left = TimeLeft(n_epochs=4, n_steps=1)
    left.begin_epoch(0)
    assert left.describe(0, 0) == ""
    clock.now += 30
    left.end_epoch()
    left.begin_epoch(0)
    assert left.describe(1, 0) == "run 1:30 left"


def test_an_epoch_that_was_resumed_in_its_middle_says_nothing_of_whole_ones(clock):
    left = TimeLeft(n_epochs=4, n_steps=10)
    left.begin_epoch(6)
    assert left.describe(0, 6) == ""
    assert left.describe(0, 7) == ""
    clock.now += 3
    assert left.describe(0, 8) == "0:06 left"
    left.end_epoch()
    left.begin_epoch(0)
    left.describe(1, 1)
    clock.now += 1
    assert left.describe(1, 2) == "0:08 left"


def test_the_line_of_an_epoch_fits_a_terminal_but_for_the_speed(clock):
    shown = RunProgress(RunState(epoch=98), n_epochs=100, n_steps=10)
    shown.begin_epoch()
    logs = {"loss": 0.123456, "val_loss": 12.3456, "accuracy": 0.98765, "val_accuracy": 1 / 3, "learning_rate": 1}
    line = shown.describe_epoch(logs, Meter(seconds=2, waited=1, images=3000))
    assert line == [
        "epoch 99/100",
        "loss 0.123 (val 12.3)",
        "accuracy 0.988 (val 0.333)",
        "1,500 images/s, 50% waiting for input",
    ]
    assert len("  ".join([*line[:-1], "best so far"])) < 80


def test_what_stays_of_an_epoch_ends_with_its_speed(capsys):
    shown = RunProgress(RunState(), n_epochs=1, n_steps=10)
    shown.keep_epoch(["epoch 1/1", "loss 1 (val 2)", "9 images/s"], is_best=True)
    shown.keep_epoch(["epoch 1/1", "loss 1 (val 2)", "9 images/s"], is_best=False)
    assert capsys.readouterr().out == (
        "epoch 1/1  loss 1 (val 2)  best so far  9 images/s\nepoch 1/1  loss 1 (val 2)  9 images/s\n"
    )
