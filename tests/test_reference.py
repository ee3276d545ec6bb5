"""Is the oracle right? It is held against cv2, sklearn, torchvision's source, exact arithmetic and examples made by hand."""

import math
import struct

import ml_dtypes
import numpy as np
import pytest
import reference

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
IMAGE_DTYPES = ["uint8", "float64"]


def random_image(height, width, channels=3, dtype="uint8", seed=0):
    """Return a random image; fractions too if its dtype has them."""
    values = np.random.default_rng(seed).random((height, width, channels)) * 256
    return values.astype(dtype)


def assert_same_bits(got, expected):
    """Check dtype, shape and bits (so 0.0 is not -0.0). No NaN may be in there: its bits are not specified."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    assert not np.isnan(expected.astype(np.float64)).any()
    assert np.ascontiguousarray(got).tobytes() == np.ascontiguousarray(expected).tobytes()


def number_image(height, width):
    """Return the (H, W, 1) image whose pixel (y, x) is 10 y + x, so that a crop can be read off by eye."""
    return (10 * np.arange(height)[:, None] + np.arange(width))[:, :, None].astype(np.uint8)


# --- crop: places and turns ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0, [[12, 13, 14], [22, 23, 24]]),
        (1, [[14, 13, 12], [24, 23, 22]]),  # mirrored: the columns change places
        (2, [[22, 23, 24], [12, 13, 14]]),  # flipped: the rows change places
        (3, [[24, 23, 22], [14, 13, 12]]),
    ],
)
def test_crop_turns_by_hand(flags, expected):
    images = np.stack([np.zeros((4, 6, 1), np.uint8), number_image(4, 6)])
    out = reference.crop(images, np.array([[1, 1, 2, flags]], np.int32), (2, 3))
    assert_same_bits(out, np.array(expected, np.float32)[None, :, :, None])


def test_crop_arithmetic_by_hand():
    images = np.array([[[[10, 20], [30, 40]]]], np.uint8)  # one image of 1 x 2 pixels, two channels
    table = np.array([[0, 0, 0, 0], [0, 0, 0, 1]], np.int32)
    out = reference.crop(images, table, (1, 2), mean=[1, 2], scale=[2, 0.5])
    assert out.tolist() == [[[[18, 9], [58, 19]]], [[[58, 19], [18, 9]]]]
    first = reference.crop(images, table, (1, 2), mean=[1, 2], scale=[2, 0.5], layout="channels_first")
    assert first.tolist() == [[[[18, 58]], [[9, 19]]], [[[58, 18]], [[19, 9]]]]
    assert first.flags.c_contiguous
    assert reference.crop(images, table[:1], (1, 2), mean=5, scale=2).tolist() == [[[[10, 30], [50, 70]]]]


def test_crop_mean_image_belongs_to_the_source_pixel():
    # Where the mean image is the image itself nothing may be left, however the crop is placed and turned.
    image = random_image(7, 9)
    table = np.array([[0, y, x, flags] for y in range(4) for x in range(5) for flags in range(4)], np.int32)
    out = reference.crop(image[None], table, (4, 5), mean=image.astype(np.float64))
    assert_same_bits(out, np.zeros((len(table), 4, 5, 3), np.float32))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_crop_turns_as_cv2_flip(dtype):
    cv2 = pytest.importorskip("cv2")
    images = np.stack([random_image(9, 11, dtype=dtype, seed=seed) for seed in range(3)])
    cv2_codes = {1: 1, 2: 0, 3: -1}  # flags to cv2's flipCode: 1 around the vertical axis, 0 the horizontal one, -1 both
    for slot, y, x in [(0, 0, 0), (1, 4, 5), (2, 2, 3)]:
        window = np.ascontiguousarray(images[slot, y : y + 5, x : x + 6])
        for flags, code in cv2_codes.items():
            out = reference.crop(images, np.array([[slot, y, x, flags]], np.int32), (5, 6))
            assert_same_bits(out[0], cv2.flip(window, code).astype(np.float32))


def to_float32(value):
    """Round a Python number to float32, to nearest even, without numpy."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_crop_arithmetic_as_pure_python(dtype):
    # A double holds more than twice the digits of a float32, so a float32 sum or product that is first rounded to a double
    # and then to float32 is rounded correctly: S. Figueroa, "When is double rounding innocuous?", SIGNUM 30(3), 1995.
    images = np.stack([random_image(6, 7, dtype=dtype, seed=seed) for seed in range(2)])
    mean_image = random_image(6, 7, dtype="float64", seed=9)
    mean, scale = [123.675, 116.28, 103.53], [1 / 58.395, 1 / 57.12, 1 / 57.375]
    table = np.array([[0, 1, 2, 0], [1, 0, 3, 1], [1, 2, 0, 2], [0, 2, 3, 3]], np.int32)
    h, w = 4, 4
    for mean_argument in (mean, mean_image):
        out = reference.crop(images, table, (h, w), mean=mean_argument, scale=scale)
        assert out.dtype == np.float32
        for k, (slot, y, x, flags) in enumerate(table.tolist()):
            for i in range(h):
                for j in range(w):
                    row, column = y + (h - 1 - i if flags & 2 else i), x + (w - 1 - j if flags & 1 else j)
                    for c in range(3):
                        m = mean[c] if mean_argument is mean else mean_image[row, column, c].item()
                        value = to_float32(images[slot, row, column, c].item())
                        value = to_float32(value - to_float32(m))
                        value = to_float32(value * to_float32(scale[c]))
                        assert out[k, i, j, c].item() == value


