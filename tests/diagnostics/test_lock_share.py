"""The share of its time for which a thread holds Python's lock."""

import time

import numpy as np
import pytest

from fastprep import Loader
from fastprep._sink import hand_over
from fastprep.dataset import masks
from fastprep.diagnostics import lock_share
from fastprep.diagnostics.lock_share import preparing, share_of_lock
from fastprep.h5 import CopySink, _read, reader


class Clock:
    """A clock of processor time that only the test moves on."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(time, "thread_time", lambda: self.now)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def passes(self, seconds, result=None):
        self.now += seconds
        return result


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_what_is_not_in_a_compiled_function_is_the_share(clock, monkeypatch):
    """One function calls another and then fails; the first four pieces of work do not count."""

    def outer():
        clock.passes(0.02)
        inner_of_module.inner()
        raise ValueError("as it should")

    inner_of_module = type(lock_share)("fastprep.compiled")
    inner_of_module.inner = lambda: clock.passes(0.01)
    monkeypatch.setattr(reader, "outer", outer, raising=False)
    monkeypatch.setitem(lock_share.sys.modules, "fastprep.compiled", inner_of_module)
    compiled = {"fastprep.compiled": [inner_of_module.inner, outer]}
    monkeypatch.setattr(lock_share, "_compiled_functions", lambda module: compiled.get(module.__name__, []))
    python_s = iter([100.0] * 4 + [0.01, 0.03, 0.03, 0.12] + [0.3] * 2)

    def work():
        clock.passes(next(python_s))
        with pytest.raises(ValueError, match="as it should"):
            reader.outer()

    share = share_of_lock(work, 3)
    # rounds end at 0.2 s: 0.04 + 0.06 + 0.06 + 0.15, and twice 0.33
    assert share.low == pytest.approx(1 - 0.12 / 0.31)
    assert share.value == share.high == pytest.approx(0.3 / 0.33)
    assert str(share) == "90.9% (61.3% to 90.9%)"
    assert reader.outer is outer


def test_all_names_of_the_functions_of_an_extension_are_wrapped_and_come_back():
    before = [hand_over, reader.hand_over, masks.hand_over, _read.read_images]
    images = np.arange(12, dtype=np.uint8)
    with lock_share._timed_functions() as native_s:
        during = [reader.hand_over, masks.hand_over, _read.read_images]
        out = np.zeros(12, np.uint8)
        assert reader.hand_over(images, np.array([0, 6]), np.array([1, 0]), CopySink(out, 6)) == (0, 2)
        assert native_s() >= 0
    assert out.tolist() == [*range(6, 12), *range(6)]
    assert all(now is not then for now, then in zip(during, before[1:], strict=True))
    assert [hand_over, reader.hand_over, masks.hand_over, _read.read_images] == before


def test_an_error_of_the_work_is_raised_and_nothing_stays_wrapped():
    before = _read.read_images
    with pytest.raises(ZeroDivisionError):
        share_of_lock(lambda: 1 / 0)
    assert _read.read_images is before


def test_the_work_is_that_of_a_worker_epoch_after_epoch(make_file, monkeypatch):
    path, _, _ = make_file(n=40)
    with Loader(path, 4, None, workers=1, device="cpu") as loader:
        source, made = loader._source, []
        monkeypatch.setattr(source.grouping, "size", lambda n_left, n_threads: min(n_left, 3) if made else 1)
        monkeypatch.setattr(source, "prepare", lambda epoch, step: made.append((epoch, [step])))
        monkeypatch.setattr(source, "prepare_group", lambda epoch, steps: made.append((epoch, [*steps])))
        work = preparing(loader)
        for _ in range(5):
            work()
    assert made == [(0, [0]), (0, [1, 2, 3]), (0, [4, 5, 6]), (0, [7, 8, 9]), (1, [0, 1, 2])]
