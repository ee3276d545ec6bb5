"""Files that say that their numbers mean something else: packed ones, missing values, palettes."""

import h5py
import numpy as np
import pytest

from fastprep.loader import Loader

N, IMAGE = 10, (8, 9, 3)


def write(path, labels_written=N, image_kind="u1", **attributes):
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", data=np.ones((N, *IMAGE), image_kind))
        images.attrs.update(attributes)
        file.create_dataset("labels", (N,), "i4", fillvalue=-2147483647)[:labels_written] = 1
    return path


def said(path, caplog, **options):
    Loader(path, N, None, **{"mean": None, **options}).close()
    return caplog.text


NOTES = {
    "packed": (
        {"scale_factor": 1e-4, "add_offset": np.array([0.5])},
        "'images': attributes scale_factor 0.0001 and add_offset 0.5 are not applied",
    ),
    "a value for none": ({"_FillValue": np.int16(-999)}, "attribute '_FillValue' names -999 as missing values"),
    "an older one": ({"missing_value": 255.0}, "attribute 'missing_value' names 255 as missing values"),
    "a palette": ({"IMAGE_SUBCLASS": np.bytes_("IMAGE_INDEXED")}, "its numbers are places in a palette"),
}


@pytest.mark.parametrize("kind", NOTES)
def test_what_is_not_applied_is_said(tmp_path, caplog, kind):
    attributes, words = NOTES[kind]
    assert words in said(write(tmp_path / "a.h5", **attributes), caplog)


def test_attributes_that_change_nothing_are_not_spoken_of(tmp_path, caplog):
    plain = {"scale_factor": 1.0, "add_offset": 0, "_FillValue": np.nan, "IMAGE_SUBCLASS": "IMAGE_TRUECOLOR"}
    assert said(write(tmp_path / "a.h5", **plain), caplog) == ""


def test_attributes_of_other_types_are_not_spoken_of(tmp_path, caplog):
    odd = {"scale_factor": "large", "add_offset": np.arange(3), "_FillValue": h5py.Empty("f4"), "IMAGE_SUBCLASS": 3}
    assert said(write(tmp_path / "a.h5", **odd), caplog) == ""


def test_a_finite_fill_value_of_floats_as_netcdf_has_it_is_said(tmp_path, caplog):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", (N, *IMAGE), "f4", fillvalue=9.96921e36)[:] = 1
    assert "its fill value, 9.96921e+36, is finite" in said(tmp_path / "a.h5", caplog, labels=None)


def test_labels_that_are_the_fill_value_are_counted(tmp_path, caplog):
    words = "dataset 'labels': 4 of 10 labels are the fill value of the dataset, -2147483647"
    assert words in said(write(tmp_path / "a.h5", labels_written=6), caplog)


def test_labels_in_another_file_and_weights_are_counted_alike(tmp_path, caplog):
    with h5py.File(write(tmp_path / "a.h5"), "a") as file:
        file.create_dataset("w", (N,), "f4", fillvalue=9.96921e36)[:7] = 1
    write(tmp_path / "y.h5", labels_written=6)
    text = said(tmp_path / "a.h5", caplog, labels=f"{tmp_path}/y.h5:labels", sample_weight="w")
    assert "dataset 'labels': 4 of 10 labels are the fill value" in text
    assert "dataset 'w': 3 of 10 weights are the fill value" in text


def test_labels_that_netcdf_would_mask_are_those_that_are_counted(tmp_path, caplog):
    netcdf = pytest.importorskip("netCDF4")
    with netcdf.Dataset(tmp_path / "a.nc", "w") as file:
        for name, size in zip(("time", "y", "x", "band"), (N, *IMAGE), strict=True):
            file.createDimension(name, size)
        file.createVariable("images", "u1", ("time", "y", "x", "band"))[:] = 1
        file.createVariable("labels", "i4", ("time",))[2:6] = 1
        masked = int(np.ma.count_masked(file["labels"][:]))
    assert f"{masked} of 10 labels are the fill value" in said(tmp_path / "a.nc", caplog)
