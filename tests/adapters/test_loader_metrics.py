"""LoaderMetrics: the speed of a loader in Keras' logs and in lines of JSON."""

import csv
import errno
import json
import logging
import os

import pytest
from small_model import small_model

import fastprep

keras = pytest.importorskip("keras")

N, STEPS = 23, 6
IN_LOGS = ["loader/images_per_second", "loader/wait_share"]
FIELDS = [
    "version",
    "time",
    "kind",
    "epoch",
    "rank",
    "ranks",
    "seconds",
    "images",
    "batches",
    "images_per_second",
    "wait_seconds",
]
FIELDS += ["wait_share"]


@pytest.fixture
def loader(make_file):
    with fastprep.Loader(make_file(n=N)[0], 4, fastprep.CenterCrop(8), shuffle=True) as loader:
        yield loader


class Clock:
    """A clock that a step moves on by a second."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Tick(keras.callbacks.Callback):
    """A step of a second, and a validation of an hour."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def on_train_batch_begin(self, batch, logs=None):
        self.clock.now += 1

    def on_test_end(self, logs=None):
        self.clock.now += 3600


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("validates", [False, True])
def test_history_and_later_callbacks_get_the_metrics_of_the_training_alone(loader, tmp_path, validates):
    clock = Clock()
    metrics = fastprep.LoaderMetrics(loader, clock=clock)
    csv_logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    history = (
        small_model()
        .fit(
            loader,
            epochs=2,
            validation_data=loader if validates else None,
            callbacks=[Tick(clock), metrics, csv_logger],
            verbose=0,
        )
        .history
    )
    assert sorted(name for name in history if name.startswith("loader/")) == IN_LOGS
    assert history["loader/images_per_second"] == [N / STEPS] * 2
    assert all(0 <= share <= 1 for share in history["loader/wait_share"])
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loader/images_per_second"]) for row in rows] == [N / STEPS] * 2


def test_a_line_of_each_epoch_has_the_documented_fields(loader, tmp_path):
    clock, path = Clock(), tmp_path / "loader.jsonl"
    small_model().fit(loader, epochs=2, callbacks=[Tick(clock), fastprep.LoaderMetrics(loader, path, clock=clock)], verbose=0)
    lines = lines_of(path)
    assert [list(line) for line in lines] == [FIELDS] * 2
    assert [(line["version"], line["kind"], line["epoch"], line["rank"], line["ranks"]) for line in lines] == [
        (1, "epoch", 1, 0, 1),
        (1, "epoch", 2, 0, 1),
    ]
    assert [(line["seconds"], line["images"], line["batches"]) for line in lines] == [(STEPS, N, STEPS)] * 2
    assert lines[0]["wait_share"] == pytest.approx(min(1, lines[0]["wait_seconds"] / STEPS))


def test_lines_within_an_epoch_add_up_to_it_but_for_its_end(loader, tmp_path):
    clock, path = Clock(), tmp_path / "loader.jsonl"
    metrics = fastprep.LoaderMetrics(loader, path, every_s=2, clock=clock)
    small_model().fit(loader, callbacks=[Tick(clock), metrics], verbose=0)
    lines = lines_of(path)
    assert [(line["kind"], line["seconds"], line["batches"]) for line in lines] == [("interval", 2, 2)] * 3 + [("epoch", 6, 6)]
    assert [line["images"] for line in lines] == [8, 8, 7, N]


class Remote:
    """A loader of remote files, as far as the callback sees it: what it has counted from moment to moment."""

    shard = (1, 4)

    def __init__(self, *remote):
        self.remote = list(remote)

    def stats(self):
        names = ("requests", "retries", "bytes", "blocks_read", "blocks_fetched")
        counts = dict(zip(names, self.remote.pop(0), strict=True))
        return {"wait_s": 0.0, "samples": 0, "batches": 0, "remote": counts}


@pytest.mark.parametrize(
    ("counts", "share", "retries"),
    [
        ([(5, 1, 50, 10, 5), (9, 3, 90, 30, 10)], 0.75, 2),
        ([(5, 1, 50, 10, 5), (9, 1, 90, 12, 10)], 0.0, 0),  # more was fetched, ahead of time, than was read
        ([(5, 1, 50, 10, 5)] * 2, 1.0, 0),
    ],
)
def test_remote_files_add_hits_and_retries(tmp_path, counts, share, retries):
    metrics, logs = fastprep.LoaderMetrics(Remote(*counts), tmp_path / "loader.jsonl", clock=lambda: 5.0), {"loss": 1.0}
    metrics.on_epoch_begin(2)
    metrics.on_epoch_end(2, logs)
    shown = {"loader/images_per_second": 0.0, "loader/wait_share": 0.0}
    assert logs == {"loss": 1.0, **shown, "loader/cache_hit_share": share, "loader/retries": retries}
    (line,) = lines_of(tmp_path / "loader.jsonl")
    assert [*line] == [*FIELDS, "requests", "retries", "bytes", "cache_hit_share"]
    assert (line["epoch"], line["rank"], line["ranks"]) == (3, 1, 4)
    assert (line["requests"], line["bytes"]) == (counts[1][0] - counts[0][0], counts[1][2] - counts[0][2])


def test_a_file_of_before_is_continued_and_what_was_cut_off_stays_a_line_of_its_own(loader, tmp_path):
    path = tmp_path / "loader.jsonl"
    path.write_text('{"version": 1}\n{"vers')
    small_model().fit(loader, callbacks=[fastprep.LoaderMetrics(loader, path)], verbose=0)
    first, cut, new = path.read_text().splitlines()
    assert (first, cut, json.loads(new)["kind"]) == ('{"version": 1}', '{"vers', "epoch")


def full(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def half(descriptor, data, write=os.write):
    return write(descriptor, data[: len(data) // 2])


@pytest.mark.parametrize("write", [full, half])
def test_a_full_disk_is_a_warning_and_leaves_whole_lines(loader, tmp_path, monkeypatch, caplog, write):
    path = tmp_path / "loader.jsonl"
    path.write_text("{}\n")
    metrics = fastprep.LoaderMetrics(loader, path)
    model = small_model()
    monkeypatch.setattr("fastprep.adapters.loader_metrics.os.write", write)
    with caplog.at_level(logging.WARNING, "fastprep"):
        model.fit(loader, epochs=2, callbacks=[metrics], verbose=0)
    assert path.read_text() == "{}\n"
    (record,) = [record for record in caplog.records if "LoaderMetrics" in record.getMessage()]
    assert "training goes on" in record.getMessage()


@pytest.mark.parametrize("options", [{"every_s": 0, "path": "a"}, {"every_s": 5}, {"every_s": float("nan"), "path": "a"}])
def test_an_interval_is_a_time_and_needs_a_file(loader, options):
    with pytest.raises(ValueError, match="every_s must be a number of seconds above 0, and needs path"):
        fastprep.LoaderMetrics(loader, **options)
