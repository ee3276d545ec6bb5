"""Masks that are stored as images: the numbers that `numpy.asarray(PIL.Image.open(...))` gives, or an error that says why not."""

import io

import imagecodecs
import numpy as np
import pytest
from encoded_images import by_pillow, photograph, sixteen_bits, with_orientation
from PIL import Image, ImageOps

from fastprep.encoded import check_numbers, decode_mask, read_mask_header
from fastprep.errors import DecodeError

HEIGHT, WIDTH = 11, 17
CLASSES = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)


def indexed(numbers, **options):
    """Return a mask whose numbers are places in a palette; the colours are others, and not in their order."""
    image = Image.fromarray(numbers)
    image.putpalette(np.random.default_rng(0).permutation(768).astype(np.uint8).tobytes())
    return by_pillow(image, options.pop("kind", "PNG"), **options)


def masks():
    deep = CLASSES.astype(np.uint16) * 311
    grey, few = Image.fromarray(CLASSES), Image.fromarray(CLASSES % 2 == 1)
    return {
        "palette": (indexed(CLASSES), CLASSES),
        "palette of 1 bit": (indexed(CLASSES % 2, bits=1), CLASSES % 2),
        "palette of 2 bits": (indexed(CLASSES % 4, bits=2), CLASSES % 4),
        "palette of 4 bits": (indexed(CLASSES % 16, bits=4), CLASSES % 16),
        "palette, transparent": (indexed(CLASSES, transparency=0), CLASSES),
        "grey": (by_pillow(grey, "PNG"), CLASSES),
        "grey, one number transparent": (by_pillow(grey, "PNG", transparency=3), CLASSES),
        "black and white": (by_pillow(few, "PNG"), CLASSES % 2),
        "16 bits": (by_pillow(Image.fromarray(deep), "PNG"), deep),
        "TIFF": (by_pillow(grey, "TIFF", compression="tiff_lzw"), CLASSES),
        "TIFF, palette": (indexed(CLASSES, kind="TIFF"), CLASSES),
        "TIFF of 16 bits": (by_pillow(Image.fromarray(deep), "TIFF"), deep),
        "GIF": (indexed(CLASSES, kind="GIF", optimize=False), CLASSES),
        "BMP": (indexed(CLASSES, kind="BMP"), CLASSES),
    }


@pytest.mark.parametrize("name", masks())
def test_the_numbers_are_those_that_were_stored_and_that_pillow_gives(name):
    data, numbers = masks()[name]
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(np.asarray(image), numbers)
    header = read_mask_header(data)
    check_numbers(data, header)
    found = decode_mask(data)
    assert found.dtype == header.dtype == numbers.dtype
    np.testing.assert_array_equal(found, numbers[..., None])
    assert found.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_masks_are_upright_like_images(orientation, kind):
    image = Image.fromarray(CLASSES)
    data = by_pillow(image, kind, **with_orientation(orientation))
    turned = Image.open(io.BytesIO(by_pillow(image, "PNG", **with_orientation(orientation))))
    wanted = np.asarray(ImageOps.exif_transpose(turned))
    assert read_mask_header(data).upright == wanted.shape
    np.testing.assert_array_equal(decode_mask(data)[..., 0], wanted)


def lossy():
    pixels = photograph(HEIGHT, WIDTH)
    return {
        "JPEG changes": by_pillow(pixels[..., 0], "JPEG"),
        "WebP may change": by_pillow(pixels, "WEBP", lossless=True),
        "JPEG 2000 may change": imagecodecs.jpeg2k_encode(pixels[..., 0], level=0),
    }


@pytest.mark.parametrize("words", lossy())
def test_kinds_that_change_numbers_are_refused_with_the_reason_and_the_way_out(words):
    for read in (read_mask_header, decode_mask):
        with pytest.raises(DecodeError, match=f"masks are numbers, and {words} them when it is encoded: store masks as PNG"):
            read(lossy()[words])


def coloured():
    pixels, deep = photograph(HEIGHT, WIDTH), sixteen_bits(photograph(HEIGHT, WIDTH))
    return {
        "RGB": by_pillow(pixels, "PNG"),
        "RGBA": by_pillow(pixels, "PNG", "RGBA"),
        "LA": by_pillow(pixels, "PNG", "LA"),
        "3 of 16 bits": imagecodecs.png_encode(deep),
    }


@pytest.mark.parametrize("found", coloured())
def test_pixels_of_several_numbers_are_refused_before_and_while_they_are_decoded(found):
    data = coloured()[found]
    header = read_mask_header(data)
    for read in (lambda: check_numbers(data, header), lambda: decode_mask(data)):
        with pytest.raises(DecodeError, match=rf"masks have one number a pixel, this PNG has several \({found}\)"):
            read()


@pytest.mark.parametrize("name", ["palette", "16 bits"])
def test_a_mask_that_is_cut_short_or_damaged_is_an_error(name):
    data = masks()[name][0]
    for spoilt in (data[:40], data[:-20], data[:-20] + bytes(4) + data[-16:], b""):
        with pytest.raises(DecodeError):
            decode_mask(spoilt)
