"""Loader: batches are pure functions, every sample once, exact resumption, errors carried, nothing left behind."""

import copy
import gc
import itertools
import json
import multiprocessing
import os
import pickle
import threading
import time
import weakref

import h5py
import ml_dtypes
import numpy as np
import pytest
import reference
from conftest import host
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastprep import CenterCrop, DataError, RandomCrop, TenCrop
from fastprep.loader import Loader

pytestmark = pytest.mark.usefixtures("no_thread_left")

N = 23


@pytest.fixture
def path(make_file):
    """A file whose every image is different, and whose label is its number."""
    path, _, _ = make_file(n=N)
    with h5py.File(path, "r+") as file:
        file["labels"][...] = np.arange(N)
    return path


def epoch(loader):
    return [(host(x).copy(), np.asarray(y).copy()) for x, y in loader]


def test_a_batch_is_what_the_oracle_cuts(path, backend):
    with h5py.File(path, "r") as file:
        images, mean = file["images"][()], file["images"].attrs["mean"]
    crop = RandomCrop((7, 9), mirror=True, flip=True)
    with Loader(path, 5, crop, shuffle=True, seed=11, scale=1 / 255) as loader:
        for step, (x, y) in enumerate(loader):
            table = crop.table(12, 14, y, seed=11, epoch=0)
            np.testing.assert_array_equal(host(x), reference.crop(images[y], table, (7, 9), mean, 1 / 255))
            np.testing.assert_array_equal(y, loader.samples(0, step))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(workers=st.integers(1, 4), prefetch=st.integers(0, 4), batch_size=st.integers(1, 30), seed=st.integers(0, 3))
def test_images_depend_on_file_seed_and_epoch_only(path, workers, prefetch, batch_size, seed):
    """Neither on workers, nor prefetch, nor on how the epoch is cut into batches."""
    options = {"crop": RandomCrop(6, mirror=True), "shuffle": True, "seed": seed}
    with Loader(path, N, **options, workers=1, prefetch=0) as loader:
        wanted = [loader.batch(e, 0) for e in range(2)]
    with Loader(path, batch_size, **options, workers=workers, prefetch=prefetch) as loader:
        for x_wanted, y_wanted in wanted:
            batches = epoch(loader)
            assert [len(x) for x, _ in batches] == [batch_size] * (N // batch_size) + ([N % batch_size] if N % batch_size else [])
            np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), x_wanted)
            np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), y_wanted)


def test_batch_gives_the_batch_of_any_epoch_and_step_whatever_was_read(path, backend):
    with Loader(path, 4, RandomCrop(5), shuffle=True, seed=1) as loader:
        epochs = [epoch(loader) for _ in range(3)]
        for e, step in [(2, 5), (0, 0), (1, 3), (0, 5)]:
            x, y = loader.batch(e, step)
            np.testing.assert_array_equal(host(x), epochs[e][step][0])
            np.testing.assert_array_equal(y, epochs[e][step][1])
        assert len({tuple(np.concatenate([y for _, y in e])) for e in epochs}) == 3
        for step in (-1, 6):
            with pytest.raises(IndexError, match=r"step must lie in 0\.\.5"):
                loader.batch(0, step)
        for step in (0.0, None, True):
            with pytest.raises(ValueError, match=f"step must be an integer, got {step}"):
                loader.batch(0, step)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_sample_exactly_once_over_all_shards(path, shuffle, world):
    seen = []
    for rank in range(world):
        with Loader(path, 4, CenterCrop(5), shuffle=shuffle, shard=(rank, world)) as loader:
            mine = [y for _, y in epoch(loader)]
            assert len(mine) == len(loader)
            seen.extend(np.concatenate(mine).tolist())
    assert sorted(seen) == list(range(N))


@pytest.mark.parametrize("layout", [{}, {"chunks": (1, 12, 14, 3)}, {"chunks": (4, 12, 14, 3), "compression": "gzip"}])
def test_a_mapped_file_gives_the_same(make_file, layout):
    path, _, _ = make_file(**layout)
    options = {"batch_size": 5, "crop": RandomCrop((7, 9), mirror=True, flip=True), "shuffle": True, "shuffle_window": 8}
    with Loader(path, **options) as first, Loader(path, **options, io="mmap") as second:
        for (x, y), (x_mapped, y_mapped) in zip(first, second, strict=True):
            np.testing.assert_array_equal(x, x_mapped)
            np.testing.assert_array_equal(y, y_mapped)


def test_a_loader_says_what_it_is(path):
    with Loader(path, 4, CenterCrop(5), shuffle=True) as loader:
        what = "23 images of 12x14x3 uint8, 6 steps of 4, CenterCrop(size=(5, 5), order='tutorial'), all samples shuffled"
        assert repr(loader) == f"<fastprep.Loader {str(path)!r}: {what}>"


def test_remainder_dropped_on_request(path):
    with Loader(path, 5, CenterCrop(5), drop_remainder=True) as loader:
        assert [len(x) for x, _ in loader] == [5] * 4 == [5] * len(loader)


def test_ten_crop_rows_are_sample_major_with_labels_for_each(path, backend):
    with h5py.File(path, "r") as file:
        images = file["images"][()]
    with Loader(path, 4, TenCrop(6), mean=None) as loader:
        assert len(loader) == 6
        batches = epoch(loader)
    x, y = (np.concatenate(part) for part in zip(*batches, strict=True))
    np.testing.assert_array_equal(y, np.arange(N).repeat(10))
    np.testing.assert_array_equal(
        x, np.concatenate([reference.ten_crop(i, (6, 6), "tutorial") for i in images]).astype("float32")
    )


