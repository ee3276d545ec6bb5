"""The plan of the CUDA warp kernel: the records of a table, and tiles that fit into shared memory."""

import numpy as np
import pytest
import reference

from fastprep.kernels import WarpSpec, cuda
from fastprep.kernels._cpu_warp import most_taps, put_taps
from fastprep.kernels.records import Record, record_of
from fastprep.kernels.warp_plan import _constants, warp_plan_of
from fastprep.transforms import TRANSPOSED, TransformTable

BOX = {"image_shape": (6, 7, 3), "source_dtype": "uint8", "size": (4, 3), "geometry": "box"}


def taps(starts, lengths, n_out, n_in, most):
    """Return firsts, counts, and weights, shape (n, n_out, most), as a record has them."""
    words = np.zeros((len(starts), n_out * (2 + most)), np.int32)
    put_taps(words, starts, lengths, n_in, n_out, most)
    pairs, weights = words[:, : 2 * n_out].reshape(-1, n_out, 2), words[:, 2 * n_out :].view(np.float32)
    return pairs[..., 0], pairs[..., 1], weights.reshape(-1, n_out, most)


def test_taps_are_the_oracles_to_the_last_bit(rng):
    for n_in, n_out in [(1, 1), (1, 5), (7, 3), (61, 17), (256, 224), (300, 2), (9, 400)]:
        lengths = n_in * rng.uniform(1e-3, 1, 50) ** rng.choice([0.3, 1, 3], 50)
        starts = (n_in - lengths) * rng.choice([0, 1, rng.uniform()], 50)
        starts, lengths = np.append(starts, 0.0), np.append(lengths, float(n_in))
        most = most_taps(n_in, n_out)
        firsts, counts, made = taps(starts, lengths, n_out, np.full(len(starts), n_in), most)
        for k in range(len(starts)):
            for i, (first, weights) in enumerate(reference.triangle_taps(starts[k], lengths[k], n_out, n_in)):
                assert (firsts[k, i], counts[k, i]) == (first, len(weights))
                assert made[k, i, : len(weights)].tobytes() == weights.tobytes()
                assert not made[k, i, len(weights) :].any()


def test_a_record_has_the_taps_of_a_turned_image_along_its_own_axes():
    spec = WarpSpec(**BOX, has_colors=True, erase_value=7)
    crops = np.array([[0, 0, 0, 0], [1, 0, 0, TRANSPOSED]], np.int32)
    colors, erasures = np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.arange(8, dtype=np.int32).reshape(2, 4) // 4
    table = spec.checked(TransformTable(crops, np.array([[1.5, 2, 4, 5]] * 2), colors=colors, erasures=erasures), 2)
    record = Record(spec)
    records, places = record.pack(table), record.places
    assert records.shape == (2, places["RECORD"])
    assert places["RECORD"] % 4 == 0
    np.testing.assert_array_equal(records[:, :4], crops)
    for row, across, down in ((0, (2, 5, 7), (1.5, 4, 6)), (1, (1.5, 4, 6), (2, 5, 7))):
        for name, (start, length, side), n_out, most in (
            ("ACROSS", across, 3, record.most_across), ("DOWN", down, 4, record.most_down),
        ):  # fmt: skip
            words = records[row, places[name] :]
            weights = words[2 * n_out : (2 + most) * n_out].view(np.float32).reshape(n_out, most)
            for i, (first, wanted) in enumerate(reference.triangle_taps(start, length, n_out, side)):
                assert words[2 * i : 2 * i + 2].tolist() == [first, len(wanted)]
                np.testing.assert_array_equal(weights[i, : len(wanted)], wanted)
        np.testing.assert_array_equal(records[row, places["COLORS"] :][:12].view(np.float32), colors[row].ravel())
        np.testing.assert_array_equal(records[row, places["ERASED"] :][:4], erasures[row])


def test_positions_are_rounded_half_to_even():
    spec = WarpSpec(**{**BOX, "geometry": "matrix"}, fill=[1, 2, 0.5])
    half = 2.0**-33
    matrices = np.array([[[1 + half, 3 * half, 0.25], [-half, 0, -2.0]]])
    records = Record(spec).pack(spec.checked(TransformTable(np.zeros((1, 4), np.int32), matrices=matrices), 1))
    numbers = records[0, Record(spec).places["POSITIONS"] :][:12].view(np.int64)
    wanted = [[a * 0.5 + b * 0.5 + c - 0.5, a, b] for a, b, c in matrices[0].tolist()]
    assert numbers.tolist() == [round(number * 2.0**32) for row in wanted for number in row]
    assert _constants(spec)["FILL"] == "1065353216u,1073741824u,1056964608u"


def test_batches_of_one_operation_share_a_compiled_kernel_whatever_their_boxes():
    spec = WarpSpec(**BOX)
    images = np.zeros((2, 6, 7, 3), np.uint8)
    plans = [
        warp_plan_of(
            spec, images, Record(spec).pack(spec.checked(TransformTable(np.zeros((n, 4), np.int32), np.tile(box, (n, 1))), 2))
        )
        for n, box in ((1, [0.0, 0, 6, 7]), (3, [1.0, 2, 0.5, 0.25]))
    ]
    assert len({(launch.source, launch.options, launch.name, launch.block) for launch in plans}) == 1
    assert [launch.grid for launch in plans] == [(1,), (3,)]
    table = plans[1].arguments(np.empty((3, 4, 3, 3), np.float32))[1]
    assert table.shape == (3, Record(spec).places["RECORD"])


