"""crop.cu as C++: each thread of each block runs on the CPU, under sanitizers, in buffers of exactly the right size."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import reference
from crop_cases import SOURCES, assert_same_bits, not_finite_cases, random_table
from cuda_on_cpu import Launches

from fastprep.kernels.choices import ORDERS
from fastprep.kernels.cuda import plan, plan_of

DTYPES = ("float32", "float16", "bfloat16")
LAYOUTS = ("channels_last", "channels_first")

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed, which compiles crop.cu as C++")


@pytest.fixture
def launches(tmp_path):
    return Launches(tmp_path)


def check(launches, cases):
    """Run `cases`, each the arguments of `plan` and keywords of `Launches.add`, and compare with the oracle."""
    wanted = []
    for arguments, placed in cases:
        wanted.append(reference.crop(*arguments))
        launches.add(plan(*arguments), np.empty_like(wanted[-1]), **placed)
    for (arguments, placed), got, want in zip(cases, launches.run(), wanted, strict=True):
        images, _, size, mean, scale, *rest = arguments
        try:
            assert_same_bits(got, want)
        except AssertionError as error:
            case = (images.shape, images.dtype.name, size, np.shape(mean), np.shape(scale), *rest, placed)
            raise AssertionError(f"{case}: {error}") from None


def random_images(rng, shape, dtype):
    if np.dtype(dtype).kind in "iu":
        return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, shape).astype(dtype)
    images = rng.standard_normal(shape) * 10.0 ** rng.integers(-45, 9, shape)  # down to numbers that are subnormal in float32
    return images.astype(dtype)


def random_case(rng):
    height, width, channels = shape = tuple(int(k) for k in (*rng.integers(1, 40, 2), rng.choice([1, 2, 3, 4, 5, 100])))
    size = (int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1)))
    n, target = int(rng.integers(1, 4)), str(rng.choice(DTYPES))
    images = random_images(rng, (n, *shape), str(rng.choice(SOURCES)))
    mean = [None, 3.5, rng.uniform(0, 255, channels), rng.uniform(0, 255, shape)][rng.integers(4)]
    scale = [None, 1 / 255, rng.uniform(0, 2, channels)][rng.integers(3)]
    table = random_table(rng, n, int(rng.integers(1, 9)), height, width, *size)
    past = (int(rng.integers(16)) * images.itemsize, int(rng.integers(64)) * reference.DTYPES[target].itemsize)
    return (images, table, size, mean, scale, target, str(rng.choice(LAYOUTS))), {"past": past}


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_oracle_on_random_cases(launches, seed):
    rng = np.random.default_rng(seed)
    check(launches, [random_case(rng) for _ in range(32)])


def test_equals_the_oracle_at_the_size_people_use(launches, rng):
    table = np.array([[0, 0, 0, 0], [1, 29, 29, 1], [1, 0, 29, 2], [0, 29, 0, 3]], np.int32)
    cases = []
    for channels in (1, 3, 4):
        images = rng.integers(0, 256, (2, 256, 256, channels), dtype=np.uint8)
        mean = np.linspace(100.1, 130.7, channels)
        cases += [((images, table, (227, 227), mean, None, d, layout), {}) for d in DTYPES for layout in LAYOUTS]
    check(launches, cases)


@pytest.mark.parametrize("order", ORDERS)
def test_equals_the_oracle_for_sources_of_every_order(launches, order):
    """Also with some of the channels, in tiles that are parts of a row, and where a pixel does not fit into shared memory."""
    rng = np.random.default_rng(3)
    shapes = [(*(int(side) for side in rng.integers(1, 40, 2)), int(rng.integers(1, 6))) for _ in range(10)]
    wanted = []
    for height, width, channels in [*shapes, (80, 70, 3), (80, 70, 3), (3, 9000, 3), (2, 3, 7000)]:
        sides = {"H": height, "W": width, "C": channels}
        images = random_images(rng, (2, *(sides[axis] for axis in order)), str(rng.choice(["uint8", "uint16", "float64"])))
        picked = None if rng.integers(3) == 0 or channels > 6 else rng.integers(0, channels, rng.integers(1, 5)).tolist()
        n_picked = channels if picked is None else len(picked)
        size = (max(1, height - 5), max(1, width - 3))
        mean = [None, rng.uniform(0, 255, n_picked), rng.uniform(0, 255, (height, width, n_picked))][rng.integers(3)]
        table = random_table(rng, 2, 3, height, width, *size)
        rest = (table, size, mean, 0.5, str(rng.choice(DTYPES)), str(rng.choice(LAYOUTS)))
        whole = np.stack(
            [images.transpose(0, *(1 + order.index(axis) for axis in "HWC"))[..., k] for k in picked or range(channels)], -1
        )
        wanted.append(reference.crop(whole, *rest))
        past = (int(rng.integers(16)) * images.itemsize, int(rng.integers(64)) * wanted[-1].itemsize)
        launches.add(plan(images, *rest, order=order, channels=picked), np.empty_like(wanted[-1]), past=past)
    for got, want in zip(launches.run(), wanted, strict=True):
        assert_same_bits(got, want)


def test_long_rows_and_many_channels(launches, rng):
    """Tiles that are parts of a row; pixels that do not fit into shared memory; crops of one row, one column or one pixel."""
    launches.optimization, cases = "-O1", []
    for shape, size, dtype, mean in [
        ((3, 9000, 3), (2, 8999), "float64", "image"),
        ((3, 9000, 3), (2, 8999), "uint8", "channels"),
        ((2, 3, 7000), (2, 2), "float64", "image"),
        ((1, 2, 70000), (1, 1), "uint8", "channels"),
        ((300, 1, 1), (300, 1), "uint8", "image"),
        ((9, 9, 1), (1, 1), "uint16", None),
    ]:
        images = random_images(rng, (2, *shape), dtype)
        values = {"image": rng.uniform(0, 255, shape), "channels": rng.uniform(0, 255, shape[-1]), None: None}[mean]
        y, x = shape[0] - size[0], shape[1] - size[1]
        table = np.array([[1, y, x, 0], [0, 0, 0, 1], [1, 0, x, 2], [0, y, 0, 3]], np.int32)
        for target, layout in (("float32", "channels_last"), ("bfloat16", "channels_first"), ("float16", "channels_last")):
            cases.append(((images, table, size, values, None, target, layout), {"past": (0, 4)}))
    check(launches, cases)


@pytest.mark.filterwarnings("ignore:overflow")
def test_rounds_every_float32_pattern_to_nearest_even(launches):
    """Every upper half of a float32, with lower halves at, just below and just above each tie."""
    lower = np.array([0, 1, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    values = ((np.arange(65536, dtype=np.uint32) << 16)[:, None] | lower).view(np.float32).reshape(1, 256, -1, 1)
    table = np.array([[0, 0, 0, 1]], np.int32)
    check(launches, [((values, table, values.shape[1:3], None, None, dtype), {}) for dtype in ("float16", "bfloat16")])


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_special_values_of_float_images(launches):
    values = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38, 1e300, -1e-300, 0.1, 65520.0, 65519.99])
    table = np.array([[0, 0, 0, 1]], np.int32)
    images = [values.astype(source).reshape(1, 1, -1, 1) for source in ("float32", "float64")]
    check(launches, [((i, table, (1, len(values)), [0.0], [1.0], dtype), {}) for i in images for dtype in DTYPES])


def test_marks_each_crop_that_has_a_result_which_is_not_finite(launches):
    for case in not_finite_cases():
        spec = case.spec()
        out = np.empty(spec.out_shape(len(case.table)), spec.out_dtype)
        launches.add(plan_of(spec, case.images, spec.checked_table(case.table, len(case.images))), out)
    launches.run()
    for case, checks in zip(not_finite_cases(), launches.checks, strict=True):
        np.testing.assert_array_equal(checks, case.wanted, err_msg=str(case))


def test_offsets_beyond_32_bits(launches, rng):
    """The last of so many images and crops that counting their elements needs 64 bits. The others have no memory."""
    n, shape, n_out, size = 22000, (256, 256, 3), 28000, (227, 227)
    last = rng.integers(0, 256, (1, *shape), dtype=np.uint8)
    table = np.zeros((n_out, 4), np.int32)
    table[-1] = n - 1, 29, 29, 1
    wanted = reference.crop(last, np.array([[0, 29, 29, 1]]), size, 120.5, None, "bfloat16")
    contiguous = SimpleNamespace(c_contiguous=True)
    images = SimpleNamespace(shape=(n, *shape), dtype=last.dtype, flags=contiguous, tail=last)
    out = SimpleNamespace(shape=(n_out, *size, 3), dtype=wanted.dtype, flags=contiguous, tail=wanted)
    launch = plan(images, table, size, 120.5, None, "bfloat16")
    a_crop = launch.grid[0] // n_out
    launches.add(launch, out, blocks=(launch.grid[0] - a_crop, a_crop))
    assert_same_bits(launches.run()[0], wanted)
