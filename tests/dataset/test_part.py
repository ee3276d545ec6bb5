"""Parts of a file: read as a file that holds those samples only, once an epoch over all shards, chunks decoded once."""

import h5py
import numpy as np
import pytest
import reference
from conftest import host
from damaged_chunks import damage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastprep import CenterCrop, DataError, RandomCrop, TenCrop, image_mean
from fastprep.h5 import write_images
from fastprep.loader import Loader

pytestmark = pytest.mark.usefixtures("no_thread_left")

N = 23
ROWS = {
    "some": [1, 4, 5, 9, 13, 14, 22],
    "one": [8],
    "all": list(range(N)),
    "unordered": [20, 3, 11, 4, 19, 0],
    "repeated": [7, 2, 7, 7, 21, 2],
}
LAYOUTS = {
    "contiguous": {},
    "alone": {"chunks": (1, 12, 14, 3), "compression": "gzip"},
    "shared": {"chunks": (4, 12, 14, 3), "compression": "gzip"},
    "tiles": {"chunks": (3, 8, 14, 3), "compression": "lzf"},
}
ANY_PATH = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def batches(loader, n_epochs=2):
    return [[host(part).copy() for part in batch] for _ in range(n_epochs) for batch in loader]


def assert_equal(got, wanted):
    assert len(got) == len(wanted)
    for batch, right in zip(got, wanted, strict=True):
        for part, right_part in zip(batch, right, strict=True):
            np.testing.assert_array_equal(part, right_part)
            assert part.dtype == right_part.dtype


@pytest.fixture
def numbered(make_file):
    """Return a function that writes a file whose labels are the numbers of its images."""

    def make(n=N, **layout):
        path, images, _ = make_file(n=n, **layout)
        with h5py.File(path, "r+") as file:
            file["labels"][:] = np.arange(n)
        return path, images

    return make


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("layout", ["contiguous", "alone"])
def test_a_part_is_read_as_a_file_that_holds_those_samples_only(numbered, tmp_path, rows, layout, backend):
    """Pixels, labels, weights, order and crops, for each shard and shuffled or not."""
    path, images = numbered(**LAYOUTS[layout])
    alone = tmp_path / "alone.h5"
    with h5py.File(alone, "w") as file:
        file["images"], file["labels"] = images[rows], np.array(rows)
        file["images"].attrs["mean"] = h5py.File(path, "r")["images"].attrs["mean"]
    weights = np.linspace(0, 3, N)
    same = {"crop": RandomCrop((7, 9), mirror=True, flip=True), "seed": 5, "class_weight": {rows[0]: 0.5}, "num_classes": N}
    for shuffle in (False, True):
        for shard in [(0, 1), (0, 2), (1, 2)][: 1 if len(rows) == 1 else 3]:
            options = {**same, "shuffle": shuffle, "shard": shard}
            with (
                Loader(path, 3, indices=rows, sample_weight=weights, **options) as part,
                Loader(alone, 3, sample_weight=weights[rows], **options) as whole,
            ):
                assert part.n_samples == len(rows)
                assert len(part) == len(whole)
                np.testing.assert_array_equal(part.indices, rows)
                np.testing.assert_array_equal(part.labels, whole.labels)
                np.testing.assert_array_equal(part.samples(1, 0), whole.samples(1, 0))
                assert_equal(batches(part), batches(whole))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_in_file_order_and_for_ten_crops_chunks_make_no_difference(numbered, layout):
    path, images = numbered(**LAYOUTS[layout])
    for rows in ROWS.values():
        with Loader(path, 4, TenCrop(6), mean=None, indices=rows) as loader:
            x, y = (np.concatenate(part) for part in zip(*batches(loader, 1), strict=True))
        np.testing.assert_array_equal(y, np.repeat(rows, 10))
        wanted = np.concatenate([reference.ten_crop(images[row], (6, 6), "tutorial") for row in rows])
        np.testing.assert_array_equal(x, wanted.astype(np.float32))


