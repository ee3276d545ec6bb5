"""Images that have a dataset each, in a group or in a file each: equal to numpy, in natural order, and read like one dataset."""

import errno
import os
import pickle
import time

import h5py
import numpy as np
import pytest
import tables

import fastprep
from fastprep import DataError, show
from fastprep.h5 import handles, open_images
from fastprep.h5.name_pairs import natural_order
from fastprep.loader import Loader

N = 23
IMAGES = (np.arange(N * 12 * 10 * 3) * 7 % 251).astype("uint8").reshape(N, 12, 10, 3)
K = np.arange(N) % 3
GZIP = {"compression": "gzip", "shuffle": True}

pytestmark = pytest.mark.usefixtures("no_thread_left")

STORAGES = {
    "contiguous": {},
    "one chunk": {"chunks": (12, 10, 3), **GZIP},
    "tiles": {"chunks": (5, 4, 3), **GZIP},
    "raw tiles": {"chunks": (7, 10, 1)},
}


def write(path, images=IMAGES, name="X/{}.png", storage=None):
    with h5py.File(path, "w") as file:
        for k, image in enumerate(images):
            file.create_dataset(name.format(k), data=image, **(storage or {}))
            file[f"y/{k}.png"] = K[k]
        file["labels"] = K[: len(images)]
    return path


def open_group(path, images="X/", **options):
    return Loader(path, 5, None, images=images, mean=None, workers=2, **options)


def images_of(loader):
    return np.concatenate([np.asarray(x) for x, *_ in loader])


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("io", ["pread", "mmap"])
def test_a_group_is_read_directly_in_natural_order(tmp_path, storage, io):
    path = write(tmp_path / "x.h5", storage=STORAGES[storage])
    with open_group(path, io=io) as loader:
        (facts,) = loader.stats()["files"]
        assert facts["read"].startswith("one dataset each, c")
        assert (loader.n_samples, facts["shape"]) == (N, (12, 10, 3))
        np.testing.assert_array_equal(images_of(loader), IMAGES)
    with open_group(path, shuffle=True, labels="y/") as loader:
        for step, (x, y) in enumerate(loader):
            np.testing.assert_array_equal(x, IMAGES[loader.samples(0, step)])
            np.testing.assert_array_equal(y, K[loader.samples(0, step)])


@pytest.mark.parametrize("dtype", ["u1", ">u2", "f8"])
def test_types_and_grey_images_are_those_of_one_dataset(tmp_path, dtype):
    grey = IMAGES[..., 0].astype(dtype)
    with open_group(write(tmp_path / "x.h5", grey)) as loader:
        assert loader.output_shape == (12, 10, 1)
        np.testing.assert_array_equal(images_of(loader)[..., 0], grey)


def test_patterns_and_lists_choose_images(tmp_path):
    path = write(tmp_path / "x.h5")
    with open_group(path, "X/1*.png", labels="y/1*.png") as loader:
        chosen = [1, *range(10, 20)]
        np.testing.assert_array_equal(images_of(loader), IMAGES[chosen])
        np.testing.assert_array_equal(loader.labels, K[chosen])
    names = [f"X/{k}.png" for k in (7, 2, 11)]
    with open_group(path, names, labels=np.arange(3)) as loader:
        assert loader.images == tuple(names)
        np.testing.assert_array_equal(images_of(loader), IMAGES[[7, 2, 11]])
    with h5py.File(tmp_path / "nested.h5", "w") as file:
        for k in range(12):
            file[f"a/{k}/image"], file[f"a/{k}/label"] = IMAGES[k], "even" if k % 2 == 0 else "odd"
    with open_group(tmp_path / "nested.h5", "a/*/image", labels="a/*/label") as loader:
        np.testing.assert_array_equal(images_of(loader), IMAGES[:12])
        assert (loader.class_names, loader.labels.tolist()) == (("even", "odd"), [0, 1] * 6)
    with tables.open_file(tmp_path / "t.h5", "w") as file:
        for k in range(12):
            file.create_carray("/X", f"i{k}", obj=IMAGES[k], createparents=True)
    with open_group(tmp_path / "t.h5", labels=None) as loader:
        np.testing.assert_array_equal(np.concatenate(list(loader)), IMAGES[:12])