def test_whole_images_without_labels(path, backend):
    with h5py.File(path, "r") as file:
        images = file["images"][()]
    with Loader(path, 10, None, labels=None, mean=None) as loader:
        assert loader.output_shape == (12, 14, 3)
        np.testing.assert_array_equal(np.concatenate([host(x).copy() for x in loader]), images.astype("float32"))


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_types_and_layouts(path, dtype, layout, backend):
    with Loader(path, 8, CenterCrop((4, 6)), dtype=dtype, layout=layout) as loader:
        x, _ = next(iter(loader))
        assert x.dtype.name == dtype
        assert x.shape == (8, *loader.output_shape) == ((8, 4, 6, 3) if layout == "channels_last" else (8, 3, 4, 6))


def test_several_files_are_one_dataset(make_file, tmp_path, backend):
    parts = [
        make_file(n=n, name=f"part-{k}.h5", chunks=(1, 12, 14, 3), compression=c)
        for k, (n, c) in enumerate([(5, None), (1, "gzip"), (9, "lzf")])
    ]
    images, labels = (np.concatenate([part[k] for part in parts]) for k in (1, 2))
    for files in ([part[0] for part in parts], str(tmp_path / "part-*.h5"), tmp_path / "part-?.h5"):
        with Loader(files, 4, None, shuffle=True, mean=None) as loader:
            for step, (x, y) in enumerate(loader):
                samples = loader.samples(0, step)
                np.testing.assert_array_equal(host(x), images[samples])
                np.testing.assert_array_equal(y, labels[samples])
            assert [f["samples"] for f in loader.stats()["files"]] == [5, 1, 9]


# --- arguments that are read back

ARGUMENTS = {
    "images": "images",
    "axes": "NHWC",
    "shape": None,
    "channels": (2, 0, 1),
    "labels_name": "labels",
    "dtype": "float16",
    "layout": "channels_first",
    "policy": None,
    "color": None,
    "erase": None,
    "blend": None,
    "transform": None,
    "standardize": True,
    "num_classes": 3,
    "shuffle": True,
    "shuffle_window": 64,
    "mix": None,
    "seed": 7,
    "shard": (1, 2),
    "drop_remainder": True,
    "class_weight": {0: 0.5, 2: 3.0},
    "device": "cpu",
    "decode": "cpu",
    "workers": 2,
    "prefetch": 1,
    "io": "mmap",
    "on_corrupt": "skip",
    "check_finite": False,
    "storage_options": None,
    "cache": None,
    "cache_bytes": None,
}
ARRAYS = {"mean": [1.0, 2.0, 3.0], "scale": [0.5, 1.0, 2.0], "sample_weight": np.linspace(0, 2, N)}
ARRAYS |= {"indices": np.arange(N)[::-1], "sampling": np.linspace(1, 3, N)}
POSITIONAL = {"files", "batch_size", "crop", "labels"}
METHODS = {"batch", "close", "load_state_dict", "profile", "samples", "seen", "set_epoch", "show", "state_dict", "stats"}
FACTS = {"channel_order", "class_names", "n_samples", "next_epoch", "next_step", "output_shape"}


def with_all_arguments(path):
    options = {**ARGUMENTS, **ARRAYS}
    return Loader([path], 4, RandomCrop(5), labels=options.pop("labels_name"), **options)


@pytest.mark.parametrize("twin_of", [lambda loader: loader, copy.copy, lambda loader: pickle.loads(pickle.dumps(loader))])
def test_arguments_can_be_read_back(make_file, twin_of):
    path, _, labels = make_file()
    with with_all_arguments(path) as original, twin_of(original) as loader:
        assert (loader.files, loader.batch_size, loader.crop) == ((str(path),), 4, RandomCrop(5))
        assert {name: getattr(loader, name) for name in ARGUMENTS} == ARGUMENTS
        for name, values in ARRAYS.items():
            np.testing.assert_array_equal(getattr(loader, name), values)
        np.testing.assert_array_equal(loader.labels, np.eye(3, dtype="float32")[labels[ARRAYS["indices"]]])


def test_arguments_that_were_left_out_can_be_read_back(path):
    with Loader(path, 4, None, mean=None) as loader:
        assert loader.crop == CenterCrop((12, 14))
        np.testing.assert_array_equal(loader.labels, np.arange(N))
        for name in ("mean", "scale", "num_classes", "class_weight", "sample_weight", "indices", "sampling", "mix"):
            assert getattr(loader, name) is None
        assert (loader.dtype, loader.layout, loader.device) == ("float32", "channels_last", "auto")
        assert (loader.shuffle, loader.seed, loader.shard, loader.drop_remainder) == (False, 0, (0, 1), False)
        assert 1 <= loader.workers <= 8
    with Loader(path, 4, None, labels=None) as loader:
        assert (loader.labels, loader.labels_name) == (None, None)


def test_arguments_can_not_be_assigned(make_file):
    path, _, _ = make_file()
    with with_all_arguments(path) as loader:
        wanted = loader.batch(0, 0)
        for name in (*ARGUMENTS, *ARRAYS, *POSITIONAL):
            before = getattr(loader, name)
            argument = "labels" if name == "labels_name" else name
            with pytest.raises(
                AttributeError, match=rf"^{name} of a loader can't be changed, .*: fastprep\.Loader\(\.\.\., {argument}=\.\.\.\)"
            ):
                setattr(loader, name, before)
            with pytest.raises(AttributeError):
                delattr(loader, name)
        for got, right in zip(loader.batch(0, 0), wanted, strict=True):
            np.testing.assert_array_equal(got, right)


