"""The attribute channel_order of encoded images, which says whether all of them are decoded to colours or to grey."""

import h5py
import numpy as np
import pytest
from encoded_images import by_pillow, photograph
from optional_libraries import needs

import fastprep
from fastprep.encoded import decode
from fastprep.errors import DataError
from fastprep.h5 import open_images


@pytest.fixture
def rows():
    """Grey images and images in colour, by what the first one is."""
    grey, colors = by_pillow(photograph()[..., 0], "JPEG"), by_pillow(photograph(), "PNG")
    return {"grey": [grey, colors, grey], "colors": [colors, grey, colors]}


def write(path, rows, order=None):
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (len(rows),), h5py.vlen_dtype(np.uint8))
        for row, data in enumerate(rows):
            images[row] = np.frombuffer(data, np.uint8)
        file["labels"] = np.arange(len(rows)) % 2
        if order is not None:
            images.attrs["channel_order"] = order
    return path


@needs("simplejpeg")
@pytest.mark.parametrize("first", ["grey", "colors"])
@pytest.mark.parametrize(("order", "mode"), [("RGB", "RGB"), ("L", "L"), ("rgb", "RGB"), (b"L", "L"), (["RGB"], "RGB")])
def test_it_decides_the_channels_whatever_the_images_are(tmp_path, rows, first, order, mode, caplog):
    path = write(tmp_path / "x.h5", rows[first], order)
    reader = open_images(path, "images")
    assert reader.index.shape[3] == len(mode)
    for pixels, data in zip(reader.images(np.arange(3)), rows[first], strict=True):
        np.testing.assert_array_equal(pixels, decode(data, mode))
    reader.close()
    with fastprep.Loader(path, 3, None, mean=None) as loader:
        x, _ = next(iter(loader))
    np.testing.assert_array_equal(x, np.stack([decode(data, mode) for data in rows[first]]))
    assert not caplog.records  # that colours become grey is what the file asks for


@needs("simplejpeg")
@pytest.mark.parametrize("first", ["grey", "colors"])
@pytest.mark.parametrize("order", [None, 3.5])
def test_without_one_that_is_a_text_the_images_decide(tmp_path, rows, first, order):
    reader = open_images(write(tmp_path / "x.h5", rows[first], order), "images")
    for pixels, data in zip(reader.images(np.arange(3)), rows[first], strict=True):
        np.testing.assert_array_equal(pixels, decode(data, "RGB"))
    reader.close()


@pytest.mark.parametrize("order", ["BGR", "RGBA", "HSV", "LA"])
def test_channels_that_nothing_is_decoded_to_are_an_error_with_the_way_out(tmp_path, rows, order):
    path = write(tmp_path / "x.h5", rows["colors"], order)
    with pytest.raises(DataError, match=f"decoded as RGB, the attribute 'channel_order' says '{order}': mend or delete"):
        fastprep.Loader(path, 3, None)