def test_a_mask_a_slice_and_a_dataset_name_the_same_samples_as_their_numbers(numbered):
    path, _ = numbered()
    mask = np.zeros(N, bool)
    mask[ROWS["some"]] = True
    with h5py.File(path, "r+") as file:
        file["part/train"], file["mask"], file["column"] = np.uint16(ROWS["some"]), mask, np.array(ROWS["some"])[:, None]
    kinds = {
        "some": [mask, mask.tolist(), "part/train", "mask", "column", tuple(ROWS["some"]), np.uint64(ROWS["some"])],
        "back": [slice(None, None, -3), range(22, -1, -3)],
        "tail": [slice(-4, None)],
    }
    rows = {**ROWS, "back": list(range(N))[::-3], "tail": [19, 20, 21, 22]}
    for name, values in kinds.items():
        for indices in values:
            with Loader(path, 4, None, indices=indices) as loader:
                assert loader.indices.tolist() == rows[name]
                assert np.concatenate([y for _, y in loader]).tolist() == rows[name]


def test_numbers_count_through_all_files_and_those_of_a_dataset_in_each(make_file):
    files = [make_file(n=n, name=f"{n}.h5") for n in (5, 8, 6)]
    for (path, _, _), rows in zip(files, ([4, 0], [], [1, 5]), strict=True):
        with h5py.File(path, "r+") as file:
            file["rows"] = np.array(rows, np.int32)
    images = np.concatenate([images for _, images, _ in files])
    paths = [path for path, _, _ in files]
    for indices, rows in (([18, 4, 5, 12, 6], [18, 4, 5, 12, 6]), ("rows", [4, 0, 14, 18])):
        with Loader(paths, 2, None, mean=None, indices=indices, shuffle=True) as loader:
            assert loader.indices.tolist() == rows
            for step, (x, _) in enumerate(loader):
                np.testing.assert_array_equal(x, images[np.array(rows)[loader.samples(0, step)]].astype(np.float32))


@pytest.mark.parametrize("layout", ["contiguous", "shared"])
@pytest.mark.parametrize("n", range(1, N + 1))
def test_a_part_of_every_size_is_read_as_its_own_file_and_once_an_epoch_over_all_shards(numbered, tmp_path, rng, layout, n):
    path, images = numbered(**LAYOUTS[layout])
    rows = rng.permutation(N)[:n]
    alone = tmp_path / "alone.h5"
    with h5py.File(alone, "w") as file:
        file["images"], file["labels"] = images[rows], rows
    for shuffle in (False, True):
        for world in range(1, min(n, 4) + 1):
            options = {"crop": RandomCrop((7, 9), mirror=True), "mean": None, "shuffle": shuffle, "seed": n}
            seen = []
            for rank in range(world):
                with (
                    Loader(path, 4, indices=rows, shard=(rank, world), **options) as part,
                    Loader(alone, 4, shard=(rank, world), **options) as whole,
                ):
                    got = batches(part, 1)
                    seen += [label for _, y in got for label in y.tolist()]
                    if not shuffle or layout == "contiguous":  # else chunks are shuffled, and the other file has none
                        assert_equal(got, batches(whole, 1))
            assert sorted(seen) == sorted(rows.tolist())