def test_crop_rounds_after_every_step():
    # Each example tells the specified order from a likely wrong one.
    one = np.array([[0, 0, 0, 0]], np.int32)

    def single(value, source_dtype, **arguments):
        return reference.crop(np.full((1, 1, 1, 1), value, source_dtype), one, (1, 1), **arguments).item()

    # Convert first: 2^24 + 1 is half way and goes to the even 2^24; subtracting in double would leave 1.
    assert single(2**24 + 1, np.int64, mean=2.0**24) == 0
    # Straight from the integer: by way of a double, 2^60 + 2^36 + 1 would become a tie first, and then 2^60.
    assert single(2**60 + 2**36 + 1, np.int64) == 2.0**60 + 2.0**37
    # The mean is rounded to float32 before it is subtracted.
    assert single(1, np.uint8, mean=1 + 2.0**-30) == 0
    # The difference is rounded before it is multiplied: 1 + 2^-24 is a tie and goes to 1. In one go it would be
    # 1.5 + 1.5 * 2^-24, which is nearer to 1.5 + 2^-23 than to 1.5.
    assert single(1, np.uint8, mean=-(2.0**-24), scale=1.5) == 1.5
    assert to_float32((1 + 2.0**-24) * 1.5) == 1.5 + 2.0**-23
    # Not rewritten as x * s - m * s: with s = 0.1, float32(3 * s) - float32(2 * s) is not float32(s).
    s = to_float32(0.1)
    assert to_float32(to_float32(3 * s) - to_float32(2 * s)) != s
    assert single(3, np.uint8, mean=2, scale=0.1) == s
    # Multiplied by float32(1 / 255), not divided by 255: some values tell the two apart.
    reciprocal = to_float32(1 / 255)
    values = [v for v in range(256) if to_float32(v * reciprocal) != to_float32(v / 255)]
    assert values
    assert all(single(v, np.uint8, scale=1 / 255) == to_float32(v * reciprocal) for v in values)
    # A negative zero stays one if nothing is subtracted (-0.0 - 0.0 is -0.0), and x - x is +0.0.
    assert math.copysign(1, single(-0.0, np.float32)) == -1
    assert math.copysign(1, single(7, np.uint8, mean=7)) == 1
    # Numbers too small to be normal are not flushed to zero; too large ones become infinite, without a warning.
    tiny = to_float32(1e-40)
    assert tiny != 0
    assert single(tiny, np.float32) == tiny
    assert single(tiny, np.float32, mean=2 * tiny, scale=2.0**60) == -tiny * 2.0**60
    assert single(1e39, np.float64) == math.inf
    assert math.isnan(single(1e39, np.float64, mean=math.inf))
    assert single(65519, np.int32, dtype="float16") == 65504
    assert single(65520, np.int32, dtype="float16") == math.inf


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "uint16", "int32", "uint64", "float16", "float32", "float64", "bfloat16"]
)
def test_crop_takes_any_real_dtype(dtype):
    image = random_image(5, 6).astype(BFLOAT16 if dtype == "bfloat16" else dtype)
    out = reference.crop(image[None], np.array([[0, 0, 0, 0]], np.int32), (5, 6))
    assert out.dtype == np.float32
    assert out[0].tolist() == image.astype(float).tolist()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_crop_dtype_and_layout(dtype, layout):
    images = np.stack([random_image(8, 9, channels=2, seed=seed) for seed in range(2)])
    table = np.array([[1, 2, 3, 1], [0, 0, 0, 2]], np.int32)
    plain = reference.crop(images, table, (3, 5), mean=100.1, scale=0.3)
    out = reference.crop(images, table, (3, 5), mean=100.1, scale=0.3, dtype=dtype, layout=layout)
    assert out.dtype == {"float32": np.float32, "float16": np.float16, "bfloat16": BFLOAT16}[dtype]
    assert out.flags.c_contiguous
    if layout == "channels_first":
        assert out.shape == (2, 2, 3, 5)
        out = np.stack([out[:, 0], out[:, 1]], axis=-1)
    assert_same_bits(out, plain.astype(out.dtype))


