"""Images of different sizes with masks, boxes and points, and as several inputs: the oracle's numbers, image by image."""

import h5py
import numpy as np
import pytest
import reference
from conftest import host
from crop_cases import assert_same_bits
from encoded_files import by_pillow_upright, encoded, write_rows
from encoded_images import by_pillow, photograph, with_orientation
from loader_batches import check_same
from optional_libraries import needs
from PIL import Image

from fastprep import (
    Boxes,
    CenterCrop,
    ColorJitter,
    CutMix,
    DataError,
    Mask,
    MixUp,
    Points,
    RandAugment,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Resize,
    TenCrop,
)
from fastprep.loader import Loader

pytestmark = [needs("simplejpeg"), pytest.mark.usefixtures("no_thread_left")]

N = 11
CROPS = {
    "parts": RandomResizedCrop(9, mirror=True, flip=True),
    "turned": RandomCrop(9, mirror=True, turn=True),
    "cut": RandomCrop((13, 11), mirror=True, flip=True),
    "resized": CenterCrop((9, 11), resize=14),
    "ten": TenCrop(8),
    "whole": Resize((11, 8)),
    "affine": RandomAffine((9, 8), 30, (0.2, 0.1), (0.5, 2), 10, mirror=True, flip=True),
}


def indexed(numbers):
    """Return a PNG whose pixels are places in a palette, of colours that have nothing to do with them."""
    image = Image.fromarray(numbers)
    image.putpalette(np.random.default_rng(1).permutation(768).astype(np.uint8).tobytes())
    return by_pillow(image, "PNG")


@pytest.fixture(scope="module")
def arrays():
    """Images, a second image for each, masks, boxes relative to each image, and points."""
    rng = np.random.default_rng(3)
    rows = encoded(N, least=20, most=45)
    images = [by_pillow_upright(row) for row in rows]
    sizes = [image.shape[:2] for image in images]
    masks = [rng.integers(0, 60, size).astype(np.uint8) for size in sizes]
    depths = [rng.integers(0, 60_000, size).astype(np.uint16) for size in sizes]
    shares = np.sort(rng.uniform(0, 1, (N, 3, 2, 2)), axis=2).reshape(N, 3, 4)
    sides = np.array([size[::-1] for size in sizes])
    points = rng.uniform(0.1, 0.9, (N, 4, 2)) * sides[:, None]
    second = [by_pillow(image[..., ::-1].copy(), "PNG") for image in images]
    return {
        "rows": rows, "images": images, "second": second, "masks": masks, "depths": depths, "shares": shares,
        "edges": shares * np.tile(sides, 2)[:, None], "points": points,
    }  # fmt: skip


@pytest.fixture(scope="module")
def path(arrays, tmp_path_factory):
    path = write_rows(tmp_path_factory.mktemp("targets") / "a.h5", arrays["rows"])
    write_rows(path, [indexed(mask) for mask in arrays["masks"]], "masks")
    write_rows(path, [by_pillow(mask, "PNG") for mask in arrays["masks"]], "grey")
    write_rows(path, [by_pillow(Image.fromarray(depth), "PNG") for depth in arrays["depths"]], "depths")
    write_rows(path, arrays["second"], "second")
    with h5py.File(path, "a") as file:
        file["edges"], file["shares"], file["points"] = arrays["edges"], arrays["shares"], arrays["points"]
    return path


def tables(loader, arrays, samples, epoch, numbers=None):
    """Yield each sample with what the oracle takes: the rows that it has by itself, of one image of one size."""
    augmentation = loader._source.augmentation
    for sample, number in zip(samples, samples if numbers is None else numbers, strict=True):
        table = augmentation.table(arrays["images"][sample].shape, np.array([number]), loader.seed, epoch)
        rows = {"crops": table.crops, "size": augmentation.size, "boxes": table.boxes, "matrices": table.matrices}
        yield int(sample), rows


