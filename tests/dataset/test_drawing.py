"""Sampling with replacement: balanced classes, weights, shares of files; still pure functions, sharded and resumable."""

import logging
from fractions import Fraction

import h5py
import numpy as np
import pytest
import reference
from conftest import host
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastprep import CenterCrop, DataError, RandomCrop
from fastprep.loader import Loader
from fastprep.sampling import hashing
from fastprep.sampling.order import epoch_stream
from fastprep.sampling.weighted import WeightedDraws

pytestmark = pytest.mark.usefixtures("no_thread_left")

# what seed 7 draws in epoch 1 from 8 samples of weights 1..8: never to change, because a run's state relies on it
PINNED = [4, 2, 6, 4, 6, 5, 3, 2, 5, 2, 6, 7, 7, 0, 4, 4]


def drawn(loader, epoch=0):
    return np.concatenate([loader.samples(epoch, step) for step in range(len(loader))])


@pytest.fixture
def unbalanced(make_file):
    """Return a function that writes a file of n images of which one in ten is of class 1, with its weights."""

    def make(n=300, name="images.h5", **layout):
        path, images, _ = make_file(n=n, name=name, **layout)
        labels = (np.arange(n) % 10 == 3).astype(np.int64)
        with h5py.File(path, "r+") as file:
            file["labels"][:] = labels
            file["chances"] = np.where(labels == 1, 3.0, 1.0)
        return path, images, labels

    return make


def test_draws_are_those_of_a_slow_scan_over_exact_sums():
    weights = [3, 0, 1, 5, 0, 0.25, 7, 0]
    draws, stream = WeightedDraws(np.array(weights)), epoch_stream(7, 1)
    numbers = np.arange(2000)
    uniform = hashing.uniform(hashing.key(stream, -1), numbers)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    total = sum(map(Fraction, weights))
    for number, sample in zip(numbers, draws.samples(numbers, stream), strict=True):
        place, k = Fraction(float(uniform[number])) * total, 0
        while place >= Fraction(weights[k]):
            place -= Fraction(weights[k])
            k += 1
        assert sample == k


def test_draws_are_the_same_on_every_machine():
    assert WeightedDraws(np.arange(1.0, 9.0)).samples(np.arange(16), epoch_stream(7, 1)).tolist() == PINNED


@pytest.mark.parametrize("layout", [{}, {"chunks": (8, 12, 14, 3), "compression": "gzip"}], ids=["contiguous", "shared chunks"])
def test_balanced_epochs_have_each_class_alike_and_each_sample_of_a_class_alike(unbalanced, layout, backend):
    path, images, labels = unbalanced(**layout)
    with Loader(path, 32, None, mean=None, sampling="balanced", seed=3) as loader:
        assert loader.shuffle is True
        assert loader.n_samples == 300
        samples = np.concatenate([drawn(loader, epoch) for epoch in range(40)])
        for step, (x, y) in enumerate(loader):
            mine = loader.samples(0, step)
            np.testing.assert_array_equal(y, labels[mine])
            np.testing.assert_array_equal(host(x), images[mine].astype(np.float32))
        assert "drawn by weight, with replacement" in loader.stats()["order"]
    assert abs(labels[samples].mean() - 0.5) < 4 * 0.5 / np.sqrt(len(samples))
    times = np.bincount(samples, minlength=300)
    for label in (0, 1):
        expected = len(samples) / 2 / (labels == label).sum()
        assert abs(times[labels == label] - expected).max() < 5 * np.sqrt(expected)


def test_classes_may_be_one_hot_rows_or_texts_of_a_part(unbalanced):
    path, _, labels = unbalanced()
    with h5py.File(path, "r+") as file:
        file["rows"] = np.eye(2)[labels]
    part = np.flatnonzero(np.arange(300) < 200)
    with Loader(path, 50, None, sampling="balanced", indices=part, labels="rows") as loader:
        samples = drawn(loader)
        assert samples.max() < 200
        assert abs(labels[part[samples]].mean() - 0.5) < 4 * 0.5 / np.sqrt(200)


def test_weights_by_name_and_by_array_are_those_of_all_samples_of_the_files(unbalanced):
    path, _, labels = unbalanced()
    weights = np.where(labels == 1, 3.0, 1.0)
    weights[:100] = 0
    with h5py.File(path, "r+") as file:
        file["chances"][:] = weights
    part = np.arange(299, 49, -1)
    for indices in (None, part):
        with (
            Loader(path, 64, None, sampling="chances", indices=indices) as named,
            Loader(path, 64, None, sampling=weights, indices=indices) as given,
        ):
            rows = drawn(named) if indices is None else part[drawn(named)]
            np.testing.assert_array_equal(drawn(named), drawn(given))
            assert rows.min() >= 100
            assert abs(labels[rows].mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / len(rows))


