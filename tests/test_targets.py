"""Masks, boxes and points as labels: they go where the pixels of their images go, and are read, resumed and skipped with them."""

import pickle

import h5py
import numpy as np
import pytest
import reference
from conftest import host
from loader_batches import CROPS, SOURCE, check_same, epochs, table_of

from fastprep import Boxes, CenterCrop, DataError, Mask, Points, RandomAffine, RandomCrop
from fastprep.loader import Loader
from fastprep.transforms import BlendTable
from fastprep.transforms.box_formats import from_edges

pytestmark = pytest.mark.usefixtures("no_thread_left")

N = 23
ONE_BOX = np.tile([1.0, 2, 5, 6], (N, 1, 1))


def numbers_in(rng, dtype, shape):
    return rng.integers(0, 200, shape).astype(dtype)


@pytest.fixture
def path(make_file, rng):
    """A file with all kinds of targets beside the images."""
    path, _, _ = make_file(n=N)
    with h5py.File(path, "r+") as file:
        file["labels"][...] = np.arange(N)
        for dtype in ("uint8", "int16", "int64", "float16", "float32", "bool"):
            file[f"masks_{dtype}"] = numbers_in(rng, dtype, (N, *SOURCE))
        file["layers"] = numbers_in(rng, "uint16", (N, *SOURCE, 2))
        file["boxes"] = np.sort(rng.uniform(-1, 13, (N, 4, 2, 2)), axis=2).reshape(N, 4, 4)
        file["points"] = rng.uniform(0, 14, (N, 5, 2))
    return path


def stored(path, name):
    with h5py.File(path) as file:
        values = file[name][()]
    return values.view(np.uint8) if values.dtype == bool else values


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", "float32", "bool"])
def test_masks_are_those_of_the_oracle_in_the_type_that_is_stored(path, crop, dtype):
    masks = stored(path, f"masks_{dtype}")
    labels = Mask(f"masks_{dtype}", fill=3)
    with Loader(path, 5, crop, labels=labels, mean=None, shuffle=True, seed=4, device="cpu") as loader:
        for step, (_, y) in enumerate(loader):
            samples, _, arguments = table_of(loader, 0, step)
            wanted = reference.transform_mask(masks[samples], **arguments, fill=3)
            assert y.dtype == masks.dtype
            assert y.shape == (len(samples) * crop.n_crops, *crop.height_width)
            np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("name", ["cut", "turned", "ten", "whole"])
def test_a_mask_that_is_its_image_stays_its_image(path, name):
    """Without resampling, images and masks are the same pixels."""
    with Loader(path, 5, CROPS[name], labels=Mask("images"), mean=None, shuffle=True, device="cpu") as loader:
        for x, y in loader:
            np.testing.assert_array_equal(x, y)


def test_batches_on_a_device_have_the_same_masks(path, backend):
    options = {"labels": {"mask": Mask("masks_int16"), "boxes": Boxes("boxes")}, "shuffle": True, "seed": 2}
    with (
        Loader(path, 5, CROPS["cut"], **options, device=backend) as loader,
        Loader(path, 5, CROPS["cut"], **options, device="cpu") as cpu,
    ):
        for (_, y), (_, wanted) in zip(loader, cpu, strict=True):
            assert list(y) == ["mask", "boxes"]
            for name in y:
                np.testing.assert_array_equal(host(y[name]), wanted[name])


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
def test_bilinear_masks_are_resized_as_images_are(path, crop):
    masks, labels = stored(path, "masks_int16")[..., None], Mask("masks_int16", interpolation="bilinear", fill=2.5)
    with Loader(path, 5, crop, labels=labels, mean=None, seed=4, device="cpu") as loader:
        for step, (_, y) in enumerate(loader):
            samples, _, arguments = table_of(loader, 0, step)
            assert y.dtype == np.float32
            np.testing.assert_array_equal(y[..., None], reference.transform(masks[samples], **arguments, fill=2.5))


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
def test_boxes_and_points_are_those_of_the_oracle(path, crop):
    boxes, points = stored(path, "boxes"), stored(path, "points")
    numbers = np.arange(4 * N).reshape(N, 4)
    labels = (Boxes("boxes", min_visible=0.4, classes=numbers), Points("points"))
    with Loader(path, 5, crop, labels=labels, mean=None, shuffle=True, seed=4, device="cpu") as loader:
        kept = 0
        for step, (_, (found, at)) in enumerate(loader):
            samples, table, arguments = table_of(loader, 0, step)
            edges, share = reference.transform_boxes(boxes[samples], **arguments)
            where = reference.transform_points(points[samples], **arguments)
            of_rows = samples[table.crops[:, 0]]
            assert found.shape == (len(edges), 4, 5)
            for k in range(len(edges)):
                wanted = edges[k, share[k] >= 0.4]
                np.testing.assert_allclose(found[k, : len(wanted), :4], wanted, atol=1e-5)  # float32 of what solve() gives
                np.testing.assert_array_equal(found[k, : len(wanted), 4], numbers[of_rows[k], share[k] >= 0.4])
                assert (found[k, len(wanted) :] == -1).all()
                kept += len(wanted)
                is_inside = ((where[k] >= 0) & (where[k] <= crop.height_width[::-1])).all(axis=1)
                np.testing.assert_allclose(at[k, is_inside, :2], where[k, is_inside], atol=1e-5)
                np.testing.assert_array_equal(at[k, :, 2], is_inside)
                assert (at[k, ~is_inside] == 0).all()
        assert 0 < kept < N * crop.n_crops * 4