def test_what_is_handed_out_or_was_handed_in_does_not_change_the_loader(make_file):
    path, _, _ = make_file()
    given = {name: np.array(values, None if name == "indices" else "float32") for name, values in ARRAYS.items()}
    class_weight = {0: 0.5}
    with Loader(path, 4, None, class_weight=class_weight, **given) as original:
        wanted = [part.copy() for part in original.batch(0, 0)]
        for loader in (original, pickle.loads(pickle.dumps(original))):
            for array in (loader.labels, loader.mean, loader.scale, loader.sample_weight, loader.indices, loader.sampling):
                with pytest.raises(ValueError, match="read-only"):
                    array[...] = 0
            with pytest.raises(TypeError):
                loader.class_weight[0] = 9.0
            for array in given.values():
                array[...] = 9
            class_weight[0] = 9.0
            assert loader.class_weight == {0: 0.5}
            np.testing.assert_array_equal(loader.mean, ARRAYS["mean"])
            for got, right in zip(loader.batch(0, 0), wanted, strict=True):
                np.testing.assert_array_equal(got, right)
            loader.close()


def test_completion_shows_the_arguments_and_the_methods_for_users(path):
    with Loader(path, 4, None) as loader:
        shown = {name for name in dir(loader) if not name.startswith("_")}
    assert shown == {*ARGUMENTS, *ARRAYS, *POSITIONAL, *METHODS, *FACTS}


# --- images that are decoded together

SHARED = {
    "gzip": {"chunks": (8, 12, 14, 3), "compression": "gzip"},
    "split": {"chunks": (8, 5, 14, 2)},
    "by HDF5": {"chunks": (8, 12, 14, 3), "dtype": "int16", "scaleoffset": 0},
}