def masks_by_oracle(loader, arrays, name, samples, epoch, numbers=None, fill=0):
    return np.concatenate(
        [
            reference.transform_mask(arrays[name][sample][None], **rows, fill=fill)
            for sample, rows in tables(loader, arrays, samples, epoch, numbers)
        ]
    )


def copies(loader, n=2):
    """Return the batches of some epochs, each as a flat tuple of arrays."""

    def flat(part):
        return [np.array(host(array)) for array in (part.values() if isinstance(part, dict) else [part])]

    return [tuple(flat(x) + flat(y)) for _ in range(n) for x, y in loader]


# --- masks


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
def test_masks_of_every_kind_are_the_numbers_that_are_stored(path, arrays, crop):
    labels = {"palette": Mask("masks", fill=7), "grey": Mask("grey"), "deep": Mask("depths", fill=60_001), "number": "labels"}
    with Loader(path, 4, crop, labels=labels, mean=None, shuffle=True, seed=5) as loader:
        for epoch in range(2):
            for step, (x, y) in enumerate(loader):
                samples = loader.samples(epoch, step)
                assert {name: values.dtype for name, values in y.items()} == {
                    "palette": np.uint8, "grey": np.uint8, "deep": np.uint16, "number": np.int64,
                }  # fmt: skip
                for name, source, fill in (("palette", "masks", 7), ("grey", "masks", 0), ("deep", "depths", 60_001)):
                    wanted = masks_by_oracle(loader, arrays, source, samples, epoch, fill=fill)
                    np.testing.assert_array_equal(y[name], wanted)
                np.testing.assert_array_equal(y["number"], samples.repeat(crop.n_crops))
                for (sample, rows), own in zip(
                    tables(loader, arrays, samples, epoch), np.split(host(x), len(samples)), strict=True
                ):
                    assert_same_bits(own, reference.transform(arrays["images"][sample][None], **rows))


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
def test_bilinear_masks_are_resized_as_images_are(path, arrays, crop):
    labels = {"depths": Mask("depths", interpolation="bilinear", fill=2.5), "masks": Mask("masks", interpolation="bilinear")}
    with Loader(path, 4, crop, labels=labels, mean=None, shuffle=True) as loader:
        for step, (_, y) in enumerate(loader):
            for name, fill in (("depths", 2.5), ("masks", 0)):
                wanted = [
                    reference.transform(arrays[name][sample][None, ..., None], **rows, fill=fill)
                    for sample, rows in tables(loader, arrays, loader.samples(0, step), 0)
                ]
                assert_same_bits(y[name][..., None], np.concatenate(wanted))


def test_masks_follow_policies_and_keep_out_of_colours_and_erasing(path, arrays):
    options = {"policy": RandAugment(2, 20), "color": ColorJitter(0.4), "erase": RandomErasing(1.0), "standardize": True}
    with Loader(path, 4, CROPS["cut"], labels=Mask("masks", fill=9), mean=None, shuffle=True, **options) as loader:
        for step, (_, y) in enumerate(loader):
            wanted = masks_by_oracle(loader, arrays, "masks", loader.samples(0, step), 0, fill=9)
            np.testing.assert_array_equal(y, wanted)


def test_masks_of_several_files_and_of_another_file(path, arrays, tmp_path):
    cut = 4
    for first, part in ((0, slice(cut)), (1, slice(cut, None))):
        own = write_rows(tmp_path / f"{first}.h5", arrays["rows"][part])
        write_rows(own, [indexed(mask) for mask in arrays["masks"][part]], "masks")
    other = write_rows(tmp_path / "masks.h5", [indexed(mask) for mask in arrays["masks"]], "m")
    for files, labels in (([tmp_path / "0.h5", tmp_path / "1.h5"], "masks"), (path, f"{other}:m")):
        with Loader(files, 4, CROPS["parts"], labels=Mask(labels), mean=None, shuffle=True) as loader:
            for step, (_, y) in enumerate(loader):
                np.testing.assert_array_equal(y, masks_by_oracle(loader, arrays, "masks", loader.samples(0, step), 0))


