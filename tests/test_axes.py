"""Loaders of files whose axes are in any order, against the oracle: every order, type and layout, and what the files say."""

import logging

import h5py
import numpy as np
import pytest
import reference
from conftest import host
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastprep
from fastprep.errors import DataError
from fastprep.loader import Loader

N, SIDES = 7, {"N": 7, "H": 12, "W": 9, "C": 3}
ORDERS = ("NHWC", "NCHW", "NCWH", "NWHC", "NHCW", "NWCH", "HWCN", "CHWN", "CWHN", "HNWC", "NHW", "NWH", "HWN", "WHN", "HNW")
ONE_IMAGE = ("HWC", "CHW", "WHC", "CWH", "HW", "WH")
TYPES = ("uint8", "bool", "int16", ">u2", "int64", ">i8", "uint64", "float32", "float64", "enum")
LAYOUTS = ("contiguous", "one a chunk", "several a chunk", "split", "split and several")


def sides_of(axes):
    return tuple(SIDES[letter] for letter in axes)


def some_images(rng, axes, kind):
    shape = sides_of(axes)
    if kind == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if kind == "enum":
        return (rng.integers(0, 3, shape) * 90).astype("i8")
    if "f" in kind:
        return rng.uniform(-9, 300, shape).astype(kind)
    return rng.integers(0, 256, shape).astype(kind)


def chunks_of(axes, layout):
    """Return the chunk's sides: along N those of several images, along the others a part of the image where chunks split it."""
    n = 1 if layout in ("one a chunk", "split") else 3
    return tuple(
        n if letter == "N" else -(-SIDES[letter] // 2) if "split" in layout and letter != "C" else SIDES[letter]
        for letter in axes
    )


def write(path, images, axes, layout="contiguous", kind="", labels=True):
    options = {} if layout == "contiguous" else {"chunks": chunks_of(axes, layout), "compression": "gzip", "shuffle": True}
    dtype = h5py.enum_dtype({"SKY": 0, "ROAD": 90, "CAR": 180}, "i8") if kind == "enum" else None
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images, dtype=dtype, **options)
        if labels:
            file["labels"] = np.arange(images.shape[axes.index("N")] if "N" in axes else 1)
    return str(path)


def oracle(loader, images, axes, channels=None, epoch=0, step=0):
    """Return x of a batch as the oracle makes it from the crop table of the loader."""
    samples = loader.samples(epoch, step)
    whole = reference.as_height_width_channels(images, axes, channels)
    crop = loader.crop
    table = crop.table(*whole.shape[1:3], samples, loader.seed, epoch)
    table[:, 0] = samples[table[:, 0]]
    return reference.crop(whole, table, crop.height_width, loader.mean, loader.scale, loader.dtype, loader.layout)


@st.composite
def cases(draw):
    axes = draw(st.sampled_from(ORDERS))
    return {
        "axes": axes,
        "kind": draw(st.sampled_from(TYPES)),
        "file": draw(st.sampled_from(LAYOUTS)),
        "channels": draw(st.none() | st.lists(st.integers(0, 2 if "C" in axes else 0), min_size=1, max_size=4)),
        "layout": draw(st.sampled_from(["channels_last", "channels_first"])),
        "crop": draw(st.sampled_from(["whole", "random", "mirrored", "flipped", "centre", "ten"])),
        "io": draw(st.sampled_from(["pread", "mmap"])),
        "shuffle": draw(st.booleans()),
        "seed": draw(st.integers(0, 99)),
    }


