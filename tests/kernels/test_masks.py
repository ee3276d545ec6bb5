"""Masks: every number of the result is the number of the source that the oracle takes, whatever its type, axes and table."""

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_tables import SIZE, SOURCE, arguments, random_table

from fastprep._sink import hand_over
from fastprep.kernels.mask_spec import MaskSpec
from fastprep.transforms import TransformTable

GEOMETRIES = ["crop", "box", "matrix"]
DTYPES = ["uint8", "int8", "bool", "uint16", "float16", "int32", "float32", "int64", "uint64", "float64"]


def random_masks(rng, dtype, channels=1, n=3):
    numbers = rng.integers(0, 256, (n, *SOURCE, channels, np.dtype(dtype).itemsize), np.uint8)
    if dtype == "bool":
        return numbers[..., 0] > 100
    return numbers.view(dtype)[..., 0]


def pick(masks, table, order="HWC", fill=0, size=SIZE):
    """Return what the kernel makes of masks, shape (n, H, W, C)."""
    stored = np.ascontiguousarray(masks.transpose(0, *(1 + "HWC".index(axis) for axis in order)))
    spec = MaskSpec(masks.shape[1:], masks.dtype, size, fill, order)
    out = np.full((len(table), *size, masks.shape[3]), 77, masks.dtype)
    sink = spec.cpu_sink(table, len(masks), out)
    offsets = np.arange(len(masks), dtype=np.int64) * spec.image_bytes
    assert hand_over(stored.reshape(-1).view(np.uint8), offsets, np.arange(len(masks), dtype=np.int64), sink) == (0, len(masks))
    return out


def same(one, other):
    np.testing.assert_array_equal(one.view(np.uint8), other.view(np.uint8))