def test_masks_of_images_that_have_one_size_take_every_crop(tmp_path, rng):
    masks = rng.integers(0, 9, (5, 20, 24)).astype(np.uint8)
    path = write_rows(tmp_path / "a.h5", encoded(5, size=(20, 24)))
    write_rows(path, [indexed(mask) for mask in masks], "masks")
    for crop in (None, CenterCrop((20, 24)), Resize((20, 24))):
        for labels in (Mask("masks"), Mask(masks)):
            with Loader(path, 3, crop, labels=labels, mean=None) as loader:
                np.testing.assert_array_equal(np.concatenate([y for _, y in loader]), masks)


# --- boxes and points


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
def test_boxes_and_points_lie_in_their_own_image(path, arrays, crop):
    labels = {"edges": Boxes("edges", min_visible=0.4), "shares": Boxes("shares", format="rel_xyxy", min_visible=0.4),
              "points": Points("points")}  # fmt: skip
    (h, w), n_kept = crop.height_width, 0
    with Loader(path, 4, crop, labels=labels, mean=None, shuffle=True, seed=5) as loader:
        for step, (_, y) in enumerate(loader):
            row = 0
            for sample, rows in tables(loader, arrays, loader.samples(0, step), 0):
                edges, share = reference.transform_boxes(arrays["edges"][sample][None], **rows)
                at = reference.transform_points(arrays["points"][sample][None], **rows)
                for k in range(crop.n_crops):
                    kept = edges[k, share[k] >= 0.4]
                    for name, units in (("edges", 1), ("shares", np.array([w, h, w, h]))):  # float32 of what solve() gives
                        np.testing.assert_allclose(y[name][row, : len(kept)] * units, kept, atol=1e-5)
                        assert (y[name][row, len(kept) :] == -1).all()
                    is_inside = ((at[k] >= 0) & (at[k] <= (w, h))).all(axis=1)
                    np.testing.assert_allclose(y["points"][row, is_inside, :2], at[k, is_inside], atol=1e-5)
                    np.testing.assert_array_equal(y["points"][row, :, 2], is_inside)
                    row, n_kept = row + 1, n_kept + len(kept)
            assert row == len(y["edges"])
    assert 0 < n_kept < 3 * N * crop.n_crops or crop == CROPS["whole"]


def test_relative_boxes_are_those_in_pixels_of_each_image(path, arrays):
    """Every format, in a part of the images, to the last bit of float32 but where the units are divided out."""
    left, top, right, bottom = np.moveaxis(arrays["shares"], 2, 0)
    forms = {
        "rel_yxyx": (top, left, bottom, right),
        "rel_xywh": (left, top, right - left, bottom - top),
        "rel_center_xywh": ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top),
    }
    options = {"mean": None, "indices": [7, 2, 9, 4], "shuffle": True}

    def rows_of(labels):
        with Loader(path, 4, Resize((6, 8)), labels=labels, **options) as loader:
            return next(iter(loader))[1]

    x0, y0, x1, y1 = np.moveaxis(rows_of(Boxes("edges")) / (8, 6, 8, 6), 2, 0)
    wanted = {
        "rel_yxyx": (y0, x0, y1, x1),
        "rel_xywh": (x0, y0, x1 - x0, y1 - y0),
        "rel_center_xywh": ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0),
    }
    for name, numbers in forms.items():
        found = rows_of(Boxes(np.stack(numbers, axis=2), format=name))
        np.testing.assert_allclose(found, np.stack(wanted[name], axis=2), atol=1e-6)


