"""Policies in the batches of a loader: the oracle's bits, with masks, boxes and points that go where the pixels go."""

import h5py
import numpy as np
import pytest
import reference
from conftest import host
from crop_cases import assert_same_bits

from fastprep import (
    Boxes,
    CenterCrop,
    ColorJitter,
    DataError,
    Mask,
    MixUp,
    Points,
    RandAugment,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    TenCrop,
    TrivialAugment,
)
from fastprep.loader import Loader

pytestmark = pytest.mark.usefixtures("no_thread_left")

N, SOURCE = 13, (12, 14)
CROPS = {
    "cut": RandomCrop((7, 9), mirror=True, flip=True),
    "turned": RandomCrop(8, mirror=True, turn=True),
    "parts": RandomResizedCrop((7, 9), mirror=True),
    "affine": RandomAffine((7, 9), 40, (0.1, 0.1), (0.6, 1.5), 10, mirror=True, flip=True),
    "ten": TenCrop(6, resize=9),
    "whole": None,
}
COLORS = ("brightness", "contrast", "color")
POLICIES = {
    "rand": RandAugment(3, 20),
    "trivial": TrivialAugment(),
    "colours": TrivialAugment(operations=COLORS),
    "geometry": RandAugment(2, 30, operations=("rotation", "shear_x", "shear_y", "translation_x", "translation_y")),
}


@pytest.fixture
def path(make_file):
    path, _, _ = make_file(n=N)
    with h5py.File(path, "r+") as file:
        file["labels"][...] = np.arange(N)
    return path


def stored(path, name="images"):
    with h5py.File(path) as file:
        return file[name][()]


def table_of(loader, samples, epoch):
    return loader._source.augmentation.table(loader._dataset.image_shape, samples, loader.seed, epoch)


def geometry_of(loader, table):
    return {"crops": table.crops, "size": loader.crop.height_width, "boxes": table.boxes, "matrices": table.matrices}


def assert_batches_are_the_oracles(loader, images, fill=0.0, erase_value=0.0, **options):
    for epoch in range(2):
        for step, (x, y) in enumerate(loader):
            samples = loader.samples(epoch, step)
            table = table_of(loader, samples, epoch)
            np.testing.assert_array_equal(y, samples.repeat(loader.crop.n_crops))
            wanted = reference.transform(
                images[samples], **geometry_of(loader, table), fill=fill, colors=table.colors, mean=loader.mean,
                erasures=table.erasures, erase_value=erase_value, **options,
            )  # fmt: skip
            assert_same_bits(host(x), wanted)


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_batches_are_what_the_oracle_makes_of_the_table(path, policy, crop):
    with Loader(path, 5, crop, policy=policy, scale=1 / 64, shuffle=True, seed=11) as loader:
        assert_batches_are_the_oracles(loader, stored(path), getattr(crop, "fill", 0.0), scale=1 / 64)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_batches_with_all_else_that_a_loader_does(path, dtype, layout):
    options = {"color": ColorJitter(0.2, 0.2, 0.2, 0.1), "erase": RandomErasing(0.5), "dtype": dtype, "layout": layout}
    policy = RandAugment(fill=(9, 5, 100.5))
    with Loader(path, 5, CROPS["turned"], policy=policy, **options, shuffle=True, seed=2) as loader:
        assert_batches_are_the_oracles(loader, stored(path), policy.fill, dtype=dtype, layout=layout)


@pytest.mark.parametrize(
    ("file", "policy"),
    [
        ({"dtype": "float32"}, TrivialAugment(white=1)),
        ({"channels": 1}, RandAugment(operations=("rotation", "brightness", "contrast"))),
        ({"channels": 0, "dtype": "float64"}, RandAugment(operations=("shear_x", "brightness"))),
        ({"channels": 5}, RandAugment(operations=("rotation", "translation_y"))),
    ],
    ids=str,
)
def test_files_of_other_kinds(make_file, file, policy):
    path, images, _ = make_file(n=N, **file)
    with Loader(path, 4, CROPS["parts"], policy=policy, labels=np.arange(N), seed=2, shuffle=True) as loader:
        assert_batches_are_the_oracles(loader, images.reshape(N, *SOURCE, -1))


