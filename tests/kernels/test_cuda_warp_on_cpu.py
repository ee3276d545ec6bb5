"""warp.cu as C++: each thread of each block runs on the CPU, under sanitizers, in buffers of exactly the right size."""

import itertools
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import reference
from crop_cases import assert_same_bits
from cuda_on_cpu import Launches
from warp_cases import DTYPES, LAYOUTS, ORDERS, in_order, joined, oracle, some_table

from fastprep.kernels import WarpSpec
from fastprep.kernels.records import Record, SizedRecord
from fastprep.kernels.warp_plan import warp_plan_of
from fastprep.transforms import TransformTable

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed, which compiles warp.cu as C++")


@pytest.fixture
def launches(tmp_path):
    return Launches(tmp_path)


def planned(
    images, table, size, mean=None, scale=None, dtype="float32", layout="channels_last", fill=0.0, erase_value=0.0, **source
):
    """Return the plan of what `oracle` does with the same arguments."""
    order = source.get("order", "HWC")
    sides = dict(zip(order, images.shape[1:], strict=True))
    picked = source.get("channels")
    shape = (sides["H"], sides["W"], sides["C"] if picked is None else len(picked))
    spec = WarpSpec(
        shape, images.dtype.name, size, mean, scale, dtype, layout, geometry=table.geometry, fill=fill,
        has_colors=table.colors is not None, erase_value=None if table.erasures is None else erase_value,
        check_finite=source.get("check_finite", False), order=order, channels=picked, source_channels=sides["C"],
    )  # fmt: skip
    return warp_plan_of(spec, images, Record(spec).pack(spec.checked(table, len(images))))


def check(launches, cases):
    """Run cases, each the arguments of `oracle`, keywords of `planned`, and bytes before the images and the result."""
    wanted = []
    for arguments, source, past in cases:
        wanted.append(oracle(*arguments))
        images, *rest = arguments
        if source:
            images = in_order(images, source["order"], source["channels"], np.random.default_rng(0))
        past = (past[0] % 16 * images.itemsize, past[1] % 64 * wanted[-1].itemsize)
        launches.add(planned(images, *rest, **source), np.empty_like(wanted[-1]), past)
    for (arguments, source, past), got, want in zip(cases, launches.run(), wanted, strict=True):
        images, table, *rest = arguments
        try:
            assert_same_bits(got, want)
        except AssertionError as error:
            raise AssertionError(f"{images.shape} {images.dtype} {table} {rest} {source} {past}: {error}") from None


def random_case(rng, geometry):
    shape = tuple(int(k) for k in (rng.integers(1, 4), *rng.integers(1, 60, 2), rng.choice([1, 2, 3, 3, 3, 4, 5])))
    source = {}
    if rng.random() < 0.6:
        picked = tuple(int(k) for k in rng.permutation(4)[:3]) if rng.random() < 0.5 else None
        source = {"order": str(rng.choice(ORDERS)), "channels": picked}
        shape = (*shape[:3], shape[3] if picked is None else 3)
    longest = (min(shape[1:3]),) * 2 if geometry == "crop" else (20, 90)
    size = tuple(int(rng.integers(1, side + 1)) for side in longest)
    dtype = str(rng.choice(["uint8", "uint8", "uint16", "float32", "float64"]))
    images = rng.integers(0, 256 if dtype == "uint8" else 65536, shape).astype(dtype)
    if dtype.startswith("float"):
        images = images + rng.standard_normal(shape).astype(dtype) * 10.0 ** rng.integers(-9, 9)
        images[rng.random(shape) < 0.02] = np.nan
    case = {"geometry": geometry, "shape": shape, "size": size, "n_out": 3, "picked": source.get("channels")}
    table = some_table(rng, {**case, "colors": rng.random() < 0.5, "erasures": rng.random() < 0.5})
    mean = [None, 3.5, rng.uniform(0, 255, shape[3])][rng.integers(3)]
    scale = [None, 1 / 57, rng.uniform(0, 2, shape[3])][rng.integers(3)]
    fill, erase_value = rng.uniform(-5, 300, shape[3]), rng.uniform(-5, 5, shape[3])
    arguments = (images, table, size, mean, scale, str(rng.choice(DTYPES)), str(rng.choice(LAYOUTS)), fill, erase_value)
    return arguments, source, rng.integers(0, 64, 2).tolist()


@pytest.mark.parametrize("geometry", ["crop", "box", "matrix"])
def test_equals_the_oracle_on_random_cases(launches, geometry):
    rng = np.random.default_rng(0)
    check(launches, [random_case(rng, geometry) for _ in range(20)])