def test_tiles_fit_into_shared_memory_and_cover_the_result():
    for geometry, (height, width, channels), size in [
        ("box", (256, 256, 3), (224, 224)), ("box", (4000, 6000, 3), (224, 224)), ("box", (9, 100000, 1), (5, 9)),
        ("box", (30, 50, 7000), (2, 2)), ("crop", (256, 256, 3), (227, 227)), ("crop", (9, 100000, 1), (9, 9)),
        ("crop", (3, 3, 20000), (2, 2)), ("matrix", (256, 256, 3), (224, 224)),
    ]:  # fmt: skip
        constants = _constants(WarpSpec((height, width, channels), "uint8", size, geometry=geometry))
        rows, columns, staged = (constants[name] for name in ("TILE_ROWS", "TILE_COLUMNS", "STAGED_ROWS"))
        assert 1 <= rows <= size[0]
        assert 1 <= columns <= size[1]
        assert staged * (columns * channels | 1) * 4 <= 48 * 1024
        assert geometry != "crop" or channels > 10000 or staged == rows


def test_a_tile_has_room_for_all_rows_that_the_largest_box_needs(rng):
    """Where there is any: for 256 pixels to 224 all boxes are resized in shared memory."""
    spec = WarpSpec((256, 300, 3), "uint8", (224, 224), geometry="box")
    constants = _constants(spec)
    lengths = np.append(rng.uniform(1, 300, 200), 300.0)
    firsts, counts, _ = taps((300 - lengths) * rng.uniform(0, 1, 201), lengths, 224, np.full(201, 300), most_taps(300, 224))
    ends = firsts + counts
    needed = ends[:, constants["TILE_ROWS"] - 1 :] - firsts[:, : 225 - constants["TILE_ROWS"]]
    assert needed.max() <= constants["STAGED_ROWS"]


def test_refuses_a_batch_of_too_many_blocks(monkeypatch):
    monkeypatch.setattr(cuda, "MAX_BLOCKS", 1)
    spec = WarpSpec(**BOX)
    table = TransformTable(np.zeros((2, 4), np.int32), np.tile([0.0, 0, 6, 7], (2, 1)))
    with pytest.raises(ValueError, match="table must have at most 1 rows for crops of this size, got 2"):
        warp_plan_of(spec, np.zeros((1, 6, 7, 3), np.uint8), Record(spec).pack(spec.checked(table, 1)))


def test_records_of_images_of_different_sizes_say_where_image_and_taps_are():
    spec = WarpSpec((5, 5, 3), "uint8", (4, 3), geometry="box", has_sizes=True, erase_value=7)
    crops = np.array([[0, 0, 0, 0], [2, 0, 0, TRANSPOSED], [2, 0, 0, 0]], np.int32)
    boxes, sizes = np.array([[1.5, 2, 4, 5], [0, 1, 30, 9], [0, 0, 30.0, 11]]), np.array([[6, 7], [30, 11], [30, 11]])
    erasures = np.arange(12, dtype=np.int32).reshape(3, 4) // 8
    table = spec.checked(TransformTable(crops, boxes, erasures=erasures, sizes=sizes), 3)
    record = record_of(spec)
    starts, lengths = record.images(table)
    assert (starts.tolist(), lengths.tolist()) == ([0, 128, 128], [6 * 7 * 3, 0, 30 * 11 * 3])
    records, places = record.pack(table), record.places
    assert records.shape == (record.n_rows(table), places["RECORD"])
    np.testing.assert_array_equal(records[:3, :4], crops)
    assert records[:3, places["IMAGE_AT"] :][:, :4].tolist() == [[0, 0, 6, 7], [128, 0, 30, 11], [128, 0, 30, 11]]
    np.testing.assert_array_equal(records[:3, places["ERASED"] :][:, :4], erasures)
    for row, (box, (height, width), flags) in enumerate(zip(boxes, sizes, crops[:, 3], strict=True)):
        y, x = (box[0], box[2], height), (box[1], box[3], width)
        words = records.reshape(-1)[row * places["RECORD"] :]
        at = words[places["TAPS_AT"] :][:4].reshape(2, 2).tolist()
        for (first, most), (start, length, side), n_out in zip(at, (y, x) if flags else (x, y), (3, 4), strict=True):
            own = words[first:]
            weights = own[2 * n_out : (2 + most) * n_out].view(np.float32).reshape(n_out, most)
            for i, (begin, wanted) in enumerate(reference.triangle_taps(start, length, n_out, int(side))):
                assert own[2 * i : 2 * i + 2].tolist() == [begin, len(wanted)]
                np.testing.assert_array_equal(weights[i, : len(wanted)], wanted)


def test_images_of_different_sizes_share_a_compiled_kernel_and_its_tiles_fit():
    options = []
    for image_shape, side in (((300, 400, 3), 90), ((300, 400, 3), 900)):
        spec = WarpSpec(image_shape, "uint8", (224, 224), geometry="box", has_sizes=True)
        table = TransformTable(np.zeros((1, 4), np.int32), np.array([[0.0, 0, side, side]]), sizes=np.array([[side, side]]))
        launch = warp_plan_of(spec, np.zeros(side * side * 3, np.uint8), record_of(spec).pack(spec.checked(table, 1)), 1)
        assert launch.grid[0] * _constants(spec)["TILE_ROWS"] >= 224
        options.append(launch.options)
    assert options[0] == options[1]
    for shape, size in (
        ((1, 1, 3), (224, 224)),
        ((9, 100000, 1), (5, 9)),
        ((30, 50, 7000), (2, 2)),
        ((4000, 6000, 3), (224, 224)),
    ):
        constants = _constants(WarpSpec(shape, "uint8", size, geometry="box", has_sizes=True))
        assert 1 <= constants["TILE_ROWS"] <= size[0]
        assert constants["STAGED_ROWS"] * (constants["TILE_COLUMNS"] * shape[2] | 1) * 4 <= 48 * 1024
