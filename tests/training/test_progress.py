"""The time that is left of an epoch and of a run."""

import pytest
from fake_clock import FakeClock

from fastprep.training import progress
from fastprep.training.progress import TimeLeft


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
    assert left.describe(1, 1) == ""
    clock.now += 8
    assert left.describe(1, 2) == "1:04 left, run 4:40"  # 2.8 epochs of 100 s


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
