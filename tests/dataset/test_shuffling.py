"""Class-sorted files whose images share chunks: what a loader's default does with them, and what it says."""

import logging

import h5py
import numpy as np
import pytest

from fastprep.diagnostics.contents import Contents
from fastprep.loader import Loader
from fastprep.sampling import mixing

N = 20_000
SORTED = np.repeat(np.arange(10), N // 10)
WAYS_OUT = ("shuffle_window", "python -m fastprep.convert")


@pytest.fixture
def make_sorted(tmp_path):
    def make(chunks=True, labels=SORTED, n=N):
        path = tmp_path / "sorted.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=np.zeros((n, 28, 28), np.uint8), chunks=chunks, compression="gzip")
            if labels is not None:
                file["labels"] = labels[:n]
        return path

    return make


def different_labels(loader):
    return np.mean([len(np.unique(loader.labels[loader.samples(0, step)])) for step in range(len(loader))])


@pytest.mark.parametrize("chunks", [True, (1000, 28, 28)], ids=["h5py's own chunks", "1,000 images a chunk"])
def test_the_default_mixes_a_class_sorted_file(make_sorted, chunks, caplog):
    path = make_sorted(chunks)
    with Loader(path, 128, None, mean=None, shuffle=True, seed=3) as loader:
        with Loader(path, 128, None, mean=None, shuffle=True, seed=3, shuffle_window=0) as full:
            assert different_labels(loader) >= 0.9 * different_labels(full)
        n_blocks = len(loader._dataset.block_starts) - 1
        assert n_blocks < 30
        for epoch in range(1, 3):
            assert sum(len(y) for _, y in loader) == N
            assert loader.stats()["blocks_decoded"] <= 1.2 * n_blocks * epoch
    assert not caplog.records


def test_a_window_that_does_not_mix_is_said(make_sorted, caplog, monkeypatch):
    path = make_sorted((1000, 28, 28))
    with Loader(path, 128, None, mean=None, shuffle=True, shuffle_window=2048) as loader:
        assert different_labels(loader) < 4
    monkeypatch.setattr(mixing, "WINDOW_BYTES", 1)  # no memory for more than 2,048 samples
    Loader(path, 128, None, mean=None, shuffle=True).close()
    given, automatic = (record.getMessage() for record in caplog.records)
    assert given == automatic
    assert "shuffle=True does not mix the labels: a batch of 128 has 2." in given
    assert all(way in given for way in WAYS_OUT)
    with Contents(str(path)) as contents:
        (line,) = (line for line in contents.describe() if line.startswith("  shuffling"))
    assert "does not mix the labels" in line


@pytest.mark.parametrize("labels", [None, np.random.default_rng(0).permutation(SORTED)], ids=["no labels", "mixed in the file"])
def test_a_window_of_few_chunks_is_never_used_without_a_word(make_sorted, labels, caplog):
    path = make_sorted((1000, 28, 28), labels)
    options = {"mean": None, "shuffle": True, "labels": None if labels is None else "labels"}
    for window in (4000, 0, None):
        Loader(path, 128, None, shuffle_window=window, **options).close()
    assert not caplog.records
    Loader(path, 128, None, shuffle_window=3000, **options).close()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "only 3 of 20 such blocks" in record.getMessage()
    assert all(way in record.getMessage() for way in WAYS_OUT)


def test_nothing_is_said_where_nothing_is_shuffled_or_each_image_is_read_alone(make_sorted, make_file, caplog):
    with Loader(make_sorted((1000, 28, 28)), 128, None, mean=None) as loader:
        assert loader.shuffle_window is None
    plain, *_ = make_file(n=50)
    with Loader(plain, 8, None, mean=None, shuffle=True) as loader:
        assert loader.stats()["order"] == "all samples shuffled"
    assert not caplog.records


def test_a_state_of_another_window_names_the_argument_that_gives_it(make_sorted):
    path = make_sorted((1000, 28, 28))
    with Loader(path, 128, None, mean=None, shuffle=True, shuffle_window=2048) as before:
        next(iter(before))
        state, following = before.state_dict(), before.samples(0, 1)
    with Loader(path, 128, None, mean=None, shuffle=True) as loader, pytest.raises(ValueError, match="shuffle_window=3000 "):
        loader.load_state_dict(state)
    with Loader(path, 128, None, mean=None, shuffle=True, shuffle_window=3000) as loader:
        loader.load_state_dict(state)
        np.testing.assert_array_equal(loader.samples(0, 1), following)


def test_show_says_how_a_file_is_shuffled(make_sorted, make_file):
    plain, *_ = make_file(n=50)
    for path, words in ((make_sorted(), "all samples alike, in memory"), (plain, "all samples alike")):
        with Contents(str(path)) as contents:
            assert f"  {'shuffling':12} {words}" in contents.describe()
