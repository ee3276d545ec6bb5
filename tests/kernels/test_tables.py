"""One look at a table finds it sound only if a second look, which says what is wrong, finds nothing."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_tables import SIZE, SOURCE, random_table

from fastprep.kernels import CropSpec, WarpSpec
from fastprep.kernels.tables import by_slot
from fastprep.transforms import MIRRORED, TransformTable

N_SLOTS = 3
PARTS = ("crops", "boxes", "matrices", "colors", "erasures")
ODD = [-1, 0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 14, 15, 300, 2**31 - 1, -(2**31)]
ODD_FLOATS = [*ODD, 1e-9, -1e-9, 11.0 + 1e-9, 14.0 - 1e-9, 2.0**29, 2.0**30, 1e30, np.nan, np.inf, -np.inf]


class NeverSure:
    def hold(self, *table):
        return False


def spec_of(geometry, dtype="float16", **options):
    return WarpSpec(
        (*SOURCE, 3), "uint8", SIZE, [1.0, 2.0, 300.0], [0.5, 1, 2], dtype, geometry=geometry, has_colors=True, erase_value=0,
        check_finite=True, **options,
    )  # fmt: skip


def whole_table(geometry, rng):
    table = random_table(geometry, rng, n_slots=N_SLOTS)
    corners = np.sort([rng.integers(0, np.add(SIZE, 1), (len(table), 2)) for _ in range(2)], axis=0)
    erasures = np.concatenate([corners[0], corners[1] - corners[0]], axis=1).astype(np.int32)
    return dataclasses.replace(table, colors=rng.normal(0, 1, (len(table), 3, 4)).astype(np.float32), erasures=erasures)


def looks(spec, table):
    """Return whether the first look finds a table sound, and whether the second one does."""
    is_held = spec._limits.hold(*(getattr(table, name) for name in PARTS), N_SLOTS)
    slow = dataclasses.replace(spec)
    slow.__dict__["_limits"] = NeverSure()
    try:
        slow.checked(table, N_SLOTS)
    except ValueError:
        return is_held, False
    return is_held, True


@settings(max_examples=300)
@given(geometry=st.sampled_from(["crop", "box", "matrix"]), seed=st.integers(0, 2**32), data=st.data())
def test_what_is_wrong_is_never_held_sound(geometry, seed, data):
    table = whole_table(geometry, np.random.default_rng(seed))
    spec = spec_of(geometry)
    assert looks(spec, table) == (True, True)
    assert spec.checked(table, N_SLOTS) is table
    part = getattr(table, data.draw(st.sampled_from([name for name in PARTS if getattr(table, name) is not None])))
    number = data.draw(st.sampled_from(ODD if part.dtype.kind == "i" else ODD_FLOATS))
    part.reshape(-1)[data.draw(st.integers(0, part.size - 1))] = number
    is_held, is_sound = looks(spec, table)
    assert is_sound or not is_held


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32), share=st.floats(0.5, 1.5), dtype=st.sampled_from(["float16", "float32", "bfloat16"]))
def test_colours_that_a_type_may_not_hold_are_never_held_sound(seed, share, dtype):
    rng = np.random.default_rng(seed)
    table = whole_table("crop", rng)
    largest = {"float16": 65520.0}.get(dtype, 2.0**127)
    colors = rng.uniform(-1, 1, (1, 3, 4)) * [1, 1, 1, 255]
    colors *= share * largest / (np.abs(colors) @ [255, 255, 255, 1]).max()
    table.colors[0] = colors
    is_held, is_sound = looks(spec_of("crop", dtype), table)
    assert is_sound or not is_held


def changed(table, part, change):
    return dataclasses.replace(table, **{part: change(getattr(table, part))})


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("crops", lambda a: a.astype(np.int64)),
        ("crops", lambda a: a.astype(">i4")),
        ("crops", lambda a: a.tolist()),
        ("boxes", lambda a: a.astype(np.float32)),
        ("boxes", lambda a: np.asfortranarray(a)),
        ("colors", lambda a: a.astype(np.float64)),
        ("erasures", lambda a: a[::-1]),
    ],
)
def test_other_types_and_orders_are_for_the_second_look(part, change):
    table = changed(whole_table("box", np.random.default_rng(0)), part, change)
    assert not spec_of("box")._limits.hold(*(getattr(table, name) for name in PARTS), N_SLOTS)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("crops", lambda a: a[:, :3].copy()),
        ("crops", lambda a: a[:0]),
        ("boxes", lambda a: a[:-1]),
        ("boxes", lambda a: np.ones((len(a), 5))),
        ("colors", lambda a: a[:-1]),
        ("colors", lambda a: np.ones((len(a), 1, 2), np.float32)),
        ("erasures", lambda a: a[:-1]),
        ("erasures", lambda a: np.ones((len(a), 3), np.int32)),
        ("erasures", lambda a: None),
    ],
)
def test_other_shapes_are_errors(part, change):
    table = changed(whole_table("box", np.random.default_rng(0)), part, change)
    assert looks(spec_of("box"), table) == (False, False)


@pytest.mark.parametrize(
    "row", [[3, 0, 0, 0], [0, 6, 0, 0], [0, 0, -1, 0], [0, 0, 6, 0], [0, 0, 0, 4], [-1, 0, 0, 0], [0, 5, 5, 3]]
)
def test_a_crop_table_is_looked_at_as_a_transform_table_is(row):
    spec, table = CropSpec((*SOURCE, 3), "uint8", SIZE), np.array([[1, 0, 0, MIRRORED], row], np.int32)
    is_sound = row == [0, 5, 5, 3]
    assert spec._crop_limits.hold(table, None, None, None, None, N_SLOTS) == is_sound
    if is_sound:
        assert spec.checked_table(TransformTable(table), N_SLOTS) is table
    else:
        with pytest.raises(ValueError, match="in the crop table must lie in"):
            spec.checked_table(table, N_SLOTS)


@given(seed=st.integers(0, 2**32), n=st.integers(0, 20), n_slots=st.integers(1, 6))
def test_rows_are_ordered_by_slot_and_keep_their_order_within_one(seed, n, n_slots):
    slots = np.random.default_rng(seed).integers(0, n_slots, (n, 4)).astype(np.int32)[:, 0]
    order = by_slot(slots, n_slots)
    np.testing.assert_array_equal(order.numbers, np.argsort(slots, kind="stable"))
    np.testing.assert_array_equal(order.firsts, np.searchsorted(np.sort(slots), np.arange(n_slots + 1)))
    np.testing.assert_array_equal(order.rows(slots), np.sort(slots))
    assert order.is_given == (np.diff(slots) >= 0).all()


def test_rows_that_are_in_the_order_of_their_slots_are_not_copied():
    slots = np.array([0, 0, 2, 2, 3], np.int32)
    assert by_slot(slots, 5).rows(slots) is slots
    assert by_slot(slots[::-1], 5).rows(None) is None


@pytest.mark.parametrize("slot", [-1, 3])
def test_slots_that_there_are_not_are_an_error(slot):
    with pytest.raises(ValueError, match=rf"slots must lie in 0\.\.2, found {slot}"):
        by_slot(np.array([0, slot], np.int32), 3)
