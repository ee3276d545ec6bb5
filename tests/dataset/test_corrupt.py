"""on_corrupt="skip": what takes the place of images that can't be read, and that it depends on nothing but the file."""

import shutil
import subprocess
import sys
from collections import Counter

import h5py
import numpy as np
import pytest
from conftest import host
from damaged_chunks import damage

from fastprep import CenterCrop, TenCrop
from fastprep.dataset.corrupt import Corrupt
from fastprep.errors import DataError
from fastprep.h5 import Reader
from fastprep.loader import Loader

CROP = CenterCrop((12, 14))  # whole images


@pytest.fixture
def damaged_file(make_file):
    """A gzip file of 40 images, 5, 6, 17 and 39 of them damaged, whose labels are their numbers."""
    path, images, _ = make_file(n=40, chunks=(1, 12, 14, 3), compression="gzip", fletcher32=True)
    with h5py.File(path, "r+") as file:
        file["labels"][:] = np.arange(40)
    damage(path, [5, 6, 17, 39])
    return path, images


EXPECTED = [{5: 7, 6: 7, 17: 18, 39: 0}.get(k, k) for k in range(40)]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_next_image_comes_instead_with_its_own_label(damaged_file, shuffle, workers, caplog, backend):
    path, images = damaged_file
    with Loader(path, 7, CROP, mean=None, shuffle=shuffle, workers=workers, on_corrupt="skip") as loader:
        for number in range(2):
            for step, (x, y) in enumerate(loader):
                samples = [EXPECTED[k] for k in loader.samples(number, step)]
                np.testing.assert_array_equal(y, samples)
                np.testing.assert_array_equal(host(x), images[samples].astype(np.float32))
        corrupt = loader.stats()["corrupt"]
    assert corrupt["samples"] == 4
    assert len(corrupt["problems"]) == 4
    assert all("sample" in problem and str(path) in problem for problem in corrupt["problems"])
    assert len([r for r in caplog.records if "on_corrupt='skip'" in r.getMessage()]) == 4


def test_a_batch_is_the_same_whatever_was_read_before(damaged_file):
    path, _ = damaged_file
    options = {"batch_size": 4, "crop": CROP, "shuffle": True, "on_corrupt": "skip"}
    with Loader(path, **options) as first, Loader(path, **options) as second:
        for step in reversed(range(len(first))):
            first.batch(0, step)
        for step in range(len(first)):
            for a, b in zip(first.batch(0, step), second.batch(0, step), strict=True):
                np.testing.assert_array_equal(a, b)


def test_a_block_of_images_is_replaced_by_the_next_block(make_file):
    path, images, _ = make_file(n=30, chunks=(4, 12, 14, 3), compression="gzip", fletcher32=True)
    damage(path, [0, 28])
    with Loader(path, 6, CROP, mean=None, labels=None, shuffle=True, on_corrupt="skip", shuffle_window=8) as loader:
        for step, x in enumerate(loader):
            wanted = [{0: 4, 1: 5, 2: 6, 3: 7, 28: 4, 29: 5}.get(int(k), int(k)) for k in loader.samples(0, step)]
            # 28 and 29, the last two, are replaced by 0 and 1, which are damaged, and so by 4 and 5
            np.testing.assert_array_equal(x, images[wanted].astype(np.float32))
        assert loader.stats()["corrupt"]["samples"] == 6


def test_over_several_files(damaged_file, tmp_path):
    path, _ = damaged_file
    twin = tmp_path / "twin.h5"
    shutil.copy(path, twin)
    with Loader([path, twin], 16, CROP, on_corrupt="skip") as loader:
        labels = np.concatenate([y for _, y in loader])
    # the last of the first file gives way to the first of the second
    assert labels.tolist() == EXPECTED + EXPECTED


def test_ten_crops_and_weights_go_with_the_image_that_was_read(damaged_file):
    path, _ = damaged_file
    with Loader(path, 8, TenCrop(5), class_weight={7: 3.0}, on_corrupt="skip") as loader:
        _, y, weights = loader.batch(0, 0)
    assert y.reshape(8, 10).tolist() == [[k] * 10 for k in EXPECTED[:8]]
    assert weights.reshape(8, 10)[:, 0].tolist() == [1, 1, 1, 1, 1, 3, 3, 3]


def test_a_file_that_was_changed_or_has_nothing_left_is_an_error(damaged_file):
    path, _ = damaged_file
    with Loader(path, 4, CROP, on_corrupt="skip") as loader:
        loader.batch(0, 0)
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(DataError, match="changed"):
            list(loader)