def test_boxes_keep_their_format_and_their_classes(path, rng):
    edges = stored(path, "boxes")
    left, top, right, bottom = np.moveaxis(edges, 2, 0)
    forms = {
        "xyxy": (left, top, right, bottom),
        "yxyx": (top, left, bottom, right),
        "xywh": (left, top, right - left, bottom - top),
        "center_xywh": ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top),
    }
    classes = rng.integers(0, 9, (N, 4))

    def epoch_of(boxes):
        with Loader(path, N, CROPS["cut"], labels=boxes, shuffle=True, device="cpu") as loader:
            return next(iter(loader))[1]

    wanted = epoch_of(Boxes("boxes", classes=classes))
    assert wanted.shape == (N, 4, 5)
    is_box = wanted[..., 4] >= 0
    assert 0 < is_box.sum() < is_box.size
    assert (wanted[is_box][:, 2] > wanted[is_box][:, 0]).all()
    both = np.concatenate([edges, classes[..., None]], axis=2)
    np.testing.assert_array_equal(epoch_of(Boxes(both)), wanted)
    left, top, right, bottom = np.moveaxis(wanted[is_box][:, :4], 1, 0)
    expected = {
        "xyxy": (left, top, right, bottom),
        "yxyx": (top, left, bottom, right),
        "xywh": (left, top, right - left, bottom - top),
        "center_xywh": ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top),
    }
    for name, columns in forms.items():
        for prefix, unit, out_unit in (("", 1, 1), ("rel_", np.array([14, 12, 14, 12]), np.array([9, 7, 9, 7]))):
            if name == "yxyx":
                unit, out_unit = np.roll(unit, 1), np.roll(out_unit, 1)
            found = epoch_of(Boxes(np.stack(columns, axis=2) / unit, format=prefix + name, classes=classes))
            np.testing.assert_array_equal(found[..., 4], wanted[..., 4])
            np.testing.assert_allclose(found[is_box][:, :4] * out_unit, np.stack(expected[name], axis=1), atol=1e-4)


def test_rows_of_any_length_are_boxes(path, rng):
    counts = rng.integers(0, 4, N)
    rows = [np.sort(rng.uniform(0, 12, (n, 2, 2)), axis=1).reshape(n, 4) for n in counts]
    names = [np.arange(n) for n in counts]
    with h5py.File(path, "r+") as file:
        for name, values, kind in (("rows", [row.reshape(-1) for row in rows], "f8"), ("names", names, "i4")):
            dataset = file.create_dataset(name, (N,), h5py.vlen_dtype(np.dtype(kind)))
            for k, row in enumerate(values):
                dataset[k] = row
    labels = {"file": Boxes("rows", classes="names"), "list": Boxes(rows, classes=names), "two": Boxes(rows, max_boxes=2)}
    with Loader(path, N, None, labels=labels, indices=np.arange(N)[::-1], device="cpu") as loader:
        _, y = next(iter(loader))
    assert y["file"].shape == (N, counts.max(), 5)
    assert y["two"].shape == (N, 2, 4)
    np.testing.assert_array_equal(y["file"], y["list"])
    few = np.flatnonzero(counts < counts.max())
    with Loader(
        path, N, None, labels=labels, indices=few, device="cpu"
    ) as loader:  # has the shape of all, as that of another part
        assert next(iter(loader))[1]["file"].shape == (len(few), counts.max(), 5)
    for k, row in enumerate(rows[::-1]):
        np.testing.assert_array_equal(y["file"][k, : len(row)], np.column_stack([row, np.arange(len(row))]).astype(np.float32))
        assert (y["file"][k, len(row) :] == -1).all()
        np.testing.assert_array_equal(y["two"][k, : min(len(row), 2)], row[:2].astype(np.float32))