@settings(max_examples=60)
@given(
    geometry=st.sampled_from(GEOMETRIES),
    dtype=st.sampled_from(DTYPES),
    channels=st.integers(1, 3),
    order=st.sampled_from(["HWC", "CHW", "WHC", "CWH", "HCW", "WCH"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_number_is_the_one_that_the_oracle_takes(geometry, dtype, channels, order, seed):
    rng = np.random.default_rng(seed)
    masks, table = random_masks(rng, dtype, channels), random_table(geometry, rng)
    fill = np.zeros((), dtype) if dtype == "bool" else np.array(7, dtype)
    same(pick(masks, table, order, fill), reference.transform_mask(masks, **arguments(table), fill=fill))


def tables_and_masks(geometry, rng, dtype, channels, n=3):
    """Return masks of different sizes, and for each of them a table in slot 0, and all of these as one table."""
    sizes = rng.integers(9, 30, (n, 2))
    masks = [rng.integers(0, 200, (*size, channels)).astype(dtype) for size in sizes]
    tables = [random_table(geometry, rng, int(rng.integers(1, 5)), 1, source=tuple(size)) for size in sizes]
    parts = [
        None if getattr(tables[0], part) is None else np.concatenate([getattr(table, part) for table in tables])
        for part in ("crops", "boxes", "matrices")
    ]
    of_rows = np.repeat(np.arange(n), [len(table) for table in tables])
    parts[0][:, 0] = of_rows
    order = rng.permutation(len(of_rows))
    rows = [None if part is None else part[order] for part in parts]
    return masks, tables, TransformTable(*rows, sizes=sizes[of_rows][order]), order


def sized_sink(masks, table, out, fill=7):
    spec = MaskSpec((1, 1, masks[0].shape[2]), masks[0].dtype, SIZE, fill, has_sizes=True)
    return spec.cpu_sink(table, len(masks), out)


@settings(max_examples=40)
@given(
    geometry=st.sampled_from(GEOMETRIES),
    dtype=st.sampled_from(["uint8", "uint16", "float32", "int64"]),
    channels=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_masks_of_different_sizes_are_each_those_of_the_oracle_alone(geometry, dtype, channels, seed):
    masks, tables, table, order = tables_and_masks(geometry, np.random.default_rng(seed), dtype, channels)
    wanted = [reference.transform_mask(mask[None], **arguments(own), fill=7) for mask, own in zip(masks, tables, strict=True)]
    out = np.zeros((len(table), *SIZE, channels), dtype)
    sink = sized_sink(masks, table, out)
    np.testing.assert_array_equal(sink.sizes, [mask.shape[:2] for mask in masks])
    for slot in (2, 0, 1):
        assert hand_over(masks[slot].reshape(-1).view(np.uint8), np.zeros(1, np.int64), np.array([slot]), sink) == (0, 1)
    same(out, np.concatenate(wanted)[order])


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_only_the_bytes_that_are_asked_for_of_masks_of_different_sizes_matter(geometry, tmp_path):
    from fastprep.h5 import _read

    masks, _, table, _ = tables_and_masks(geometry, np.random.default_rng(4), "uint16", 1)
    wanted, found = (np.zeros((len(table), *SIZE, 1), np.uint16) for _ in range(2))
    whole = np.concatenate([mask.reshape(-1) for mask in masks]).view(np.uint8)
    offsets = np.cumsum([0, *(mask.nbytes for mask in masks[:-1])])
    assert hand_over(whole, offsets, np.arange(3), sized_sink(masks, table, wanted)) == (0, 3)
    (tmp_path / "masks").write_bytes(whole.tobytes())
    with open(tmp_path / "masks", "rb") as file:
        scratch = np.full(max(mask.nbytes for mask in masks), 0xAA, np.uint8)
        sink = sized_sink(masks, table, found)
        assert _read.read_images(file.fileno(), offsets, np.arange(3), scratch, sink) == (0, 3)
    same(found, wanted)


@pytest.mark.parametrize(
    ("sizes", "crop", "problem"),
    [
        ([[6, 9], [6, 8]], [1, 0, 0, 0], "must stay in their masks"),
        ([[6, 9], [5, 9]], [1, 0, 0, 0], "must stay in their masks"),
        ([[6, 9], [7, 9]], [0, 0, 0, 0], "the same in all rows of a slot"),
        ([[6, 9], [0, 9]], [1, 0, 0, 0], "heights and widths in 1"),
        ([[6, 9]], [1, 0, 0, 0], r"of shape \(2, 2\)"),
        (None, [1, 0, 0, 0], "must have sizes exactly if has_sizes is set, which is True"),
    ],
)
def test_sizes_of_masks_that_can_not_be_are_errors(sizes, crop, problem):
    crops, masks = np.array([[0, 0, 0, 0], crop], np.int32), [np.zeros((6, 9, 1), np.uint8)] * 2
    table = TransformTable(crops, sizes=None if sizes is None else np.array(sizes))
    with pytest.raises(ValueError, match=problem):
        sized_sink(masks, table, np.zeros((2, *SIZE, 1), np.uint8))


def test_masks_of_different_sizes_have_channels_last():
    with pytest.raises(ValueError, match="must have the order 'HWC', got 'CHW'"):
        MaskSpec((1, 1, 2), np.dtype(np.uint8), SIZE, order="CHW", has_sizes=True)
    sized = TransformTable(np.zeros((1, 4), np.int32), sizes=np.array([SOURCE]))
    with pytest.raises(ValueError, match="which is False"):
        pick(random_masks(np.random.default_rng(0), "uint8"), sized)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 7, 8, 16, 21])
def test_mirrored_rows_of_any_length_are_the_rows_from_right_to_left(dtype, width):
    masks = random_masks(np.random.default_rng(width), dtype)
    masks = np.concatenate([masks, masks], axis=2)
    table = TransformTable(np.array([[1, 2, 3, flags] for flags in range(4)], np.int32))
    out = pick(masks, table, size=(5, width))
    part = masks[1, 2:7, 3 : 3 + width]
    for k, wanted in enumerate((part, part[:, ::-1], part[::-1], part[::-1, ::-1])):
        same(out[k], np.ascontiguousarray(wanted))


def test_the_eight_symmetries_of_a_square_are_those_of_numpy():
    masks = random_masks(np.random.default_rng(0), "int32")[:, :, :11]
    table = TransformTable(np.array([[2, 0, 0, flags] for flags in range(8)], np.int32))
    out, mask = pick(masks, table, size=(11, 11)), masks[2]
    turned = mask.swapaxes(0, 1)
    wanted = [form[::down, ::right] for form in (mask, turned) for down in (1, -1) for right in (1, -1)]
    np.testing.assert_array_equal(out, wanted)


def test_a_box_of_the_output_size_at_whole_numbers_is_a_crop():
    masks = random_masks(np.random.default_rng(0), "int32")
    crops = np.array([[0, 1, 2, flags] for flags in range(8)], np.int32)
    boxes = np.array([(1, 2, *(SIZE[::-1] if flags & 4 else SIZE)) for flags in range(8)], np.float64)
    same(*(pick(masks, TransformTable(crops, boxes=b)) for b in (None, boxes)))


@pytest.mark.parametrize("height", [1e-9, 1e-300])
def test_a_box_at_the_edge_keeps_to_the_last_pixel(height):
    masks = random_masks(np.random.default_rng(0), "int32")
    table = TransformTable(np.zeros((1, 4), np.int32), boxes=np.array([[SOURCE[0], 0.0, height, SOURCE[1]]]))
    same(pick(masks, table, size=(5, SOURCE[1]))[0], np.repeat(masks[0, -1:], 5, axis=0))


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("order", ["HWC", "CHW", "WHC"])
def test_only_the_bytes_that_a_sink_asks_for_matter(geometry, order, tmp_path):
    """What is read of a file is what `need` says; the rest of the memory may be anything."""
    from fastprep.h5 import _read

    rng = np.random.default_rng(5)
    masks, table = random_masks(rng, "uint16", 2), random_table(geometry, rng)
    wanted = pick(masks, table, order)
    stored = np.ascontiguousarray(masks.transpose(0, *(1 + "HWC".index(axis) for axis in order)))
    path = tmp_path / "masks"
    path.write_bytes(stored.tobytes())
    spec, out = MaskSpec(masks.shape[1:], masks.dtype, SIZE, 0, order), np.zeros_like(wanted)
    offsets, slots = np.arange(3) * spec.image_bytes, np.arange(3)
    with open(path, "rb") as file:
        scratch = np.full(spec.image_bytes, 0xAA, np.uint8)
        status = _read.read_images(file.fileno(), offsets, slots, scratch, spec.cpu_sink(table, 3, out))
    assert status == (0, 3)
    same(out, wanted)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"dtype": np.dtype(">u2")}, "native byte order"),
        ({"dtype": np.dtype("complex64")}, "numbers of 1, 2, 4 or 8 bytes"),
        ({"fill": 256}, "fill must be a number of the masks' type, uint8, got 256"),
        ({"fill": [1, 2]}, "fill must be a number, or 1 of them"),
        ({"order": "HW"}, "order must be one of"),
    ],
)
def test_wrong_arguments_are_errors(change, problem):
    arguments = {"image_shape": (*SOURCE, 1), "dtype": np.dtype(np.uint8), "size": SIZE} | change
    with pytest.raises(ValueError, match=problem):
        MaskSpec(**arguments)


