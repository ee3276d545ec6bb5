"""Profiles: traces of what workers and consumers do, whole whatever ends them, and nothing left of them afterwards."""

import itertools
import json

import numpy as np
import pytest
from meddling_number import MeddlingNumber

from fastprep import Loader, MixUp, RandomCrop
from fastprep._sink import TimedSink, hand_over
from fastprep.errors import NotReplacedError
from fastprep.h5 import CopySink
from fastprep.pipeline import grouping

NATIVE = {"draw crops", "wait for a buffer", "read and decode", "kernel"}


def loader_of(make_file, **options):
    path, _, _ = make_file(n=40)
    options = {"shuffle": True, "workers": 2, "device": "cpu", **options}
    return Loader(path, 6, RandomCrop(8, mirror=True), **options)


def read(path):
    """Return the names of the lanes and the complete events of a trace, after checking its form."""
    content = json.loads(path.read_text())
    assert content["otherData"]["generator"].startswith("fastprep ")
    events = content["traceEvents"]
    assert {event["ph"] for event in events} == {"M", "X"}
    complete = [event for event in events if event["ph"] == "X"]
    for event in complete:
        assert event["ts"] >= 0
        assert event["dur"] >= 0
    lanes = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert {event["tid"] for event in complete} == set(lanes)
    return lanes, complete


def check_nesting(events):
    """Check that of two events of a lane one is inside of the other, or they do not overlap."""
    for _, lane in itertools.groupby(sorted(events, key=lambda event: event["tid"]), key=lambda event: event["tid"]):
        open_ends = []
        for event in sorted(lane, key=lambda event: (event["ts"], -event["dur"])):
            end = event["ts"] + event["dur"]
            while open_ends and open_ends[-1] <= event["ts"] + 1e-6:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1] + 2e-3, event  # times are rounded to nanoseconds
            open_ends.append(end)


@pytest.mark.parametrize("most", [1, 8])
def test_a_trace_has_a_lane_for_each_thread_and_its_spans_nest(make_file, tmp_path, monkeypatch, most):
    monkeypatch.setattr(grouping, "MOST_BATCHES", most)
    path = tmp_path / "profile.json"
    with loader_of(make_file) as loader:
        with loader.profile(path):
            for _ in range(3):
                for _ in loader:
                    pass
        n_batches = 3 * len(loader)
    lanes, events = read(path)
    check_nesting(events)
    names = sorted(lanes.values())
    assert names[0] == "consumer (MainThread)"
    assert set(names[1:]) <= {"worker 0", "worker 1"}
    assert len(names) > 1
    of_name = {name: [event for event in events if event["name"] == name] for name in {event["name"] for event in events}}
    assert set(of_name) >= NATIVE | {"wait", "step"}
    assert len(of_name["wait"]) == n_batches
    assert len(of_name["step"]) == n_batches - 1
    assert len(of_name["kernel"]) == 3 * 40  # each image once an epoch
    assert [event["args"] for event in of_name["wait"]] == [
        {"epoch": epoch, "step": step} for epoch in range(3) for step in range(n_batches // 3)
    ]
    workers = {event["tid"] for name in NATIVE for event in of_name[name]}
    assert {lanes[tid].partition(" ")[0] for tid in workers} == {"worker"}
    steps = sum(event["args"].get("n_steps", 1) for name in ("batch", "batches") for event in of_name.get(name, ()))
    assert steps == n_batches


def test_kernels_are_inside_of_reading(make_file, tmp_path):
    path = tmp_path / "profile.json"
    with loader_of(make_file, workers=1) as loader, loader.profile(path):
        list(loader)
    _, events = read(path)
    reads = [event for event in events if event["name"] == "read and decode"]
    for kernel in (event for event in events if event["name"] == "kernel"):
        inside = [r for r in reads if r["ts"] <= kernel["ts"] and kernel["ts"] + kernel["dur"] <= r["ts"] + r["dur"] + 2e-3]
        assert len(inside) == 1


def test_batches_are_the_same_with_a_profile_and_afterwards_nothing_is_left_of_it(make_file, tmp_path):
    with loader_of(make_file) as loader:
        before = {id(owner): dict(vars(owner)).keys() for owner in (loader._source, loader._pool, loader._dataset)}
        wanted = [[x.copy() for x, _ in loader] for _ in range(2)]
        loader.set_epoch(0)
        with loader.profile(tmp_path / "profile.json"):
            found = [x.copy() for x, _ in loader]
        after = [x.copy() for x, _ in loader]
        for mine, its in zip([*found, *after], [*wanted[0], *wanted[1]], strict=True):
            np.testing.assert_array_equal(mine, its)
        owners = (loader._source, loader._pool, loader._dataset)
        assert {id(owner): dict(vars(owner)).keys() for owner in owners} == before


def test_it_is_written_after_so_many_steps_and_not_again(make_file, tmp_path):
    path = tmp_path / "profile.json"
    with loader_of(make_file) as loader, loader.profile(path, steps=2) as profile:
        batches = iter(loader)
        next(batches)
        assert not path.exists()
        next(batches)
        assert profile.is_written
        content = path.read_bytes()
        for _ in batches:
            pass
    assert path.read_bytes() == content
    assert [event["name"] for event in read(path)[1]].count("wait") == 2


def interrupted(loader, error):
    for k, _ in enumerate(loader):
        if k == 2:
            raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_it_is_whole_after_an_interruption(make_file, tmp_path, error):
    path = tmp_path / "profile.json"
    with loader_of(make_file) as loader:
        with pytest.raises(error), loader.profile(path):
            interrupted(loader, error)
        assert "prepare" not in vars(loader._source)
    _, events = read(path)
    check_nesting(events)
    assert [event["name"] for event in events].count("wait") == 3
    assert [entry.name for entry in tmp_path.iterdir() if entry.suffix == ".json"] == ["profile.json"]
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".fastprep")]