@pytest.mark.parametrize("layout", SHARED)
@pytest.mark.parametrize("workers", [1, 3])
def test_no_block_is_decoded_twice_in_an_epoch(make_file, layout, workers):
    path, images, _ = make_file(n=203, **SHARED[layout])
    with Loader(path, 16, None, mean=None, shuffle=True, shuffle_window=64, workers=workers) as loader:
        assert loader.stats()["order"] == "chunks shuffled, then the samples in windows of 8 of 26 chunks"
        for number in range(2):
            seen = []
            for step, (x, _) in enumerate(loader):
                samples = loader.samples(number, step)
                np.testing.assert_array_equal(x, images[samples])
                seen.extend(samples.tolist())
            assert sorted(seen) == list(range(203))
            assert loader.stats()["blocks_decoded"] <= 26 * (number + 1)  # less, where the last epoch's are still there
        under_way = -(-(workers + 2) * 16 * 26 // 203)  # of the next window but one: steps under way, in blocks
        assert len(loader._dataset.image_files.cache._blocks) <= 2 * 8 + under_way
        np.testing.assert_array_equal(loader.batch(0, 3)[0], images[loader.samples(0, 3)])


@pytest.mark.parametrize("layout", SHARED)
def test_file_order_decodes_no_block_twice_either(make_file, layout):
    path, images, _ = make_file(n=203, **SHARED[layout])
    with Loader(path, 5, None, mean=None, workers=2) as loader:
        np.testing.assert_array_equal(np.concatenate([x.copy() for x, _ in loader]), images)
        assert loader.stats()["order"] == "file order"
        assert loader.stats()["blocks_decoded"] == 26


def test_a_window_of_0_shuffles_all_samples_alike(make_file):
    path, images, _ = make_file(n=203, **SHARED["gzip"])
    with Loader(path, 16, None, mean=None, shuffle=True, shuffle_window=0) as loader:
        assert loader.stats()["order"] == "all samples shuffled"
        for step, (x, _) in enumerate(loader):
            np.testing.assert_array_equal(x, images[loader.samples(0, step)])
        assert loader.stats()["blocks_decoded"] > 26


@pytest.mark.parametrize("io", ["pread", "mmap"])
def test_blocks_that_are_stored_as_they_are(tmp_path, rng, io):
    """Chunks that skipped their filters, among others that did not: none is overwritten while it is kept."""
    images = rng.integers(0, 256, (64, 12, 14, 3), dtype=np.uint8)
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        dataset = file.create_dataset("images", data=images, chunks=(8, 12, 14, 3), compression="gzip")
        file["labels"] = np.arange(64)
        for first in range(0, 64, 16):
            dataset.id.write_direct_chunk((first, 0, 0, 0), images[first : first + 8].tobytes(), filter_mask=1)
    with Loader(tmp_path / "raw.h5", 8, None, mean=None, shuffle=True, shuffle_window=32, workers=2, io=io) as loader:
        for x, y in loader:
            np.testing.assert_array_equal(x, images[y])


def test_windows_run_over_several_files(make_file):
    parts = [make_file(n=n, name=f"{n}.h5", chunks=(c, 12, 14, 3), compression="gzip") for n, c in ((50, 8), (7, 3), (31, 16))]
    images = np.concatenate([part[1] for part in parts])
    with Loader([part[0] for part in parts], 6, None, mean=None, shuffle=True, shuffle_window=32, seed=3) as loader:
        for step, (x, _) in enumerate(loader):
            np.testing.assert_array_equal(x, images[loader.samples(0, step)])
        assert loader.stats()["blocks_decoded"] == 7 + 3 + 2


def test_a_damaged_block_is_an_error_where_it_is_read(make_damaged_file, backend):
    path = make_damaged_file(200, 8, 400)
    with Loader(path, 8, None, shuffle=True, shuffle_window=32) as loader:
        with pytest.raises(DataError, match="chunk 17, sample 136: gzip data is damaged"):
            list(loader)
        with pytest.raises(DataError, match="chunk 17"):  # again, and not a hang
            list(loader)


# --- labels, weights, means


def test_labels_of_any_shape_pass_through(make_file):
    path, _, _ = make_file()
    boxes = np.arange(N * 8.0).reshape(N, 2, 4)
    with h5py.File(path, "r+") as file:
        file["boxes"] = boxes
    with Loader(path, 6, None, labels="boxes") as loader:
        np.testing.assert_array_equal(np.concatenate([y for _, y in loader]), boxes)


def test_one_hot(make_file):
    path, _, labels = make_file()
    with Loader(path, 6, None, num_classes=4) as loader:
        one_hot = np.concatenate([y for _, y in loader])
    np.testing.assert_array_equal(one_hot, np.eye(4, dtype="float32")[labels])
    with pytest.raises(DataError, match=r"sample \d+: labels must lie in 0\.\.1 for num_classes=2, found 2"):
        Loader(path, 6, None, num_classes=2)


def test_class_weights(make_file):
    path, _, labels = make_file()
    with Loader(path, 6, None, class_weight={0: 0.5, 2: 3}) as loader:
        weights = np.concatenate([w for _, _, w in loader])
    np.testing.assert_array_equal(weights, np.array([0.5, 1, 3], "float32")[labels])
    for bad, message in (
        ({0: -1}, "class_weight must be finite as float32 and not negative, got -1"),
        ({0: "a"}, "class_weight must be finite as float32 and not negative, got 'a'"),
        ({0: 1e39}, "class_weight must be finite as float32 and not negative, got 1e"),
        ({"0": 5.0}, "class_weight must have labels that occur for its keys, got '0'"),
        ({7: 5.0}, "class_weight must have labels that occur for its keys, got 7"),
        ([1, 2], "class_weight must map labels to weights, or be"),
        ("equal", "class_weight must map labels to weights, or be \"balanced\", got 'equal'"),
    ):
        with pytest.raises(ValueError, match=message):
            Loader(path, 6, None, class_weight=bad)


def test_words_of_commands_mean_the_same_in_python(make_file):
    path, images, labels = make_file(mean=False)
    counts = np.bincount(labels)
    with Loader(path, 6, None, mean="compute", class_weight="balanced", indices=slice(0, 23)) as loader:
        np.testing.assert_array_equal(loader.mean, images.mean(axis=(0, 1, 2)).astype("float32"))
        weights = np.concatenate([w for _, _, w in loader])
    np.testing.assert_array_equal(weights, (23 / (np.count_nonzero(counts) * counts)).astype("float32")[labels])
    with Loader(path, 6, None, mean="compute", class_weight="balanced", indices=[1, 5, 6]) as loader:
        np.testing.assert_array_equal(loader.mean, images[[1, 5, 6]].mean(axis=(0, 1, 2)).astype("float32"))
    inputs = {"images": {"a": "images", "b": "images"}, "channels": {"a": None, "b": [1]}, "mean": {"a": "none", "b": "compute"}}
    with Loader(path, 6, None, **inputs, indices=[4, 2], labels=("labels", "labels"), class_weight=("balanced", None)) as loader:
        assert loader.mean["a"] is None
        np.testing.assert_array_equal(loader.mean["b"], images[[4, 2], ..., 1:2].mean(axis=(0, 1, 2)).astype("float32"))
        assert [w.tolist() for w in loader.batch(0, 0)[2]] == [[1.0, 1.0], [1.0, 1.0]]
    with Loader(path, 6, None, mean="none", labels="none", sampling="none", class_weight="none") as loader:
        assert (loader.mean, loader.labels, loader.sampling, loader.class_weight) == (None, None, None, None)
        np.testing.assert_array_equal(np.concatenate(list(loader)), images)
    with pytest.raises(FileNotFoundError, match=r'mean must be "file", "compute", "none", numbers, .* no file \'compuet\''):
        Loader(path, 6, None, mean="compuet")
    with pytest.raises(ValueError, match="class_weight needs labels"):
        Loader(path, 6, None, mean=0, labels="none", class_weight="balanced")


def test_sample_weights(make_file, rng):
    """By the name of a dataset, or as numbers; of several files; with the weights of classes their product."""
    paths, labels, own = [], [], []
    for name, dtype, shape in (("one.h5", ">f8", (23,)), ("two.h5", "uint8", (23, 1))):
        path, _, file_labels = make_file(name=name)
        weights = rng.integers(0, 9, 23).astype(dtype)
        with h5py.File(path, "r+") as file:
            file["trust"] = weights.reshape(shape)
        paths.append(path), labels.append(file_labels), own.append(weights)
    labels, own = np.concatenate(labels), np.concatenate(own).astype("float32")
    common = {"shuffle": True, "shard": (1, 2)}
    for named in ("trust", own, own.astype(int).tolist()):
        with Loader(paths, 6, TenCrop(5), sample_weight=named, **common) as loader:
            samples = [loader.samples(0, step) for step in range(len(loader))]
            weights = [w for _, _, w in loader]
        assert all(w.dtype == np.float32 for w in weights)
        np.testing.assert_array_equal(np.concatenate(weights), own[np.concatenate(samples)].repeat(10))
    with Loader(paths, 6, None, sample_weight="trust", class_weight={0: 0.5, 2: 3}) as loader:
        weights = np.concatenate([w for _, _, w in loader])
    np.testing.assert_array_equal(weights, own * np.array([0.5, 1, 3], "float32")[labels])


def test_sample_weights_that_make_no_sense(make_file):
    path, _, _ = make_file()
    with h5py.File(path, "r+") as file:
        file["few"], file["names"], file["wide"] = np.zeros(N - 1), ["a"] * N, np.zeros((N, 2))
        file["empty"], file["one"] = h5py.Empty("f4"), 1.0
        file["debt"], file["unknown"] = np.where(np.arange(N) == 7, -0.5, 1.0), np.where(np.arange(N) == 5, np.nan, 1.0)
    for name, message in (
        ("nothing", "there is no dataset 'nothing'; it has .*sample_weight="),
        ("few", r"dataset 'few': there must be one weight for each of the 23 images, found shape \(22,\)"),
        ("names", r"dataset 'names': weights must be one number for each image, found strings \(23,\)"),
        ("wide", r"dataset 'wide': weights must be one number for each image, found float64 \(23, 2\)"),
        ("empty", "dataset 'empty': weights must be one number for each image, found float32 None"),
        ("one", r"dataset 'one': weights must be one number for each image, found float64 \(\)"),
        ("debt", "dataset 'debt', sample 7: weights must not be negative, and finite as float32, found -0.5"),
        ("unknown", "dataset 'unknown', sample 5: weights must not be negative, and finite as float32, found nan"),
    ):
        with pytest.raises(DataError, match=message):
            Loader(path, 6, None, sample_weight=name)
    for numbers, message in (
        (np.ones(N - 1), r"must be a dataset's name, or 23 numbers, one for each sample, got float64 \(22,\)"),
        (["a"] * N, r"must be a dataset's name, or 23 numbers, .* got <U1 \(23,\)"),
        (2.0, r"must be a dataset's name, or 23 numbers, .* got float64 \(\)"),
        (-np.ones(N), "must not be negative, and finite as float32, got -1.0 for sample 0"),
        ([1.0] * (N - 1) + [float("inf")], "must not be negative, and finite as float32, got inf for sample 22"),
        ([1e300] * N, r"must not be negative, and finite as float32, got 1e\+300 for sample 0"),
    ):
        with pytest.raises(ValueError, match=f"sample_weight {message}"):
            Loader(path, 6, None, sample_weight=numbers)


@pytest.mark.parametrize(("order", "wanted"), [(None, [3, 2, 1]), ("BGR", [3, 2, 1]), ("RGB", [1, 2, 3])])
def test_mean_of_a_tutorials_json(make_file, tmp_path, caplog, order, wanted):
    path, images, _ = make_file(mean=False)
    if order:
        with h5py.File(path, "r+") as file:
            file["images"].attrs["channel_order"] = order
    (tmp_path / "mean.json").write_text(json.dumps({"R": 1, "G": 2, "B": 3}))
    with Loader(path, N, None, mean=tmp_path / "mean.json") as loader:
        np.testing.assert_array_equal(loader.batch(0, 0)[0], images.astype("float32") - np.float32(wanted))
        np.testing.assert_array_equal(loader.mean, wanted)
        assert loader.channel_order == order
    assert ("do not name their channel order" in caplog.text) == (order is None)


def test_mean_numbers_and_image(make_file, backend):
    path, images, _ = make_file(mean=False)
    for mean in (3.5, [1, 2, 3], np.random.default_rng(0).uniform(0, 255, images.shape[1:])):
        with Loader(path, N, None, mean=mean) as loader:
            np.testing.assert_array_equal(host(loader.batch(0, 0)[0]), images.astype("float32") - np.asarray(mean, "float32"))


def test_a_missing_mean_is_not_passed_over(make_file, tmp_path):
    path, _, _ = make_file(mean=False)
    with pytest.raises(DataError, match=r"no mean is stored in the file.*mean=fastprep.image_mean\(training files\).*mean=None"):
        Loader(path, 4, None)
    other, _, _ = make_file(name="other.h5")
    third, _, _ = make_file(name="third.h5", channels=3)
    with h5py.File(third, "r+") as file:
        file["images"].attrs["mean"] = [1.0, 2.0, 3.0]
    with pytest.raises(DataError, match=r"third\.h5'.*the stored mean .* differs from .* in .*other\.h5"):
        Loader([other, third], 4, None)
    (tmp_path / "mean.json").write_text('{"R": 1, "G": 2}')
    with pytest.raises(ValueError, match="must have a finite number for each of B, G, R"):
        Loader(path, 4, None, mean=tmp_path / "mean.json")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        Loader(path, 4, None, mean="nowhere.json")


# --- standing still and going on


def test_state_resumes_at_the_exact_next_batch(path, backend):
    options = {"batch_size": 4, "crop": RandomCrop(6), "shuffle": True, "seed": 5}
    with Loader(path, **options) as loader:
        everything = [batch for _ in range(3) for batch in epoch(loader)]
    steps = len(everything) // 3
    for done in (0, 1, 3, steps - 1, steps, steps + 2, 2 * steps):
        with Loader(path, **options) as loader:
            read = 0
            while read < done:
                for _ in itertools.islice(loader, done - read):
                    read += 1
            state = json.loads(json.dumps(loader.state_dict()))
        assert (state["epoch"], state["seen"]) == (done // steps, done % steps * 4)
        for _ in range(2):  # twice from the same state
            with Loader(path, **options) as resumed:
                resumed.load_state_dict(state)
                assert resumed.state_dict() == state
                rest = epoch(resumed) + epoch(resumed)
                assert len(rest) == 2 * steps - done % steps
                for (x, y), (x_wanted, y_wanted) in zip(rest, everything[done:], strict=False):
                    np.testing.assert_array_equal(x, x_wanted)
                    np.testing.assert_array_equal(y, y_wanted)


def test_state_of_another_loader_is_refused(path):
    with Loader(path, 4, CenterCrop(5), seed=1) as first, Loader(path, 5, CenterCrop(5), seed=2) as second:
        with pytest.raises(ValueError, match=r"state is from a loader with other batches: seed 1 \(here 2\)"):
            second.load_state_dict(first.state_dict())
        with pytest.raises(ValueError, match=r"state must be from state_dict\(\), got None"):
            first.load_state_dict(None)
        with pytest.raises(ValueError, match="version 2, got version 9"):
            first.load_state_dict({"version": 9})
        with pytest.raises(ValueError, match=r"seen in 0\.\.22, got 0 and 23"):
            first.load_state_dict({**first.state_dict(), "seen": 23})


@pytest.mark.parametrize("missing", ["epoch", "seen", "of"])
def test_half_a_state_is_refused(path, missing):
    with Loader(path, 4, CenterCrop(5)) as loader:
        state = loader.state_dict()
        del state[missing]
        with pytest.raises(ValueError, match=rf"state must be from state_dict\(\), but it lacks {missing}"):
            loader.load_state_dict(state)


@pytest.mark.parametrize("drop_remainder", [False, True])
def test_the_state_at_the_end_of_an_epoch_is_the_begin_of_the_next(path, drop_remainder):
    with Loader(path, 4, CenterCrop(5), shuffle=True, drop_remainder=drop_remainder) as loader:
        loader.set_epoch(3, len(loader))
        state = json.loads(json.dumps(loader.state_dict()))
        assert (state["epoch"], state["seen"]) == (4, 0)
        loader.load_state_dict(state)
        assert (loader.next_epoch, loader.next_step) == (4, 0)
        np.testing.assert_array_equal(next(iter(loader))[1], loader.samples(4, 0))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_other_shards_and_batches_go_on_with_the_samples_that_are_left(path, shuffle, after):
    """Two shards in batches of 3 read for a while; then three in batches of 2 share the rest, and the next epoch is whole."""
    seen = []
    for rank in range(2):
        with Loader(path, 3, CenterCrop(5), shuffle=shuffle, shard=(rank, 2)) as loader:
            loader.set_epoch(4)
            for _ in itertools.islice(loader, after):
                pass
            seen.append(np.concatenate([[], *(loader.samples(4, step) for step in range(after))]))
            state = json.loads(json.dumps(loader.state_dict()))
    for rank in range(3):
        with Loader(path, 2, CenterCrop(5), shuffle=shuffle, shard=(rank, 3)) as loader:
            loader.load_state_dict(state)
            first = len(loader) - sum(1 for _ in loader)
            assert loader.next_epoch == 5
            loader.load_state_dict(state)
            seen.append(np.concatenate([loader.samples(4, step) for step in range(first, len(loader))]))
            for step, (x, _) in enumerate(loader, first):
                assert len(x) == len(loader.samples(4, step))
            assert sum(len(x) for x, _ in loader) == len(range(rank, N, 3))
    assert sorted(np.concatenate(seen).tolist()) == list(range(N))


def test_an_epoch_may_begin_at_any_step_or_be_over(path):
    with Loader(path, 4, None, shuffle=True) as loader:
        whole = [loader.batch(3, step)[0] for step in range(len(loader))]
        for first in range(len(loader) + 1):
            loader.set_epoch(3, first)
            assert (loader.next_epoch, loader.next_step) == (3, first)
            assert loader.seen(3, first) == min(loader.n_samples, 4 * first)
            got = [x for x, _ in loader]
            assert len(got) == len(loader) - first
            for x, expected in zip(got, whole[first:], strict=True):
                np.testing.assert_array_equal(x, expected)
            assert (loader.next_epoch, loader.next_step) == (4, 0)
        with pytest.raises(ValueError, match=rf"step must lie in 0..{len(loader)}, got {len(loader) + 1}"):
            loader.set_epoch(3, len(loader) + 1)


def test_set_epoch(path):
    with Loader(path, 4, RandomCrop(5), shuffle=True) as loader:
        loader.set_epoch(7)
        np.testing.assert_array_equal(next(iter(loader))[0], loader.batch(7, 0)[0])
        assert loader.state_dict()["epoch"] == 7


def test_two_iterations_at_once_are_two_epochs(path):
    with Loader(path, 4, RandomCrop(5), shuffle=True) as loader:
        pairs = [(a[1].copy(), b[1].copy()) for a, b in zip(loader, loader, strict=True)]
        for step, (a, b) in enumerate(pairs):
            np.testing.assert_array_equal(a, loader.samples(0, step))
            np.testing.assert_array_equal(b, loader.samples(1, step))


def test_kept_batches_stay_what_they_are(path, backend):
    with Loader(path, 2, RandomCrop(6), prefetch=1, workers=2) as loader:
        kept = list(loader)
        for step, (x, y) in enumerate(kept):
            np.testing.assert_array_equal(host(x), host(loader.batch(0, step)[0]))
            np.testing.assert_array_equal(y, loader.batch(0, step)[1])
    np.testing.assert_array_equal(kept[0][1], [0, 1])  # after close, too


def test_memory_is_flat_over_epochs(path, backend):
    with Loader(path, 2, CenterCrop(6), workers=2, prefetch=2) as loader:
        for _ in range(30):
            for _batch in loader:
                pass
        assert loader.stats()["buffers"] <= 2 + 2 + 2
        assert loader.stats()["batches"] == 30 * 12
        assert loader.stats()["samples"] == 30 * N


@pytest.mark.parametrize("batch_size", [N + 1, 10**6, 10**12, 2**63, 2**100])
@pytest.mark.parametrize("options", [{}, {"shuffle": True}, {"shard": (1, 3)}])
def test_memory_is_for_the_samples_there_are_and_not_for_a_larger_batch_size(path, batch_size, options, backend):
    wanted = -(-N // 3) if "shard" in options else N
    with (
        Loader(path, batch_size, TenCrop(6), **options) as loader,
        Loader(path, wanted, TenCrop(6), **options) as same,
    ):
        assert loader._pool.buffer_bytes == wanted * 10 * 6 * 6 * 3 * 4
        for _ in range(2):
            ((x, y),), ((x_wanted, y_wanted),) = loader, same
            np.testing.assert_array_equal(host(x), host(x_wanted))
            np.testing.assert_array_equal(y, y_wanted)
        assert len(loader) == 1
        assert loader.batch_size == batch_size
        assert loader.state_dict()["epoch"] == 2


def test_a_batch_size_that_is_larger_than_blocks_and_windows(make_file):
    path, images, _ = make_file(chunks=(4, 12, 14, 3), compression="gzip")
    with Loader(path, 10**12, CenterCrop((12, 14)), mean=None, shuffle=True, shuffle_window=8) as loader:
        x, _ = loader.batch(0, 0)
        np.testing.assert_array_equal(x, images[loader.samples(0, 0)].astype(np.float32))
        assert loader.stats()["blocks_decoded"] == 6


# --- what goes wrong


def test_an_error_arrives_in_its_place_and_the_loader_goes_on(make_damaged_file, backend):
    with Loader(make_damaged_file(40, 1, 40), 4, CenterCrop(5), workers=3) as loader:
        iterator, seen = iter(loader), []
        with pytest.raises(DataError, match="chunk 17, sample 17: gzip data is damaged"):
            seen.extend(y for _, y in iterator)
        assert len(seen) == 4  # samples 0..15
        assert next(iterator, None) is None
        assert len(loader.batch(0, 5)[0]) == 4
        loader.load_state_dict({**loader.state_dict(), "epoch": 0, "seen": 20})
        assert len(epoch(loader)) == 5


def test_an_iterator_that_outlives_a_close_ends_with_an_error(path, backend):
    with Loader(path, 2, CenterCrop(5), workers=2) as loader:
        iterator = iter(loader)
        next(iterator)
    with pytest.raises(RuntimeError, match="the loader was closed, or the process forked, during this iteration"):
        next(iterator)
    assert next(iterator, None) is None


def test_closed_by_another_thread(path):
    """Whoever iterates gets an error, and no thread is started again."""
    loader = Loader(path, 1, CenterCrop(5), workers=2)
    closer = threading.Thread(target=loader.close)

    def read_on():
        for k, _batch in enumerate(loader):
            if k == 2:
                closer.start()
            time.sleep(0.1)

    with pytest.raises(RuntimeError, match="the loader was closed"):
        read_on()
    closer.join()


def _go_on(iterator, queue):
    try:
        next(iterator)
    except RuntimeError as error:
        queue.put(str(error))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_an_iterator_does_not_survive_a_fork(path):
    context = multiprocessing.get_context("fork")
    with Loader(path, 2, CenterCrop(5), workers=2) as loader:
        iterator = iter(loader)
        next(iterator)
        queue = context.Queue()
        process = context.Process(target=_go_on, args=(iterator, queue))
        process.start()
        assert "the process forked" in queue.get(timeout=60)
        process.join(60)
        assert len(list(iterator)) == len(loader) - 1  # the parent goes on


def test_a_change_of_folder_changes_nothing(make_file, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, layout in {"plain.h5": {}, "hdf5.h5": {"dtype": "int16", "chunks": (1, 12, 14, 3), "scaleoffset": 0}}.items():
        _, images, _ = make_file(name=name, **layout)
        with Loader(name, N, None, mean=None) as loader:
            (tmp_path / "elsewhere").mkdir(exist_ok=True)
            monkeypatch.chdir(tmp_path / "elsewhere")
            np.testing.assert_array_equal(loader.batch(0, 0)[0], images)
            monkeypatch.chdir(tmp_path)


def test_attributes_that_make_no_sense(make_file):
    for name, value, message in (
        ("mean", "abc", "attribute 'mean' must hold 3 finite numbers, found 'abc'"),
        ("mean", [1.0, 2.0], "attribute 'mean' must hold 3 finite numbers"),
        ("mean", [1.0, 2.0, np.nan], "attribute 'mean' must hold 3 finite numbers"),
        ("mean", h5py.Empty("f"), "attribute 'mean' must hold 3 finite numbers"),
    ):
        path, _, _ = make_file()
        with h5py.File(path, "r+") as file:
            file["images"].attrs[name] = value
        with pytest.raises(DataError, match=message):
            Loader(path, 4, None)
        Loader(path, 4, None, mean=None).close()  # it does not matter to those who do not want it


def test_no_thread_and_no_file_is_left(path, backend):
    files_before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        loader = Loader(path, 2, CenterCrop(5), workers=3)
        next(iter(loader))
        loader.close()
        loader.close()
    assert len(os.listdir("/proc/self/fd")) == files_before


def test_a_forgotten_loader_ends_its_threads(path, backend):
    loader = Loader(path, 2, CenterCrop(5), workers=3)
    next(iter(loader))
    watch = weakref.ref(loader)
    del loader
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (watch() or any(t.name.startswith("fastprep") for t in threading.enumerate())):
        gc.collect()
        time.sleep(0.01)
    assert watch() is None


def test_a_closed_loader_opens_anew(path, backend):
    with Loader(path, 4, CenterCrop(5)) as loader:
        first = epoch(loader)
        loader.close()
        second = epoch(loader)
        for (x, _), (again, _) in zip(first, second, strict=True):
            np.testing.assert_array_equal(x, again)


def _first_labels(loader, queue):
    queue.put([y.tolist() for _, y in loader])
    loader.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_another_process_may_use_it(path, method, make_file):
    """After a fork files are opened anew; for another process altogether the loader is pickled."""
    lzf, _, _ = make_file(name="lzf.h5", compression="lzf")
    context = multiprocessing.get_context(method)
    for file in (path, lzf):
        with Loader(file, 4, CenterCrop(5), shuffle=True) as loader:
            wanted = [y.tolist() for _, y in loader]
            loader.set_epoch(0)
            queue = context.Queue()
            process = context.Process(target=_first_labels, args=(loader, queue))
            process.start()
            assert queue.get(timeout=60) == wanted
            process.join(60)
            assert process.exitcode == 0
            assert [y.tolist() for _, y in loader] == wanted


def test_pickling_keeps_the_position(path, backend):
    with Loader(path, 4, RandomCrop(5), shuffle=True) as loader:
        for _ in itertools.islice(loader, 2):
            pass
        twin = pickle.loads(pickle.dumps(loader))
        assert twin.state_dict() == loader.state_dict()
        for (x, _), (again, _) in zip(epoch(loader), epoch(twin), strict=True):
            np.testing.assert_array_equal(x, again)
        twin.close()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": 2.5}, ValueError, "batch_size must be an integer"),
        ({"workers": 0}, ValueError, "workers must be an integer of at least 1"),
        ({"prefetch": -1}, ValueError, "prefetch must be an integer of at least 0"),
        ({"shard": (2, 2)}, ValueError, r"shard must be integers \(rank, world\)"),
        ({"shard": (0.5, 2)}, ValueError, r"shard must be integers"),
        ({"shard": 3}, ValueError, r"shard must be integers"),
        ({"seed": None}, ValueError, "seed must be an integer, got None"),
        ({"seed": 1.7}, ValueError, "seed must be an integer, got 1.7"),
        ({"shuffle_window": -1}, ValueError, "shuffle_window must be an integer of at least 0"),
        ({"crop": 227}, ValueError, r"crop must be like RandomCrop\(227\), .* got 227"),
        ({"crop": RandomCrop}, ValueError, r"crop must be like RandomCrop\(227\)"),
        ({"shard": (0, 99), "drop_remainder": True}, ValueError, "there is no batch"),
        ({"device": "gpu"}, ValueError, 'device must be "auto", "cpu", "cuda"'),
        ({"crop": RandomCrop(13)}, ValueError, r"crop is larger than the image: 13x13 from 12x14 pixels \(file .*images\.h5"),
        ({"dtype": "int8"}, ValueError, "dtype must be one of"),
        ({"mean": [1, 2]}, ValueError, r"mean must be a scalar or have the shape \(3,\)"),
        ({"mean": [1, 2, float("nan")]}, ValueError, "mean must be finite"),
        ({"images": "labels"}, DataError, r"images have the shape"),
        ({"labels": "nothing"}, DataError, "there is no dataset 'nothing'"),
        ({"labels": None, "num_classes": 3}, ValueError, "num_classes needs labels"),
        ({"labels": None, "class_weight": {0: 1}}, ValueError, "class_weight needs labels"),
        ({"labels": None, "sample_weight": "labels"}, ValueError, "sample_weight needs labels"),
        ({"labels": "images", "num_classes": 3}, DataError, "num_classes needs integer labels"),
        ({"files": None}, ValueError, "files must be a path, a glob pattern, or a list of paths, got None"),
        ({"files": [1]}, ValueError, r"files must be a path.*, got \[1\]"),
        ({"mean": True}, ValueError, 'mean must be "file", "compute", numbers, the path of a JSON, or None, got True'),
        ({"dtype": np.int8}, ValueError, "dtype must be one of 'float32', 'float16', 'bfloat16', got 'int8'"),
        ({"dtype": 5}, ValueError, "dtype must be one of"),
        ({"files": []}, ValueError, "files must name at least one file"),
        ({"files": "none-*.h5"}, FileNotFoundError, "no file matches 'none-"),
    ],
)
def test_refusals(path, arguments, error, message):
    with pytest.raises(error, match=message):
        Loader(**{"files": path, "batch_size": 4, "crop": CenterCrop(5), **arguments})


def test_channels_first_files_are_hinted_at(make_file):
    path, _, _ = make_file(height=3, width=12, channels=14)
    with pytest.raises(DataError, match=r"\(23, 3, 12, 14\) looks like \(N, C, H, W\), channels first.*axes='NHWC'"):
        Loader(path, 4, CenterCrop(5))


@pytest.mark.parametrize("dtype", [np.float32, np.dtype("float16"), ml_dtypes.bfloat16])
def test_types_of_numbers_by_object(path, dtype):
    with Loader(path, 4, CenterCrop(5), dtype=dtype) as loader:
        assert loader.batch(0, 0)[0].dtype == dtype


def test_labels_of_another_length(make_file):
    path, _, _ = make_file()
    with h5py.File(path, "r+") as file:
        file["few"] = np.zeros(N - 1)
    with pytest.raises(DataError, match=r"dataset 'few': there must be one label for each of the 23 images, found shape \(22,\)"):
        Loader(path, 4, None, labels="few")


def test_files_that_do_not_fit_together(make_file):
    one, _, _ = make_file()
    two, _, _ = make_file(name="two.h5")
    for path, order in ((one, "RGB"), (two, "BGR")):
        with h5py.File(path, "r+") as file:
            file["images"].attrs["channel_order"] = order
    with pytest.raises(DataError, match=r"two\.h5', dataset 'images': channel_order is 'BGR', in .*images\.h5' it is 'RGB'"):
        Loader([one, two], 4, None)
    for other in ({"height": 13}, {"channels": 1}, {"dtype": "float32"}):
        two, _, _ = make_file(name="two.h5", **other)
        with pytest.raises(DataError, match=r"two\.h5', dataset 'images': images are .*, in .*images\.h5' they are uint8"):
            Loader([one, two], 4, None)


def test_weights_of_samples_and_classes_are_finite_together(make_file):
    path, _, labels = make_file()
    with pytest.raises(ValueError, match="sample_weight times class_weight must be finite as float32"):
        Loader(path, 4, None, class_weight={int(labels[0]): 1e30}, sample_weight=np.full(len(labels), 1e30))