@pytest.mark.parametrize(
    ("row", "size", "problem"),
    [
        ([3, 0, 0, 0], SIZE, r"slot in the transform table must lie in 0\.\.2"),
        ([0, 6, 0, 0], SIZE, "must stay in masks of 11x14 pixels"),
        ([0, 0, -1, 0], SIZE, "must stay in masks of 11x14 pixels"),
        ([0, 3, 0, 4], SIZE, "must stay in masks of 11x14 pixels"),
    ],
)
def test_rows_that_lead_outside_are_errors(row, size, problem):
    masks = random_masks(np.random.default_rng(0), "uint8")
    with pytest.raises(ValueError, match=problem):
        pick(masks, TransformTable(np.array([row], np.int32)), size=size)


@pytest.mark.parametrize("boxes", [[[-2, 0, 4, 4]], [[0, np.nan, 4, 4]], [[0, 0, 4, np.inf]], [[0, 0, -40, 4]], [[0, 0, 4]]])
def test_boxes_that_lead_outside_are_errors(boxes):
    masks = random_masks(np.random.default_rng(0), "uint8")
    with pytest.raises(ValueError, match=r"must stay in masks of 11x14 pixels|boxes must have the shape \(1, 4\)"):
        pick(masks, TransformTable(np.zeros((1, 4), np.int32), boxes=np.array(boxes, np.float64)))


def test_matrices_that_lead_too_far_are_errors():
    masks = random_masks(np.random.default_rng(0), "uint8")
    for far in (2.0**31, np.nan):
        table = TransformTable(np.zeros((1, 4), np.int32), matrices=np.array([[[1, 0, far], [0, 1, 0]]]))
        with pytest.raises(ValueError, match=r"2\*\*30"):
            pick(masks, table)
