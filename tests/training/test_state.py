"""What a saved run holds about its course, which may be anything in a file of somebody else."""

import json
import zipfile
from pathlib import Path

import pytest

from fastprep.errors import InputError
from fastprep.training import checkpoint
from fastprep.training.state import RunState
from fastprep.training.throughput import Meter

SAVED_RUN = Path(__file__).parent / "saved_runs" / "version_1" / "last.keras"


@pytest.fixture
def with_state(tmp_path):
    """Return a function that makes a saved run with another text in the place of its state."""

    def make(text):
        path = tmp_path / "last.keras"
        with zipfile.ZipFile(SAVED_RUN) as archive, zipfile.ZipFile(path, "w") as copy:
            for name in archive.namelist():
                copy.writestr(name, text if name == "fastprep/state.json" else archive.read(name))
        return path

    return make


def test_what_is_stored_is_what_is_read(with_state):
    state, arrays = checkpoint.read(SAVED_RUN)
    again, same = checkpoint.read(with_state(json.dumps(state)))
    assert again == state
    assert set(arrays) == set(same)
    course = RunState.from_dict(state["course"])
    assert course.to_dict() == state["course"]
    assert RunState.from_dict(RunState(2, 1, {"loss": [1.0, 2.0]}, meter=Meter(1.0)).to_dict()).history == {"loss": [1.0, 2.0]}


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        '"text"',
        "null",
        "{",
        "[" * 100_000,
        '{"a": ' * 100_000,
        "x" * 17 * 2**20,
        "{}",
        '{"version": 2}',
        '{"version": 1, "about": []}',
        '{"version": 1, "variables": {}}',
        '{"version": 1, "course": null}',
    ],
    ids=range(12),
)
def test_a_state_that_is_none_is_one_clear_line(with_state, text):
    with pytest.raises(InputError, match=r"is (not )?a saved run") as caught:
        checkpoint.read(with_state(text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": "1"},
        {"epoch": -1},
        {"epoch": True},
        {"step": 1.5},
        {"best_epoch": None},
        {"best_loss": "low"},
        {"history": [1]},
        {"history": {"loss": [1.0, 2.0, 3.0]}},
        {"history": {"loss": ["x"]}},
        {"history": {"loss": 1.0}},
        {"meter": None},
        {"meter": {"seconds": "x"}},
        {"meter": {"unknown": 1}},
        {"unknown": 1},
        {"best_epoch": 99},
        {"best_loss": 10**400},
    ],
)
def test_a_course_that_can_not_be_that_of_a_run_is_noticed(change):
    course = checkpoint.read(SAVED_RUN)[0]["course"]
    with pytest.raises((KeyError, TypeError, AttributeError)):
        RunState.from_dict({**course, **change})


@pytest.mark.parametrize(
    "throughput",
    [1, [1], {"epoch": [1]}, {"epochs": 1}, {"epochs": ["ab"]}, {"epochs": [{"seconds": "x"}]}, {"epochs": [{}] * 99}],
)
def test_measurements_that_can_not_be_those_of_a_run_are_noticed(throughput):
    course = checkpoint.read(SAVED_RUN)[0]["course"]
    with pytest.raises((KeyError, TypeError, AttributeError)):
        RunState.from_dict(course, throughput)
