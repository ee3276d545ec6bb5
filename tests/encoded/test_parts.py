"""Parts of JPEGs: the pixels of the whole image, to the bit, and the same damage found, wherever the part lies."""

import numpy as np
import pytest
from encoded_images import by_cv2, by_pillow, examples, photograph
from optional_libraries import needs

from fastprep.encoded import decode, read_header
from fastprep.encoded.parts import is_plain
from fastprep.errors import DecodeError

libjpeg = pytest.importorskip("fastprep.encoded._libjpeg", reason="fastprep was built without libjpeg-turbo")

pytestmark = needs("simplejpeg")

SAMPLINGS = ["4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1", "grey"]
SIZES = [(1, 1), (3, 2), (7, 9), (16, 16), (17, 33), (45, 62), (50, 101)]


def jpeg(height, width, sampling, **options):
    pixels = photograph(120, 120)[:height, :width]
    if sampling == "grey":
        return by_pillow(pixels[..., 0], "JPEG", **options)
    if sampling in ("4:4:0", "4:1:1"):
        cv2 = pytest.importorskip("cv2")
        number = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling.replace(':', '')}")
        return by_cv2(pixels, ".jpg", cv2.IMWRITE_JPEG_SAMPLING_FACTOR, number)
    return by_pillow(pixels, "JPEG", subsampling=sampling, **options)


def parts_of(height, width, n, seed):
    """Yield parts of an image: all of it, its corners, and random ones."""
    yield 0, height, 0, width
    yield 0, 1, 0, 1
    yield height - 1, height, width - 1, width
    rng = np.random.default_rng(seed)
    for _ in range(n):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        yield top, int(rng.integers(top + 1, height + 1)), left, int(rng.integers(left + 1, width + 1))


def decoded(data, part, shape):
    """Return a part; None if it is left to another decoder. What lies around it is noise."""
    out = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    top, bottom, left, right = part
    return out[top:bottom, left:right] if libjpeg.decode_part(data, part, out) else None


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_pixels_are_those_of_the_whole_image(sampling, size):
    data = jpeg(*size, sampling)
    for mode in ("RGB", "L") if sampling == "grey" else ("RGB",):
        whole = decode(data, mode)
        for part in parts_of(*size, 40, seed=size[1]):
            top, bottom, left, right = part
            np.testing.assert_array_equal(decoded(data, part, whole.shape), whole[top:bottom, left:right], err_msg=str(part))


@pytest.mark.parametrize("options", [{"restart_marker_blocks": 2}, {"restart_marker_rows": 1}, {"quality": 100}, {"quality": 5}])
def test_files_of_other_encoders(options):
    data = jpeg(70, 90, "4:2:0", **options)
    whole = decode(data)
    for part in parts_of(70, 90, 40, seed=3):
        top, bottom, left, right = part
        np.testing.assert_array_equal(decoded(data, part, whole.shape), whole[top:bottom, left:right])


@pytest.mark.parametrize("name", ["JPEG progressive", "JPEG RGB", "JPEG CMYK", "PNG"])
def test_what_is_no_usual_jpeg_is_left_to_the_other_decoder(name):
    assert decoded(examples()[name], (3, 20, 5, 30), (45, 62, 3)) is None


def test_another_size_than_the_header_said_before_is_left_to_the_other_decoder():
    data = jpeg(45, 62, "4:2:0")
    assert decoded(data, (0, 45, 0, 62), (45, 62, 3)) is not None
    for shape in ((46, 62, 3), (45, 61, 3), (45, 62, 1)):
        assert decoded(data, (0, 45, 0, 61), shape) is None
    assert decoded(b"", (0, 45, 0, 62), (45, 62, 3)) is None


@pytest.mark.parametrize("part", [(0, 0, 0, 5), (0, 46, 0, 5), (-1, 5, 0, 5), (0, 5, 5, 4), (0, 5, 0, 63)])
def test_a_part_outside_the_image_is_an_error(part):
    with pytest.raises(ValueError, match="part must lie in 45 rows and 62 columns"):
        decoded(jpeg(45, 62, "4:2:0"), part, (45, 62, 3))
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        decoded(jpeg(45, 62, "4:2:0"), (0, 1, 0, 1), (45, 62, 2))


def damaged(content, case):
    """Return bytes of which a few are changed, missing, or too much."""
    rng = np.random.default_rng(case)
    data, way = bytearray(content), case % 4
    first = int(rng.integers(20, len(data)))
    if way == 0:
        for place in rng.integers(20, len(data), 4):
            data[place] = rng.integers(256)
    elif way == 1:
        data[first] ^= 1 << int(rng.integers(8))
    elif way == 2:
        del data[first : first + int(rng.integers(1, 40))]
    else:
        data[first:first] = rng.integers(0, 256, rng.integers(1, 40), dtype=np.uint8).tobytes()
    return bytes(data)


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:0", "grey"])
def test_damage_is_found_wherever_the_part_lies(sampling):
    """What a part is decoded of, the whole image is decoded of as well, without an error, to the same pixels."""
    n_decoded, n_refused = 0, 0
    content = jpeg(50, 60, sampling)
    for case in range(600):
        data = damaged(content, case)
        try:
            header = read_header(data, max_pixels=1 << 20)
            whole = decode(data, "RGB", max_pixels=1 << 20)
        except DecodeError:
            whole = None
            shape = (50, 60, 3)
        else:
            if not is_plain(header, "RGB"):
                continue
            shape = whole.shape
        part = list(parts_of(*shape[:2], 1, seed=case))[-1]
        pixels = decoded(data, part, shape)
        n_refused += pixels is None
        if pixels is not None:
            assert whole is not None, f"case {case}: damage that decode found"
            top, bottom, left, right = part
            np.testing.assert_array_equal(pixels, whole[top:bottom, left:right], err_msg=f"case {case}")
            n_decoded += 1
    assert n_decoded > 100
    assert n_refused > 100


def test_missing_ends_are_found_below_a_part_that_is_whole():
    data = jpeg(101, 101, "4:2:0")
    assert decoded(data, (0, 8, 0, 8), (101, 101, 3)) is not None
    for missing in (1, 2, 3, 40, len(data) // 2):
        assert decoded(data[:-missing], (0, 8, 0, 8), (101, 101, 3)) is None
    assert decoded(data[:-100] + data[-2:], (0, 8, 0, 8), (101, 101, 3)) is None