CROPS = {
    "whole": None,
    "random": fastprep.RandomCrop((7, 5)),
    "mirrored": fastprep.RandomCrop((8, 8), mirror=True),
    "flipped": fastprep.RandomCrop((12, 5), mirror=True, flip=True),
    "centre": fastprep.CenterCrop(6),
    "ten": fastprep.TenCrop(5),
}


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_every_order_type_and_layout_gives_the_batches_of_the_oracle(tmp_path, case):
    rng = np.random.default_rng(case["seed"])
    axes, channels = case["axes"], case["channels"]
    images = some_images(rng, axes, case["kind"])
    path = write(tmp_path / "x.h5", images, axes, case["file"], case["kind"])
    options = {name: case[name] for name in ("channels", "layout", "io", "shuffle", "seed")}
    n_channels = len(channels) if channels else 3 if "C" in axes else 1
    mean = np.linspace(20, 90, n_channels)
    with Loader(path, 5, CROPS[case["crop"]], axes=axes, mean=mean, scale=0.5, device="cpu", workers=1, **options) as loader:
        for step in range(2):
            x, y = loader.batch(0, step)
            np.testing.assert_array_equal(x, oracle(loader, images, axes, channels, step=step))
            np.testing.assert_array_equal(y, np.repeat(loader.samples(0, step), len(x) // len(loader.samples(0, step))))


@pytest.mark.parametrize("axes", ["NCHW", "NCWH", "NHWC", "HWCN"])
def test_batches_of_a_device_are_those_of_the_cpu(tmp_path, rng, axes, backend):
    images = some_images(rng, axes, "uint8")
    path = write(tmp_path / "x.h5", images, axes)
    options = {"axes": axes, "channels": [2, 0], "mean": [5.0, 6.0]}
    with Loader(path, 5, CROPS["mirrored"], device=backend, **options) as loader:
        np.testing.assert_array_equal(host(loader.batch(0, 0)[0]), oracle(loader, images, axes, [2, 0]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axes", ONE_IMAGE)
def test_one_image_a_file(tmp_path, rng, axes, layout):
    every = [some_images(rng, axes, "uint8") for _ in range(3)]
    paths = [write(tmp_path / f"{k}.h5", images, axes, layout, labels=False) for k, images in enumerate(every)]
    with Loader(paths, 3, None, axes=axes, labels=None, mean=None) as loader:
        wanted = np.concatenate([reference.as_height_width_channels(images, axes) for images in every])
        np.testing.assert_array_equal(loader.batch(0, 0), wanted)
        assert loader.n_samples == 3


@pytest.mark.parametrize("layout", ["contiguous", "chunked", "split"])
@pytest.mark.parametrize("axes", [None, "NHWC", "NCHW", "NCWH", "HWCN"])
def test_flat_rows_are_images_of_the_shape_that_is_said(tmp_path, rng, axes, layout):
    order = axes or "NHWC"
    images = some_images(rng, order, "uint8")
    rows = images.reshape(N, -1) if order[0] == "N" else images.reshape(-1, N)
    chunks = {"contiguous": None, "chunked": (3, rows.shape[1]), "split": (3, 7)}[layout]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", data=rows, chunks=chunks)
    with Loader(tmp_path / "x.h5", 5, fastprep.RandomCrop(5), axes=axes, shape=(12, 9, 3), labels=None, mean=None) as loader:
        np.testing.assert_array_equal(loader.batch(0, 0), oracle(loader, images, order))
    mean = fastprep.image_mean(tmp_path / "x.h5", axes=axes, shape=(12, 9, 3))
    np.testing.assert_allclose(mean, reference.as_height_width_channels(images, order).mean(axis=(0, 1, 2)))


def test_flat_rows_without_their_shape_are_refused_with_the_way_out(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = np.zeros((5, 784), np.uint8)
    with pytest.raises(DataError, match=r"found \(5, 784\); if these are flat rows, .*shape=\(height, width, channels\);"):
        Loader(tmp_path / "x.h5", 2, None, labels=None)
    with pytest.raises(DataError, match=r"shape=\(28, 27, 1\) are 756 numbers, and a row of the images.* has 784"):
        Loader(tmp_path / "x.h5", 2, None, labels=None, shape=(28, 27))
    with pytest.raises(DataError, match=r"need axes with N first or last"):
        Loader(tmp_path / "x.h5", 2, None, labels=None, shape=(28, 28), axes="HNW")
    for shape in ((28, 28, 0), (28,), 784, (28, 28, 1, 1), (28.0, 28), (True, 784)):
        with pytest.raises(ValueError, match="shape must be"):
            Loader(tmp_path / "x.h5", 2, None, labels=None, shape=shape)


@pytest.mark.parametrize("axes", ["HWCN", "NCHW"])
@pytest.mark.parametrize("kind", ["int64", "uint64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_integers_of_64_bits_that_do_not_fit_are_errors_and_not_other_numbers(tmp_path, rng, axes, layout, kind):
    images = some_images(rng, axes, kind)
    whole = np.moveaxis(images, axes.index("N"), 0)
    whole[2, 1, 1, 1], whole[3, 0, 0, 0] = 2**53, 2**53 + 1
    path = write(tmp_path / "x.h5", images, axes, layout)
    with Loader(path, 1, None, axes=axes, mean=None) as loader:
        if axes == "NCHW" and "several" not in layout:  # otherwise the two images are decoded together
            assert np.asarray(loader.batch(0, 2)[0]).max() == 2**53
        with pytest.raises(DataError, match="sample 3: the value 9007199254740993 is too large") as caught:
            loader.batch(0, 3)
        assert caught.value.sample == 3
    with pytest.raises(DataError, match="too large"):
        fastprep.image_mean(path, axes=axes)


def test_orders_without_n_first_are_read_in_bounded_blocks_with_a_warning(tmp_path, rng, caplog, monkeypatch):
    monkeypatch.setattr("fastprep.h5.storage._BLOCK_BYTES", 4 * 8 * 12 * 9 * 3)
    images = some_images(rng, "HWCN", "uint8")
    for layout, at_once in (("contiguous", 4), ("one a chunk", 4), ("several a chunk", 3)):
        path = write(tmp_path / "x.h5", images, "HWCN", layout)
        caplog.clear()
        with caplog.at_level(logging.WARNING), Loader(path, 3, None, axes="HWCN", mean=None) as loader:
            np.testing.assert_array_equal(loader.batch(0, 2)[0], oracle(loader, images, "HWCN", step=2))
            assert loader._dataset.block_starts[1] == at_once
        assert len([record for record in caplog.records if "python -m fastprep.convert" in record.message]) == 1
        assert "--axes HWCN" in caplog.text


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axes", ["NCHW", "HWCN"])
def test_images_that_were_never_written_are_reported_along_their_own_axis(tmp_path, caplog, axes, layout):
    options = {} if layout == "contiguous" else {"chunks": chunks_of(axes, layout)}
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset("images", sides_of(axes), np.uint8, **options)
        if layout != "contiguous":
            dataset[(slice(None),) * axes.index("N") + (slice(0, 3),)] = 1
    Loader(tmp_path / "x.h5", 3, None, axes=axes, mean=None, labels=None).close()
    n = 7 if layout == "contiguous" else 4
    assert f"{n} of 7 images were never written" in caplog.text


@pytest.mark.parametrize("channels", [["RGB"], ["BG", "R"], "²", ["٣"]])
def test_a_name_of_a_channel_is_one_letter_of_the_order(tmp_path, rng, channels):
    path = write(tmp_path / "x.h5", some_images(rng, "NCHW", "uint8"), "NCHW")
    with h5py.File(path, "r+") as file:
        file["images"].attrs["channel_order"] = "BGR"
    with pytest.raises(ValueError, match=r"^channels=.*: the file has the channels 'BGR', and not one"):
        Loader(path, 7, None, axes="NCHW", channels=channels, mean=None)


@pytest.mark.parametrize("channels", [None, "RGB"])
@pytest.mark.parametrize("indices", [None, slice(None)])
def test_a_mean_over_files_does_not_mix_their_channels(tmp_path, channels, indices):
    colour = np.array([10, 20, 30], np.uint8)
    for number, order in enumerate(("", "RGB", "BGR")):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["images"] = np.broadcast_to(colour[::-1] if order == "BGR" else colour, (4, 5, 6, 3))
            if order:
                file["images"].attrs["channel_order"] = order
    files = sorted(tmp_path.glob("*.h5"))
    np.testing.assert_array_equal(fastprep.image_mean(files[:2], indices=indices), colour)
    with pytest.raises(DataError, match=r"channel_order is 'BGR', in '.*1\.h5' it is 'RGB'"):
        fastprep.image_mean(files[1:], channels=channels, indices=indices)


def test_flat_rows_of_several_channels_need_an_axis_for_them(tmp_path, rng):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = rng.integers(0, 256, (5, 4 * 6 * 3), dtype=np.uint8)
    with pytest.raises(DataError, match=r"shape=\(4, 6, 3\) has 3 channels, and axes='NHW' no C"):
        Loader(tmp_path / "x.h5", 2, None, labels=None, mean=None, shape=(4, 6, 3), axes="NHW")


def test_channels_have_their_names_mean_and_order(tmp_path, rng):
    images = some_images(rng, "NCHW", "uint8")
    path = write(tmp_path / "x.h5", images, "NCHW")
    with h5py.File(path, "r+") as file:
        file["images"].attrs.update({"channel_order": "BGR", "mean": np.array([1.0, 2.0, 3.0])})
    for channels, picked, order in (
        ("RGB", (2, 1, 0), "RGB"),
        (["R"], (2,), "R"),
        ([1, 1], (1, 1), "GG"),
        ("BGR", (0, 1, 2), "BGR"),
    ):
        with Loader(path, 7, None, axes="NCHW", channels=channels) as loader:
            assert (loader.channels, loader.channel_order) == (picked, order)
            np.testing.assert_array_equal(loader.mean, np.array([1.0, 2.0, 3.0])[list(picked)])
            np.testing.assert_array_equal(loader.batch(0, 0)[0], oracle(loader, images, "NCHW", picked))
            assert loader.output_shape == (12, 9, len(picked))
    for channels, problem in (
        ("RX", "the file has the channels 'BGR', and not one 'X'"),
        ([3], "from 0 to 2"),
        ([-1], "from 0 to 2"),
        ([], "a list of numbers or names"),
        (1, "a list of numbers or names"),
        ([True], "from 0 to 2"),
    ):
        with pytest.raises(ValueError, match=problem):
            Loader(path, 7, None, axes="NCHW", channels=channels)


def test_names_of_channels_need_a_file_that_names_them(tmp_path, rng):
    path = write(tmp_path / "x.h5", some_images(rng, "NHWC", "uint8"), "NHWC")
    with pytest.raises(ValueError, match=r"channels='RGB': the file does not name its channels .*: pass numbers, from 0 to 2"):
        Loader(path, 7, None, channels="RGB")


def test_files_of_several_orders_do_not_make_one_dataset(tmp_path, rng):
    paths = [write(tmp_path / f"{axes}.h5", some_images(rng, axes, "uint8"), axes) for axes in ("NHWC", "NCHW")]
    with h5py.File(paths[1], "r+") as file:
        for axis, name in enumerate(("sample", "channel", "y", "x")):
            file["images"].dims[axis].label = name
    with pytest.raises(DataError, match=r"images have the axes NCHW, in .* they have NHWC"):
        Loader(paths, 2, None, mean=None)