def test_every_flag_of_crops_and_boxes_at_a_size_of_several_tiles(launches, rng):
    images = rng.integers(0, 256, (1, 90, 100, 3), dtype=np.uint8)
    crops = np.array([[0, 3, 5, flags] for flags in range(8)], np.int32)
    boxes = np.tile([3.3, 5.2, 80.1, 60.7], (8, 1))
    cases = []
    for dtype, layout in itertools.product(("float32", "float16"), LAYOUTS):
        cases.append(((images, TransformTable(crops), (35, 71), [90, 100, 110], 1 / 57, dtype, layout), {}, (1, 3)))
        cases.append(((images, TransformTable(crops, boxes), (35, 71), [90, 100, 110], 1 / 57, dtype, layout), {}, (0, 0)))
    check(launches, cases)


def test_reductions_that_do_not_fit_into_shared_memory(launches, rng):
    """Also with colours; beside them boxes of the same table that do fit."""
    cases = []
    for source, channels in (("uint8", 3), ("float32", 1)):
        images = rng.integers(0, 256, (1, 900, 300, channels)).astype(source)
        boxes = np.array([[0, 0, 900, 300], [10.5, 3.5, 9, 7], [0, 0.5, 899, 299], [1.25, 0, 610.5, 300]])
        crops = np.array([[0, 0, 0, flags] for flags in (0, 3, 6, 1)], np.int32)
        colors = rng.normal(0, 1, (4, channels, channels + 1)).astype(np.float32)
        for table in (TransformTable(crops, boxes), TransformTable(crops, boxes, colors=colors)):
            cases.append(((images, table, (2, 70), 99.5, 1 / 57), {}, (0, 1)))
    check(launches, cases)
    assert all("-DSTAGED_ROWS=0" not in options for _, options, _ in launches.sources)


def test_crops_of_more_channels_than_shared_memory_holds(launches, rng):
    images = rng.integers(0, 256, (1, 3, 4, 11000), dtype=np.uint8)
    table = TransformTable(np.array([[0, 1, 1, flags] for flags in (0, 5)], np.int32))
    check(launches, [((images, table, (2, 2), None, 0.5, "float16", layout), {}, (0, 0)) for layout in LAYOUTS])


@pytest.mark.parametrize("geometry", ["crop", "box", "matrix"])
def test_marks_each_image_that_has_a_result_which_is_not_finite_even_one_that_is_erased(launches, geometry):
    images = np.ones((3, 12, 12, 3), np.float32)
    images[1, 5, 5, 1] = 65520.0
    crops = np.array([[k, 0, 0, 0] for k in (0, 1, 2, 1)], np.int32)
    parts = {"box": {"boxes": np.tile([0.0, 0, 12, 12], (4, 1))}, "matrix": {"matrices": np.tile(np.eye(2, 3), (4, 1, 1))}}
    table = TransformTable(crops, **parts.get(geometry, {}), erasures=np.tile(np.array([0, 0, 12, 12], np.int32), (4, 1)))
    for dtype in ("float16", "float32"):
        launches.add(planned(images, table, (12, 12), dtype=dtype, check_finite=True), np.empty((4, 12, 12, 3), dtype))
    assert all((result == 0).all() for result in launches.run())
    np.testing.assert_array_equal(launches.checks, [[0, 1, 0, 1], [0, 0, 0, 0]])


def sized_case(rng, geometry):
    """Return the arguments of `sized_launch`: images of different sizes, and a table for each of them alone."""
    channels = int(rng.choice([1, 3, 3, 4]))
    low, high = (9, 60) if rng.random() < 0.7 else (100, 400)
    shapes = [(*(int(side) for side in rng.integers(low, high, 2)), channels) for _ in range(int(rng.integers(1, 5)))]
    source = str(rng.choice(["uint8", "uint8", "float32"]))
    images = [rng.integers(0, 256, shape).astype(source) for shape in shapes]
    size = tuple(int(side) for side in rng.integers(1, 10 if geometry == "crop" else 80, 2))
    case = {"geometry": geometry, "size": size, "picked": None, "colors": rng.random() < 0.4, "erasures": rng.random() < 0.5}
    tables = [some_table(rng, {**case, "shape": (1, *shape), "n_out": int(rng.integers(1, 3))}) for shape in shapes]
    mean, scale = [None, rng.uniform(0, 255, channels)][rng.integers(2)], [None, 1 / 57][rng.integers(2)]
    return images, tables, size, mean, scale, str(rng.choice(DTYPES)), str(rng.choice(LAYOUTS)), 7.5, -1.25


