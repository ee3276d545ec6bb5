"""Positions follow the pixels: points and boxes are mapped as the oracle does it, and lie where the mask has them."""

import numpy as np
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_tables import SIZE, SOURCE, arguments, random_table

from fastprep.transforms import TransformTable
from fastprep.transforms.target_geometry import map_boxes, map_points

GEOMETRIES = st.sampled_from(["crop", "box", "matrix"])
SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=40)
@given(geometry=GEOMETRIES, seed=SEEDS)
def test_points_go_where_the_oracle_has_them(geometry, seed):
    rng = np.random.default_rng(seed)
    points, table = rng.uniform(-2, 16, (3, 5, 2)), random_table(geometry, rng)
    mapped = map_points(points[table.crops[:, 0]], table, SIZE)
    np.testing.assert_allclose(mapped, reference.transform_points(points, **arguments(table)), rtol=0, atol=1e-9)  # solve()


@settings(max_examples=40)
@given(geometry=GEOMETRIES, seed=SEEDS)
def test_boxes_go_where_the_oracle_has_them(geometry, seed):
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(-2, 16, (3, 5, 2, 2)), axis=2).reshape(3, 5, 4)
    table = random_table(geometry, rng)
    edges, share = map_boxes(corners[table.crops[:, 0]], table, SIZE)
    wanted_edges, wanted_share = reference.transform_boxes(corners, **arguments(table))
    np.testing.assert_allclose(edges, wanted_edges, rtol=0, atol=1e-9)
    np.testing.assert_allclose(share, wanted_share, rtol=0, atol=1e-6)  # a quotient of small areas


@settings(max_examples=60)
@given(geometry=GEOMETRIES, seed=SEEDS)
def test_a_point_lies_in_the_pixel_where_the_mask_has_it(geometry, seed):
    """Each pixel of the result is filled with the number of its source pixel; the centre of the result's pixel maps back."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(SOURCE[0] * SOURCE[1]).reshape(1, *SOURCE)
    table = random_table(geometry, rng, n_slots=1)
    out = reference.transform_mask(numbers, **arguments(table), fill=-1)
    inside = rng.uniform(0.02, 0.98, (1, 1000, 2)) * SOURCE[::-1]
    mapped = map_points(np.repeat(inside, len(table), axis=0), table, SIZE)
    n_checked = 0
    for k in range(len(table)):
        within = ((mapped[k] >= 0) & (mapped[k] < SIZE[::-1])).all(axis=1)
        for (x, y), (to_x, to_y) in zip(inside[0, within], mapped[k, within], strict=True):
            number = out[k, int(to_y), int(to_x)]
            row, column = divmod(int(number), SOURCE[1])
            # the pixel's centre was taken, which is up to half a pixel of the result away from the point
            reach = 0.5 if geometry == "crop" else 0.5 + 0.5 * _step(table, k)
            assert number == -1 or (abs(row + 0.5 - y) <= reach + 1e-9 and abs(column + 0.5 - x) <= reach + 1e-9)
            n_checked += number != -1
    assert n_checked > 0


def _step(table, k):
    """Return how many source pixels a pixel of the result goes on, at most."""
    if table.matrices is not None:
        return float(np.abs(table.matrices[k, :, :2]).sum(axis=1).max())
    return float(max(table.boxes[k, 2:]) / min(SIZE))


def test_a_mirrored_crop_has_its_points_on_the_other_side():
    table = TransformTable(np.array([[0, 2, 3, flags] for flags in range(8)], np.int32))
    mapped = map_points(np.full((8, 1, 2), (4.5, 4.0)), table, (5, 7))  # (1.5, 2) in a crop of 7 columns and 5 rows
    np.testing.assert_array_equal(mapped[:, 0], [(1.5, 2), (5.5, 2), (1.5, 3), (5.5, 3), (2, 1.5), (5, 1.5), (2, 3.5), (5, 3.5)])


def test_a_box_that_leaves_the_result_is_clipped_and_knows_its_share():
    table = TransformTable(np.zeros((1, 4), np.int32), boxes=np.array([[2.0, 4.0, 3.0, 4.0]]))
    boxes = np.array([[[4, 2, 8, 5], [2, 2, 6, 5], [9, 2, 10, 5], [5, 3, 5, 4]]], np.float64)
    edges, share = map_boxes(boxes, table, (6, 8))
    np.testing.assert_array_equal(edges[0, :2], [(0, 0, 8, 6), (0, 0, 4, 6)])
    np.testing.assert_array_equal(share[0], [1, 0.5, 0, 0])


def test_a_matrix_that_cannot_be_inverted_gives_numbers_that_are_not_finite():
    table = TransformTable(np.zeros((1, 4), np.int32), matrices=np.array([[[1, 1, 0], [1, 1, 0.0]]]))
    assert not np.isfinite(map_points(np.array([[[3.0, 4.0]]]), table, SIZE)).any()
