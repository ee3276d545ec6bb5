"""JPEGs: the pixels of libjpeg-turbo, to the bit, in every colour space, and no grey in place of missing bytes."""

import sys
import threading

import numpy as np
import pytest
from encoded_images import by_cv2, by_pillow, examples, photograph, pillow_pixels, with_orientation
from PIL import Image

from fastprep.encoded import decode, read_header
from fastprep.encoded.decode import upright
from fastprep.errors import DecodeError

JPEGS = [name for name in examples() if name.startswith("JPEG") and "2000" not in name]


@pytest.fixture
def simplejpeg():
    return pytest.importorskip("simplejpeg")


@pytest.mark.parametrize("mode", ["RGB", "L", None])
@pytest.mark.parametrize("name", JPEGS)
def test_pixels_are_pillows(simplejpeg, name, mode):
    """The same decoder is inside: equality would end if one of the two packages took another, or another rule for CMYK."""
    data = examples()[name]
    wanted = pillow_pixels(data, mode or ("L" if "grey" in name else "RGB")) if mode != "L" or "grey" in name else grey(data)
    got = decode(data, mode)
    np.testing.assert_array_equal(got, upright(wanted, 6 if "turned" in name else 1))
    assert (got.dtype, got.shape) == (np.uint8, read_header(data).shape(mode))


def grey(data):
    """Return grey as 0.299 R + 0.587 G + 0.114 B of Pillow's RGB, in 16-bit fixed point."""
    red, green, blue = np.moveaxis(pillow_pixels(data).astype(np.int64), -1, 0)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(np.uint8)[..., None]


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (16, 16), (17, 33), (101, 67)])
def test_pixels_are_simplejpegs_for_any_size_and_subsampling(simplejpeg, subsampling, size):
    data = by_pillow(photograph(120, 120)[: size[0], : size[1]], "JPEG", subsampling=subsampling, quality=87)
    np.testing.assert_array_equal(decode(data), simplejpeg.decode_jpeg(data, "RGB"))
    np.testing.assert_array_equal(decode(data), pillow_pixels(data))


@pytest.mark.parametrize("progressive", [0, 1])
def test_files_of_cv2(simplejpeg, progressive):
    cv2 = pytest.importorskip("cv2")
    options = {cv2.IMWRITE_JPEG_PROGRESSIVE: progressive, cv2.IMWRITE_JPEG_QUALITY: 100}
    options[cv2.IMWRITE_JPEG_SAMPLING_FACTOR] = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    data = by_cv2(photograph(), ".jpg", *(number for option in options.items() for number in option))
    np.testing.assert_array_equal(decode(data), pillow_pixels(data))
    # what rounding loses at quality 100: on the way to YCbCr and back, and in the DCT
    assert np.abs(decode(data).astype(int) - photograph()).max() <= 4


@pytest.mark.parametrize("name", JPEGS)
def test_decoding_into_memory_that_is_given(simplejpeg, name):
    data = examples()[name]
    for mode in (None, "RGB", "L"):
        around = np.full((3, *read_header(data).shape(mode)), 77, np.uint8)
        assert np.shares_memory(decode(data, mode, around[1]), around[1])
        np.testing.assert_array_equal(around[1], decode(data, mode))
        assert (around[[0, 2]] == 77).all()


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_that_is_cut_short_is_an_error_wherever_it_is_cut(simplejpeg, name):
    data = examples()[name]
    for n_bytes in (*range(2, len(data) - 60, 11), *range(len(data) - 60, len(data))):
        with pytest.raises(DecodeError, match=r"cut short|begins with the bytes"):
            decode(data[:n_bytes])


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_pixels_that_are_missing_before_the_end_marker_are_an_error(simplejpeg, name, part):
    """Pillow, cv2 and imagecodecs return grey in their place."""
    data = examples()[name]
    start = data.rindex(b"\xff\xda") + 12
    with pytest.raises(DecodeError, match="premature end of data segment"):
        decode(data[: start + int(part * (len(data) - start - 10))] + b"\xff\xd9")


def test_bytes_after_the_end_do_no_harm(simplejpeg):
    data = examples()["JPEG"]
    np.testing.assert_array_equal(decode(data + bytes(1000)), decode(data))


def test_junk_between_the_last_pixel_and_the_end_marker_does_no_harm(simplejpeg):
    """Files of the Dogs vs Cats set have it."""
    data = examples()["JPEG"]
    junk = data[:-2] + bytes(range(1, 201)) + data[-2:]
    with pytest.raises(ValueError, match="extraneous bytes before marker 0xd9"):
        simplejpeg.decode_jpeg(junk)
    np.testing.assert_array_equal(decode(junk), decode(data))


def test_an_odd_revision_of_jfif_does_no_harm_and_hides_no_other_warning(simplejpeg):
    """Files of the Dogs vs Cats set have it, too."""
    data = examples()["JPEG"]
    assert data[6:13] == b"JFIF\0\x01\x01"
    odd = data[:11] + b"\0\0" + data[13:]
    with pytest.raises(ValueError, match=r"unknown JFIF revision number 0\.00"):
        simplejpeg.decode_jpeg(odd)
    np.testing.assert_array_equal(decode(odd), decode(data))
    with pytest.raises(DecodeError, match="premature end of data segment"):
        decode(odd[: len(odd) // 2 + 300] + b"\xff\xd9")
    with pytest.raises(DecodeError, match="cut short"):
        decode(odd[:-100])


def test_without_simplejpeg_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    with pytest.raises(ModuleNotFoundError, match=r"JPEG images are decoded by simplejpeg.*pip install 'fastprep\[jpeg\]'"):
        decode(examples()["JPEG"])
    assert read_header(examples()["JPEG"]).height == photograph().shape[0]
    np.testing.assert_array_equal(decode(examples()["PNG"]), photograph())


def test_threads_decode_side_by_side_into_their_own_memory(simplejpeg):
    images = [by_pillow(np.roll(photograph(), shift, 1), "JPEG", **with_orientation(1 + shift % 8)) for shift in range(16)]
    wanted = [decode(data) for data in images]
    wrong = []

    def work(start):
        for k in range(200):
            position = (start + k) % len(images)
            out = np.empty_like(wanted[position])
            decode(images[position], out=out)
            if not np.array_equal(out, wanted[position]):
                wrong.append(position)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_ink_is_converted_as_pillow_does_it(simplejpeg):
    ramp = np.stack(np.meshgrid(*[np.arange(0, 256, 51)] * 4), -1).reshape(36, 36, 4).astype(np.uint8)
    data = by_pillow(Image.fromarray(ramp, "CMYK"), "JPEG", quality=100)
    np.testing.assert_array_equal(decode(data), pillow_pixels(data))
