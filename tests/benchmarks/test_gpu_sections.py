"""The sections of the benchmark for GPUs, dry: each runs on the stand-in, controls see faults, figures are computed as stated."""

import itertools
import json
import sys
from types import SimpleNamespace

import gpu
import numpy as np
import pytest
from gpu_sections import SECTIONS, bits, capture, dali, fit, kernel, late, link, loader, stand_in, table
from gpu_sections.device import N_AHEAD, Bench
from gpu_sections.rows import Job, LeftOut, ratios, share_of_copy
from optional_libraries import needs

from fastprep import RandomCrop, TenCrop
from fastprep.kernels import CropSpec
from fastprep.pipeline.fences import DeviceFence, StreamFence

pytestmark = pytest.mark.usefixtures("no_thread_left")

ON_THE_STAND_IN = [name for name, section in SECTIONS.items() if not section.environment and name != "dali"]


@pytest.fixture
def job(tmp_path):
    return Job(str(tmp_path), rounds=1, is_dry=True)


def rows_of(name, job):
    return list(SECTIONS[name].run(job))


# --- sections


@pytest.mark.parametrize("name", ON_THE_STAND_IN)
def test_every_section_runs_dry_and_finds_all_as_it_must_be(name, job):
    rows = rows_of(name, job)
    assert rows
    assert len({row.name for row in rows} | {"memory"}) >= len(rows) - 1  # the device's and the machine's
    assert all(row.ok is not False for row in rows), rows
    json.dumps([row.as_json() for row in rows])


