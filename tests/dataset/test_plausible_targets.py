"""Boxes and points that lie as if they had another format or unit are said; those that a file may well have are not."""

import logging

import h5py
import numpy as np
import pytest
from encoded_files import write_rows
from encoded_images import by_pillow, photograph

from fastprep import Boxes, Points
from fastprep.loader import Loader
from fastprep.transforms.box_formats import FORMATS, from_edges

pytestmark = pytest.mark.usefixtures("no_thread_left")

N, SIZE = 40, (24, 32)


@pytest.fixture
def path(make_file):
    return make_file(n=N, height=SIZE[0], width=SIZE[1])[0]


@pytest.fixture
def edges(rng):
    """Boxes in the right lower part of the image, with which other formats would leave it."""
    corner = rng.uniform((14, 11), (20, 16), (N, 2, 2))
    return np.concatenate([corner, corner + rng.uniform(3, 7, (N, 2, 2))], axis=2)


def warnings_of(path, labels, caplog):
    caplog.clear()
    with caplog.at_level(logging.WARNING, "fastprep"):
        Loader(path, 4, None, labels=labels, mean=None, device="cpu").close()
    return [record.getMessage() for record in caplog.records if "plausible" in record.name]


@pytest.mark.parametrize("format", FORMATS)
def test_boxes_in_their_format_are_never_said(path, edges, format, caplog):
    assert not warnings_of(path, Boxes(from_edges(edges, format, SIZE), format=format), caplog)


@pytest.mark.parametrize(
    ("stored", "format"),
    [
        ("xyxy", "xywh"),
        ("xywh", "xyxy"),
        ("rel_xyxy", "xyxy"),
        ("rel_xywh", "xywh"),
        ("rel_center_xywh", "center_xywh"),
        ("xyxy", "rel_xyxy"),
        ("xywh", "rel_xywh"),
    ],
)
def test_boxes_in_another_format_are_said_with_one_that_fits(path, edges, stored, format, caplog):
    (text,) = warnings_of(path, {"a": Boxes(from_edges(edges, stored, SIZE), format=format)}, caplog)
    assert text.startswith("labels['a']: ")
    assert f"of 80 boxes have no area, lie far beyond the image, or within its first pixel by format='{format}'" in text
    fitting = text.partition("; as format='")[2].partition("'")[0]
    assert fitting.startswith("rel_") == stored.startswith("rel_")
    assert fitting != format


def test_a_few_odd_boxes_and_rows_that_are_filled_up_are_not_said(path, edges, caplog):
    boxes = np.full((N, 5, 5), -1.0)
    boxes[:, :2, :4], boxes[:, :2, 4], boxes[:, 3], boxes[:, 4] = edges, 1, 0, np.nan
    boxes[0, 0, :4], boxes[1, 0, :4] = [5, 5, 5, 9], [100, 100, 120, 120]
    assert not warnings_of(path, Boxes(boxes), caplog)
    boxes[2:5, 0, :4] = [100, 100, 120, 120]
    (text,) = warnings_of(path, Boxes(boxes), caplog)
    assert "5 of 80 boxes" in text
    assert "python -m fastprep.show" in text


def test_flat_rows_that_may_have_a_class_for_each_box_are_said(path, caplog):
    with h5py.File(path, "r+") as file:
        rows = file.create_dataset("rows", (N,), h5py.vlen_dtype("f4"))
        for k in range(N):
            rows[k] = [1, 2, 8, 9, 2] * 4
    (text,) = warnings_of(path, Boxes("rows"), caplog)
    assert text.startswith(f"{path}, dataset 'rows': ")
    assert "where a class is the fifth, give classes= or a list of arrays (M, 5)" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda points: points / [32, 24], "points are in pixels, and no number of these 200 is larger than 0.9"),
        (lambda points: points[..., ::-1], "; with x and y exchanged they would lie in it"),
        (lambda points: points * 10, "far beyond the images of 24x32 pixels; points are x and y in pixels"),
    ],
)
def test_points_of_another_unit_or_order_are_said(path, rng, change, words, caplog):
    points = rng.uniform((28, 1), (30, 23), (N, 5, 2))
    assert not warnings_of(path, Points(points), caplog)
    (text,) = warnings_of(path, Points(change(points)), caplog)
    assert words in text


def test_points_that_are_not_labelled_are_not_judged(path, caplog):
    points = np.zeros((N, 3, 3))
    assert not warnings_of(path, Points(points), caplog)
    points[:, 0], points[:, 1] = [900, 900, 0], np.nan
    assert not warnings_of(path, Points(points), caplog)


@pytest.fixture
def encoded_path(tmp_path):
    """Images of different sizes, of which the first is the smallest."""
    rows = [by_pillow(photograph(24 + 3 * k, 32 + 2 * k), "PNG") for k in range(N)]
    return write_rows(tmp_path / "encoded.h5", rows), np.array([(24 + 3 * k, 32 + 2 * k) for k in range(N)])


def test_boxes_and_points_are_judged_by_the_image_that_they_lie_in(encoded_path, caplog):
    path, sizes = encoded_path
    in_corner = np.stack([sizes[:, 1] - 9, sizes[:, 0] - 8, sizes[:, 1] - 1, sizes[:, 0] - 1], axis=1).astype(float)
    sides = np.tile(sizes[:, ::-1], 2)
    assert not warnings_of(path, Boxes(in_corner), caplog)
    assert not warnings_of(path, Boxes(in_corner / sides, format="rel_xyxy"), caplog)
    assert not warnings_of(path, Points(in_corner.reshape(N, 2, 2)), caplog)
    (text,) = warnings_of(path, Boxes(in_corner / sides), caplog)
    assert "as format='rel_xyxy'" in text
    assert "of images of different sizes, some of which were looked at" in text
    (text,) = warnings_of(path, Points((in_corner / sides).reshape(N, 2, 2)), caplog)
    assert "multiply x by its width, and y by its height" in text
    (text,) = warnings_of(path, Points(in_corner.reshape(N, 2, 2)[..., ::-1] * (1, 2)), caplog)
    assert "points lie far beyond the images of different sizes" in text


def test_images_whose_header_can_not_be_read_do_not_judge(tmp_path, caplog):
    path = write_rows(tmp_path / "damaged.h5", [by_pillow(photograph(24, 32), "PNG"), b"nothing", b""])
    assert not warnings_of(path, Boxes(np.tile([20.0, 15, 30, 23], (3, 1))), caplog)
    (text,) = warnings_of(path, Boxes(np.tile([120.0, 15, 130, 23], (3, 1))), caplog)
    assert "1 of 1 boxes" in text