def test_crop_of_nothing_and_of_everything():
    image = random_image(5, 6)
    assert reference.crop(image[None], np.empty((0, 4), np.int32), (2, 3)).shape == (0, 2, 3, 3)
    whole = reference.crop(image[None], np.array([[0, 0, 0, 0]], np.int32), (5, 6))
    assert_same_bits(whole[0], image.astype(np.float32))


@pytest.mark.parametrize(
    "row", [(1, 0, 0, 0), (-1, 0, 0, 0), (0, -1, 0, 0), (0, 0, -1, 0), (0, 4, 0, 0), (0, 0, 4, 0), (0, 0, 0, 4)]
)
def test_crop_refuses_what_numpy_would_let_pass(row):
    with pytest.raises(ValueError, match="row 0"):
        reference.crop(random_image(5, 6)[None], np.array([row], np.int32), (2, 3))


@pytest.mark.parametrize(
    "arguments",
    [
        {"mean": [1, 2]},
        {"mean": [1]},
        {"scale": [1]},
        {"mean": np.zeros((2, 3, 3))},
        {"scale": np.zeros((5, 6, 3))},
        {"layout": "?"},
    ],
)
def test_crop_refuses_wrong_arguments(arguments):
    with pytest.raises(ValueError, match=r"shape|layout"):
        reference.crop(random_image(5, 6)[None], np.array([[0, 0, 0, 0]], np.int32), (2, 3), **arguments)


# --- rounding to 16 bits ------------------------------------------------------------------------------------------------

# (dtype, bits of infinity): below the sign bit both formats count up in step with their values, so the bits
# 0, 1, 2, ... are zero, the subnormals, the normal numbers and, last, infinity, each the next larger neighbour.
NARROW = [(np.dtype(np.float16), 0x7C00), (BFLOAT16, 0x7F80)]
NARROW_IDS = ["float16", "bfloat16"]


def from_bits(bits, dtype):
    return np.asarray(bits).astype(np.uint16).view(dtype)


def cast(x, dtype):
    with np.errstate(all="ignore"):
        return x.astype(dtype).view(np.uint16)


@pytest.mark.parametrize(("dtype", "infinity"), NARROW, ids=NARROW_IDS)
@pytest.mark.parametrize("sign", [1, -1])
def test_narrow_casts_round_to_nearest_even(dtype, infinity, sign):
    """Every pair of finite neighbours: the tie goes to the even one, a float32 step beside the tie to the nearer one."""
    lower = np.arange(infinity - 1)
    sign_bit = 0x8000 if sign < 0 else 0
    below = from_bits(lower, dtype).astype(np.float64)
    above = from_bits(lower + 1, dtype).astype(np.float64)
    assert (np.diff(below) > 0).all()
    tie = ((below + above) / 2).astype(np.float32)
    assert (tie.astype(np.float64) == (below + above) / 2).all()  # float32 holds every tie exactly
    even = lower + lower % 2  # the neighbour whose last bit is 0
    assert (cast(sign * tie, dtype) == even + sign_bit).all()
    assert (cast(sign * np.nextafter(tie, np.float32(0)), dtype) == lower + sign_bit).all()
    assert (cast(sign * np.nextafter(tie, np.float32(np.inf)), dtype) == lower + 1 + sign_bit).all()
    assert (cast(sign * below.astype(np.float32), dtype) == lower + sign_bit).all()  # exact ones stay