def test_a_sample_that_is_drawn_twice_is_cropped_in_two_ways(unbalanced):
    path, images, _ = unbalanced()
    crop = RandomCrop((5, 6), mirror=True)
    with Loader(path, 20, crop, mean=None, sampling="balanced", seed=9) as loader:
        for step, (x, _) in enumerate(loader):
            numbers = 20 * step + np.arange(20)  # of the draws
            table = crop.table(12, 14, numbers, 9, 0)
            np.testing.assert_array_equal(x, reference.crop(images[loader.samples(0, step)], table, (5, 6)))


def test_a_chunk_is_decoded_once_for_as_many_draws_as_it_has_images(unbalanced):
    path, _, _ = unbalanced(n=400, chunks=(8, 12, 14, 3), compression="gzip")
    crop = RandomCrop((5, 6), mirror=True)
    options = {"mean": None, "sampling": "balanced", "seed": 2}
    with Loader(path, 400, crop, shuffle_window=0, **options) as full:
        x, _ = full.batch(0, 0)
        wanted = sorted(image.tobytes() for image in x)
    with Loader(path, 16, crop, shuffle_window=64, workers=2, **options) as loader:
        assert loader._sampler.windows.blocks_per_window == 8
        got, rows = [], []
        for step, (x, _) in enumerate(loader):
            got += [image.tobytes() for image in x]
            rows.append(loader.samples(0, step))
        assert sorted(got) == wanted  # the same draws with the same crops, in another order
        draws = np.bincount(np.concatenate(rows) // 8)
        assert loader.stats()["blocks_decoded"] <= 1.1 * (-(-draws // 8)).sum()
        firsts = [np.unique(samples // 8) for samples in rows]
        assert max(map(len, firsts)) <= 16  # blocks of a batch: those of a window, or of two


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_draws_are_shared_out_over_shards_and_resume_at_the_exact_next_one(unbalanced, data):
    layout = data.draw(st.sampled_from([{}, {"chunks": (8, 12, 14, 3), "compression": "gzip"}]))
    path, _, _ = unbalanced(n=60, **layout)
    options = {"crop": CenterCrop(3), "sampling": "balanced", "shuffle_window": 16, "seed": 1}
    with Loader(path, 60, **options) as loader:
        order = loader.samples(1, 0)
    before, after = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    parts = []
    for rank in range(before):
        with Loader(path, 7, shard=(rank, before), **options) as loader:
            parts.append(drawn(loader, 1))
            np.testing.assert_array_equal(parts[-1], order[rank::before])
            if rank == 0:
                loader.set_epoch(1)
                steps = data.draw(st.integers(1, len(loader) - 1))
                for _ in zip(range(steps), loader, strict=False):
                    pass
                state, seen = loader.state_dict(), loader.seen(1, steps)
    for rank in range(after):
        with Loader(path, 4, shard=(rank, after), **options) as loader:
            loader.load_state_dict(state)
            mine = [loader.samples(1, step) for step in range(loader.next_step, len(loader))]
            np.testing.assert_array_equal(np.concatenate([np.empty(0, int), *mine]), order[seen + rank :: after])


def test_a_state_of_other_weights_is_refused(unbalanced):
    path, _, _ = unbalanced()
    states = []
    for sampling in (None, "balanced", "chances"):
        with Loader(path, 32, CenterCrop(3), sampling=sampling, shuffle=True) as loader:
            states.append(loader.state_dict())
            for state in states[:-1]:
                with pytest.raises(ValueError, match=r"other batches: .*sampling"):
                    loader.load_state_dict(state)
            loader.load_state_dict(states[-1])
    assert "sampling" not in states[0]["of"]  # so that states of before there were draws go on loading


def test_files_are_mixed_by_their_shares_and_classes_inside_them(unbalanced, tmp_path):
    sizes = {"a.h5": 50, "b1.h5": 300, "b2.h5": 100}
    files = [unbalanced(n, name) for name, n in sizes.items()]
    paths, labels = [path for path, _, _ in files], np.concatenate([labels for _, _, labels in files])
    owner = np.repeat(np.arange(3), list(sizes.values()))
    shares = {paths[0]: 0.7, str(tmp_path / "b*.h5"): 0.3}
    for sampling, ones in ((None, 0.1), ("balanced", 0.5)):
        with Loader(paths, 64, None, mean=None, mix=shares, sampling=sampling) as loader:
            assert loader.mix == {str(key): share for key, share in shares.items()} or loader.mix == shares
            samples = np.concatenate([drawn(loader, epoch) for epoch in range(20)])
        n = len(samples)
        assert n == 20 * 450
        first = owner[samples] == 0
        assert abs(first.mean() - 0.7) < 4 * np.sqrt(0.21 / n)
        assert abs((owner[samples] == 1).sum() / (~first).sum() - 0.75) < 4 * np.sqrt(0.19 / (0.3 * n))
        for mine in (first, ~first):
            assert abs(labels[samples[mine]].mean() - ones) < 4 * np.sqrt(0.25 / mine.sum())
    with Loader(paths, 64, None, mean=None, mix=shares, indices=np.arange(40, 100)) as loader:
        samples = np.concatenate([drawn(loader, epoch) for epoch in range(20)])
        assert abs((samples < 10).mean() - 0.7) < 4 * np.sqrt(0.21 / len(samples))


def test_the_automatic_window_mixes_balanced_draws_from_a_sorted_file(tmp_path, caplog):
    labels = np.repeat([0, 1], [19_000, 1_000])
    path = tmp_path / "sorted.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=np.zeros((20_000, 4, 4), np.uint8), chunks=(100, 4, 4), compression="gzip")
        file["labels"] = labels
    with Loader(path, 128, None, mean=None, sampling="balanced") as loader:
        ones = [labels[loader.samples(0, step)].mean() for step in range(len(loader))]
        assert np.std(ones[:-1]) < 0.12  # a full shuffle: 0.044; if a chunk of the rare class came as a whole: 0.17
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        Loader(path, 128, None, mean=None, sampling="balanced", shuffle_window=200).close()
    assert "does not mix the labels" in caplog.text
    assert "only 2 of" in caplog.text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sampling": "balanced", "labels": None}, 'sampling="balanced" needs one array of labels'),
        ({"sampling": np.ones(7)}, r"or 60 weights, one for each sample of the files, got float64 \(7,\)"),
        ({"sampling": -np.ones(60)}, "sampling must be weights that are finite and not negative, got -1.0 for sample 0"),
        ({"sampling": np.zeros(60)}, "sampling must give a sample a weight above 0"),
        ({"sampling": np.arange(60), "indices": [0]}, "sampling must give a sample a weight above 0"),
        ({"mix": {"a.h5": 1.0}}, "mix must give a share to two files or more"),
        ({"mix": 0.7}, "mix must give a share to two files or more"),
        ({"mix": {"a.h5": 0.7, "b.h5": 0.7}}, "mix must have shares above 0 that add up to 1, got"),
        ({"mix": {"a.h5": 1.0, "b.h5": 0.0}}, "mix must have shares above 0"),
        ({"mix": {"a.h5": "most", "b.h5": 0.3}}, "mix must have shares above 0"),
        ({"mix": {"a.h5": 0.7, "c.h5": 0.3}}, "mix names 'c.h5', which is none of the loader's files"),
        ({"mix": {"a.h5": 0.7, "*.h5": 0.3}}, "mix must name each file once, but 'a.h5' has two shares"),
        ({"mix": {"a.h5": 0.7, "c*.h5": 0.3}}, r"^mix: no file matches 'c\*.h5'"),
        (
            {"mix": {"a.h5": 0.7, "b.h5": 0.3}, "indices": [1, 2]},
            "mix needs a sample to draw for each share, but 'b.h5' has none",
        ),
        ({"mix": {"a.h5": 0.7, "b.h5": 0.3}, "files": ["a.h5", "b.h5", "../d.h5"]}, r"mix must .* but '../d.h5' has none"),
    ],
)
def test_wrong_arguments_say_the_rule_and_what_was_found(unbalanced, tmp_path, monkeypatch, options, text):
    (tmp_path / "here").mkdir()
    for name in ("here/a.h5", "here/b.h5", "d.h5"):
        unbalanced(30, name)
    monkeypatch.chdir(tmp_path / "here")
    options = {"files": ["a.h5", "b.h5"], **options}
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        Loader(options.pop("files"), 4, None, **options)


def test_weights_of_any_size_are_weights(unbalanced, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.h5", "b.h5"):
        unbalanced(30, name)
    weights = np.arange(60.0)
    taken = []
    for factor in (1.0, 2.0**1018):
        with Loader(["a.h5", "b.h5"], 60, None, sampling=weights * factor, mix={"a.h5": 0.5, "b.h5": 0.5}) as loader:
            taken.append(loader.samples(0, 0))
    np.testing.assert_array_equal(*taken)


def test_wrong_datasets_of_weights_name_file_dataset_and_row(unbalanced):
    path, _, _ = unbalanced(30)
    with h5py.File(path, "r+") as file:
        file["few"], file["bad"] = np.ones(29), np.where(np.arange(30) == 4, np.nan, 1)
    for name, text in (
        ("few", "dataset 'few': there must be one weight for each of the 30 images, found 29"),
        ("bad", "dataset 'bad', sample 4: weights must be finite and not negative, found nan"),
        ("absent", r"there is no dataset 'absent'; .*\(sampling= takes another name\)"),
    ):
        with pytest.raises(DataError, match=text):
            Loader(path, 4, None, sampling=name)
