"""Axes, shapes and channels of images that have a dataset or a file each, of parts, and of drawn samples: equal to numpy."""

import h5py
import numpy as np
import pytest
import reference
from conftest import host

import fastprep
from fastprep.errors import DataError
from fastprep.h5.marks import mark
from fastprep.loader import Loader

N = 13
SHAPE = (14, 11, 3)
LABELS = np.arange(N) % 4
ORDERS = ["HWC", "CHW", "CWH", "WHC", "HW", "WH"]
STORAGES = {
    "contiguous": lambda shape: {},
    "one chunk": lambda shape: {"chunks": shape, "compression": "gzip", "shuffle": True},
    "tiles": lambda shape: {"chunks": tuple(-(-side // 2) for side in shape), "compression": "gzip"},
}

pytestmark = pytest.mark.usefixtures("no_thread_left")


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (N, *SHAPE), dtype=np.uint8)


def stored(images, axes):
    """Return the images, shape (N, H, W, C), as one array with these axes, of which C may be missing."""
    images = images if "C" in axes else images[..., :1]
    turned = images.transpose(*("NHWC".index(letter) for letter in (axes if "C" in axes else f"{axes}C")))
    return np.ascontiguousarray(turned if "C" in axes else turned[..., 0])


def write_group(path, images, order, storage="contiguous", attributes=None, userblock=0):
    with h5py.File(path, "w", userblock_size=userblock) as file:
        for k, image in enumerate(stored(images, f"N{order}")):
            dataset = file.create_dataset(f"X/{k}", data=image, **STORAGES[storage](image.shape))
            dataset.attrs.update(attributes or {})
            file[f"y/{k}"] = LABELS[k]
    return str(path)


def write(path, images, axes, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=stored(images, axes), **options)
        file["labels"] = LABELS[: len(images)]
    return str(path)


def oracle(loader, images, step=0, channels=None):
    """Return x of a batch by the crop table of the loader, and the samples by their numbers in the files."""
    samples = loader.samples(0, step)
    rows = samples if loader.indices is None else loader.indices[samples]
    picked = images if channels is None else images[..., channels]
    table = loader.crop.table(*picked.shape[1:3], samples, loader.seed, 0)
    table[:, 0] = rows[table[:, 0]]
    return reference.crop(picked, table, loader.crop.height_width, loader.mean, loader.scale, loader.dtype, loader.layout), rows


def check(loader, images, channels=None):
    for step in range(len(loader)):
        x, y = loader.batch(0, step)
        wanted, rows = oracle(loader, images, step, channels)
        np.testing.assert_array_equal(host(x), wanted)
        np.testing.assert_array_equal(y, LABELS[rows])


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("order", ORDERS)
def test_images_in_a_group_have_any_order(tmp_path, images, order, storage):
    path = write_group(tmp_path / "x.h5", images, order, storage)
    images = images if "C" in order else images[..., :1]
    channels = [2, 0] if "C" in order else None
    options = {"images": "X/", "labels": "y/", "mean": None, "workers": 1, "device": "cpu"}
    for axes, picked in ((order, None), (f"N{order}", channels)):
        with Loader(path, 5, fastprep.RandomCrop(7, mirror=True), axes=axes, channels=picked, shuffle=True, **options) as loader:
            assert loader.stats()["files"][0]["read"].startswith("one dataset each")
            check(loader, images, picked)
    mean = fastprep.image_mean(path, "X/", axes=order, channels=channels, indices=[4, 1])
    picked = images if channels is None else images[..., channels]
    np.testing.assert_allclose(mean, picked[[4, 1]].mean(axis=(0, 1, 2)))


def test_images_in_a_group_go_to_a_device(tmp_path, images, backend):
    path = write_group(tmp_path / "x.h5", images, "CHW")
    options = {"images": "X/", "labels": "y/", "axes": "CHW", "channels": [2, 0], "mean": [5.0, 6.0], "device": backend}
    with Loader(path, 5, fastprep.RandomCrop(7), indices=[9, 3, 3, 0], **options) as loader:
        check(loader, images, [2, 0])


def test_images_in_a_group_may_be_flat_rows(tmp_path, images):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for k, image in enumerate(stored(images, "NCHW")):
            file.create_dataset(f"X/{k}", data=image.reshape(-1), chunks=(50,))
            file[f"y/{k}"] = LABELS[k]
    with Loader(tmp_path / "x.h5", 5, None, images="X/", labels="y/", mean=None, axes="CHW", shape=SHAPE) as loader:
        check(loader, images)


MATLAB = {"MATLAB_class": np.bytes_("uint8")}
PLANES = {"CLASS": "IMAGE", "INTERLACE_MODE": "INTERLACE_PLANE"}
NAMES = {"DIMENSION_LABELS": ["x", "y", "band"]}


@pytest.mark.parametrize(
    ("order", "attributes"),
    [("CHW", PLANES), ("CWH", MATLAB), ("WH", MATLAB), ("WHC", NAMES)],
    ids=["planes", "matlab", "grey", "names"],
)
def test_the_first_dataset_of_a_group_says_which_axes_all_have(tmp_path, images, order, attributes):
    path = write_group(tmp_path / "x.h5", images, order, attributes=attributes, userblock=512 if attributes is MATLAB else 0)
    with Loader(path, 5, None, images="X/", labels="y/", mean=None) as loader:
        check(loader, images if "C" in order else images[..., :1])


def test_doubtful_axes_of_a_group_are_an_error_that_names_those_with_n_first(tmp_path, images):
    path = write_group(tmp_path / "x.h5", images, "CHW")
    with pytest.raises(DataError, match=r"looks like \(N, C, H, W\), channels first; say axes='NCHW'"):
        Loader(path, 5, None, images="X/", labels="y/", mean=None)
    with pytest.raises(DataError, match=r"each of these datasets is one image, without an axis N: axes='CHW', found axes='CHWN'"):
        Loader(path, 5, None, images="X/", labels="y/", mean=None, axes="CHWN")
    with h5py.File(path, "r+") as file:
        mark(file, "convert")  # which has copied them
    with pytest.raises(DataError, match="axes='NCHW'"):
        Loader(path, 5, None, images="X/", labels="y/", mean=None)
    many = write_group(tmp_path / "m.h5", np.concatenate([images, images], axis=3)[..., :5], "CWH", attributes=MATLAB)
    with pytest.raises(DataError, match=r"MATLAB has written them") as caught:
        Loader(many, 5, None, images="X/", labels="y/", mean=None)
    assert "axes='NCWH'" in str(caught.value)
    assert "CWHN" not in str(caught.value)


@pytest.mark.parametrize("axes", ["NCHW", "NCWH", "HWCN", "CHWN", "HNWC", "flat"])
@pytest.mark.parametrize("chunks", [False, True])
def test_a_part_is_a_data_set_by_itself_in_any_order(tmp_path, images, axes, chunks):
    rows = np.array([11, 2, 7, 3, 0, 12, 5])
    lie = {"shape": SHAPE} if axes == "flat" else {"axes": axes}
    values = images.reshape(N, -1) if axes == "flat" else stored(images, axes)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        sides = tuple(4 if side == N else side for side in values.shape)
        file.create_dataset("images", data=values, **({"chunks": sides, "compression": "gzip"} if chunks else {}))
        file["labels"], file["part"] = LABELS, rows
    options = {"channels": [1, 2], "mean": None, "workers": 1, "device": "cpu", "shuffle": True, "seed": 4}
    only = write(tmp_path / "only.h5", images[rows], "NHWC")
    for indices in (rows, "part"):
        with Loader(tmp_path / "x.h5", 3, fastprep.RandomCrop(6), indices=indices, shuffle_window=0, **lie, **options) as part:
            check(part, images, [1, 2])
            with Loader(only, 3, fastprep.RandomCrop(6), shuffle_window=0, **options) as alone:
                for step in range(len(part)):
                    np.testing.assert_array_equal(part.batch(1, step)[0], alone.batch(1, step)[0])
    mean = fastprep.image_mean(tmp_path / "x.h5", indices=rows, channels=[1, 2], **lie)
    np.testing.assert_allclose(mean, images[rows][..., [1, 2]].mean(axis=(0, 1, 2)))


@pytest.mark.parametrize("order", ORDERS)
def test_parts_and_labels_of_one_image_a_file(tmp_path, images, order):
    for k, image in enumerate(stored(images, f"N{order}")):
        with h5py.File(tmp_path / f"{k:02}.h5", "w") as file:
            file["images"], file["labels"] = image, LABELS[k]  # a single value
    images = images if "C" in order else images[..., :1]
    with Loader(str(tmp_path / "*.h5"), 4, None, axes=order, mean=None, indices=[12, 0, 5, 6, 6], shuffle=True) as loader:
        assert loader.n_samples == 5
        check(loader, images)


@pytest.mark.parametrize("axes", ["NCHW", "HWCN"])
def test_samples_are_drawn_and_have_several_labels_whatever_the_axes(tmp_path, images, axes):
    path = write(tmp_path / "x.h5", images, axes)
    with h5py.File(path, "r+") as file:
        file["kind"] = np.array(["ant", "bee", "cat", "dog"], "S")[LABELS]
    options = {"axes": axes, "channels": "2", "mean": None, "labels": {"k": "kind", "n": "labels"}}
    with Loader(path, 5, None, indices=np.arange(1, N), sampling=np.arange(N), **options) as loader:
        assert loader.class_names["k"] == ("ant", "bee", "cat", "dog")
        for step in range(len(loader)):
            x, y = loader.batch(0, step)
            wanted, rows = oracle(loader, images, step, [2])
            np.testing.assert_array_equal(x, wanted)
            assert y["k"].tolist() == y["n"].tolist() == LABELS[rows].tolist()


def test_files_of_different_layouts_are_mixed_if_images_come_in_one_order(tmp_path, images):
    paths = [write(tmp_path / f"{axes}.h5", images, axes) for axes in ("NCHW", "CHWN")]
    with h5py.File(paths[1], "r+") as file:  # says itself which axes it has
        for dimension, name in zip(file["images"].dims, ("channel", "y", "x", "sample"), strict=True):
            dimension.label = name
    with h5py.File(paths[0], "r+") as file:
        for dimension, name in zip(file["images"].dims, ("sample", "channel", "y", "x"), strict=True):
            dimension.label = name
    with Loader(paths, 6, None, mean=None, mix={paths[0]: 0.5, paths[1]: 0.5}) as loader:
        for step in range(len(loader)):
            rows = loader.samples(0, step) % N
            np.testing.assert_array_equal(loader.batch(0, step)[0], images[rows])
    other = write(tmp_path / "usual.h5", images, "NHWC")
    with pytest.raises(DataError, match=r"images have the axes NHWC, in .* they have NCHW"):
        Loader([paths[0], other], 6, None, mean=None)
