"""Axes that a file names itself, as the programs write it that do so, and where that leaves a doubt."""

import h5py
import numpy as np
import pytest
import reference
from netcdf import netCDF4

import fastprep
from fastprep.errors import DataError
from fastprep.h5 import open_images
from fastprep.h5.convert import rewrite
from fastprep.loader import Loader

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 20, 30, 3), dtype=np.uint8)


def in_order(axes, images=IMAGES):
    """Return the images with these axes, of which there is one image if N is not among them."""
    images = images if "N" in axes else images[:1]
    stored = images.transpose(*("NHWC".index(letter) for letter in ("" if "N" in axes else "N") + axes))
    return np.ascontiguousarray(stored if "N" in axes else stored[0])


def axes_of(path, dataset="images", labels="labels"):
    reader = open_images(path, dataset, labels=labels)
    return reader.index.axes.name, reader.array(np.arange(reader.index.shape[0]))


def write_like_matlab(path, stored, n_labels=None):
    """Write a dataset as MATLAB's `save -v7.3` does: a header of 512 bytes, and the class as an attribute."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["images"] = stored
        file["images"].attrs["MATLAB_class"] = np.bytes_("uint8")
        if n_labels:
            file["labels"] = np.zeros(n_labels)
    with open(path, "r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


@pytest.mark.parametrize(
    ("axes", "n_labels", "is_plain"),
    [
        ("NCWH", None, True),
        ("NCWH", 6, True),
        ("CWHN", 6, True),
        ("NWH", 6, True),
        ("WHN", 6, True),
        ("NWH", None, False),
        ("CWH", None, False),
        ("NCWH", 7, False),
        ("CWH", 6, False),
    ],
)
def test_matlab_s_arrays_are_read_in_reverse_where_that_leaves_one_way(tmp_path, axes, n_labels, is_plain):
    images = IMAGES if "C" in axes else IMAGES[..., :1]
    stored = in_order(axes if "C" in axes else f"{axes}C", images)
    stored = stored if "C" in axes else stored[..., 0]
    write_like_matlab(tmp_path / "a.mat", stored, n_labels)
    if not is_plain:
        with pytest.raises(DataError, match=r"MATLAB has written them.*; say axes='.*--axes"):
            axes_of(tmp_path / "a.mat")
        return
    found, read = axes_of(tmp_path / "a.mat")
    assert found == axes
    np.testing.assert_array_equal(read, images)


@pytest.mark.parametrize(("mode", "axes"), [("PIXEL", "HWC"), ("PLANE", "CHW"), ("LINE", "HCW")])
@pytest.mark.parametrize("kind", [np.bytes_, str])
def test_images_of_hdf5_s_image_format_say_how_they_are_interlaced(tmp_path, mode, axes, kind):
    for name, wanted in (("one", axes), ("several", f"N{axes}")):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["images"] = in_order(wanted)
            file["images"].attrs.update({"CLASS": kind("IMAGE"), "INTERLACE_MODE": kind(f"INTERLACE_{mode}")})
        found, images = axes_of(tmp_path / f"{name}.h5")
        assert found == wanted
        np.testing.assert_array_equal(images, IMAGES[: len(images)])


def test_attributes_that_the_shape_contradicts_settle_nothing(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.zeros((20, 30, 40), np.uint8)
        file["images"].attrs.update({"CLASS": "IMAGE", "INTERLACE_MODE": "INTERLACE_PIXEL"})
        file["labels"] = np.zeros(20)
    assert axes_of(tmp_path / "a.h5")[0] == "NHW"


@pytest.mark.parametrize(
    ("names", "axes"),
    [
        (("time", "band", "y", "x"), "NCHW"),
        (("lat", "lon", "channel", "sample"), "HWCN"),
        (("Row", "Column", "Band"), "HWC"),
        (("x", "y"), "WH"),
        (("sample", "width", "height"), "NWH"),
    ],
)
def test_dimensions_have_names(tmp_path, names, axes):
    stored = in_order(axes if "C" in axes else f"{axes}C", IMAGES if "C" in axes else IMAGES[..., :1])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = stored if "C" in axes else stored[..., 0]
        for dimension, name in zip(file["images"].dims, names, strict=True):
            dimension.label = name
    found, images = axes_of(tmp_path / "a.h5")
    assert found == axes
    np.testing.assert_array_equal(images, (IMAGES if "C" in axes else IMAGES[..., :1])[: len(images)])


def test_netcdf_names_its_dimensions(tmp_path):
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        for name, size in (("band", 3), ("sample", 6), ("lat", 20), ("lon", 30)):
            file.createDimension(name, size)
        file.createVariable("images", "u1", ("sample", "band", "lat", "lon"))[:] = in_order("NCHW")
    found, images = axes_of(tmp_path / "a.nc")
    assert found == "NCHW"
    np.testing.assert_array_equal(images, IMAGES)


@pytest.mark.parametrize("names", [("time", "band", "y", "z"), ("a", "b", "c", "d"), ("y", "y", "x", "x"), ("n", "c", "i", "j")])
def test_names_that_are_not_known_settle_nothing(tmp_path, names):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = in_order("NCHW")
        for dimension, name in zip(file["images"].dims, names, strict=True):
            dimension.label = name
    with pytest.raises(DataError, match=r"looks like \(N, C, H, W\), channels first; say axes='NCHW', if that is so"):
        axes_of(tmp_path / "a.h5")


def test_axes_that_the_user_names_take_precedence(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = in_order("NCHW")
        for dimension, name in zip(file["images"].dims, ("time", "band", "y", "x"), strict=True):
            dimension.label = name
    with Loader(tmp_path / "a.h5", 2, None, axes="NHWC", labels=None, mean=None) as loader:
        assert loader.output_shape == (3, 20, 30)


@pytest.mark.parametrize("axes", ["NCHW", "NCWH", "HWCN", "HWC", "NHW", "flat"])
def test_a_converted_file_has_the_usual_axes_and_says_nothing_else(tmp_path, axes):
    order = "NHWC" if axes in ("NHW", "flat") else axes
    images = IMAGES[..., :1] if axes == "NHW" else IMAGES if "N" in order else IMAGES[:1]
    stored = in_order(order, images)
    stored = stored[..., 0] if axes == "NHW" else stored.reshape(6, -1) if axes == "flat" else stored
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = stored.astype(np.int64)
        if axes != "flat":
            for dimension, letter in zip(file["images"].dims, axes, strict=True):
                dimension.label = {"N": "time", "H": "y", "W": "x", "C": "band"}[letter]
    options = {"shape": (20, 30, 3)} if axes == "flat" else {"axes": axes}
    done = rewrite(tmp_path / "a.h5", tmp_path / "b.h5", **options)
    assert any("DIMENSION_LABELS" in note for note in done.notes) == (axes not in ("NHW", "flat"))
    with h5py.File(tmp_path / "b.h5") as file:
        np.testing.assert_array_equal(file["images"], images)
    with Loader(tmp_path / "b.h5", 6, None, labels=None) as loader:
        np.testing.assert_array_equal(
            loader.batch(0, 0) + loader.mean,
            reference.crop(images, [[k, 0, 0, 0] for k in range(len(images))], (20, 30)) - loader.mean + loader.mean,
        )
        assert loader.stats()["files"][0]["read"] == "contiguous"
    np.testing.assert_allclose(fastprep.image_mean(tmp_path / "a.h5", **options), images.mean(axis=(0, 1, 2)))
