"""The warp kernel and blending against the oracle, bit by bit, and resizing against Pillow."""

import itertools

import numpy as np
import pytest
import reference
from conftest import CPU_VERSIONS, use_cpu_kernel
from crop_cases import SOURCES, assert_same_bits, random_images, random_table
from guarded_memory import run_alone
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from warp_cases import DTYPES, LAYOUTS, ORDERS, in_order, oracle, some_colors, some_table

from fastprep._sink import Status, hand_over
from fastprep.h5._read import read_images
from fastprep.kernels import WarpSpec, _cpu_warp, blend, crop, warp
from fastprep.kernels._cpu import supported_versions
from fastprep.transforms import FLIPPED, MIRRORED, TRANSPOSED, BlendTable, TransformTable


@pytest.fixture(params=CPU_VERSIONS)
def version(request, monkeypatch):
    use_cpu_kernel(request.param, monkeypatch)
    return request.param


@st.composite
def cases(draw):
    geometry = draw(st.sampled_from(["crop", "box", "box", "matrix"]))
    side = st.integers(1, 12) | st.integers(1, 60)
    height, width = draw(side), draw(side)
    longest = (min(height, width),) * 2 if geometry == "crop" else (20, 40)
    return {
        "seed": draw(st.integers(0, 2**32)),
        "geometry": geometry,
        "shape": (draw(st.integers(1, 3)), height, width, draw(st.integers(1, 5) | st.just(3))),
        "size": (draw(st.integers(1, longest[0])), draw(st.integers(1, longest[1]))),
        "source": draw(st.sampled_from(["uint8", *SOURCES])),
        "picked": draw(st.none() | st.permutations(range(4)).map(lambda all_of_them: all_of_them[:3])),
        "order": draw(st.sampled_from(ORDERS)),
        "colors": draw(st.sampled_from([None, "mixed", "apart"])),
        "erasures": draw(st.booleans()),
        "standardize": draw(st.booleans()),
        "has_nan": draw(st.booleans()),
        "mean": draw(st.sampled_from([None, "scalar", "channels"])),
        "scale": draw(st.sampled_from([None, "scalar", "channels"])),
        "dtype": draw(st.sampled_from(DTYPES)),
        "layout": draw(st.sampled_from(LAYOUTS)),
        "n_out": draw(st.integers(1, 5)),
        "stream": draw(st.booleans()),
        "numbers_before": draw(st.integers(0, 40)),
    }


def empty_like(wanted, numbers_before):
    """Return an array whose data begin anywhere in a cache line."""
    return np.empty(wanted.size + numbers_before, wanted.dtype)[numbers_before:].reshape(wanted.shape)


@settings(deadline=None, max_examples=400)  # a busy machine is not a failure
@given(case=cases())
def test_equals_the_oracle_on_random_cases(case):
    rng = np.random.default_rng(case["seed"])
    shape = case["shape"][:3] + ((3,) if case["picked"] else case["shape"][3:])
    images = random_images(rng, shape, case["source"])
    if images.dtype.kind == "f":
        images[rng.random(shape) < 0.02 * case["has_nan"]] = np.nan
    values = {"scalar": (), "channels": shape[3:]}
    mean = rng.uniform(0, 255, values[case["mean"]]) if case["mean"] else None
    scale = rng.uniform(0, 2, values[case["scale"]]) if case["scale"] else None
    fill, erase_value = rng.uniform(-5, 300, shape[3:]), rng.uniform(-5, 5, shape[3:])
    table = some_table(rng, case)
    arguments = (case["size"], mean, scale, case["dtype"], case["layout"])
    wanted = oracle(images, table, *arguments, fill, erase_value, case["standardize"])
    stored = in_order(images, case["order"], case["picked"], rng)
    for version in supported_versions():
        with pytest.MonkeyPatch.context() as patch:
            use_cpu_kernel(version, patch)
            if not case["stream"]:
                patch.setattr("fastprep.kernels.spec.stream_bytes", lambda: 1 << 40)
            out = empty_like(wanted, case["numbers_before"])
            got = warp(
                stored, table, *arguments, out=out, order=case["order"], channels=case["picked"], fill=fill,
                erase_value=erase_value, standardize=case["standardize"],
            )  # fmt: skip
            assert got is out
            assert_same_bits(out, wanted)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("source", ["uint8", "float32"])