def test_each_row_of_a_sample_has_operations_of_its_own(path):
    with Loader(path, N, TenCrop(6), policy=RandAugment(1, 30, operations=("brightness",)), mean=None) as loader:
        factors = table_of(loader, np.arange(N), 0).colors[:, 0, 0].reshape(N, 10)
    assert set(factors.ravel().tolist()) == {np.float32(1 - 0.9), np.float32(1 + 0.9)}
    assert (np.ptp(factors, axis=1) > 0).sum() > N // 2


def test_shards_have_the_rows_of_the_whole(path):
    options = {"crop": CROPS["parts"], "policy": POLICIES["trivial"], "shuffle": True, "seed": 5}

    def by_label(**more):
        with Loader(path, 4, **options, **more) as loader:
            return {int(label): row.copy() for x, y in loader for label, row in zip(y, host(x), strict=True)}

    whole, parts = by_label(), by_label(shard=(0, 2)) | by_label(shard=(1, 2), workers=3)
    assert sorted(whole) == sorted(parts) == list(range(N))
    for label, row in whole.items():
        np.testing.assert_array_equal(parts[label], row)


def test_a_state_of_another_policy_is_refused(path):
    with Loader(path, 4, CROPS["cut"], policy=RandAugment()) as loader:
        state = loader.state_dict()
        loader.load_state_dict(state)
    for other in (None, TrivialAugment(), RandAugment(2, 10), RandAugment(operations=COLORS)):
        with Loader(path, 4, CROPS["cut"], policy=other) as loader:
            with pytest.raises(ValueError, match=r"policy .*RandAugment.* \(here "):
                loader.load_state_dict(state)
            other_state = loader.state_dict()
        with (
            Loader(path, 4, CROPS["cut"], policy=RandAugment()) as loader,
            pytest.raises(ValueError, match=r"policy .* \(here .*RandAugment"),
        ):
            loader.load_state_dict(other_state)


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
@pytest.mark.parametrize("name", ["trivial", "colours"])
def test_masks_boxes_and_points_follow(path, rng, crop, name):
    masks = rng.integers(0, 200, (N, *SOURCE)).astype(np.int16)
    points = np.concatenate([rng.uniform(0, 14, (N, 5, 2)), np.ones((N, 5, 1))], axis=2)
    edges = np.sort(rng.uniform(-1, 13, (N, 4, 2, 2)), axis=2).reshape(N, 4, 4)
    labels = {
        "nearest": Mask(masks, fill=3),
        "bilinear": Mask(masks, interpolation="bilinear", fill=2.5),
        "points": Points(points),
        "boxes": Boxes(edges, min_visible=0.0),
    }
    with Loader(path, 5, crop, policy=POLICIES[name], labels=labels, mean=None, shuffle=True, seed=4) as loader:
        for step, (_, y) in enumerate(loader):
            samples = loader.samples(0, step)
            arguments = geometry_of(loader, table := table_of(loader, samples, 0))
            np.testing.assert_array_equal(y["nearest"], reference.transform_mask(masks[samples], **arguments, fill=3))
            bilinear = reference.transform(masks[samples][..., None], **arguments, fill=2.5)
            np.testing.assert_array_equal(y["bilinear"][..., None], bilinear)
            mapped = reference.transform_points(points[samples, :, :2], **arguments)
            is_left = y["points"][:, :, 2] > 0
            assert 0 < is_left.sum() < is_left.size
            np.testing.assert_allclose(y["points"][is_left][:, :2], mapped[is_left], rtol=1e-5, atol=1e-5)
            wanted, share = reference.transform_boxes(edges[samples], **arguments)
            for k in range(len(table)):
                left = y["boxes"][k][y["boxes"][k, :, 2] > y["boxes"][k, :, 0]]
                np.testing.assert_allclose(left, wanted[k][share[k] > 0], rtol=1e-5, atol=1e-4)


def test_a_mask_that_is_its_image_goes_where_it_goes(path):
    """Whole pixels stay whole, so both have the same numbers, whatever the matrices say."""
    policy = RandAugment(3, 15, operations=("identity", "translation_x", "translation_y"), fill=7)
    labels = Mask("images", fill=7)
    with Loader(path, 5, CROPS["turned"], policy=policy, mean=None, labels=labels, shuffle=True) as loader:
        batches = [(x.copy(), y) for x, y in loader]
    for x, y in batches:
        np.testing.assert_array_equal(x, y)
    assert any((y == 7).all(axis=3).any() for _, y in batches)


