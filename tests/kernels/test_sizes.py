"""Batches of images of different sizes: each equals what the oracle makes of it alone, and tables that can't be are errors."""

import numpy as np
import pytest
from conftest import CPU_VERSIONS, use_cpu_kernel
from crop_cases import assert_same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from warp_cases import DTYPES, LAYOUTS, joined, oracle, some_table

from fastprep._sink import hand_over
from fastprep.h5._read import read_images
from fastprep.kernels import WarpSpec
from fastprep.kernels._cpu import supported_versions
from fastprep.transforms import TransformTable


def spec_of(table, channels, size, source="uint8", **arguments):
    has_colors = table.colors is not None
    return WarpSpec((1, 1, channels), source, size, geometry=table.geometry, has_colors=has_colors, has_sizes=True, **arguments)


@st.composite
def cases(draw):
    geometry = draw(st.sampled_from(["crop", "box", "box", "matrix"]))
    side = st.integers(9, 20) | st.integers(9, 200)
    return {
        "seed": draw(st.integers(0, 2**32)),
        "geometry": geometry,
        "sides": draw(st.lists(st.tuples(side, side), min_size=1, max_size=5)),
        "channels": draw(st.integers(1, 4) | st.just(3)),
        "size": (draw(st.integers(1, 9)), draw(st.integers(1, 9))) if geometry == "crop" else draw(st.tuples(side, side)),
        "source": draw(st.sampled_from(["uint8", "uint8", "float32"])),
        "picked": None,
        "colors": draw(st.sampled_from([None, "mixed", "apart"])),
        "erasures": draw(st.booleans()),
        "standardize": draw(st.booleans()),
        "dtype": draw(st.sampled_from(DTYPES)),
        "layout": draw(st.sampled_from(LAYOUTS)),
    }


@settings(deadline=None, max_examples=100)
@given(case=cases())
def test_each_image_equals_what_the_oracle_makes_of_it_alone(case):
    rng = np.random.default_rng(case["seed"])
    shapes = [(*sides, case["channels"]) for sides in case["sides"]]
    images = [rng.integers(0, 256, shape).astype(case["source"]) for shape in shapes]
    tables = [some_table(rng, {**case, "shape": (1, *shape), "n_out": int(rng.integers(1, 4))}) for shape in shapes]
    arguments = rng.uniform(0, 255, case["channels"]), 1 / 57, case["dtype"], case["layout"]
    fill, erase_value = 7.5, -1.25
    wanted = np.concatenate(
        [oracle(image[None], table, case["size"], *arguments, fill, erase_value, case["standardize"])
         for image, table in zip(images, tables, strict=True)]
    )  # fmt: skip
    table = joined(tables, shapes)
    keywords = dict(zip(("mean", "scale", "dtype", "layout"), arguments, strict=True), standardize=case["standardize"], fill=fill)
    erased = {"erase_value": erase_value} if case["erasures"] else {}
    spec = spec_of(table, case["channels"], case["size"], case["source"], **keywords, **erased)
    pixels = np.concatenate([image.reshape(-1) for image in images]).view(np.uint8)
    offsets = np.cumsum([0, *(image.nbytes for image in images[:-1])])
    slots = np.arange(len(images))
    order = rng.permutation(len(images))
    for version in supported_versions():
        with pytest.MonkeyPatch.context() as patch:
            use_cpu_kernel(version, patch)
            out = np.empty(wanted.shape, wanted.dtype)
            sink = spec.cpu_sink(table, len(images), out)
            assert hand_over(pixels, offsets[order], slots[order], sink)[0] == 0
            assert_same_bits(out, wanted)


@pytest.mark.parametrize("version", CPU_VERSIONS)
@pytest.mark.parametrize("geometry", ["crop", "box", "matrix"])
def test_only_the_bytes_that_the_kernel_asks_for_are_needed(version, geometry, rng, monkeypatch, tmp_path):
    """The last image ends with the file, and the rows that its part does not reach are not there."""
    use_cpu_kernel(version, monkeypatch)
    shapes = [(30, 41, 3), (64, 20, 3)]
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    crops = np.array([[0, 3, 5, 1], [1, 2, 1, 2]], np.int32)
    boxes = np.array([[2.5, 3.0, 20.0, 30.5], [1.0, 0.0, 31.0, 20.0]]) if geometry == "box" else None
    matrices = np.array([[[1, 0, 2], [0, 1, 3]], [[1, 0, 1], [0, 1, 4]]], float) if geometry == "matrix" else None
    alone = [
        TransformTable(*(None if part is None else part[k : k + 1].copy() for part in (crops, boxes, matrices))) for k in (0, 1)
    ]
    for table in alone:
        table.crops[:, 0] = 0
    wanted = np.concatenate([oracle(image[None], table, (12, 16)) for image, table in zip(images, alone, strict=True)])
    (tmp_path / "pixels").write_bytes(images[0].tobytes() + images[1][:40].tobytes())
    table = joined(alone, shapes)
    out = np.empty(wanted.shape, np.float32)
    sink = spec_of(table, 3, (12, 16)).cpu_sink(table, 2, out)
    with open(tmp_path / "pixels", "rb") as file:
        scratch = np.empty(max(image.nbytes for image in images), np.uint8)
        assert read_images(file.fileno(), np.array([0, images[0].nbytes]), np.arange(2), scratch, sink)[0] == 0
    assert_same_bits(out, wanted)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([[30, 40], [30, 41], [20, 20]], "the same in all rows of a slot"),
        ([[30, 40], [30, 40], [0, 20]], "heights and widths in 1"),
        ([[30, 40], [30, 40], [20, 2**24 + 1]], "heights and widths in 1"),
        ([[30, 40], [30, 40]], r"of shape \(3, 2\)"),
        ([[30, 40], [30, 40], [9, 20]], "y in the transform table must lie in 0..0"),
        ([[30, 40], [30, 40], [20, 9]], "x in the transform table must lie in 0..0"),
    ],
)
def test_sizes_that_can_not_be_are_errors(sizes, message):
    table = TransformTable(np.array([[0, 1, 1, 0], [0, 2, 2, 0], [1, 1, 1, 0]], np.int32), sizes=np.array(sizes))
    with pytest.raises(ValueError, match=message):
        spec_of(table, 3, (9, 9)).checked(table, 2)


def test_boxes_must_lie_in_their_own_images():
    crops, boxes = np.array([[0, 0, 0, 0], [1, 0, 0, 0]], np.int32), np.array([[0.0, 0, 30, 30], [0, 0, 30, 30]])
    table = TransformTable(crops, boxes, sizes=np.array([[30, 30], [30, 29]]))
    with pytest.raises(ValueError, match="boxes must lie in their images"):
        spec_of(table, 3, (9, 9)).checked(table, 2)


def test_a_table_has_sizes_exactly_if_the_operation_says_so():
    crops = np.array([[0, 0, 0, 0]], np.int32)
    sized = TransformTable(crops, sizes=np.array([[30, 40]]))
    with pytest.raises(ValueError, match="sizes alike"):
        spec_of(sized, 3, (9, 9)).checked(TransformTable(crops), 1)
    with pytest.raises(ValueError, match="sizes alike"):
        WarpSpec((30, 40, 3), "uint8", (9, 9)).checked(sized, 1)


def test_other_orders_refuse_images_of_different_sizes():
    with pytest.raises(ValueError, match="must have the order 'HWC'"):
        WarpSpec((30, 40, 3), "uint8", (9, 9), has_sizes=True, order="CHW")