def test_boxes_equal_the_oracle_over_many_columns(version, rng, source, channels):
    """Wide enough for the vector loops, with factors from 1/5 to 10."""
    images = rng.integers(0, 256, (1, 9, 300, channels)).astype(source)
    lengths = [300.0, 250.5, 150.25, 75.0, 33.3, 20.0, 5.5, 0.4]
    crops = np.array([[0, 0, 0, k % 4] for k in range(len(lengths))], np.int32)
    boxes = np.array([[0.5, (300 - length) * k / 7, 8.0, length] for k, length in enumerate(lengths)])
    for width, layout in itertools.product((30, 97, 224), LAYOUTS):
        arguments = (images, TransformTable(crops, boxes), (2, width), 99.5, 1 / 57, "float32", layout)
        assert_same_bits(warp(*arguments), oracle(*arguments))


@pytest.mark.parametrize("source", ["uint8", "float32"])
def test_matrices_equal_the_oracle_over_many_columns(version, rng, source):
    images = rng.integers(0, 256, (1, 40, 150, 3)).astype(source)
    turn = [[0.97, 0.2, 3.3], [-0.12, 0.9, 20.7]]
    matrices = np.array([[[1, 0, 0], [0, 1, 0]], turn, [[0.5, 0, 20], [0, 0.5, 5]], [[-1, 0, 149.5], [0, -1, 9]]])
    crops = np.array([[0, 0, 0, k % 4] for k in range(len(matrices))], np.int32)
    for width, layout in itertools.product((33, 150), LAYOUTS):
        arguments = (images, TransformTable(crops, matrices=matrices), (3, width), 99.5, 1 / 57, "float32", layout)
        assert_same_bits(warp(*arguments, fill=7), oracle(*arguments, fill=7))


