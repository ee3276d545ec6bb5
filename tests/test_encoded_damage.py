"""Damaged files of encoded images: right pixels, replaced samples, or an error that names file, dataset and sample."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import host
from crop_cases import assert_same_bits
from encoded_files import by_pillow_upright, encoded, oracle, write_rows
from encoded_images import by_pillow, examples, photograph
from optional_libraries import needs

from fastprep import CenterCrop, DataError, Mask, RandomCrop, RandomResizedCrop, TenCrop
from fastprep.loader import Loader

pytestmark = [needs("simplejpeg"), pytest.mark.usefixtures("no_thread_left")]

CROP = RandomResizedCrop(9, mirror=True)
N = 16
CASES = 300, pytest.param(2000, marks=pytest.mark.large)  # changes of a file, of each kind


def cut_short(row):
    """Return a JPEG whose header is whole, and whose body ends in the middle."""
    return row[: len(row) * 2 // 3]


@pytest.fixture(scope="module")
def whole_rows():
    return encoded(N)


DAMAGE = {
    "body": cut_short,
    "header": lambda row: row[:2] + b"\0\0" + row[4:],
    "no bytes": lambda row: b"",
    "another file": lambda row: b"<html>404</html>",
    "16 bits": lambda row: examples()["PNG 16"],
}


@pytest.fixture(params=DAMAGE)
def damaged(request, tmp_path, whole_rows):
    """A file whose images 0, 3, 8, 9 and 15 are damaged, and which images come instead."""
    rows = list(whole_rows)
    for k in (0, 3, 8, 9, 15):
        rows[k] = DAMAGE[request.param](rows[k])
    return write_rows(tmp_path / "damaged.h5", rows), {0: 1, 3: 4, 8: 10, 9: 10, 15: 1}


@pytest.fixture(scope="module")
def images(whole_rows):
    return [by_pillow_upright(row) for row in whole_rows]


def replaced(samples, replacement):
    return np.array([replacement.get(int(k), int(k)) for k in samples])


@pytest.mark.parametrize("workers", [1, 3])
def test_the_next_image_comes_instead_and_is_cropped_for_its_own_size(damaged, images, workers):
    path, replacement = damaged
    with Loader(path, 5, CROP, mean=None, shuffle=True, on_corrupt="skip", workers=workers) as loader:
        for epoch in range(2):  # the damage is found in the first, and known in the second
            for step, (x, y) in enumerate(loader):
                numbers = loader.samples(epoch, step)
                samples = replaced(numbers, replacement)
                assert_same_bits(host(x), oracle(loader, images, samples, epoch, numbers))
                np.testing.assert_array_equal(y, samples)
        corrupt = loader.stats()["corrupt"]
    assert corrupt["samples"] == len(corrupt["problems"]) == 5
    assert all(str(path) in problem and "dataset 'images', sample" in problem for problem in corrupt["problems"])


def test_a_batch_is_the_same_whatever_was_read_before(damaged):
    path, _ = damaged
    options = {"batch_size": 3, "crop": CROP, "mean": None, "shuffle": True, "on_corrupt": "skip"}
    with Loader(path, **options) as first, Loader(path, **options) as second:
        for step in reversed(range(len(first))):
            first.batch(0, step)
        for step in range(len(first)):
            for a, b in zip(first.batch(0, step), second.batch(0, step), strict=True):
                np.testing.assert_array_equal(a, b)


def test_samples_of_a_part_are_replaced_by_samples_of_the_part(damaged, images):
    path, _ = damaged
    part = [3, 9, 5, 15, 0, 7, 8]  # by their rows: 0 and 3 before 5, 8, 9 and 15 before all
    replacement = {0: 5, 3: 5, 8: 5, 9: 5, 15: 5}
    with Loader(path, 3, CROP, mean=None, shuffle=True, on_corrupt="skip", indices=part) as loader:
        for epoch in range(2):
            for step, (x, y) in enumerate(loader):
                numbers = loader.samples(epoch, step)
                samples = replaced(np.array(part)[numbers], replacement)
                assert_same_bits(host(x), oracle(loader, images, samples, epoch, numbers))
                np.testing.assert_array_equal(y, samples)
        assert loader.stats()["corrupt"]["samples"] == 5


def test_errors_name_file_dataset_and_sample(damaged):
    path, _ = damaged
    for sample in (0, 3, 15):
        with Loader(path, 1, CROP, mean=None) as loader, pytest.raises(DataError) as error:
            loader.batch(0, sample)
        assert (error.value.file, error.value.dataset, error.value.sample) == (str(path), "images", sample)
    with Loader(path, 2, CROP, mean=None, indices=[5, 9]) as loader, pytest.raises(DataError) as error:
        loader.batch(0, 0)
    assert error.value.sample == 9


def test_an_image_that_is_too_small_is_an_error_even_where_it_comes_instead(tmp_path, whole_rows):
    rows = [*whole_rows[:3], cut_short(whole_rows[3]), by_pillow(photograph(20, 30), "JPEG")]
    path = write_rows(tmp_path / "a.h5", rows)
    with Loader(path, 2, RandomCrop(25), mean=None, on_corrupt="skip", indices=[0, 3, 4]) as loader:
        with pytest.raises(DataError, match="from 20x30 pixels") as error:
            list(loader)
        assert error.value.sample == 4


def test_no_image_is_left(tmp_path, whole_rows):
    path = write_rows(tmp_path / "a.h5", [cut_short(row) for row in whole_rows])
    with Loader(path, 4, CROP, mean=None, on_corrupt="skip") as loader, pytest.raises(DataError, match="cut short"):
        list(loader)


@pytest.mark.parametrize("rows", [[b"", b""], [b"nonsense"] * 3, [b"\xff\xd8\xff"]])
def test_files_without_an_image_name_the_first_sample(tmp_path, rows):
    path = write_rows(tmp_path / "a.h5", rows)
    for mode in ("raise", "skip"):
        with pytest.raises(DataError) as error:
            Loader(path, 4, CROP, mean=None, on_corrupt=mode)
        assert (error.value.file, error.value.dataset, error.value.sample) == (str(path), "images", 0)


def test_images_that_are_read_with_masks_are_replaced_with_their_masks(tmp_path):
    rows = encoded(8, size=(30, 36))
    images = [by_pillow_upright(row) for row in rows]
    rows[2], rows[7] = cut_short(rows[2]), b""
    path = write_rows(tmp_path / "a.h5", rows)
    masks = np.repeat(np.arange(8, dtype=np.uint8), 30 * 36).reshape(8, 30, 36)
    with Loader(path, 3, CenterCrop(30), labels=Mask(masks), mean=None, shuffle=True, on_corrupt="skip") as loader:
        for step, (x, y) in enumerate(loader):
            samples = replaced(loader.samples(0, step), {2: 3, 7: 0})
            np.testing.assert_array_equal(y[:, 0, 0], samples)
            np.testing.assert_array_equal(x, np.stack([images[k][:, 3:33] for k in samples]).astype(np.float32))


@pytest.mark.parametrize("seed", range(25))
def test_files_parts_and_damage_at_random(tmp_path, seed):
    """Each sample is replaced by the next intact one of the part, in the order of the files, whatever else is asked for."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 25))
    rows = encoded(n, least=14, most=40, seed=seed)
    images = [by_pillow_upright(row) for row in rows]
    cut = int(rng.integers(1, n))
    bad = set(np.flatnonzero(rng.random(n) < rng.choice([0.1, 0.5])).tolist()) - {0, cut}  # each file tells how many channels
    for k in bad:
        rows[k] = list(DAMAGE.values())[rng.integers(0, len(DAMAGE))](rows[k])
    paths = [write_rows(tmp_path / f"{first}.h5", part) for first, part in ((0, rows[:cut]), (1, rows[cut:]))]
    numbers = np.concatenate([[0], 1 + rng.permutation(n - 1)[: rng.integers(1, n)]])[:: rng.choice([-1, 1])]
    intact = sorted(set(numbers.tolist()) - bad)
    replacement = {int(k): next((other for other in intact if other >= k), intact[0]) for k in numbers}
    options = {
        "batch_size": int(rng.integers(1, 9)),
        "crop": [CROP, RandomCrop(7, mirror=True), CenterCrop(6, resize=8), TenCrop(5)][rng.integers(0, 4)],
        "shuffle": bool(rng.integers(0, 2)),
        "shard": (int(rng.integers(0, 2)), 2) if rng.integers(0, 2) else (0, 1),
        "workers": int(rng.integers(1, 5)),
        "prefetch": int(rng.integers(0, 4)),
    }
    with Loader(paths, mean=None, labels=None, indices=numbers, on_corrupt="skip", seed=seed, **options) as loader:
        for epoch in range(2):
            for step, x in enumerate(loader):
                places = loader.samples(epoch, step)
                samples = np.array([replacement[int(k)] for k in numbers[places]])
                assert_same_bits(host(x), oracle(loader, images, samples, epoch, places))