@pytest.mark.parametrize("form", ["fifth column", "array", "dataset", "list", "rows of any length"])
def test_rows_without_a_box_have_the_class_minus_1_however_classes_are_given(path, form):
    """Every second image has one box of class 0, and the others none."""
    has_box = np.arange(N) % 2 == 0
    boxes = [np.array([[1.0, 2, 5, 6]]) if has else np.empty((0, 4)) for has in has_box]
    classes = [np.zeros(len(own)) for own in boxes]
    filled = np.where(has_box[:, None, None], [[[1.0, 2, 5, 6], [0, 0, 0, 0]]], 0)
    with h5py.File(path, "r+") as file:
        file["filled"], file["filled_classes"] = filled, np.zeros((N, 2), int)
        for name, values in (("rows", boxes), ("row_classes", classes)):
            dataset = file.create_dataset(name, (N,), h5py.vlen_dtype("f8"))
            for k, row in enumerate(values):
                dataset[k] = row.reshape(-1)
    described = {
        "fifth column": Boxes(np.concatenate([filled, np.zeros((N, 2, 1))], axis=2), max_boxes=3),
        "array": Boxes(filled, classes=np.zeros((N, 2)), max_boxes=3),
        "dataset": Boxes("filled", classes="filled_classes", max_boxes=3),
        "list": Boxes([np.column_stack([own, kind]) for own, kind in zip(boxes, classes, strict=True)], max_boxes=3),
        "rows of any length": Boxes("rows", classes="row_classes", max_boxes=3),
    }
    with Loader(path, N, None, labels=described[form], device="cpu") as loader:
        _, y = loader.batch(0, 0)
    wanted = np.full((N, 3, 5), -1, np.float32)
    wanted[has_box, 0] = [1, 2, 5, 6, 0]
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize(
    ("boxes", "width"),
    [
        ([[]] * N, 4),
        ([np.empty((0, 4))] * N, 4),
        ([np.empty((0, 5))] * N, 5),
        (np.empty((N, 0, 5)), 5),
        ([[]] * (N - 1) + [np.empty((0, 5))], 5),
    ],
)
def test_no_boxes_at_all_are_rows_of_minus_1_with_a_class_where_there_is_a_column_for_it(path, boxes, width):
    with Loader(path, N, None, labels=Boxes(boxes), device="cpu") as loader:
        _, y = loader.batch(0, 0)
    np.testing.assert_array_equal(y, np.full((N, 1, width), -1))


def test_class_names_of_another_loader_go_with_outputs_that_have_none(path):
    labels = {"mask": Mask("masks_uint8"), "number": "labels", "text": np.array(["a", "b"] * N)[:N]}
    with Loader(path, 4, CROPS["cut"], labels=labels, device="cpu") as train:
        assert train.class_names == {"mask": (), "number": (), "text": ("a", "b")}
        Loader(path, 4, CROPS["cut"], labels=labels, class_names=train.class_names, device="cpu").close()


def test_a_box_that_only_touches_the_result_is_none(path):
    boxes = np.tile([[0.0, 0, 3, 5], [0, 0, 3.1, 5], [9.9, 2, 14, 5], [10, 2, 14, 5]], (N, 1, 1))
    with Loader(path, N, CenterCrop((12, 7)), labels=Boxes(boxes), device="cpu") as loader:  # columns 3 to 9
        _, y = next(iter(loader))
    np.testing.assert_allclose(y[0], [[0, 0, 0.1, 5], [6.9, 2, 7, 5], [-1] * 4, [-1] * 4], atol=1e-6)


@pytest.mark.parametrize("format", ["xyxy", "xywh", "center_xywh", "rel_center_xywh"])
def test_a_box_that_ends_at_the_edge_is_wholly_visible_however_it_is_rounded(path, rng, format):
    height, width = SOURCE
    corner = rng.uniform(0, (width - 0.1, height - 0.1), (N, 50, 2))
    edges = np.concatenate([corner, np.broadcast_to((width, height), corner.shape)], axis=2)
    with Loader(
        path, N, None, labels=Boxes(from_edges(edges, format, SOURCE).astype("f4"), format=format, min_visible=1)
    ) as loader:
        _, y = loader.batch(0, 0)
    assert (np.asarray(y)[..., 2] >= 0).all()


def test_boxes_without_an_area_or_with_nan_are_none(path):
    boxes = np.tile([[1.0, 2, 5, 6], [3, 3, 3, 8], [np.nan] * 4, [7, 1, 2, 4], [2, 2, 3, 3]], (N, 1, 1))
    with Loader(path, N, None, labels=Boxes(boxes), device="cpu") as loader:
        _, y = next(iter(loader))
    np.testing.assert_array_equal(y[0], [[1, 2, 5, 6], [2, 2, 3, 3]])