def test_points_change_places_where_the_image_is_mirrored_and_only_there(path):
    """A policy turns and shears, but mirrors nothing; what the crop has mirrored stays so, though its flags are gone."""
    points = np.tile([[4.0, 6, 1], [9.0, 6, 1]], (N, 1, 1))
    crop, policy = RandomCrop(12, mirror=True, flip=True, turn=True), RandAugment(2, 6)
    with Loader(path, N, crop, policy=policy, labels=Points(points, pairs=[(0, 1)]), mean=None) as loader:
        _, y = loader.batch(0, 0)
        table = table_of(loader, np.arange(N), 0)
    is_mirrored = np.linalg.det(table.matrices[:, :, :2]) < 0
    assert 0 < is_mirrored.sum() < N
    mapped = reference.transform_points(points[:, :, :2], table.crops, (12, 12), matrices=table.matrices)
    mapped[is_mirrored] = mapped[is_mirrored, ::-1]
    is_left = y[:, :, 2] > 0
    assert is_left.sum() > N
    np.testing.assert_allclose(y[is_left][:, :2], mapped[is_left], rtol=1e-5, atol=1e-4)


def test_labels_like_masks_are_refused_under_a_policy_that_moves_pixels(path):
    masks = np.zeros((N, *SOURCE), np.uint8)
    for labels in (masks, masks[..., None]):
        with pytest.raises(DataError, match=r"TrivialAugment.* would turn and shift the images, but not them\. labels=Mask"):
            Loader(path, 4, CenterCrop(SOURCE), policy=TrivialAugment(), labels=labels)
        with Loader(path, 4, CenterCrop(SOURCE), policy=POLICIES["colours"], labels=labels) as loader:
            assert loader.labels.shape == labels.shape


def test_what_does_not_go_together_is_said_when_the_loader_is_made(make_file):
    path, _, _ = make_file(n=N)
    grey, _, _ = make_file(n=N, channels=1, name="grey.h5")
    floats, _, _ = make_file(n=N, dtype="float32", name="floats.h5")
    many, _, _ = make_file(n=N, channels=5, name="many.h5")
    for file, options, problem in (
        (grey, {}, r'policy: images with one channel have no "color" to change: pass operations=\(.*\(file .*grey.h5'),
        (floats, {}, r"policy: images are float32, so TrivialAugment needs white=.*\(file .*floats.h5"),
        (many, {}, r"policy: TrivialAugment.* is not for images with 5 channels.*\(file .*many.h5"),
        (path, {"mean": np.zeros((*SOURCE, 3))}, "mean must be a number for each channel .* pass its mean over height and width"),
        (path, {"crop": RandomCrop(13)}, "crop is larger than the image: 13x13 from 12x14"),
        (
            path,
            {"crop": RandomAffine(8, fill=3), "policy": TrivialAugment(fill=4)},
            "fill of the policy must be that of the crop",
        ),
        (path, {"policy": TrivialAugment(fill=(1, 2))}, r"fill must be a finite number, or 3 of them, got \(1, 2\)"),
        (path, {"crop": RandomAffine(8, scale=(1e-6, 1))}, r"crop and policy must keep within 2\*\*30 pixels of the image"),
    ):
        with pytest.raises(ValueError, match=problem):
            Loader(file, 5, **{"crop": CenterCrop(6), "policy": TrivialAugment(), **options})


def test_policies_and_blending_go_together(path):
    options = {"policy": POLICIES["rand"], "num_classes": N, "shuffle": True, "seed": 3}
    blend = MixUp(0.5)
    with (
        Loader(path, 6, CROPS["cut"], blend=blend, **options) as loader,
        Loader(path, 6, CROPS["cut"], **options) as plain,
    ):
        for step, ((x, _), (x_plain, _)) in enumerate(zip(loader, plain, strict=True)):
            table = blend.table(loader.samples(0, step), 3, 0, 7, 9)
            np.testing.assert_array_equal(x, reference.blend(host(x_plain), table.weights, table.rectangles))