def set_reference(path, sample, **fields):
    """Change the reference of a row, in a dataset that is stored contiguously."""
    with h5py.File(path) as file:
        place = file["images"].id.get_offset() + 16 * sample
    content = bytearray(path.read_bytes())
    reference = np.frombuffer(content, np.dtype([("length", "<u4"), ("address", "<u8"), ("number", "<u4")]), 1, place)
    for name, value in fields.items():
        reference[name] = value
    path.write_bytes(content)


@pytest.mark.parametrize(
    "fields",
    [
        {"address": 8},
        {"address": 2**40},
        {"address": 2**64 - 1},
        {"address": 0},
        {"number": 60000},
        {"number": 0},
        {"length": 2**31},
    ],
    ids=str,
)
@pytest.mark.parametrize("sample", [0, 5, N - 1])
def test_references_that_lead_nowhere(tmp_path, whole_rows, images, sample, fields):
    path = write_rows(tmp_path / "a.h5", whole_rows)
    set_reference(path, sample, **fields)
    with Loader(path, 4, CROP, mean=None) as loader, pytest.raises(DataError) as error:
        list(loader)
    assert (error.value.file, error.value.dataset, error.value.sample) == (str(path), "images", sample)
    with Loader(path, 4, CROP, mean=None, on_corrupt="skip", shuffle=True) as loader:
        for step, (x, y) in enumerate(loader):
            numbers = loader.samples(0, step)
            samples = replaced(numbers, {sample: (sample + 1) % N})
            assert_same_bits(host(x), oracle(loader, images, samples, 0, numbers))
            np.testing.assert_array_equal(y, samples)


def last_case(folder):
    return (folder / "progress").read_text().splitlines()[-1]


@pytest.mark.parametrize("n_cases", CASES)
@pytest.mark.parametrize(("kind", "extent"), [("PNG", "whole"), ("JPEG", "whole"), ("JPEG", "part")])
def test_bytes_that_change_anywhere_in_a_file(tmp_path, kind, extent, n_cases):
    """In a process of its own, because a crash or a hang would end it."""
    script = Path(__file__).parent / "support" / "change_encoded.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-X", "faulthandler", str(script), str(tmp_path), kind, extent, str(n_cases)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        pytest.fail(f"hangs in {last_case(tmp_path)}")
    assert done.returncode == 0, f"crashed in {last_case(tmp_path)}: {done.stderr[-2000:]}"
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["problems"] == []
    counts = report["counts"]
    assert min(counts["right"], counts["sample refused"], counts["file refused"], counts["replaced"]) > 10, counts