@pytest.mark.parametrize(
    ("change", "read"),
    [
        (lambda file: file.create_dataset("X/5.png", data=IMAGES[5], **GZIP), "images stored in different ways"),
        (lambda file: file.create_dataset("X/5.png", data=IMAGES[5], fletcher32=True), "images stored in different ways"),
    ],
)
def test_images_that_are_stored_in_different_ways_are_read_by_hdf5(tmp_path, change, read):
    path = write(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        del file["X/5.png"]
        change(file)
    with open_group(path) as loader:
        assert read in loader.stats()["files"][0]["read"]
        np.testing.assert_array_equal(images_of(loader), IMAGES)
    with h5py.File(path, "r+") as file:
        del file["X/5.png"]
        file.create_dataset("X/5.png", (12, 10, 3), "u1")  # never written
    with open_group(path) as loader:
        np.testing.assert_array_equal(images_of(loader)[[4, 5, 6]], [IMAGES[4], 0 * IMAGES[5], IMAGES[6]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda file: file.create_dataset("X/5.png", data=IMAGES[5, 1:]),
            r"'X/5.png': .* alike: it is \(11, 10, 3\) uint8.*; images of different sizes have to be encoded, such as PNGs",
        ),
        (lambda file: file.create_dataset("X/5.png", data=IMAGES[5].astype("u2")), r"'X/5.png': .* it is \(12, 10, 3\) uint16"),
        (lambda file: file.update({"X/5.png": h5py.SoftLink("/nowhere")}), r"'X/5.png': it is a link to '/nowhere'"),
        (lambda file: file.create_dataset("X/24.png", data=IMAGES[5]), "there must be one label for each of the 24 images"),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_the_dataset(tmp_path, change, message):
    path = write(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        if "24" not in message:
            del file["X/5.png"]
        if "link" in message:
            file["X/5.png"] = h5py.SoftLink("/nowhere")
        else:
            change(file)
    with pytest.raises(DataError, match=message):
        open_group(path)


def test_datasets_of_many_images_each_are_no_images_and_the_way_out_works(tmp_path):
    path, links = tmp_path / "x.h5", [tmp_path / "a.h5", tmp_path / "b.h5"]
    with h5py.File(path, "w") as file:
        file["a/x"], file["b/x"] = IMAGES[:7], IMAGES[7:]
    with pytest.raises(DataError, match=r"of one image each, .*found \(7, 12, 10, 3\) in 'a/x'; .*\(h5py.ExternalLink\)"):
        Loader(path, 4, None, images="*/x", labels=None, mean=None)
    for link, name in zip(links, "ab", strict=True):
        with h5py.File(link, "w") as file:
            file["images"] = h5py.ExternalLink("x.h5", f"{name}/x")
    with Loader(links, N, None, labels=None, mean=None) as loader:
        np.testing.assert_array_equal(loader.batch(0, 0), IMAGES)


def test_a_slip_of_the_pen_is_told_with_the_name_that_is_near(tmp_path):
    path = write(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        file["scans/images"] = IMAGES
    with pytest.raises(DataError, match="there is no dataset 'scans/image', perhaps 'scans/images' is meant; it has "):
        Loader(path, 4, None, images="scans/image", labels=None, mean=None)
    with pytest.raises(DataError, match="there is no dataset 'weights'; it has "):
        Loader(path, 4, None, images="weights", labels=None, mean=None)


def test_a_damaged_image_is_named_and_may_be_skipped(tmp_path):
    path = write(tmp_path / "x.h5", storage={"chunks": (12, 10, 3), **GZIP})
    with h5py.File(path, "r") as file:
        place = file["X/9.png"].id.get_chunk_info(0)
    with open(path, "r+b") as raw:
        raw.seek(place.byte_offset)
        raw.write(b"\xff" * place.size)
    with open_group(path) as loader, pytest.raises(DataError, match=r"dataset 'X/9\.png', chunk 9, sample 9: "):
        list(loader)
    with open_group(path, on_corrupt="skip") as loader:
        np.testing.assert_array_equal(images_of(loader), IMAGES[[*range(9), 10, *range(10, N)]])


def test_labels_that_belong_to_other_images_are_refused(tmp_path):
    path = write(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        file.move("y/9.png", "y/99.png")
    with pytest.raises(DataError, match=r"'y/10\.png' is not the label of 'X/9\.png'"):
        open_group(path, labels="y/")
    with pytest.raises(DataError, match=r"'X' is a group, .* named by their group, with a slash: 'X/'"):
        open_group(path, "X")


def write_pairs(path, images, labels):
    with h5py.File(path, "w") as file:
        for k, (image, label) in enumerate(zip(images, labels, strict=True)):
            file[image], file[label] = IMAGES[k], k
    return path


ANIMALS = ("cat", "dog", "eel")


@pytest.mark.parametrize(
    ("images", "labels", "pattern", "label_pattern"),
    [
        ([f"{name}/image" for name in ANIMALS], [f"{name}/label" for name in ANIMALS], "*/image", "*/label"),
        (["cat/image"], ["cat/label"], "*/image", "*/label"),
        ([f"a/{name}/x/i0" for name in ANIMALS], [f"b/3/{name}.l" for name in ANIMALS], "a/*/x/*", "b/3/*"),
        ([f"X2/{k}" for k in range(3)], [f"y/{k}" for k in range(3)], "X2/", "y/"),
        (["X2/7"], ["y/7"], "X2/", "y/"),
        ([f"P/i_{k:03}" for k in range(12)], [f"q/l_{k}" for k in range(12)], "P/i_*", "q/l_*"),
        ([f"P/r{k:02}c{k}" for k in range(9, 12)], [f"q/r{k}c{k:04}" for k in range(9, 12)], "P/", "q/"),
        (["P/cat0.png", "P/dog1.png"], ["q/0", "q/1"], "P/", "q/"),
        (
            [f"P/{name}.png" for name in ANIMALS],
            [f"q/{name}.txt" for name in ANIMALS],
            ["P/cat.png", "P/dog.png", "P/eel.png"],
            "q/",
        ),
    ],
)
def test_images_and_labels_are_paired_by_what_differs_in_their_names(tmp_path, images, labels, pattern, label_pattern):
    with open_group(write_pairs(tmp_path / "x.h5", images, labels), pattern, labels=label_pattern) as loader:
        assert loader.labels.tolist() == list(range(len(images)))
        np.testing.assert_array_equal(images_of(loader), IMAGES[: len(images)])


@pytest.mark.parametrize(
    ("images", "labels", "pattern", "label_pattern", "pair"),
    [
        (["cat/image", "dog/image"], ["dog/label", "eel/label"], "*/image", "*/label", ("dog/label", "cat/image")),
        (["X/1_9", "X/2_9"], ["y/2_9", "y/3_9"], "X/", "y/", ("y/2_9", "X/1_9")),
        (["X/5"], ["y/7"], "X/", "y/", ("y/7", "X/5")),
        (["X/cat_1", "X/dog_1", "X/dog_2"], ["y/ant_1", "y/cat_1", "y/dog_2"], "X/", "y/", ("y/cat_1", "X/dog_1")),
        (["X/b", "X/a"], ["y/a", "y/b"], ["X/b", "X/a"], "y/", ("y/a", "X/b")),
    ],
)
def test_labels_of_other_names_are_refused_with_the_way_out(tmp_path, images, labels, pattern, label_pattern, pair):
    path = write_pairs(tmp_path / "x.h5", images, labels)
    words = f"'{pair[0]}' is not the label of '{pair[1]}'; labels= takes an array, too, in the order of the images"
    with pytest.raises(DataError, match=words):
        open_group(path, pattern, labels=label_pattern)


def test_a_damaged_label_is_named(tmp_path):
    path = write(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        for k in range(N):
            file.create_dataset(f"z/{k}", data=np.arange(99), **GZIP)
        place = file["z/9"].id.get_chunk_info(0)
    with open(path, "r+b") as raw:
        raw.seek(place.byte_offset)
        raw.write(b"\xff" * place.size)
    with pytest.raises(DataError, match=r"x\.h5', dataset 'z/9': HDF5 can't read it: "):
        open_group(path, labels="z/")


def test_labels_in_a_group_have_a_limit_of_values(tmp_path):
    path = write(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        for k in range(N):
            file[f"m/{k}"] = np.zeros((300, 300), np.uint8)
    words = r"'m/0': a label .* must have 65536 values or fewer, it is \(300, 300\) uint8; store .*, or pass them as an array"
    with pytest.raises(DataError, match=words):
        open_group(path, labels="m/")


def test_names_of_thousands_of_digits_are_sorted_by_their_value():
    names = ["a2", "a10", "a010", "a" + "1" * 5000, "a" + "2" * 5000, "a" + "1" * 5001]
    assert sorted(names[::-1], key=natural_order) == ["a2", "a010", "a10", *names[3:]]


@pytest.mark.parametrize("images", [[], (), 3, None, [b"X/0.png"], ["X/0.png", 1], np.array(["X/0.png"]), b"X/"])
def test_the_argument_images_is_a_name_or_a_list_of_names(tmp_path, images):
    path = write(tmp_path / "x.h5")
    calls = (lambda: open_group(path, images), lambda: open_images(path, images), lambda: fastprep.image_mean(path, images))
    for call in calls:
        with pytest.raises(ValueError, match=r"images must be the name of a dataset, .* or a list of names, got "):
            call()


def test_a_fault_of_the_machine_at_a_group_is_no_missing_name(tmp_path, monkeypatch):
    path = write_pairs(tmp_path / "x.h5", ["cat/image", "dog/image"], ["cat/label", "dog/label"])

    def fail(group, name, *arguments):
        raise OSError(errno.EIO, "errno = 5, error message = 'Input/output error'")

    monkeypatch.setattr(h5py.Group, "get", fail)
    with pytest.raises(OSError, match=r"x\.h5', dataset 'cat': Input/output error"):
        open_group(path, "*/image", labels=None)


def test_the_mean_and_the_names_of_classes_are_those_of_the_group(tmp_path):
    path = write(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        file["X"].attrs.update({"mean": [1.0, 2.0, 3.0], "class_names": ["a", "b", "c"], "channel_order": "RGB"})
    with Loader(path, 5, None, images="X/") as loader:
        assert (loader.mean.tolist(), loader.class_names, loader.channel_order) == ([1, 2, 3], ("a", "b", "c"), "RGB")
        assert pickle.loads(pickle.dumps(loader)).n_samples == N
    np.testing.assert_allclose(fastprep.image_mean(path, "X/"), IMAGES.mean(axis=(0, 1, 2)))


@pytest.mark.parametrize(
    ("name", "images", "group"),
    [
        ("X/{}.png", "X/*.png", "X"),
        ("X/{}.png", ["X/3.png", "X/1.png"], "X"),
        ("a/X{}/image", "a/*/image", "a"),
        ("a/X{}/image", ["a/X1/image", "a/X12/image"], "a"),
        ("X{}/image", "*/image", "/"),
        ("X{}/image", "X*/", "/"),
        ("{}.png", "/", "/"),
    ],
)
def test_attributes_are_those_of_the_group_however_the_images_are_named(tmp_path, name, images, group):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        for k, image in enumerate(IMAGES):
            file[name.format(k)] = image
        file[name.format(3)].attrs["mean"] = [9.0, 9.0, 9.0]  # of this image
        file[group].attrs["mean"] = [1.0, 2.0, 3.0]
        file[group].attrs["channel_order"] = "RGB"
    with Loader(path, 5, None, images=images, labels=None) as loader:
        assert (loader.mean.tolist(), loader.channel_order) == ([1, 2, 3], "RGB")


def test_the_mean_of_one_image_is_not_that_of_all_but_its_order_of_channels_is(tmp_path):
    path = write(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        file["X/0.png"].attrs.update({"mean": [9.0, 9.0, 9.0], "channel_order": "BGR"})
    with open_group(path) as loader:
        assert loader.channel_order == "BGR"
    for images, words in (
        ("X/", r"attribute 'mean' of the group\): `python -m fastprep\.show .* --mean --store`"),
        ("X/*.png", "pass"),
    ):
        with pytest.raises(fastprep.MissingMeanError, match=words) as caught:
            Loader(path, 5, None, images=images)
        assert ("--store" in str(caught.value)) == (images == "X/")


def test_a_mean_is_stored_with_the_group_and_found_there(tmp_path, capsys):
    path = write(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        del file["labels"]
    assert show.main([str(path), "--images", "X/", "--mean", "--store"]) == 0
    assert "stored as attributes mean and covariance of 'X/'" in capsys.readouterr().out
    mean = IMAGES.mean(axis=(0, 1, 2))
    with h5py.File(path) as file:
        np.testing.assert_allclose(file["X"].attrs["mean"], mean)
        assert "mean" not in file["X/0.png"].attrs
        assert all(np.array_equal(file[f"X/{k}.png"], image) for k, image in enumerate(IMAGES))
    with Loader(path, 5, None, images="X/", labels="y/") as loader:
        np.testing.assert_allclose(loader.mean, mean, rtol=1e-6)
    assert show.main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert f"  mean         {mean[0]:.4f}, {mean[1]:.4f}, {mean[2]:.4f}" in printed
    assert "mean=None" not in printed
    assert "--mean compute" not in printed
    assert show.main([str(path), "--images", "X/", "--mean", "--store"]) == 2
    assert "has a mean already" in capsys.readouterr().err
    assert show.main([str(path), "--images", "X/*", "--mean", "--store"]) == 2
    assert "no place for a mean" in capsys.readouterr().err


def test_ten_thousand_datasets_open_with_one_opening_of_each(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        for k in range(2000):
            file[f"X/{k}"] = IMAGES[k % N, :2, :2]
    opened, original = [], h5py.h5d.open

    def count(*arguments):
        opened.append(arguments[1])
        return original(*arguments)

    monkeypatch.setattr("fastprep.h5.groups.h5d.open", count)
    before = time.perf_counter()
    reader = open_images(tmp_path / "x.h5", "X/")
    assert len(opened) <= 2000 + 10  # those that are compared with HDF5's are opened once more
    print(f"{time.perf_counter() - before:.2f} s for 2,000 datasets")
    assert reader.index.shape == (2000, 2, 2, 3)


# --- one image a file


def test_one_image_a_file_is_read_from_many_files_with_few_open(tmp_path, monkeypatch):
    monkeypatch.setattr(handles, "default_limit", lambda: 3)
    for k, image in enumerate(IMAGES):
        with h5py.File(tmp_path / f"{k:02}.h5", "w") as file:
            file.create_dataset("img", data=image, **(GZIP if k % 2 else {}))
            file["y"] = ["ant", "bee", "cat"][K[k]]
    files = str(tmp_path / "*.h5")
    with open_group(files, "img", axes="HWC", labels="y", shuffle=True) as loader:
        assert (loader.n_samples, loader.class_names) == (N, ("ant", "bee", "cat"))
        n_before = len(os.listdir("/proc/self/fd"))
        for step, (x, y) in enumerate(loader):
            np.testing.assert_array_equal(x, IMAGES[loader.samples(0, step)])
            np.testing.assert_array_equal(y, K[loader.samples(0, step)])
        assert len(os.listdir("/proc/self/fd")) <= n_before + 3
    with open_group(files, "img", axes="HWC", labels=K) as loader:
        np.testing.assert_array_equal(images_of(loader), IMAGES)


@pytest.mark.parametrize("shape", [(), (1,), (1, 3), (3,), (12, 10), (1, 12, 10), (12, 10, 2), (5, 1)])
def test_the_label_of_one_image_a_file_may_lack_an_axis_of_rows(tmp_path, rng, shape):
    labels = rng.integers(0, 9, (3, *shape))
    for k, label in enumerate(labels):
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            file["img"], file["y"] = IMAGES[k], label
    row = shape[1:] if shape[:1] == (1,) else shape
    with open_group(str(tmp_path / "*.h5"), "img", axes="HWC", labels="y") as loader:
        np.testing.assert_array_equal(loader.labels, labels.reshape(3, *row), strict=True)


def test_images_of_one_file_with_an_axis_n_have_a_row_of_labels_each(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["img"], file["y"], file["texts"] = IMAGES[:1], [0, 1, 0], ["a", "b"]
    for axes, name in ((None, "y"), ("NHWC", "y"), (None, "texts")):
        with pytest.raises(DataError, match="there must be one label for each of the 1 images"):
            open_group(tmp_path / "a.h5", "img", axes=axes, labels=name)


def test_one_image_that_looks_like_many_is_an_error_with_the_way_out(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["img"], file["grey"] = np.zeros((128, 96, 14), "f4"), IMAGES[0, :, :, 0]
    with pytest.raises(DataError, match=r"one image .* say axes='HWC'"):
        open_group(tmp_path / "x.h5", "img", labels=None)
    for name, axes, shape in (("img", "HWC", (128, 96, 14)), ("grey", "HW", (12, 10, 1))):
        with open_group(tmp_path / "x.h5", name, labels=None, axes=axes) as loader:
            assert (loader.n_samples, loader.output_shape) == (1, shape)
    with pytest.raises(DataError, match="axes='HWC' are 3"):
        open_group(tmp_path / "x.h5", "grey", labels=None, axes="HWC")