def test_what_else_is_done_with_a_batch_has_spans(make_file, tmp_path):
    path = tmp_path / "profile.json"
    options = {"blend": MixUp(0.2), "num_classes": 3, "transform": lambda x, rng: None}
    with loader_of(make_file, **options) as loader, loader.profile(path):
        list(loader)
    _, events = read(path)
    check_nesting(events)
    assert {"blend", "transform"} <= {event["name"] for event in events}


def test_other_files_are_not_replaced_but_profiles_are(make_file, tmp_path):
    path, other = tmp_path / "profile.json", tmp_path / "mine.json"
    other.write_text('{"traceEvents": []}')
    with loader_of(make_file) as loader:
        with pytest.raises(NotReplacedError, match=r"mine\.json' has no mark of fastprep"), loader.profile(other):
            pass
        for _ in range(2):
            with loader.profile(path):
                next(iter(loader))
        for bad in (0, 1.5, True):
            with pytest.raises(ValueError, match="steps must be an integer of at least 1"), loader.profile(path, bad):
                pass
        with (
            loader.profile(path),
            pytest.raises(RuntimeError, match="another profile of this loader is being taken"),
            loader.profile(tmp_path / "second.json"),
        ):
            pass
        assert "prepare" not in vars(loader._source)
    assert other.read_text() == '{"traceEvents": []}'
    assert not (tmp_path / "second.json").exists()


def test_a_sink_that_is_timed_hands_everything_on(rng):
    pixels = rng.integers(0, 256, (4, 6), dtype=np.uint8)
    out, times = np.zeros((4, 6), np.uint8), np.zeros((3, 2), np.int64)
    sink = TimedSink(CopySink(out.reshape(-1), 6), times)
    offsets = np.arange(4, dtype=np.int64) * 6
    assert hand_over(pixels.reshape(-1), offsets, np.arange(4, dtype=np.int64), sink) == (0, 4)
    np.testing.assert_array_equal(out, pixels)
    assert sink.n_timed == 3  # as many as there is room for
    assert (np.diff(times.reshape(-1)) >= 0).all()
    with pytest.raises(ValueError, match="times must have two columns, got 3"):
        TimedSink(sink, np.zeros((2, 3), np.int64))


def test_copies_and_kernels_of_a_device_have_a_span(make_file, stand_in, tmp_path):
    path = tmp_path / "profile.json"
    with loader_of(make_file, device="cuda:0") as loader, loader.profile(path):
        n_batches = len([batch for batch in loader])
    _, events = read(path)
    check_nesting(events)
    names = [event["name"] for event in events]
    assert names.count("copy and kernel") == names.count("read and decode") == n_batches
    assert names.count("to pinned memory") == 40
    assert "kernel" not in names


def test_no_step_is_lost_when_two_threads_take_a_batch_at_a_time(make_file, tmp_path):
    path = tmp_path / "profile.json"
    with loader_of(make_file) as loader, loader.profile(path, steps=2) as profile:
        source, batch = loader._source, loader._source.make(0, 0)
        profile._left = number = MeddlingNumber(2, lambda: source.count(batch, 0.0))
        source.count(batch, 0.0)
        number.thread.join()
        assert profile.is_written