def test_the_section_of_a_library_that_is_missing_is_left_out(job, monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(LeftOut, match="DALI is not installed"):
        next(dali.run(job))


@needs("jax", "keras")
def test_fit_runs_dry_on_jax_in_a_process_of_its_own(job):
    section = SECTIONS["fit-jax"]
    result = gpu.measure(gpu.command_of(section, job), section, 120, "-1")
    assert (result["status"], result["reason"]) == (table.DONE, "")
    late_row, *fits, _ = result["rows"]
    assert (late_row["values"]["wrong"], late_row["ok"]) == (0, True)
    assert [row["values"]["x the constant batch"] > 0 for row in fits] == [True] * 3
    assert fits[0]["name"] == fit.CONSTANT


def test_a_kernel_with_other_bits_is_seen(job, monkeypatch):
    def one_bit_more(case):
        result = on_the_cpu(case)
        result.reshape(-1).view(np.uint8)[-1] ^= 1
        return result

    on_the_cpu = bits.on_the_cpu
    monkeypatch.setattr(bits, "on_the_cpu", one_bit_more)
    first, *differing = rows_of("bits", job)
    assert first.ok is False
    assert first.values["differ"] == first.values["cases"]
    assert len(differing) == 5


# --- waits


def test_a_late_reader_sees_wrong_batches_without_a_fence_and_none_with_one(job):
    wrong = {row.name: row.values["wrong"] for row in rows_of("late", job)}
    assert wrong.pop(late.CONTROL) > 0
    assert set(wrong.values()) == {0}
    assert set(wrong) == set(late.FENCES)


def test_a_control_that_sees_nothing_is_not_as_it_must_be(job, monkeypatch):
    """A consumer that is never late tests nothing."""

    def read_in_time(bench, reader, fence, lag):
        return [SimpleNamespace(get=x.copy) for x, _ in late.expected(job, 3)]

    monkeypatch.setattr(late, "read_late", read_in_time)
    assert [row.ok for row in late.run(job)] == [True, True, False]


def test_a_fence_that_does_nothing_is_seen(job, monkeypatch):
    monkeypatch.setattr(StreamFence, "wait", lambda self, stream=None: None)
    by_name = {row.name: row.ok for row in rows_of("late", job)}
    assert by_name["fence of the reader's stream"] is False
    assert by_name["fence of the whole device"] is True


def test_a_wait_for_the_device_ends_a_capture_in_both_modes_and_is_reported(job, monkeypatch):
    monkeypatch.setattr(capture, "StreamFence", lambda gpu, pointer: DeviceFence(gpu))
    rows = rows_of("capture", job)
    assert [row.ok for row in rows] == [True, False, False]
    assert "Device.synchronize" in rows[1].values[""]


def test_the_control_of_the_capture_notices_that_nothing_ended_it(job, monkeypatch):
    monkeypatch.setattr(capture, "DeviceFence", lambda gpu: late.NoFence())
    (row,) = rows_of("capture-control", job)
    assert row.ok is False


# --- figures


def test_the_share_of_copy_is_bytes_moved_by_time_by_the_bandwidth_of_the_copy():
    share, spread = share_of_copy(300, [1.0, 2.0, 3.0], 400, [1.0, 1.0, 2.0])
    assert share == 0.5  # of 0.75, 0.375 and 0.5
    assert spread == "(0.38 - 0.75)"
    assert ratios([2.0], [4.0]) == (0.5, "(0.50 - 0.50)")


@pytest.mark.parametrize("crop", [RandomCrop(9, mirror=True), TenCrop(9), TenCrop(20)])
@pytest.mark.parametrize("mean", [None, np.ones((22, 24, 3))])
def test_bytes_moved_count_each_byte_once(crop, mean):
    (height, width), rows = crop.height_width, crop.table(22, 24, np.arange(3), 0, 0)
    read = {(slot, y + down, x + right) for slot, y, x, _ in rows.tolist() for down in range(height) for right in range(width)}
    of_mean = {pixel[1:] for pixel in read} if mean is not None else set()
    spec = CropSpec((22, 24, 3), "uint16", (height, width), mean, None, "float16")
    wanted = 3 * (2 * len(read) + 4 * len(of_mean) + 2 * len(rows) * height * width)
    assert kernel.bytes_moved(spec, rows) == wanted


def test_the_kernels_figures_follow_from_the_times_of_the_events(job, monkeypatch):
    """Every event is a millisecond after the one before, so each piece of work takes a millisecond / `queued`."""
    ticks = itertools.count()
    original = stand_in.installed
    monkeypatch.setattr(stand_in, "installed", lambda: original(lambda: next(ticks) * 1e-3))
    copy, _fill, first = itertools.islice(kernel.run(job), 3)
    copied = 2 * max(job.sizes.plain_bytes, 2 * (1 << 14))
    seconds = 1e-3 / job.sizes.queued
    assert copy.values["GB/s"] == pytest.approx(copied / seconds / 1e9)
    n_bytes = 8 * 27 * 27 * 3 * (1 + 4)
    assert first.name == "float32, channels last, straight"
    assert first.values["us"] == pytest.approx(seconds * 1e6)
    assert first.values["GB/s"] == pytest.approx(n_bytes / seconds / 1e9)
    assert first.values["of copy"] == pytest.approx(n_bytes / copied)


def test_what_is_timed_is_queued_between_two_events_behind_plain_copies(job):
    with Bench(job) as bench:
        before = bench.machine.calls.copy()
        queued = []
        took = bench.seconds({"one": lambda: queued.append(bench.machine.calls["memcpyAsync"])}, n=3)
        assert len(took["one"]) == job.rounds
        assert len(queued) == 3 * (job.rounds + 1)
        assert queued[0] - before["memcpyAsync"] == N_AHEAD


def test_sets_are_used_in_turn_until_the_cache_has_forgotten_the_first(job):
    with Bench(job) as bench:
        l2 = bench.gpu.l2_bytes
        assert [bench.n_sets(n) for n in (4 * l2, 2 * l2, l2, l2 // 2, 1)] == [2, 2, 3, job.sizes.queued, job.sizes.queued]


@pytest.mark.parametrize(
    ("text", "rate"), [("5, 16", 63.016), ("3, 8", 7.877), ("1, 1", 0.25), ("[N/A], 16", None), (None, None)]
)
def test_the_rate_of_a_link_follows_from_generation_and_width(text, rate):
    found = link.link_rate(text)
    assert found is None if rate is None else found == pytest.approx(rate * 1e9)


def test_a_copy_is_stated_as_a_part_of_the_link(job, monkeypatch):
    monkeypatch.setattr(link, "nvidia_smi", lambda bench, query: "4, 16")
    monkeypatch.setattr(link, "pinned_rate", lambda bench: 15.754e9)
    first = next(link.run(job))
    assert first.values == {"GB/s": pytest.approx(15.754), "of the link": pytest.approx(0.5), "": "PCIe 4 x16"}


def test_a_loaders_rate_counts_whole_epochs_but_the_first(job, monkeypatch):
    """Each look at the clock is a second after the one before, and the processors' time runs twice as fast."""
    seconds, of_processors = itertools.count(), itertools.count(step=2)
    clocks = SimpleNamespace(perf_counter=lambda: next(seconds), process_time=lambda: next(of_processors))
    monkeypatch.setattr(loader, "time", clocks)
    with loader.open_loader(job, "cpu", workers=1) as opened:
        assert loader.rate(opened, 2.5) == (2 * job.sizes.file / 3, 2 / 3)
        assert opened.stats()["batches"] == 3 * len(opened)