def sized_launch(images, tables, size, mean, scale, dtype, layout, fill, erase_value, picked=None, check_finite=False):
    """Return the plan for images of different sizes; behind each, and around all of them, nothing may be read."""
    table = joined(tables, [image.shape for image in images])
    n_channels = images[0].shape[2]
    spec = WarpSpec(
        (50, 50, n_channels if picked is None else len(picked)), images[0].dtype.name, size, mean, scale, dtype, layout,
        geometry=table.geometry, fill=fill, has_colors=table.colors is not None, check_finite=check_finite, channels=picked,
        erase_value=None if table.erasures is None else erase_value, has_sizes=True, source_channels=n_channels,
    )  # fmt: skip
    record, table = SizedRecord(spec), spec.checked(table, len(images))
    starts, lengths = record.images(table)
    numbers = np.full(starts[-1] + lengths[-1], 251, images[0].dtype)
    for image, start in zip(images, starts, strict=True):
        numbers[start : start + image.size] = image.reshape(-1)
    return warp_plan_of(spec, numbers, record.pack(table), len(table))


def check_sized(launches, cases):
    wanted = []
    for images, tables, *rest in cases:
        rows = [oracle(image[None], table, *rest) for image, table in zip(images, tables, strict=True)]
        wanted.append(np.concatenate(rows))
        launches.add(sized_launch(images, tables, *rest), np.empty_like(wanted[-1]))
    for got, want in zip(launches.run(), wanted, strict=True):
        assert_same_bits(got, want)


@pytest.mark.parametrize("geometry", ["crop", "box", "matrix"])
def test_images_of_different_sizes_equal_the_oracle_on_random_cases(launches, geometry):
    rng = np.random.default_rng(1)
    check_sized(launches, [sized_case(rng, geometry) for _ in range(10)])


def test_boxes_of_different_sizes_are_right_with_and_without_room_in_shared_memory(launches, rng):
    """Tiles of one image go through shared memory, and those of another, which is reduced by far more, do not."""
    shapes = [(60, 50, 3), (900, 700, 3), (40, 90, 3)]
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    tables = [
        TransformTable(np.array([[0, 0, 0, flags] for flags in (0, 5)], np.int32), np.tile([0.0, 0, *shape[:2]], (2, 1)))
        for shape in shapes
    ]
    check_sized(launches, [(images, tables, (20, 33), 99.5, 1 / 57, "float32", "channels_last", 0.0, 0.0)])


def test_picked_channels_of_images_of_different_sizes(launches, rng):
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((30, 20, 4), (20, 40, 4))]
    tables = [TransformTable(np.array([[0, 1, 2, flags]], np.int32)) for flags in (1, 6)]
    rest = (9, 12), None, None, "float32", "channels_last", 0.0, 0.0
    wanted = np.concatenate([oracle(image[None, ..., [2, 0]], table, *rest) for image, table in zip(images, tables, strict=True)])
    launches.add(sized_launch(images, tables, *rest, picked=(2, 0)), np.empty_like(wanted))
    assert_same_bits(launches.run()[0], wanted)


def test_marks_images_of_different_sizes_that_have_a_result_which_is_not_finite(launches):
    images = [np.ones((12, 12, 3), np.float32), np.ones((15, 13, 3), np.float32)]
    images[1][5, 5, 1] = np.inf
    table = TransformTable(np.zeros((1, 4), np.int32), np.array([[0.0, 0, 12, 12]]))
    rest = (12, 12), None, None, "float16", "channels_last", 0.0, 0.0
    launches.add(sized_launch(images, [table, table], *rest, check_finite=True), np.empty((2, 12, 12, 3), np.float16))
    launches.run()
    assert launches.checks[0].tolist() == [0, 1]


def test_offsets_beyond_32_bits(launches, rng):
    """The last of so many images and results that counting their numbers needs 64 bits. The others have no memory."""
    n, n_out, size = 22000, 28000, (224, 224)
    last = rng.integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    spec = WarpSpec((256, 256, 3), "uint8", size, 120.5, None, "bfloat16")
    crops = np.zeros((n_out, 4), np.int32)
    crops[-1] = n - 1, 29, 30, 5
    wanted = reference.transform(last, np.array([[0, 29, 30, 5]]), size, mean=120.5, dtype="bfloat16")
    contiguous = SimpleNamespace(c_contiguous=True)
    images = SimpleNamespace(shape=(n, 256, 256, 3), dtype=last.dtype, flags=contiguous, tail=last)
    out = SimpleNamespace(shape=(n_out, *size, 3), dtype=wanted.dtype, flags=contiguous, tail=wanted)
    launch = warp_plan_of(spec, images, Record(spec).pack(spec.checked(TransformTable(crops), n)))
    blocks_of_one = launch.grid[0] // n_out
    launches.add(launch, out, blocks=(launch.grid[0] - blocks_of_one, blocks_of_one))
    assert_same_bits(launches.run()[0], wanted)