def test_a_file_without_a_good_image_is_an_error(make_file):
    path, _, _ = make_file(n=6, chunks=(1, 12, 14, 3), compression="gzip", fletcher32=True)
    damage(path, range(6))
    with Loader(path, 2, CROP, on_corrupt="skip") as loader, pytest.raises(DataError, match="sample"):
        loader.batch(0, 0)


NOTHING_LEFT = """
import faulthandler, logging, sys
faulthandler.dump_traceback_later(60, exit=True)  # where it would look on and on for a good image
logging.disable(logging.CRITICAL)
from fastprep import CenterCrop, DataError
from fastprep.loader import Loader
with Loader(sys.argv[1], 2, CenterCrop(5), workers=2, on_corrupt="skip") as loader:
    for _ in range(2):
        try:
            print(len(list(loader)))
        except DataError as error:
            print("error", error)
"""


def test_without_a_good_image_every_iteration_is_an_error(make_file):
    path, _, _ = make_file(n=6, chunks=(1, 12, 14, 3), compression="gzip", fletcher32=True)
    damage(path, range(6))
    done = subprocess.run([sys.executable, "-c", NOTHING_LEFT, path], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error ") and str(path) in line and "sample" in line for line in lines), lines


def test_other_words_are_refused(damaged_file):
    with pytest.raises(ValueError, match='on_corrupt must be "raise" or "skip", got \'ignore\''):
        Loader(damaged_file[0], 4, CROP, on_corrupt="ignore")


# --- long damaged stretches


def replaced_step_by_step(samples, blocks, n):
    """The definition: from block to block, until one is intact."""
    out = []
    for sample in samples.tolist():
        while (block := next(((a, b) for a, b in blocks if a <= sample < b), None)) is not None:
            sample = (sample + block[1] - block[0]) % n
        out.append(sample)
    return out


@pytest.mark.parametrize("seed", range(20))
def test_runs_of_damaged_blocks_are_replaced_as_block_by_block(seed):
    rng = np.random.default_rng(seed)
    sizes = np.repeat([3, 1, 4], 12)
    stops = np.cumsum(sizes)
    stops[-1] -= 2  # a short block at the end
    starts = np.concatenate([[0], stops[:-1]])
    n = int(stops[-1])
    bad = rng.permutation(len(sizes))[: rng.integers(1, len(sizes))]
    corrupt = Corrupt(n)
    for k, block in enumerate(bad):
        corrupt.record(int(starts[block]), int(stops[block]), DataError("damaged", "x.h5", "images", sample=int(starts[block])))
        blocks = [(int(starts[b]), int(stops[b])) for b in bad[: k + 1]]
        assert corrupt.replace(np.arange(n)).tolist() == replaced_step_by_step(np.arange(n), blocks, n)
        assert corrupt.n_known == sum(b - a for a, b in blocks)


def test_a_block_is_recorded_once():
    corrupt, error = Corrupt(9), DataError("damaged", "x.h5", "images", sample=3)
    for first in (3, 0, 3, 0):
        corrupt.record(first, first + 3, error)
    assert (corrupt.n_known, len(corrupt.problems)) == (6, 2)
    assert corrupt.replace(np.arange(9)).tolist() == [6, 7, 8] * 3


@pytest.mark.parametrize("shuffle", [False, True])
def test_each_image_of_a_long_damaged_stretch_is_tried_once(make_file, monkeypatch, shuffle):
    path, images, _ = make_file(n=400, height=4, width=4, chunks=(1, 4, 4, 3), compression="gzip", fletcher32=True)
    damage(path, range(20, 380))
    tried = Counter()
    original = Reader._read_directly

    def counted(self, samples, slots, sink):
        tried.update(samples.tolist())
        original(self, samples, slots, sink)

    monkeypatch.setattr(Reader, "_read_directly", counted)
    with Loader(path, 50, None, mean=None, labels=None, shuffle=shuffle, workers=1, on_corrupt="skip") as loader:
        for step, x in enumerate(loader):
            wanted = [k if k < 20 or k >= 380 else 380 for k in loader.samples(0, step).tolist()]
            np.testing.assert_array_equal(x, images[wanted])
        assert loader.stats()["corrupt"]["samples"] == 360
    # a damaged image may be among a batch that is tried as a whole and once alone, but not with every batch of the stretch
    assert sum(tried[k] for k in range(20, 380)) < 4 * 360