@pytest.mark.parametrize(
    ("dtype", "infinity", "largest", "overflow"),
    [
        (np.dtype(np.float16), 0x7C00, 65504.0, 65520.0),
        (BFLOAT16, 0x7F80, (2 - 2.0**-7) * 2.0**127, (2 - 2.0**-8) * 2.0**127),
    ],
    ids=NARROW_IDS,
)
def test_narrow_casts_overflow_to_infinity(dtype, infinity, largest, overflow):
    # IEEE 754-2019, 4.3.1: from the largest number plus half a step on, round-to-nearest gives infinity.
    overflow = np.float32(overflow)
    inputs = [largest, np.nextafter(overflow, np.float32(0)), overflow, np.finfo(np.float32).max, np.inf]
    x = np.array(inputs, np.float32)
    expected = np.array([infinity - 1, infinity - 1, infinity, infinity, infinity])
    assert (cast(x, dtype) == expected).all()
    assert (cast(-x, dtype) == expected + 0x8000).all()
    assert float(from_bits(infinity - 1, dtype)) == largest


@pytest.mark.parametrize(("dtype", "infinity"), NARROW, ids=NARROW_IDS)
def test_narrow_casts_keep_nan_and_zero(dtype, infinity):
    # 0x7F800001 has its only payload bit where a mere truncation would drop it and leave infinity; 0x7FFFFFFF is the one
    # where adding a rounding constant would carry into the sign.
    nan = np.array([0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFC00000, 0xFFFFFFFF], np.uint32).view(np.float32)
    bits = cast(nan, dtype).astype(int)
    assert ((bits & 0x7FFF) > infinity).all()
    assert np.isnan(from_bits(bits, dtype).astype(np.float32)).all()
    assert cast(np.array([0.0, -0.0], np.float32), dtype).tolist() == [0, 0x8000]


def test_narrow_casts_of_subnormals_by_hand():
    float32_bits = np.array([0x00000001, 0x00008000, 0x00008001, 0x00010000, 0x00018000, 0x807F8000], np.uint32)
    assert cast(float32_bits.view(np.float32), BFLOAT16).tolist() == [0, 0, 1, 1, 2, 0x8080]
    x = np.array([2.0**-26, 2.0**-25, 1.5 * 2.0**-25, 2.0**-24, 1.5 * 2.0**-24, 1e-45], np.float32)
    assert cast(x, np.dtype(np.float16)).tolist() == [0, 0, 1, 1, 2, 0]


def test_narrow_casts_as_the_bits_and_as_struct():
    """A million random float32: bfloat16 against integer arithmetic on the bits, float16 against Python's struct."""
    bits = np.random.default_rng(1).integers(0, 2**32, 1_000_000, dtype=np.uint64)
    x = bits.astype(np.uint32).view(np.float32)
    finite = np.isfinite(x)
    high, low = bits >> 16, bits & 0xFFFF
    up = (low > 0x8000) | ((low == 0x8000) & (high & 1 == 1))
    assert (cast(x, BFLOAT16)[finite] == (high + up)[finite]).all()
    some = np.random.default_rng(2).normal(0, 1, 5000).astype(np.float32) * np.float32(10) ** np.arange(-8, 2).repeat(500)
    some = some.astype(np.float32)
    expected = [struct.unpack("<H", struct.pack("<e", float(v)))[0] for v in some]
    assert cast(some, np.dtype(np.float16)).tolist() == expected


# --- places of the crops ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "crop", "tutorial", "torchvision"),
    [
        (10, 10, 0, 0),
        (11, 10, 0, 0),  # 0.5: to even is down
        (12, 10, 1, 1),
        (13, 10, 1, 2),  # 1.5: to even is up
        (15, 10, 2, 2),  # 2.5
        (17, 10, 3, 4),  # 3.5
        (256, 227, 14, 14),  # the tutorial's sizes: 14.5
        (256, 224, 16, 16),
    ],
)
def test_center_offset_by_hand(length, crop, tutorial, torchvision):
    assert reference.center_offset(length, crop, "tutorial") == tutorial
    assert reference.center_offset(length, crop, "torchvision") == torchvision


def test_center_offset_everywhere():
    differ = []
    for difference in range(20):
        tutorial = reference.center_offset(5 + difference, 5, "tutorial")
        torchvision = reference.center_offset(5 + difference, 5, "torchvision")
        assert tutorial == int(0.5 * difference) == difference // 2
        assert isinstance(tutorial, int)
        assert isinstance(torchvision, int)
        if tutorial != torchvision:
            differ.append((difference, torchvision, tutorial))
    # Listed by a torchvision maintainer in https://github.com/pytorch/vision/issues/7705.
    assert differ[:3] == [(3, 2, 1), (7, 4, 3), (11, 6, 5)]
    with pytest.raises(ValueError, match="does not fit"):
        reference.center_offset(4, 5, "tutorial")
    with pytest.raises(ValueError, match="order"):
        reference.center_offset(5, 4, "?")