def test_points_know_what_is_not_labelled_where_centres_lie_and_which_change_places(path):
    points = np.tile([[2.0, 3, 2], [5, 3, 1], [0, 0, 0], [np.nan, 3, 1]], (N, 1, 1))
    mirror = RandomCrop(SOURCE, mirror=True)
    labels = (Points(points, pairs=[(0, 1)]), Points(points[..., :2].reshape(N, 8)), Points(points, center=0))
    with Loader(path, N, mirror, labels=labels, shuffle=True, device="cpu") as loader:
        _, (swapped, flat, centred) = next(iter(loader))
        _, table, _ = table_of(loader, 0, 0)
    is_mirrored = table.crops[:, 3] == 1
    assert 0 < is_mirrored.sum() < N
    np.testing.assert_array_equal(swapped[~is_mirrored][0], [[2, 3, 2], [5, 3, 1], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(swapped[is_mirrored][0], [[9, 3, 1], [12, 3, 2], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(flat[is_mirrored][0], [[12, 3, 1], [9, 3, 1], [14, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(centred[is_mirrored][0], [[11, 3, 2], [8, 3, 1], [0, 0, 0], [0, 0, 0]])
    turned = RandomCrop(12, turn=True, flip=True, mirror=True)
    with Loader(path, N, turned, labels=Points(points, pairs=[(0, 1)]), shuffle=True, device="cpu") as loader:
        _, y = next(iter(loader))
        _, table, arguments = table_of(loader, 0, 0)
    where = reference.transform_points(points[..., :2], **arguments)
    for k, flags in enumerate(table.crops[:, 3]):
        first = 1 if bin(int(flags)).count("1") % 2 else 0  # an odd number of reflections
        is_inside = (where[k, first] >= 0).all() and (where[k, first] <= 12).all()
        np.testing.assert_allclose(y[k, 0, :2], where[k, first] if is_inside else 0, atol=1e-5)


def target_options(path):
    labels = {"mask": Mask("masks_uint8"), "boxes": Boxes("boxes"), "points": Points("points"), "class": "labels"}
    return {"labels": labels, "shuffle": True, "seed": 5, "device": "cpu"}


def flat(batches):
    return [(x, *y.values()) for x, y in batches]


@pytest.mark.parametrize("name", ["cut", "affine"])
def test_batches_do_not_depend_on_workers_and_resume_in_mid_epoch(path, name):
    options, crop = target_options(path), CROPS[name]

    def copied(batch):
        x, y = batch
        return x.copy(), {key: value.copy() for key, value in y.items()}

    with Loader(path, 4, crop, **options, workers=1) as loader:
        wanted = [copied(batch) for _ in range(2) for batch in loader]
    with Loader(path, 4, crop, **options, workers=3) as loader:
        iteration = iter(loader)
        got = [copied(next(iteration)) for _ in range(2)]
        state = loader.state_dict()
    with pickle.loads(pickle.dumps(Loader(path, 4, crop, **options))) as loader:
        loader.load_state_dict(state)
        got += [copied(batch) for _ in range(2) for batch in loader]
    check_same(flat(got), flat(wanted))
    shards = []
    for rank in range(2):
        with Loader(path, 2, crop, **options, shard=(rank, 2)) as loader:
            shards += [(int(label), mask.copy()) for _, y in loader for label, mask in zip(y["class"], y["mask"], strict=True)]
    whole = {int(label): mask for _, y in wanted[: len(wanted) // 2] for label, mask in zip(y["class"], y["mask"], strict=True)}
    assert sorted(label for label, _ in shards) == list(range(N))
    assert all(np.array_equal(whole[label], mask) for label, mask in shards)


@pytest.mark.parametrize(
    "storage", ["plain", "gzip", "blocks", "blocks of images", "blocks of both", "mmap", "big-endian", "axes", "split"]
)
def test_masks_of_any_storage_are_the_same(make_file, rng, storage):
    path, images, _ = make_file(
        n=N, **({"chunks": (6, 12, 14, 3), "compression": "gzip"} if "images" in storage or "both" in storage else {})
    )
    masks = rng.integers(0, 1000, (N, *SOURCE)).astype("int32")
    kept = masks.swapaxes(1, 2) if storage == "axes" else masks
    layout = {
        "gzip": {"chunks": (1, *SOURCE), "compression": "gzip", "shuffle": True},
        "blocks": {"chunks": (4, *SOURCE), "compression": "gzip"},
        "blocks of both": {"chunks": (4, *SOURCE), "compression": "gzip"},
        "split": {"chunks": (3, 5, 14)},
    }.get(storage, {})
    with h5py.File(path, "r+") as file:
        file.create_dataset("masks", data=kept, dtype=">i4" if storage == "big-endian" else "i4", **layout)
        if storage == "axes":
            del file["images"]
            file["images"] = images.transpose(0, 3, 2, 1)
    options = {"axes": "NCWH"} if storage == "axes" else {}
    labels = Mask("masks", axes="NWH" if storage == "axes" else None)
    io = "mmap" if storage == "mmap" else "pread"
    with Loader(path, 5, CROPS["cut"], labels=labels, mean=None, shuffle=True, io=io, device="cpu", **options) as loader:
        for step, (_, y) in enumerate(loader):
            samples, _, arguments = table_of(loader, 0, step)
            np.testing.assert_array_equal(y, reference.transform_mask(masks[samples], **arguments))
        if storage == "blocks":
            assert loader.stats()["blocks_decoded"] <= 6  # each once, as the order follows the larger blocks
        if storage == "blocks of both":
            assert loader.stats()["blocks_decoded"] <= 4 + 6


def test_masks_of_parts_of_several_files_of_other_files_and_of_arrays_are_the_same(make_file, rng, tmp_path):
    masks = rng.integers(0, 9, (3 * 8, *SOURCE)).astype("uint16")
    paths = []
    for k in range(3):
        path, _, _ = make_file(n=8, name=f"images_{k}.h5")
        with h5py.File(path, "r+") as file, h5py.File(tmp_path / f"masks_{k}.h5", "w") as other:
            file["masks"] = other["masks"] = masks[8 * k : 8 * k + 8]
        paths.append(str(path))
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["masks"] = masks
    indices = rng.permutation(24)[:17]
    wanted = None
    for source in ("masks", f"{tmp_path}/masks_*.h5:masks", f"{tmp_path}/all.h5:masks", masks):
        with Loader(paths, 5, CROPS["cut"], labels=Mask(source), shuffle=True, indices=indices, device="cpu") as loader:
            batches = epochs(loader)
            samples, _, arguments = table_of(loader, 1, 0)
            np.testing.assert_array_equal(batches[len(loader)][1], reference.transform_mask(masks[indices[samples]], **arguments))
            assert loader.labels.source is source
        wanted = batches if wanted is None else wanted
        check_same(batches, wanted)


def test_masks_of_images_that_have_a_dataset_each(tmp_path, rng):
    images, masks = rng.integers(0, 255, (6, *SOURCE, 3), np.uint8), rng.integers(0, 9, (6, *SOURCE), np.uint8)
    path = tmp_path / "groups.h5"
    with h5py.File(path, "w") as file:
        for k in range(6):
            file[f"X/{k}/image"], file[f"X/{k}/mask"] = images[k], masks[k]
    with Loader(
        path, 4, CROPS["cut"], images="X/*/image", labels=Mask("X/*/mask"), mean=None, shuffle=True, device="cpu"
    ) as loader:
        for step, (_, y) in enumerate(loader):
            samples, _, arguments = table_of(loader, 0, step)
            np.testing.assert_array_equal(y, reference.transform_mask(masks[samples], **arguments))


def test_one_image_and_one_mask_a_file(tmp_path, rng):
    paths, masks = [], rng.integers(0, 2, (5, *SOURCE, 3), np.uint8)
    for k in range(5):
        paths.append(tmp_path / f"slice_{k}.h5")
        with h5py.File(paths[-1], "w") as file:
            file["image"], file["mask"] = rng.normal(size=(*SOURCE, 4)), masks[k]
    labels = Mask("mask", axes="HWC")
    with Loader(
        paths, 2, CROPS["cut"], images="image", axes="HWC", labels=labels, mean=None, shuffle=True, device="cpu"
    ) as loader:
        for step, (_, y) in enumerate(loader):
            samples, _, arguments = table_of(loader, 0, step)
            np.testing.assert_array_equal(y, reference.transform_mask(masks[samples], **arguments))


def damage(path, name, chunks):
    """Change a byte in the middle of some chunks of a dataset."""
    with h5py.File(path) as file:
        dataset = file[name]
        coordinates = [(c * dataset.chunks[0], *[0] * (dataset.ndim - 1)) for c in chunks]
        places = [dataset.id.get_chunk_info_by_coord(place) for place in coordinates]
    content = bytearray(path.read_bytes())
    for place in places:
        content[place.byte_offset + place.size // 2] ^= 0x55
    path.write_bytes(content)


def test_boxes_and_points_of_one_image_a_file(tmp_path, rng):
    boxes, points = rng.uniform(0, 5, (3, 4, 4)), rng.uniform(0, 5, (3, 2, 2))
    boxes[..., 2:] += boxes[..., :2] + 1
    for k in range(3):
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            file["images"] = np.zeros((12, 12, 3), "u1")
            file["boxes"], file["box"], file["points"] = boxes[k], boxes[k, 0], points[k]
    labels = {"boxes": Boxes("boxes"), "box": Boxes("box"), "points": Points("points")}
    with Loader(f"{tmp_path}/*.h5", 3, None, axes="HWC", labels=labels, mean=None) as loader:
        _, y = loader.batch(0, 0)
    np.testing.assert_array_equal(y["boxes"], boxes.astype("f4"))
    np.testing.assert_array_equal(y["box"], boxes[:, :1].astype("f4"))
    np.testing.assert_array_equal(y["points"][..., :2], points.astype("f4"))


@pytest.fixture
def damaged(make_file, rng):
    """A file of 40 images in chunks of 4, with masks in chunks of 3, both partly damaged; labels are numbers of samples."""
    path, images, _ = make_file(n=40, chunks=(4, 12, 14, 3), compression="gzip", fletcher32=True)
    masks = rng.integers(0, 200, (40, *SOURCE), np.uint8)
    with h5py.File(path, "r+") as file:
        file.create_dataset("masks", data=masks, chunks=(3, *SOURCE), compression="gzip", fletcher32=True)
        file["labels"][...] = np.arange(40)
    damage(path, "images", [2, 9])  # 8..11 and 36..39
    damage(path, "masks", [0, 2, 4, 7])  # 0..2, 6..8, 12..14 and 21..23
    return path, images, masks


def test_a_damaged_mask_is_an_error_that_names_file_dataset_chunk_and_sample(damaged):
    path, _, _ = damaged
    with Loader(path, 1, CenterCrop(SOURCE), labels=Mask("masks"), device="cpu") as loader:
        with pytest.raises(DataError) as caught:
            loader.batch(0, 22)
        assert (caught.value.file, caught.value.dataset, caught.value.chunk) == (str(path), "masks", 7)
        assert 21 <= caught.value.sample <= 23
        loader.batch(0, 20)
        with pytest.raises(DataError, match="dataset 'images'"):
            loader.batch(0, 9)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("indices", [None, np.random.default_rng(3).permutation(40)])
def test_the_next_whole_sample_comes_instead_whichever_part_of_it_is_damaged(damaged, shuffle, indices, backend):
    path, images, masks = damaged
    bad = {0, 1, 2, *range(6, 15), 21, 22, 23, *range(36, 40)}

    def instead(row):
        while row in bad:
            row = (row + 1) % 40
        return row

    labels, batches = {"mask": Mask("masks"), "number": "labels"}, []
    for workers, first in ((1, 0), (3, 3), (1, 5)):
        options = {"shuffle": shuffle, "seed": 1, "on_corrupt": "skip", "workers": workers, "indices": indices}
        with Loader(path, 7, CenterCrop(SOURCE), labels=labels, mean=None, device=backend, **options) as loader:
            for step in range(first, len(loader)):  # from another one on, so that other samples are found out first
                loader.batch(0, step)
            found = []
            for step, (x, y) in enumerate(loader):
                samples = loader.samples(0, step)
                rows = samples if indices is None else indices[samples]
                wanted = np.array([instead(row) for row in rows])
                np.testing.assert_array_equal(y["number"], wanted)
                np.testing.assert_array_equal(y["mask"], masks[wanted])
                np.testing.assert_array_equal(host(x), images[wanted].astype(np.float32))
                found.append(wanted)
            assert loader.stats()["corrupt"]["samples"] == len(bad)
        batches.append(np.concatenate(found))
    for other in batches[1:]:
        np.testing.assert_array_equal(other, batches[0])


def test_a_file_of_masks_without_one_that_can_be_read_is_an_error(make_file, rng):
    path, _, _ = make_file(n=4)
    with h5py.File(path, "r+") as file:
        file.create_dataset("masks", data=np.ones((4, *SOURCE), "u1"), chunks=(2, *SOURCE), compression="gzip", fletcher32=True)
    damage(path, "masks", [0, 1])
    with (
        Loader(path, 2, None, labels=Mask("masks"), on_corrupt="skip", device="cpu") as loader,
        pytest.raises(DataError, match="dataset 'masks'"),
    ):
        loader.batch(0, 0)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_mask_that_is_not_finite_is_an_error_unless_it_is_asked_for(make_file, rng, interpolation, value):
    path, _, _ = make_file(n=6)
    masks = np.full((6, *SOURCE), 3e38, "float32")  # the sum of them is not finite in float32
    masks[4, 6, 7] = value
    with h5py.File(path, "r+") as file:
        file["depth"] = masks
    labels = Mask("depth", interpolation=interpolation)
    with Loader(path, 3, CenterCrop(4), labels=labels, device="cpu") as loader:
        loader.batch(0, 0)
        with pytest.raises(DataError, match=r"dataset 'depth', chunk 4?0?, sample 4: .*check_finite=False"):
            loader.batch(0, 1)
    with Loader(path, 3, CenterCrop(4), labels=labels, check_finite=False, device="cpu") as loader:
        assert not np.isfinite(loader.batch(0, 1)[1]).all()


class Half:
    def table(self, numbers, seed, epoch, height, width):
        return BlendTable(np.full(len(numbers), 0.5, np.float32), np.zeros((len(numbers), 4), np.int32))


@pytest.mark.parametrize(
    ("labels", "options", "problem"),
    [
        (Mask("masks_uint8"), {"num_classes": 3}, "num_classes is for labels of one class .* these are Mask.*Sparse"),
        ({"a": Boxes("boxes")}, {"num_classes": {"a": 3}}, r"num_classes\['a'\] is for labels of one class .* these are Boxes"),
        (
            Mask("masks_uint8"),
            {"class_weight": {1: 2.0}},
            "class_weight is for labels of one class .* these are Mask.*sample_weight=",
        ),
        (Mask("masks_float32"), {"blend": Half()}, "blend= mixes labels of classes, and Mask can't be mixed"),
        (Mask("nothing"), {}, "nothing"),
        (Mask("labels"), {}, "labels"),
        (Mask("masks_uint8", fill=300), {}, "fill must be a number of the masks' type, uint8, got 300"),
        (Mask(np.zeros((N, 3, 3))), {}, r"labels: masks must be numbers of shape \(23, 12, 14\) .* got float64 \(23, 3, 3\)"),
        (Mask("small"), {}, "masks have 6x7 pixels, and the images that they follow 12x14"),
        (Mask("few"), {}, "there must be one mask for each of the 23 images, found 5"),
        (Boxes("points"), {}, r"dataset 'points': boxes must be rows of shape .* found float64 \(23, 5, 2\)"),
        (Boxes("nothing"), {}, "nothing"),
        (Boxes(np.zeros((5, 2, 4))), {}, "labels must have a row for each of the 23 images of the files, got 5"),
        (Boxes(np.full((N, 1, 4), np.inf)), {}, "boxes must be finite, or NaN for none, found infinity for sample 0"),
        (Boxes("boxes", classes=np.zeros((N, 3))), {}, "a class for each box, found 3 for the 4 boxes of sample 0"),
        (Boxes(np.zeros((N, 2, 5)), classes=np.zeros((N, 2))), {}, "says it twice"),
        (Points("boxes"), {}, r"points must have the shape \(N, M, 2\), .* found float64 \(23, 4, 4\)"),
        (Points(np.full((N, 2, 2), np.inf)), {}, "points must be finite"),
        (Points("points", pairs=[(0, 5)]), {}, r"pairs of Points must be numbers in 0\.\.4, got 5"),
        ("masks_uint8", {}, r"labels=Mask\(\.\.\.\) has them follow their images"),
        ({"m": Mask("masks_uint8"), "c": "labels"}, {"num_classes": 9}, r"name the other outputs alone, as in num_classes=\{"),
        (Boxes(np.zeros((N - 1, 2, 4))), {}, f"labels must have a row for each of the {N} images of the files, got {N - 1}"),
        (Boxes(np.full((N, 2, 4), "1")), {}, "labels must be numbers, or a dataset's name, got an array of <U1"),
        (
            Boxes(ONE_BOX, classes=np.full((N, 1), -1)),
            {},
            r"classes of boxes must lie in 0\.\.16777216.* found -1 for a box of sample 0",
        ),
        (Boxes(ONE_BOX, classes=np.full((N, 1), np.nan)), {}, "found nan for a box of sample 0"),
        (Boxes(ONE_BOX, classes=np.full((N, 1), 2**24 + 1)), {}, "classes of boxes must lie in"),
        (Boxes(ONE_BOX, classes=np.zeros((N - 1, 1))), {}, "classes of Boxes in labels must have a row for each"),
        (Points(np.full((N, 12), 2)), {}, rf"pass an array of shape \({N}, 4, 3\), or x and y as \({N}, 6, 2\)"),
        (Points(np.full((N, 51), 2)), {}, "flat rows of x and y"),
        (Mask("masks_float32", fill=np.nan), {}, "fill of a Mask must be finite in the masks' type, float32, got nan"),
        (Mask("masks_float16", fill=1e6), {}, "fill of a Mask must be finite in the masks' type, float16"),
        ("labels", {"sample_weight": Mask("masks_uint8")}, "sample_weight must be a dataset's name"),
        (
            Mask("masks_uint8"),
            {"sampling": "balanced"},
            'sampling="balanced" needs one array of labels.* pass weights of the samples',
        ),
        (
            Mask("masks_uint8"),
            {"class_names": ["a", "b"]},
            "class_names is for labels that are texts, labels is a Mask: leave it out",
        ),
        ({"m": Boxes("boxes")}, {"class_names": {"m": ["a"]}}, r"labels\['m'\] is a Boxes"),
        (
            Mask("masks_uint8", axes="NHWC"),
            {},
            "labels: masks are read as images, and axes='NHWC' are 4, but images have the shape",
        ),
        (Mask("masks_uint8", axes="xyz"), {}, "labels: axes of a Mask must be the letters H and W.* got 'xyz'"),
        (Mask("channels_first"), {}, r"channels first; say Mask\(\.\.\., axes='NCHW'\), if that is so, .*axes='NHWC'\)$"),
        (Mask("one"), {}, r"found \(12, 14\); if it is one image, say Mask\(\.\.\., axes='HW'\)$"),
        (
            Boxes("flat_classes"),
            {},
            r"found a row of shape \(5,\) for sample 1; flat rows have no classes: .*Boxes\(\.\.\., classes=",
        ),
        (Boxes([[[1, 2, 3, 4, 0]], [[1, 2, 3, 4]], *[[]] * (N - 2)]), {}, "found boxes with a class and boxes without"),
        (Boxes([[[1, 2, 3, 4], [1, 2]], *[[]] * (N - 1)]), {}, "labels must be numbers, .* found rows of several lengths"),
        (
            Boxes("boxes", classes="texts"),
            {},
            r"dataset 'texts': classes of Boxes in labels must be numbers, found \(23,\) strings",
        ),
        (
            Boxes("boxes", classes="few"),
            {},
            "dataset 'few': classes of Boxes in labels must have a row for each of the 23 images",
        ),
        (Points(np.full((N, 15), 2)), {}, rf"if these are x, y and a visibility, pass an array of shape \({N}, 5, 3\)"),
    ],
)
def test_what_does_not_go_together_is_an_error_that_says_so(path, labels, options, problem):
    with h5py.File(path, "r+") as file:
        file["small"], file["few"] = np.zeros((N, 6, 7), "u1"), np.zeros((5, *SOURCE), "u1")
        file["channels_first"], file["one"] = np.zeros((N, 3, *SOURCE), "u1"), np.zeros(SOURCE, "u1")
        file["texts"] = np.array(["cat"] * N, h5py.string_dtype())
        rows = file.create_dataset("flat_classes", (N,), h5py.vlen_dtype("f4"))
        for k in range(N):
            rows[k] = [1, 2, 3, 4, 0] * (k % 3)
    with pytest.raises(ValueError, match=problem):
        Loader(path, 4, CROPS["cut"], labels=labels, **options)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Mask(3), "Mask must be of a dataset's name, FILE:NAME, or an array, got 3"),
        (lambda: Mask("m", interpolation="cubic"), 'interpolation of a Mask must be "nearest" or "bilinear"'),
        (lambda: Mask("m", fill="0"), "fill of a Mask must be a number"),
        (lambda: Mask(np.zeros((2, 3, 3)), axes="NWH"), "axes of a Mask are for the name of a dataset"),
        (lambda: Boxes(""), "Boxes must be of a dataset's name"),
        (lambda: Boxes("b", format="ltrb"), "format of Boxes must be one of xyxy, yxyx"),
        (lambda: Boxes("b", max_boxes=0), "max_boxes of Boxes must be an integer of at least 1"),
        (lambda: Boxes("b", min_visible=1.5), r"min_visible of Boxes must be a number in 0\.\.1"),
        (lambda: Boxes("b", classes=3), "classes of Boxes must be of a dataset's name"),
        (lambda: Points("p", center=1), r"center of Points must be 0\.5 or 0"),
        (lambda: Points("p", center=np.array([0, 0.5])), r"center of Points must be 0\.5 or 0"),
        (lambda: Points("p", pairs=[(1,)]), "pairs of Points must be pairs of their numbers"),
        (lambda: Points("p", pairs=[(1, 2), (2, 3)]), "pairs of Points must name each point once"),
    ],
)
def test_wrong_descriptions_are_errors(make, problem):
    with pytest.raises(ValueError, match=problem):
        make()


def test_sample_weights_and_labels_of_classes_go_with_targets(path):
    weights = np.linspace(0, 1, N)
    labels = {"mask": Mask("masks_uint8"), "class": "labels"}
    options = {"num_classes": {"class": N}, "class_weight": {"class": {3: 2.0}}, "sample_weight": weights}
    with Loader(path, N, CROPS["cut"], labels=labels, **options, device="cpu") as loader:
        _, y, w = next(iter(loader))
        np.testing.assert_array_equal(y["class"], np.eye(N))
        np.testing.assert_array_equal(w["mask"], weights.astype(np.float32).reshape(N, 1, 1))
        assert w["class"][3] == 2 * np.float32(weights[3])
        assert isinstance(loader.labels["mask"], Mask)
        assert loader.labels_name == {"mask": "masks_uint8", "class": "labels"}
        np.testing.assert_array_equal(loader.labels["class"], np.eye(N))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32", "bool"])
def test_masks_have_the_places_of_their_numbers_among_the_classes(path, dtype):
    masks = stored(path, f"masks_{dtype}")
    classes = np.unique(masks)[::-1]  # not in order, so that a place is not a rank
    for crop in (RandomCrop(8, mirror=True), RandomAffine(8, degrees=40)):
        labels = Mask(f"masks_{dtype}", classes=classes)
        with Loader(path, 5, crop, labels=labels, mean=None, seed=4, device="cpu") as loader:
            samples, _, arguments = table_of(loader, 1, 2)
            wanted = reference.transform_mask(masks[samples], **arguments, fill=classes[0])
            y = loader.batch(1, 2)[1]
            assert y.dtype == np.uint8
            np.testing.assert_array_equal(classes[y], wanted)


def test_a_number_that_is_no_class_is_an_error_with_the_sample_of_the_file(path):
    masks = np.zeros((N, *SOURCE), np.int16)
    masks[7, 3, 4] = 9
    with h5py.File(path, "r+") as file:
        file["rare"] = masks
    labels = {"m": Mask("rare", classes=(0, 255))}
    with Loader(path, 3, None, labels=labels, mean=None, indices=[1, 2, 7], on_corrupt="skip", device="cpu") as loader:
        words = r"dataset 'rare', sample 7: its mask has 9, which is none of classes=\(0, 255\)"
        with pytest.raises(DataError, match=words):
            loader.batch(0, 0)


def test_black_and_white_masks_are_warned_of_once_unless_their_classes_are_named(path, caplog):
    black_and_white = 255 * (stored(path, "masks_uint8") > 99).astype(np.uint8)
    with h5py.File(path, "r+") as file:
        file["white"] = black_and_white
    for mask, n in ((Mask("white"), 1), (Mask("white", classes=(0, 255)), 0), (Mask("masks_uint8"), 0), (Mask("masks_bool"), 0)):
        caplog.clear()
        with Loader(path, 5, None, labels=mask, mean=None, device="cpu") as loader:
            list(loader)
        texts = [record.getMessage() for record in caplog.records]
        assert len(texts) == n
        assert all("Mask('white', classes=(0, 255)) makes them 0 and 1" in text for text in texts)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        *(({"classes": classes}, "must be different finite numbers, 256 at most") for classes in ((1, 1), (), "ab", 5, [np.nan])),
        ({"classes": range(257)}, "256 at most"),
        ({"classes": (0, 255), "interpolation": "bilinear"}, 'need interpolation="nearest"'),
        ({"classes": (0, 255), "fill": 7}, r"fill of a Mask must be one of its classes, \(0, 255\), got 7"),
    ],
)
def test_classes_that_make_no_sense_are_refused(options, problem):
    with pytest.raises(ValueError, match=problem):
        Mask("masks", **options)