@ANY_PATH
@given(data=st.data())
def test_every_sample_comes_once_an_epoch_over_all_shards_for_parts_of_any_size(numbered, data):
    layout = data.draw(st.sampled_from(list(LAYOUTS)))
    path, images = numbered(**LAYOUTS[layout])
    rows = data.draw(st.lists(st.integers(0, N - 1), min_size=1, max_size=N, unique=True))
    world = data.draw(st.integers(1, min(3, len(rows))))
    crop, seed, epoch = RandomCrop((7, 9), mirror=True), data.draw(st.integers(0, 3)), data.draw(st.integers(0, 2))
    options = {"shuffle": data.draw(st.booleans()), "shuffle_window": data.draw(st.sampled_from([None, 0, 1, 8])), "seed": seed}
    ids = []
    for rank in range(world):
        batch_size = data.draw(st.integers(1, 9))
        with Loader(path, batch_size, crop, mean=None, indices=rows, shard=(rank, world), **options) as loader:
            for step in range(len(loader)):
                samples = loader.samples(epoch, step)
                x, y = loader.batch(epoch, step)
                mine = np.array(rows)[samples]
                np.testing.assert_array_equal(y, mine)
                table = crop.table(12, 14, samples, seed, epoch)
                np.testing.assert_array_equal(x, reference.crop(images[mine], table, (7, 9)))
                ids += samples.tolist()
    assert sorted(ids) == list(range(len(rows)))


@ANY_PATH
@given(data=st.data())
def test_a_part_resumes_at_the_exact_next_sample_with_other_shards_and_batches(numbered, data):
    path, _ = numbered(**LAYOUTS[data.draw(st.sampled_from(list(LAYOUTS)))])
    rows = data.draw(st.lists(st.integers(0, N - 1), min_size=4, max_size=N, unique=True))
    options = {"crop": CenterCrop(3), "indices": rows, "shuffle": True, "shuffle_window": 8, "seed": 1}
    with Loader(path, len(rows), **options) as loader:
        order = loader.samples(1, 0)
    before, after = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    with Loader(path, data.draw(st.integers(1, 3)), shard=(0, before), **options) as loader:
        loader.set_epoch(1)
        steps = data.draw(st.integers(1, len(loader)))
        for _ in zip(range(steps), loader, strict=False):
            pass
        state, seen = loader.state_dict(), loader.seen(1, steps)
    rest = np.full(len(rows), -1)
    for rank in range(after):
        with Loader(path, 2, shard=(rank, after), **options) as loader:
            loader.load_state_dict(state)
            assert loader.next_epoch == (2 if seen == len(rows) else 1)
            if loader.next_epoch == 1:
                mine = [loader.samples(1, step) for step in range(loader.next_step, len(loader))]
                rest[seen + rank :: after] = np.concatenate(mine) if mine else []
    np.testing.assert_array_equal(rest[seen:], order[seen:])