# Top-left pixels and flags of the ten crops of 2 x 3 of an image of 5 x 6, worked out by hand. H-h = W-w = 3, so the
# centre starts at 1 (tutorial) or 2 (torchvision), and in the mirrored image at 6 - 3 - 2 = 1 of the unmirrored one.
TEN_BY_HAND = {
    "tutorial": [(y, x, mirrored) for mirrored in (0, 1) for y, x in [(0, 0), (0, 3), (3, 3), (3, 0), (1, 1)]],
    "torchvision": [
        *[(0, 0, 0), (0, 3, 0), (3, 0, 0), (3, 3, 0), (2, 2, 0)],
        *[(0, 3, 1), (0, 0, 1), (3, 3, 1), (3, 0, 1), (2, 1, 1)],
    ],
}


@pytest.mark.parametrize("order", ["tutorial", "torchvision"])
def test_ten_crop_by_hand(order):
    crops = reference.ten_crop(number_image(5, 6), (2, 3), order)
    expected = []
    for y, x, mirrored in TEN_BY_HAND[order]:
        rows = [[10 * row + column for column in (x, x + 1, x + 2)] for row in (y, y + 1)]
        expected.append([row[::-1] for row in rows] if mirrored else rows)
    assert [crop[:, :, 0].tolist() for crop in crops] == expected
    # The same by crop().
    table = np.array([(0, *place) for place in TEN_BY_HAND[order]], np.int32)
    out = reference.crop(number_image(5, 6)[None], table, (2, 3))
    assert_same_bits(out, np.stack(crops).astype(np.float32))


def test_ten_crop_torchvision_written_out():
    crops = [crop[:, :, 0].tolist() for crop in reference.ten_crop(number_image(4, 4), (2, 2), "torchvision")]
    assert crops == [
        [[0, 1], [10, 11]],
        [[2, 3], [12, 13]],
        [[20, 21], [30, 31]],
        [[22, 23], [32, 33]],
        [[11, 12], [21, 22]],
        [[3, 2], [13, 12]],
        [[1, 0], [11, 10]],
        [[23, 22], [33, 32]],
        [[21, 20], [31, 30]],
        [[12, 11], [22, 21]],
    ]


@pytest.mark.parametrize("shape", [(8, 9), (9, 8), (7, 7), (5, 4), (8, 7)])
def test_ten_crop_as_torchvision(shape):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.functional")
    image = random_image(*shape)
    theirs = functional.ten_crop(torch.from_numpy(image.transpose(2, 0, 1).copy()), (5, 4))
    for ours, other in zip(reference.ten_crop(image, (5, 4), "torchvision"), theirs, strict=True):
        assert_same_bits(ours, other.numpy().transpose(1, 2, 0))


@pytest.mark.parametrize("order", ["tutorial", "torchvision"])
def test_ten_crop_refuses_too_large_a_crop(order):
    for size in [(6, 3), (3, 7)]:
        with pytest.raises(ValueError, match="does not fit"):
            reference.ten_crop(random_image(5, 6), size, order)
    with pytest.raises(ValueError, match="order"):
        reference.ten_crop(random_image(5, 6), (2, 2), "?")


# --- the tutorial -------------------------------------------------------------------------------------------------------

R_MEAN, G_MEAN, B_MEAN = 124.96761639328, 115.97504255599975, 106.13840215289986  # float32 cannot hold them


@pytest.mark.parametrize("dtype", IMAGE_DTYPES)
def test_tutorial_mean_as_cv2(dtype):
    cv2 = pytest.importorskip("cv2")
    image = random_image(13, 17, dtype=dtype)
    b, g, r = cv2.split(image.astype("float32"))
    r = r - R_MEAN  # numpy keeps float32 beside a Python float
    g = g - G_MEAN
    b = b - B_MEAN
    expected = cv2.merge([b, g, r])
    assert expected.dtype == np.float32
    assert_same_bits(reference.tutorial_mean(image, R_MEAN, G_MEAN, B_MEAN), expected)
    # And as crop(), whose mean has the image's channel order.
    out = reference.crop(image[None], np.array([[0, 0, 0, 0]], np.int32), (13, 17), mean=[B_MEAN, G_MEAN, R_MEAN])
    assert_same_bits(out[0], expected)