# --- several inputs


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
def test_inputs_share_the_crop_of_each_sample(path, arrays, crop):
    options = {
        "images": {"b": "second", "a": "images"},
        "scale": {"a": 1 / 255, "b": None},
        "dtype": {"a": "float16", "b": "float32"},
    }
    labels = {"mask": Mask("masks"), "number": "labels"}
    second = [image[..., ::-1] for image in arrays["images"]]
    with Loader(path, 4, crop, labels=labels, mean=None, shuffle=True, **options) as loader:
        for step, (x, y) in enumerate(loader):
            samples = loader.samples(0, step)
            for name, images, own in (
                ("a", arrays["images"], {"scale": 1 / 255, "dtype": "float16"}),
                ("b", second, {}),
            ):
                wanted = [
                    reference.transform(images[sample][None], **rows, **own)
                    for sample, rows in tables(loader, arrays, samples, 0)
                ]
                assert_same_bits(host(x[name]), np.concatenate(wanted))
            np.testing.assert_array_equal(y["mask"], masks_by_oracle(loader, arrays, "masks", samples, 0))
            np.testing.assert_array_equal(y["number"], samples.repeat(crop.n_crops))


@pytest.mark.parametrize("blend", [MixUp(), CutMix()], ids=repr)
def test_inputs_are_standardised_moved_by_policies_and_blended_alike(path, arrays, blend):
    options = {"images": {"a": "images", "b": "second"}, "policy": RandAugment(2, 20), "standardize": {"a": True, "b": False}}
    sources = {"a": arrays["images"], "b": [image[..., ::-1] for image in arrays["images"]]}
    with Loader(path, 4, CROPS["cut"], mean=None, num_classes=N, blend=blend, shuffle=True, seed=3, **options) as loader:
        augmentation = loader._source.augmentation
        for step, (x, y) in enumerate(loader):
            samples = loader.samples(0, step)
            blends = augmentation.blends(samples, 3, 0)
            for name, images in sources.items():
                rows = []
                for sample in samples:
                    table = augmentation.for_input(name).table(images[sample].shape, np.array([sample]), 3, 0)
                    geometry = {"boxes": table.boxes, "matrices": table.matrices, "colors": table.colors}
                    own = {"size": augmentation.size, "fill": augmentation.fill, "standardize": name == "a"}
                    rows.append(reference.transform(images[sample][None], table.crops, **geometry, **own))
                assert_same_bits(host(x[name]), reference.blend(np.concatenate(rows), blends.weights, blends.rectangles))
            share = blends.weights[:, None]
            np.testing.assert_array_equal(y, share * np.eye(N)[samples] + (1 - share) * np.eye(N)[samples[::-1]])


def test_pixels_as_an_input_go_with_encoded_images_of_their_size_only(path, tmp_path, rng):
    rows = encoded(4, size=(20, 24))
    own = write_rows(tmp_path / "a.h5", rows)
    depth = rng.integers(0, 60_000, (4, 20, 24)).astype(np.uint16)
    with h5py.File(own, "a") as file:
        file["depth"] = depth
    options = {"images": {"rgb": "images", "depth": "depth"}, "mean": None}
    with Loader(own, 4, CenterCrop((20, 24)), **options) as loader:
        x, _ = next(iter(loader))
        np.testing.assert_array_equal(x["depth"][..., 0], depth)
        np.testing.assert_array_equal(x["rgb"], np.stack([by_pillow_upright(row) for row in rows]))
    rows[2] = by_pillow(photograph(21, 24), "JPEG")
    other = write_rows(tmp_path / "b.h5", rows)
    with h5py.File(other, "a") as file:
        file["depth"] = depth
    with (
        Loader(other, 4, CROPS["parts"], **options) as loader,
        pytest.raises(DataError, match=r"20x24 pixels in the first one, 21x24 here; .*further inputs that are encoded") as error,
    ):
        list(loader)
    assert error.value.sample == 2


# --- orders, shards, states and damage

TARGETS = {
    "labels": {
        "mask": Mask("masks"), "deep": Mask("depths", interpolation="bilinear"), "boxes": Boxes("shares", format="rel_xyxy"),
        "points": Points("points"), "number": "labels",
    },
    "images": {"a": "images", "b": "second"},
    "mean": None,
}  # fmt: skip