@pytest.mark.parametrize("window", [16, 64, None])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_chunks_of_a_part_are_decoded_once_an_epoch_in_windows_and_in_order(numbered, rng, share, window):
    path, images = numbered(n=200, chunks=(8, 12, 14, 3), compression="gzip")
    rows = np.flatnonzero(rng.random(200) < share) if share < 1 else np.arange(200)
    n_chunks = len(np.unique(rows // 8))
    for order in (rows, rng.permutation(rows)):
        with Loader(path, 8, None, mean=None, indices=order, shuffle=True, shuffle_window=window, workers=2) as loader:
            if loader._dataset.block_starts is not None:
                assert loader.stats()["order"].startswith(("chunks shuffled", "all samples shuffled, every chunk"))
            for number in range(1, 3):
                for step, (x, y) in enumerate(loader):
                    np.testing.assert_array_equal(y, order[loader.samples(number - 1, step)])
                    np.testing.assert_array_equal(x, images[y].astype(np.float32))
                assert loader.stats()["blocks_decoded"] <= n_chunks * number * 1.1  # as for whole files, on average once
    with Loader(path, 8, None, mean=None, indices=rows, workers=2) as loader:
        assert sum(len(y) for _, y in loader) == len(rows)
        assert loader.stats()["blocks_decoded"] == n_chunks


def test_a_part_with_no_two_images_in_a_chunk_is_shuffled_as_a_whole(numbered):
    path, _ = numbered(n=200, chunks=(8, 12, 14, 3), compression="gzip")
    with Loader(path, 5, None, indices=slice(3, None, 8), shuffle=True) as loader:
        assert loader.stats()["order"] == "all samples shuffled"
        assert sorted(np.concatenate([y for _, y in loader]).tolist()) == list(range(3, 200, 8))
        assert loader.stats()["blocks_decoded"] == 25


def test_an_automatic_window_takes_no_more_chunks_of_a_part_than_of_its_file(tmp_path, rng):
    n = 40_000
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=np.zeros((n, 2, 2), np.uint8), chunks=(100, 2, 2), compression="gzip")
        file["labels"] = rng.integers(0, 10, n)
    part = np.flatnonzero(rng.random(n) < 0.2)
    windows = []
    for indices in (None, part):
        with Loader(path, 64, None, mean=None, indices=indices, shuffle=True) as loader:
            windows.append(loader._sampler.windows.blocks_per_window)
    assert windows[0] == windows[1] == 32


def test_a_damaged_sample_is_replaced_by_one_of_the_part_only(numbered):
    """Never by a sample of validation, and by the same one whatever was read before."""
    path, images = numbered(n=40, chunks=(4, 12, 14, 3), compression="gzip", fletcher32=True)
    damage(path, [4, 8, 36])  # the chunks that begin with these rows
    rows = np.array([38, 0, 5, 6, 9, 17, 30, 12, 37])
    # by the next ones of the part in the order of the file, where those of a chunk count as a block; 37 and 38, the last ones,
    # by the first two, of which 5 is damaged
    wanted = {5: 12, 6: 12, 9: 12, 37: 0, 38: 12}
    options = {"crop": None, "mean": None, "indices": rows, "on_corrupt": "skip"}
    for shuffle, first in ((False, None), (True, None), (True, 2)):
        with Loader(path, 4, shuffle=shuffle, **options) as loader:
            if first is not None:
                loader.batch(0, first)
            for step, (x, y) in enumerate(loader):
                right = [wanted.get(int(row), int(row)) for row in rows[loader.samples(0, step)]]
                np.testing.assert_array_equal(y, right)
                np.testing.assert_array_equal(x, images[right].astype(np.float32))
            assert loader.stats()["corrupt"]["samples"] == 5
            np.testing.assert_array_equal(loader._source.replaced(np.arange(9)), np.isin(rows, [5, 6, 9, 37, 38]))
    with Loader(path, 2, None, indices=[4, 10, 38], on_corrupt="skip") as loader, pytest.raises(DataError, match="sample"):
        next(iter(loader))
    with Loader(path, 2, None, indices=[0, 1, 12]) as loader:  # what is damaged elsewhere is not asked for
        assert sum(len(y) for _, y in loader) == 3


def test_errors_name_the_row_of_the_file(make_file, tmp_path):
    path, images, _ = make_file(dtype="float32", mean=False)
    with h5py.File(path, "r+") as file:
        file["images"][17, 6, 7] = np.inf
        file["labels"][20] = 77
    with Loader(path, 2, CenterCrop(3), mean=None, indices=[3, 17, 20]) as loader:
        with pytest.raises(DataError, match=r"sample 17: .*NaN or infinity"):
            list(loader)
        with pytest.raises(DataError, match=r"sample 20: labels must lie in 0\.\.2 .* found 77"):
            Loader(path, 2, CenterCrop(3), mean=None, indices=[3, 17, 20], num_classes=3)
    with Loader(path, 2, CenterCrop(3), mean=None, indices=[3, 4, 5], num_classes=3) as loader:  # the others do not matter
        assert sum(len(y) for _, y in loader) == 3
    floats = tmp_path / "floats.h5"
    write_images(floats, images.astype(np.uint8), labels=np.where(np.arange(N) == 12, np.nan, 1.0))
    with pytest.raises(DataError, match="sample 12: its label has NaN"):
        Loader(floats, 2, None, mean=None, indices=slice(10, 15))
    Loader(floats, 2, None, mean=None, indices=slice(13, 15)).close()


def test_a_state_of_another_part_or_of_the_whole_file_is_refused(numbered):
    path, _ = numbered()
    with Loader(path, 2, None, indices=ROWS["some"]) as loader:
        next(iter(loader))
        state = loader.state_dict()
        loader.load_state_dict(state)
    others = {"another part": [0, 1, 2, 3, 4, 5, 6], "another order": ROWS["some"][::-1]}
    for indices in others.values():
        with Loader(path, 2, None, indices=indices) as loader, pytest.raises(ValueError, match="other batches: indices"):
            loader.load_state_dict(state)
    with Loader(path, 2, None) as loader:
        with pytest.raises(ValueError, match=r"other batches: .*indices '[0-9a-f]+' \(here None\)"):
            loader.load_state_dict(state)
        assert "indices" not in loader.state_dict()["of"]  # so that states of before there were parts go on loading


@pytest.mark.parametrize(
    ("indices", "text"),
    [
        ([], "indices must name a sample at least, got none"),
        (slice(5, 5), "indices must name a sample at least"),
        (np.zeros(N, bool), "indices must name a sample at least"),
        (np.zeros(N - 1, bool), "indices as a mask must have 23 bools, one for each sample, got 22"),
        (np.arange(N) % 2, r"indices are 23 zeros and ones, as those of a mask, but not bools: pass mask.astype\(bool\)"),
        ([0, 23, 1], r"indices must be numbers in 0\.\.22, got 23 at place 1"),
        ([0, 1, -1], r"indices must be numbers in 0\.\.22, got -1 at place 2"),
        (np.uint64([2**63 + 5]), r"indices must be numbers in 0\.\.22, got 9223372036854775813"),
        ([0.0, 1.0], "indices must be a vector of integers or of bools, a slice, or the name of a dataset, got float64"),
        ([[0, 1], [2]], "indices must be a vector of integers"),
        (3, r"indices must be a vector of integers .* got int64 \(\)"),
        (slice(0.5), r"indices must be a slice of integers, got slice\(None, 0.5, None\)"),
    ],
)
def test_wrong_indices_say_the_rule_and_what_was_found(numbered, indices, text):
    path, _ = numbered()
    with pytest.raises(ValueError, match=text):
        Loader(path, 4, None, indices=indices)


def test_wrong_datasets_of_indices_name_file_and_dataset(numbered):
    path, _ = numbered()
    with h5py.File(path, "r+") as file:
        file["far"], file["texts"], file["mask"], file["none"] = [5, 40], [b"a", b"b"], np.ones(4, bool), np.zeros(0, int)
    for name, text in (
        ("far", r"dataset 'far': indices must be numbers in 0\.\.22, got 40 at place 1"),
        ("texts", "dataset 'texts': indices must be a vector of numbers or of bools, found strings"),
        ("mask", "dataset 'mask': indices as a mask must have 23 bools, one for each row, got 4"),
        ("none", "dataset 'none': indices must name a sample at least, but it is empty"),
        ("nowhere", r"there is no dataset 'nowhere'; .* \(indices= takes another name\)"),
    ):
        with pytest.raises(DataError, match=text) as caught:
            Loader(path, 4, None, indices=name)
        assert caught.value.file == str(path)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_mean_of_a_part_is_that_of_its_images(make_file, dtype):
    files = [make_file(n=n, name=f"{n}.h5", dtype=dtype, chunks=(2, 12, 14, 3), compression="gzip") for n in (5, 8)]
    images = np.concatenate([images for _, images, _ in files])
    rows = [11, 0, 3, 12, 3]
    mean = image_mean([path for path, _, _ in files], indices=rows)
    np.testing.assert_allclose(mean, images[rows].astype(np.float64).mean(axis=(0, 1, 2)), rtol=1e-12)
    if dtype == "float32":
        with h5py.File(files[0][0], "r+") as file:
            file["images"][2, 0, 0, 0] = np.nan
        np.testing.assert_array_equal(image_mean([path for path, _, _ in files], indices=rows), mean)
        with pytest.raises(DataError, match="sample 2: "):
            image_mean(files[0][0], indices=[1, 2])