def test_tutorial_mean_by_hand():
    image = np.array([[[10, 20, 30]]], np.uint8)  # B, G, R
    assert reference.tutorial_mean(image, r_mean=3, g_mean=2, b_mean=11).tolist() == [[[-1, 18, 27]]]
    assert image.tolist() == [[[10, 20, 30]]]


@pytest.mark.parametrize("dtype", IMAGE_DTYPES)
def test_tutorial_patch_as_every_window(dtype):
    image = random_image(6, 7, dtype=dtype)
    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 4), axis=(0, 1))  # (4, 4, C, 3, 4)
    for y in range(4):
        for x in range(4):
            assert_same_bits(reference.tutorial_patch(image, y, x, 3, 4), windows[y, x].transpose(1, 2, 0))
    for y, x in [(4, 0), (0, 4), (-1, 0)]:
        with pytest.raises(ValueError, match="leaves"):
            reference.tutorial_patch(image, y, x, 3, 4)


@pytest.mark.parametrize("dtype", IMAGE_DTYPES)
def test_tutorial_patch_as_sklearn(dtype):
    sklearn_image = pytest.importorskip("sklearn.feature_extraction.image")
    image = random_image(6, 7, dtype=dtype)
    every_patch = sklearn_image.extract_patches_2d(image, (3, 4))  # row after row
    places = [(y, x) for y in range(4) for x in range(4)]
    assert_same_bits(np.stack([reference.tutorial_patch(image, y, x, 3, 4) for y, x in places]), every_patch)


@pytest.mark.parametrize("dtype", IMAGE_DTYPES)
@pytest.mark.parametrize("shape", [(9, 11), (8, 8), (10, 9), (6, 5)])
def test_tutorial_crop_as_cv2(shape, dtype):
    cv2 = pytest.importorskip("cv2")
    image = random_image(*shape, dtype=dtype)
    (H, W), h, w = shape, 6, 5
    dy, dx = math.floor((H - h) / 2), math.floor((W - w) / 2)
    crops = [image[:h, :w], image[:h, -w:], image[-h:, -w:], image[-h:, :w], image[dy : dy + h, dx : dx + w]]
    mirrors = [cv2.flip(np.ascontiguousarray(crop), 1) for crop in crops]
    assert_same_bits(reference.tutorial_crop(image, h, w), np.stack(crops + mirrors))
    assert_same_bits(reference.tutorial_crop(image, h, w, horizontal_flip=False), np.stack(crops))
    assert_same_bits(reference.tutorial_crop(image, h, w), np.stack(reference.ten_crop(image, (h, w), "tutorial")))


@pytest.mark.parametrize("dtype", IMAGE_DTYPES)
def test_tutorial_crop_centre_as_published_where_that_is_a_crop(dtype):
    # The published centre is image[dH:H-dH, dW:W-dW], resized. With even margins it has the right size already, and
    # resizing it changes nothing; with odd ones it is a pixel larger, which is what the specification corrects.
    cv2 = pytest.importorskip("cv2")
    image = random_image(10, 12, dtype=dtype)
    h, w = 6, 4
    d_h, d_w = int(0.5 * (10 - h)), int(0.5 * (12 - w))
    published = cv2.resize(image[d_h : 10 - d_h, d_w : 12 - d_w], (w, h), interpolation=cv2.INTER_AREA)
    assert_same_bits(reference.tutorial_crop(image, h, w)[4], published)
    odd = random_image(9, 11)
    assert odd[int(0.5 * 3) : 9 - int(0.5 * 3)].shape[0] == h + 1
    assert reference.tutorial_crop(odd, h, w).shape == (10, h, w, 3)


def test_tutorial_crop_by_hand():
    crops = reference.tutorial_crop(number_image(3, 4), 2, 3)
    assert crops[:, :, :, 0].tolist() == [
        [[0, 1, 2], [10, 11, 12]],
        [[1, 2, 3], [11, 12, 13]],
        [[11, 12, 13], [21, 22, 23]],
        [[10, 11, 12], [20, 21, 22]],
        [[0, 1, 2], [10, 11, 12]],  # both offsets int(0.5 * 1) = 0
        [[2, 1, 0], [12, 11, 10]],
        [[3, 2, 1], [13, 12, 11]],
        [[13, 12, 11], [23, 22, 21]],
        [[12, 11, 10], [22, 21, 20]],
        [[2, 1, 0], [12, 11, 10]],
    ]
    with pytest.raises(ValueError, match="leaves"):
        reference.tutorial_crop(number_image(3, 4), 4, 3)