@pytest.mark.parametrize("crop", ["parts", "ten", "affine"])
def test_batches_depend_on_nothing_but_seed_epoch_and_sample(path, crop):
    options = {**TARGETS, "crop": CROPS[crop], "shuffle": True, "seed": 8}
    with Loader(path, 4, **options, workers=1) as loader:
        wanted = copies(loader)
    with Loader(path, 4, **options, workers=3) as loader:
        iteration = iter(loader)
        next(iteration)
        state = loader.state_dict()
    with Loader(path, 4, **options) as loader:
        loader.load_state_dict(state)
        check_same([*copies(loader, 1), *copies(loader, 1)], wanted[1:])
    rows = [np.concatenate(parts) for parts in zip(*wanted[: len(wanted) // 2], strict=True)]
    shards = []
    for rank in range(2):
        with Loader(path, 3, **options, shard=(rank, 2)) as loader:
            shards += copies(loader, 1)
    joined = [np.concatenate(parts) for parts in zip(*shards, strict=True)]
    one, other = (np.argsort(parts[-1], kind="stable") for parts in (joined, rows))  # by the number of the sample
    check_same([tuple(part[one] for part in joined)], [tuple(part[other] for part in rows)])


SPOILT = {"image": "images", "mask": "masks", "second": "second"}


@pytest.mark.parametrize("part", SPOILT)
@pytest.mark.parametrize("indices", [None, [9, 3, 4, 0, 8, 7]], ids=["all", "part"])
def test_a_sample_of_which_a_part_is_damaged_is_replaced_as_a_whole(arrays, tmp_path, part, indices):
    """The next sample of the part comes with its own mask and boxes, drawn for its own size."""
    parts = {"images": arrays["rows"], "masks": [indexed(mask) for mask in arrays["masks"]], "second": arrays["second"]}
    numbers = np.arange(N) if indices is None else np.array(indices)
    path = tmp_path / "a.h5"
    for name, rows in parts.items():
        spoilt = list(rows)
        if name == SPOILT[part]:
            spoilt[3], spoilt[9] = rows[3][: len(rows[3]) * 2 // 3], b""
        write_rows(path, spoilt, name)
    intact = sorted(set(numbers.tolist()) - {3, 9})
    labels = {"mask": Mask("masks"), "boxes": Boxes(arrays["shares"], format="rel_xyxy"), "number": "labels"}
    options = {"images": {"a": "images", "b": "second"}, "mean": None, "labels": labels, "shuffle": True, "indices": indices}
    with Loader(path, 4, CROPS["parts"], on_corrupt="skip", **options) as loader:
        for epoch in range(2):
            for step, (x, y) in enumerate(loader):
                places = loader.samples(epoch, step)
                read = np.array([next((k for k in intact if k >= wanted), intact[0]) for wanted in numbers[places]])
                np.testing.assert_array_equal(y["number"], read)
                np.testing.assert_array_equal(y["mask"], masks_by_oracle(loader, arrays, "masks", read, epoch, places))
                for k, (sample, rows) in enumerate(tables(loader, arrays, read, epoch, places)):
                    assert_same_bits(host(x["a"])[k], reference.transform(arrays["images"][sample][None], **rows)[0])
                    edges, share = reference.transform_boxes(arrays["edges"][sample][None], **rows)
                    kept = edges[0, share[0] > 1e-3]
                    np.testing.assert_allclose(y["boxes"][k, : len(kept)] * 9, kept, atol=1e-5)  # float32 of a share of 9 pixels
        assert loader.stats()["corrupt"]["samples"] == 2
    with (
        Loader(path, 1, CROPS["parts"], **{**options, "shuffle": False, "indices": [3]}) as loader,
        pytest.raises(DataError) as error,
    ):
        list(loader)
    assert (error.value.dataset, error.value.sample) == (SPOILT[part], 3)


def test_predictions_read_no_masks(path, arrays, tmp_path):
    own = write_rows(tmp_path / "a.h5", arrays["rows"])
    write_rows(own, [indexed(arrays["masks"][0]), *[b"nothing"] * (N - 1)], "masks")
    with Loader(own, 4, CROPS["whole"], labels=Mask("masks"), mean=None) as loader:
        x = loader._source.make_images(0, 1).x
    for k in range(4):
        image = arrays["images"][4 + k]
        boxes = np.array([[0.0, 0, *image.shape[:2]]])
        assert_same_bits(x[k], reference.transform(image[None], np.zeros((1, 4), np.int32), (11, 8), boxes)[0])


# --- what does not go together


def changed(arrays, tmp_path, name, change):
    """Return a file in which row 6 of one dataset is another one."""
    path = tmp_path / "changed.h5"
    for own, rows in (
        ("images", arrays["rows"]),
        ("masks", [indexed(mask) for mask in arrays["masks"]]),
        ("second", arrays["second"]),
    ):
        write_rows(path, [change if own == name and k == 6 else row for k, row in enumerate(rows)], own)
    return path


@pytest.mark.parametrize("indices", [None, [5, 6, 7]])
@pytest.mark.parametrize("mode", ["raise", "skip"])
def test_a_mask_or_an_input_of_another_size_names_the_sample_and_both_sizes(arrays, tmp_path, indices, mode):
    height, width = arrays["masks"][6].shape
    options = {"mean": None, "indices": indices, "on_corrupt": mode}
    for name, own, words in (
        ("masks", {"labels": Mask("masks")},
         "the mask has 5x6 pixels, and the image that it follows {}x{}; store both in one size"),
        ("second", {"images": {"a": "images", "b": "second"}},
         r"images\['b'\] has 5x6 pixels, and images\['a'\] {}x{}; all inputs share one crop"),
    ):  # fmt: skip
        path = changed(arrays, tmp_path, name, by_pillow(np.zeros((5, 6), np.uint8), "PNG"))
        with (
            Loader(path, 4, CROPS["parts"], **own, **options) as loader,
            pytest.raises(DataError, match=words.format(height, width)) as error,
        ):
            list(loader)
        assert (error.value.file, error.value.dataset, error.value.sample) == (str(path), name, 6)
        path.unlink()


def test_an_image_that_is_turned_beside_a_mask_that_is_not_is_told(arrays, tmp_path):
    pixels = arrays["images"][6]
    assert pixels.shape[0] != pixels.shape[1]
    path = changed(arrays, tmp_path, "images", by_pillow(pixels, "JPEG", **with_orientation(6)))
    with (
        Loader(path, 4, CROPS["parts"], labels=Mask("masks"), mean=None) as loader,
        pytest.raises(DataError, match="height and width are exchanged, and images are turned as their EXIF data say") as error,
    ):
        list(loader)
    assert error.value.sample == 6


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ("JPEG", "masks are numbers, and JPEG changes them when it is encoded: store masks as PNG, in grey or with a palette"),
        ("RGB", r"masks have one number a pixel, this PNG has several \(RGB\): store masks as PNG"),
        ("16 bits", "it has 16 bits a number, and the masks that were looked at first have 8"),
    ],
)
def test_a_mask_that_has_no_numbers_as_they_were_is_an_error_wherever_it_is(arrays, tmp_path, monkeypatch, mask, words):
    from fastprep.h5 import encoded_index

    numbers = arrays["masks"][6]
    rows = {
        "JPEG": by_pillow(numbers, "JPEG"),
        "RGB": by_pillow(np.stack([numbers] * 3, axis=-1), "PNG"),
        "16 bits": by_pillow(Image.fromarray(numbers.astype(np.uint16)), "PNG"),
    }
    monkeypatch.setattr(encoded_index, "_N_LOOKED_AT", 3)  # rows 0, 5 and 10
    path = changed(arrays, tmp_path, "masks", rows[mask])
    with (
        Loader(path, 4, CROPS["parts"], labels=Mask("masks"), mean=None) as loader,
        pytest.raises(DataError, match=words) as error,
    ):
        list(loader)
    assert (error.value.dataset, error.value.sample) == ("masks", 6)
    if mask != "16 bits":
        write_rows(path, [rows[mask]] * N, "all")
        with pytest.raises(DataError, match=words) as error:
            Loader(path, 4, CROPS["parts"], labels=Mask("all"), mean=None)
        assert (error.value.dataset, error.value.sample) == ("all", 0)


def test_masks_of_16_bits_among_others_have_all_as_uint16(arrays, tmp_path):
    path = changed(arrays, tmp_path, "masks", by_pillow(Image.fromarray(arrays["masks"][6].astype(np.uint16) * 300), "PNG"))
    with Loader(path, N, Resize((7, 7)), labels=Mask("masks"), mean=None) as loader:
        (_, y), = list(loader)  # fmt: skip
        wanted = masks_by_oracle(loader, arrays, "masks", np.arange(N), 0).astype(np.uint16)
    wanted[6] *= 300
    np.testing.assert_array_equal(y, wanted)
    assert y.dtype == np.uint16


def test_sizes_that_differ_need_masks_that_are_encoded_and_a_crop_of_one_size(path, arrays):
    masks = np.zeros((N, *arrays["masks"][0].shape), np.uint8)
    for crop, labels, words in (
        (CROPS["parts"], Mask(masks), "need a crop whose result has one size, .*, and masks and further inputs that are encoded"),
        (None, Mask("masks"), "images have different sizes"),
    ):
        with Loader(path, 4, crop, labels=labels, mean=None) as loader, pytest.raises(DataError, match=words) as error:
            list(loader)
        assert error.value.sample == 1


def test_one_size_for_all_is_compared_when_the_loader_is_made(tmp_path):
    path = write_rows(tmp_path / "a.h5", encoded(3, size=(20, 24)))
    write_rows(path, encoded(3, size=(20, 25)), "second")
    write_rows(path, [by_pillow(np.zeros((24, 20), np.uint8), "PNG")] * 3, "masks")
    for options, words in (
        ({"labels": Mask("masks")}, "the mask has 24x20 pixels, and the image that it follows 20x24.*exchanged"),
        ({"images": {"a": "images", "b": "second"}}, r"images\['b'\] has 20x25 pixels, and images\['a'\] 20x24"),
    ):
        with pytest.raises(DataError, match=words):
            Loader(path, 2, None, mean=None, **options)


def test_masks_of_encoded_images_of_one_size_that_differ_from_the_first_one(tmp_path):
    images = np.zeros((3, 20, 24, 3), np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = images
    path = write_rows(tmp_path / "a.h5", [by_pillow(np.zeros((20, 24 + (k == 2)), np.uint8), "PNG") for k in range(3)], "masks")
    with (
        Loader(path, 3, None, labels=Mask("masks"), mean=None) as loader,
        pytest.raises(DataError, match="masks have different sizes: 20x24 pixels in the first one, 20x25 here") as error,
    ):
        list(loader)
    assert (error.value.dataset, error.value.sample) == ("masks", 2)


def test_masks_of_files_that_are_not_alike(tmp_path):
    masks = np.zeros((2, 20, 24), np.uint8)
    for name in "ab":
        write_rows(tmp_path / f"{name}.h5", encoded(2, size=(20, 24)))
    write_rows(tmp_path / "a.h5", [indexed(mask) for mask in masks], "masks")
    with h5py.File(tmp_path / "b.h5", "a") as file:
        file["masks"] = masks
    for files, words in (
        ("ab", "masks are numbers, in .*a.h5' they are encoded"),
        ("ba", "are encoded, in .*b.h5' they are num"),
    ):
        with pytest.raises(DataError, match=words):
            Loader([tmp_path / f"{name}.h5" for name in files], 2, CROPS["parts"], labels=Mask("masks"), mean=None)
