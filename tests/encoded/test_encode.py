"""Images that are encoded anew: what decodes to the same pixels, and what is refused."""

import numpy as np
import pytest
from encoded_images import by_pillow, photograph
from optional_libraries import needs

from fastprep.encoded import decode, kind_of
from fastprep.encoded.encode import encode
from fastprep.encoded.forms import KINDS


@pytest.mark.parametrize("form", ["png", "webp-lossless"])
def test_without_loss_the_pixels_come_back(form):
    pixels = photograph()
    data = encode(pixels, form, 1)  # a quality says nothing here
    assert kind_of(data) == KINDS[form]
    np.testing.assert_array_equal(decode(data), pixels)


@pytest.mark.parametrize(("form", "kind"), [("jpeg", "JPEG"), ("webp", "WEBP")])
def test_a_quality_is_that_of_pillow(form, kind):
    pixels = photograph()
    for quality in (1, 90, 100):
        assert encode(pixels, form, quality) == by_pillow(pixels, kind, quality=quality)
    assert encode(pixels, form) == encode(pixels, form, 90)


@pytest.mark.parametrize("form", [pytest.param("jpeg", marks=needs("simplejpeg")), "png"])
def test_grey_images_have_one_channel(form):
    pixels = photograph()[..., :1]
    decoded = decode(encode(pixels, form))
    assert decoded.shape == pixels.shape
    if form == "png":
        np.testing.assert_array_equal(decoded, pixels)


def test_what_can_not_be_encoded_is_said():
    with pytest.raises(ValueError, match="one or three channels can be encoded, this one has 4"):
        encode(np.zeros((2, 3, 4), np.uint8), "png")
    with pytest.raises(ValueError, match="WebP has no grey"):
        encode(np.zeros((2, 3, 1), np.uint8), "webp-lossless")
    for form, most, shown in (("jpeg", 65_500, "65,500"), ("webp", 16_383, "16,383")):
        encode(np.zeros((1, most, 3), np.uint8), form)
        with pytest.raises(ValueError, match=f"have at most {shown} pixels, this image has {most + 1}x1"):
            encode(np.zeros((most + 1, 1, 3), np.uint8), form)