@pytest.mark.parametrize("kind", ["mixed", "apart"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("width", "channels"), [(31, 3), (64, 3), (227, 3), (227, 1)])
def test_colours_of_crops_equal_the_oracle_wherever_they_begin_in_a_cache_line(version, rng, kind, dtype, width, channels):
    images = rng.integers(0, 256, (2, 40, 230, channels), dtype=np.uint8)
    crops = np.array([[0, 0, 0, 0], [1, 3, 3, 1], [1, 1, 2, 2], [0, 2, 1, 3]], np.int32)
    table = TransformTable(crops, colors=some_colors(rng, len(crops), channels, kind))
    for layout, scale in itertools.product(LAYOUTS, (None, 1 / 57)):
        arguments = (images, table, (37, width), [90, 100, 110][:channels], scale, dtype, layout)
        wanted = oracle(*arguments)
        for numbers_before in (0, 1, 5, 11):
            out = empty_like(wanted, numbers_before)
            assert_same_bits(warp(*arguments, out=out), wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("flags", [0, 1, 6])
def test_colours_equal_the_oracle_over_many_columns(version, rng, flags, dtype):
    """Full maps and diagonal ones, whose products with 0 are left out, with zeros of both signs."""
    images = rng.integers(0, 3, (1, 70, 80, 3), dtype=np.uint8)
    diagonal = np.zeros((3, 4), np.float32)
    diagonal[:, :3] = np.diag([-1, 0.5, -0.0])
    diagonal[:, 3] = [-0.0, 3, -0.0]
    colors = np.stack(
        [rng.normal(0, 1, (3, 4)).astype(np.float32), diagonal, np.where(diagonal == 0, np.float32(-0.0), diagonal)]
    )
    crops = np.array([[0, 0, k, flags] for k in range(len(colors))], np.int32)
    for width, layout in itertools.product((64, 67), LAYOUTS):
        for table in (
            TransformTable(crops, colors=colors),
            TransformTable(crops, np.tile([1.0, 2, 66, 67], (3, 1)), colors=colors),
        ):
            arguments = (images, table, (4, width), None, None, dtype, layout)
            assert_same_bits(warp(*arguments), oracle(*arguments))


@pytest.mark.parametrize("flags", range(8))
def test_turns_equal_the_oracle_at_a_size_people_use(version, rng, flags):
    images = rng.integers(0, 256, (2, 70, 90, 3), dtype=np.uint8)
    table = TransformTable(np.array([[0, 1, 7, flags], [1, 6, 0, flags]], np.int32))
    for dtype, layout in itertools.product(DTYPES, LAYOUTS):
        arguments = (images, table, (64, 63), [90, 100, 110], 1 / 57, dtype, layout)
        assert_same_bits(warp(*arguments), oracle(*arguments))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_box_of_the_outputs_size_at_whole_coordinates_is_a_crop(version, rng, dtype, layout):
    images = rng.integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    crops = random_table(rng, 3, 12, 40, 50, 31, 33)
    boxes = np.concatenate([crops[:, 1:3], np.tile([31, 33], (12, 1))], axis=1).astype(np.float64)
    placed = np.where([True, False, False, True], crops, 0).astype(np.int32)
    arguments = ((31, 33), [90, 100, 110], 1 / 57, dtype, layout)
    assert_same_bits(warp(images, TransformTable(placed, boxes), *arguments), crop(images, crops, *arguments))


def test_a_matrix_that_maps_to_itself_is_a_crop(version, rng):
    images = rng.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    crops = random_table(rng, 2, 8, 20, 30, 11, 13)
    matrices = np.array([[[1, 0, x], [0, 1, y]] for y, x in crops[:, 1:3]], np.float64)
    placed = np.where([True, False, False, True], crops, 0).astype(np.int32)
    arguments = ((11, 13), [90, 100, 110], 1 / 57)
    assert_same_bits(warp(images, TransformTable(placed, matrices=matrices), *arguments), crop(images, crops, *arguments))


def test_a_thousand_boxes_are_within_a_level_of_pillow(rng):
    height, width, size = 61, 83, (17, 23)
    images = rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    starts = rng.uniform(0, (height - 1, width - 1), (1000, 2))
    lengths = rng.uniform(0.5, np.array([height, width]) - starts)
    boxes = np.concatenate([starts, lengths], axis=1)
    got = warp(images, TransformTable(np.zeros((1000, 4), np.int32), boxes), size)
    image = Image.fromarray(images[0])
    wanted = np.stack(
        [image.resize(size[::-1], Image.Resampling.BILINEAR, box=(x, y, x + w, y + h)) for y, x, h, w in boxes.tolist()]
    )
    # Pillow rounds to whole levels after each of its two passes
    assert np.abs(got - wanted).max() <= 1.0
    assert np.abs(got - wanted).mean() < 0.5


@pytest.mark.parametrize("geometry", ["crop", "box", "matrix"])
def test_only_the_bytes_that_a_sink_asks_for_are_read(version, rng, tmp_path, geometry):
    """All others are NaN, which would spread."""
    for order, flags in itertools.product(ORDERS, (0, 3, 4, 7)):
        if geometry == "matrix" and flags >= TRANSPOSED:
            continue
        case = {"shape": (1, 40, 50, 3), "size": (9, 8), "n_out": 1, "geometry": geometry, "picked": None}
        table = some_table(rng, {**case, "colors": geometry == "crop", "erasures": False})
        table.crops[0] = (0, *np.minimum(table.crops[0, 1:3], (31, 41)), flags)  # which fits turned, too
        if geometry == "box":
            table.boxes[:] = (11.3, 12.6, 7.7, 20.2)
        if geometry == "matrix" and flags:  # from the last corner inwards
            table.matrices[:] = [[-1.5, 0.2, 49.4], [-0.2, -1.4, 39.8]]
        images = rng.uniform(0, 255, case["shape"]).astype(np.float32)
        spec = WarpSpec((40, 50, 3), "float32", case["size"], order=order, geometry=geometry, has_colors=table.colors is not None)
        out = np.empty(spec.out_shape(1), np.float32)
        scratch = np.full(spec.source_bytes // 4, np.nan, np.float32)
        in_order(images, order, None, rng).tofile(tmp_path / "images")
        with (tmp_path / "images").open("rb") as file:
            place = np.zeros(1, np.int64)
            status = read_images(file.fileno(), place, place, scratch.view(np.uint8), spec.cpu_sink(table, 1, out))
        assert status == (Status.OK, 1)
        assert geometry == "matrix" or np.isnan(scratch).any()
        assert_same_bits(out, oracle(images, table, case["size"]))


@pytest.mark.parametrize("geometry", ["crop", "box", "matrix"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_image_with_a_result_that_is_not_finite_is_refused(version, geometry, dtype):
    images = np.ones((3, 12, 12, 3), np.float32)
    images[1, 5, 5, 1] = {"float32": np.inf, "float16": 65520.0, "bfloat16": np.nan}[dtype]
    case = {"shape": images.shape, "size": (12, 12), "n_out": 1, "geometry": geometry, "picked": None}
    table = some_table(np.random.default_rng(0), {**case, "colors": False, "erasures": False})
    boxes = None if table.boxes is None else np.tile([0.0, 0, 12, 12], (3, 1))
    matrices = None if table.matrices is None else np.tile([[1.0, 0, 0], [0, 1, 0]], (3, 1, 1))
    colors = np.tile(np.eye(3, 4, dtype=np.float32), (3, 1, 1))
    crops = np.zeros((3, 4), np.int32)
    crops[:, 0] = range(3)
    spec = WarpSpec(
        (12, 12, 3), "float32", (12, 12), dtype=dtype, check_finite=True, geometry=geometry, has_colors=True, erase_value=1
    )
    out = np.empty(spec.out_shape(3), spec.out_dtype)
    erasures = np.tile(np.array([0, 0, 12, 12], np.int32), (3, 1))
    sink = spec.cpu_sink(TransformTable(crops, boxes, matrices, colors, erasures), 3, out)
    places = np.arange(3, dtype=np.int64)
    status, position = hand_over(images.reshape(-1).view(np.uint8), places * images[0].nbytes, places, sink)
    assert (status, position) == (Status.NOT_FINITE, 1)


def test_an_infinity_beside_a_box_does_not_reach_it(version):
    """A tap of weight 0 would make NaN of it."""
    images = np.ones((1, 12, 40, 3), np.float32)
    images[:, 5:], images[:, :, 20:] = np.inf, np.nan
    table = TransformTable(np.zeros((1, 4), np.int32), np.array([[0.0, 0, 4, 19]]))
    got = warp(images, table, (4, 19))
    assert_same_bits(got, oracle(images, table, (4, 19)))
    assert np.isfinite(got).all()


GUARDED = """
import itertools, os
import numpy as np
import reference
from guarded_memory import GuardedMemory
from fastprep.kernels import spec, warp
from fastprep.kernels._cpu import supported_versions
from fastprep.transforms import TransformTable

rng = np.random.default_rng(0)
sizes = [((1, 1), (2, 5)), ((3, 40), (2, 33)), ((7, 16), (3, 17)), ((9, 66), (2, 64))]
for at_the_end, (side, size), channels, source in itertools.product([False, True], sizes, [1, 3, 4], ["uint8", "float32"]):
    memory = GuardedMemory(at_the_end)
    images = memory.copy(rng.integers(0, 256, (1, *side, channels)).astype(source))
    crops = np.array([[0, 0, 0, 0], [0, 0, 0, 3]], np.int32)
    boxes = np.array([[0, 0, *side], [side[0] / 2, side[1] / 2, side[0] / 2, side[1] / 2]], float)
    matrices = np.array([[[1, 0, 0], [0, 1, 0]], [[-1, 0, side[1]], [0, -1, side[0]]]], float)
    part = tuple(map(min, side, size))
    color = None if channels == 4 else rng.normal(0, 1, (2, channels, channels + 1)).astype(np.float32)
    for table, out_size in (
        (TransformTable(crops, colors=color), part), (TransformTable(crops, boxes), size),
        (TransformTable(crops, matrices=matrices), size), (TransformTable(crops, matrices=matrices), (side[0] // 3 + 1, side[1])),
    ):
        for dtype, layout in itertools.product(["float32", "float16"], ["channels_last", "channels_first"]):
            wanted = reference.transform(
                images, table.crops, out_size, table.boxes, table.matrices, 0, table.colors, 99.5, dtype=dtype, layout=layout
            )
            for version, least in itertools.product(supported_versions(), [0, 1 << 40]):
                spec.stream_bytes = lambda: least
                os.environ["FASTPREP_CPU_KERNEL"] = version
                out = memory.copy(np.zeros_like(wanted))
                warp(images, table, out_size, 99.5, dtype=dtype, layout=layout, out=out)
                assert out.tobytes() == wanted.tobytes(), (side, out_size, channels, source, table, dtype, layout, version)
                memory.forget()
print("done")
"""


def test_nothing_outside_images_and_result_is_touched():
    """The pages before and after them are protected: the process would end with a segmentation fault."""
    run_alone(GUARDED)


SPEC = {"image_shape": (6, 7, 3), "source_dtype": "uint8", "size": (4, 3)}
ONE = np.zeros((1, 4), np.int32)
BOX, MATRIX = {"boxes": np.array([[0.0, 0, 6, 7]])}, {"matrices": np.array([[[1.0, 0, 0], [0, 1, 0]]])}


@pytest.mark.parametrize(
    ("of_spec", "crops", "parts", "message"),
    [
        ({}, [[0, 3, 0, 0]], {}, r"y in the transform table must lie in 0\.\.2, found 3"),
        ({}, [[0, 0, 4, TRANSPOSED]], {}, r"x in the transform table must lie in 0\.\.3, found 4"),
        ({}, [[1, 0, 0, 0]], {}, r"slot in the transform table must lie in 0\.\.0, found 1"),
        ({}, [[0, 0, 0, 8]], {}, r"flags in the transform table must lie in 0\.\.7, found 8"),
        ({"geometry": "matrix"}, [[0, 0, 0, TRANSPOSED]], MATRIX, r"flags in the transform table must lie in 0\.\.3, found 4"),
        ({}, ONE, BOX, "the table must have what the operation says: crop"),
        ({"has_colors": True}, ONE, {}, "the table must have what the operation says"),
        ({"geometry": "box"}, ONE, {"boxes": np.array([[0.0, 0, 6.01, 7]])}, "boxes must lie in images of 6x7 pixels"),
        ({"geometry": "box"}, ONE, {"boxes": np.array([[0.0, 0, np.nan, 7]])}, "boxes must be finite numbers"),
        ({"geometry": "matrix"}, ONE, {"matrices": np.full((1, 2, 3), 2.0**29)}, r"matrices must keep within 2\*\*30 pixels"),
        ({"erase_value": 0}, ONE, {"erasures": np.array([[3, 0, 2, 1]], np.int32)}, r"erasures in the transform table"),
    ],
)
def test_tables_that_are_refused(of_spec, crops, parts, message):
    spec = WarpSpec(**{**SPEC, **of_spec})
    with pytest.raises(ValueError, match=message):
        spec.cpu_sink(TransformTable(np.asarray(crops, np.int32), **parts), 1, np.empty(spec.out_shape(1), np.float32))


@pytest.mark.parametrize(
    ("of_spec", "message"),
    [
        ({"mean": np.zeros((6, 7, 3))}, "mean must be a number for each channel where images are turned"),
        ({"image_shape": (6, 7, 4), "has_colors": True}, "color is for images with 1 or 3 channels, got 4"),
        ({"fill": [1, 2]}, "fill must be a finite number, or 3 of them"),
        ({"erase_value": np.inf}, "erase_value must be a finite number"),
    ],
)
def test_operations_that_are_refused(of_spec, message):
    with pytest.raises(ValueError, match=message):
        WarpSpec(**{**SPEC, **of_spec})


def test_a_transform_table_with_nothing_but_crops_goes_to_the_crop_kernel(rng):
    images = rng.integers(0, 256, (2, 6, 7, 3), dtype=np.uint8)
    crops = random_table(rng, 2, 5, 6, 7, 4, 3)
    assert_same_bits(crop(images, TransformTable(crops), (4, 3)), crop(images, crops, (4, 3)))
    for parts in (BOX, MATRIX, {"erasures": ONE}):
        with pytest.raises(ValueError, match="the transform table must have nothing but crops here"):
            crop(images, TransformTable(ONE, **parts), (4, 3))
    with pytest.raises(ValueError, match=r"flags in the crop table must lie in 0\.\.3"):
        crop(images, TransformTable(np.array([[0, 0, 0, TRANSPOSED]], np.int32)), (4, 3))


def test_flags_are_the_kernels():
    assert (MIRRORED, FLIPPED, TRANSPOSED) == (reference.MIRRORED, reference.FLIPPED, reference.TRANSPOSED)
    assert _cpu_warp.FLAGS == {"transposed": TRANSPOSED}


# ---- blending


def some_blend(rng, n, h, w):
    corners = np.sort([rng.integers(0, (h + 1, w + 1), (n, 2)) for _ in range(2)], axis=0)
    rectangles = np.concatenate([corners[0], corners[1] - corners[0]], axis=1).astype(np.int32)
    rectangles[rng.random(n) < 0.5, 2] = 0
    return BlendTable((rng.integers(0, 65537, n) / 65536).astype(np.float32), rectangles)


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32), n=st.integers(1, 5), h=st.integers(1, 6), w=st.integers(1, 9) | st.integers(300, 500),
    channels=st.integers(1, 4), dtype=st.sampled_from(DTYPES), layout=st.sampled_from(LAYOUTS),
)  # fmt: skip
def test_blending_equals_the_oracle_on_random_cases(seed, n, h, w, channels, dtype, layout):
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((n, h, w, channels)) * 10.0 ** rng.integers(-8, 4)).astype(reference.DTYPES[dtype])
    x[rng.random(x.shape) < 0.02] = np.inf
    table = some_blend(rng, n, h, w)
    with np.errstate(all="ignore"):
        wanted = reference.blend(x, table.weights, table.rectangles)
    if layout == "channels_first":
        x, wanted = (np.ascontiguousarray(array.transpose(0, 3, 1, 2)) for array in (x, wanted))
    for version in supported_versions():
        with pytest.MonkeyPatch.context() as patch:
            use_cpu_kernel(version, patch)
            got = x.copy()
            assert blend(got, table, layout) is got
            assert_same_bits(got, wanted)


def test_blending_reads_every_half_precision_number(version):
    x = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(2, 128, 256, 1).copy()
    table = BlendTable(np.array([1, 0.75], np.float32), np.zeros((2, 4), np.int32))
    with np.errstate(all="ignore"):
        wanted = reference.blend(x, table.weights, table.rectangles)
    assert_same_bits(blend(x, table), wanted)


def test_the_middle_image_of_an_odd_number_stays_as_it_is(rng):
    x = rng.standard_normal((3, 4, 5, 3)).astype(np.float32)
    middle = x[1].copy()
    table = BlendTable(np.full(3, np.float32(21845 / 65536)), np.zeros((3, 4), np.int32))
    np.testing.assert_array_equal(reference.blend(x, table.weights, table.rectangles)[1], middle)
    np.testing.assert_array_equal(blend(x, table)[1], middle)


@pytest.mark.parametrize(
    ("x", "weights", "rectangle", "message"),
    [
        (np.zeros((2, 4, 5, 3)), 0.5, [0, 0, 0, 0], "x must be a writeable, C-contiguous array of 4 axes"),
        (np.zeros((2, 4, 5, 6), np.float32)[..., ::2], 0.5, [0, 0, 0, 0], "x must be a writeable, C-contiguous"),
        (
            np.zeros((3, 4, 5, 3), np.float32),
            0.5,
            [0, 0, 0, 0],
            r"must be integers of shape \(3, 4\)",
        ),
        (np.zeros((2, 4, 5, 3), np.float32), 0.1, [0, 0, 0, 0], r"weights in the blend table must be multiples of 2\*\*-16"),
        (np.zeros((2, 4, 5, 3), np.float32), 1.5, [0, 0, 0, 0], r"weights in the blend table must be 2 numbers in 0..1"),
        (np.zeros((2, 4, 5, 3), np.float32), 0.1, [2, 0, 3, 1], "rectangles in the blend table must lie in images of 4x5"),
        (np.zeros((2, 4, 5, 3), np.float32), 0.1, [1, -1, 3, 1], "rectangles in the blend table must lie in images of 4x5"),
    ],
)
def test_blends_that_are_refused(x, weights, rectangle, message):
    with pytest.raises(ValueError, match=message):
        blend(x, BlendTable(np.full(2, weights, np.float32), np.array([rectangle] * 2, np.int32)))
