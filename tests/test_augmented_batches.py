"""Colour, erasing, blending and functions of the user's own in the batches of a loader: equal to the oracle, and pure."""

import pickle

import h5py
import numpy as np
import pytest
import reference
from augmentations import Brighter, Corner, Halves
from conftest import host

from fastprep import (
    CenterCrop,
    ChannelPermutation,
    ColorJitter,
    CutMix,
    Lighting,
    MixUp,
    MixUpOrCutMix,
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    TenCrop,
    TrivialAugment,
)
from fastprep.loader import Loader
from fastprep.transforms import compose_colors

pytestmark = pytest.mark.usefixtures("no_thread_left")

N, SIZE = 23, (7, 9)


def add_noise(x, rng):
    x += rng.standard_normal(x.shape).astype(x.dtype)


@pytest.fixture
def path(make_file):
    path, _, _ = make_file(n=N)
    with h5py.File(path, "r+") as file:
        file["labels"][...] = np.arange(N)
    return path


def all_of(path):
    with h5py.File(path, "r") as file:
        return file["images"][()], file["images"].attrs["mean"]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_colour_and_erasing_are_those_of_the_oracle(path, dtype, layout):
    images, mean = all_of(path)
    crop, colors, erase = RandomCrop(SIZE, mirror=True), [Brighter(0.1), Brighter(0.01)], Corner()
    options = {"color": colors, "erase": erase, "shuffle": True, "seed": 11, "dtype": dtype, "layout": layout, "scale": 1 / 255}
    with Loader(path, 5, crop, **options) as loader:
        for x, y in loader:
            first, second = (color.matrices(y, 11, 0, None) for color in colors)
            product = second[:, :, :3] @ first
            product[:, :, 3] += second[:, :, 3]
            wanted = reference.transform(
                images[y], crop.table(12, 14, y, 11, 0), SIZE, colors=product.astype(np.float32), mean=mean, scale=1 / 255,
                erasures=erase.rectangles(*SIZE, y, 11, 0), erase_value=0.5, dtype=dtype, layout=layout,
            )  # fmt: skip
            np.testing.assert_array_equal(np.asarray(x), wanted)


@pytest.mark.parametrize("batch_size", [4, 5])
def test_images_labels_and_weights_are_blended_alike(path, batch_size):
    images, mean = all_of(path)
    crop, weights = RandomCrop(SIZE), np.linspace(0, 3, N, dtype=np.float32)
    options = {"blend": Halves(), "shuffle": True, "seed": 3, "num_classes": N, "sample_weight": weights}
    with Loader(path, batch_size, crop, **options) as loader:
        for epoch in range(2):
            for step, (x, y, w) in enumerate(loader):
                samples = loader.samples(epoch, step)
                table = Halves().table(samples, 3, epoch, *SIZE)
                plain = reference.crop(images[samples], crop.table(12, 14, samples, 3, epoch), SIZE, mean)
                np.testing.assert_array_equal(x, reference.blend(plain, table.weights, table.rectangles))
                share = table.weights[:, None]
                one_hot = np.eye(N, dtype=np.float32)[samples]
                np.testing.assert_array_equal(y, share * one_hot + (1 - share) * one_hot[::-1])
                np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
                np.testing.assert_array_equal(w, table.weights * weights[samples] + (1 - table.weights) * weights[samples][::-1])


def test_a_function_of_ones_own_gets_batches_and_random_numbers_that_follow_from_seed_epoch_and_step(path):
    seen = []

    def doubled(x, rng):
        seen.append((x.shape, x.dtype.name))
        return x * np.float32(2) + rng.random(dtype=np.float32)

    with (
        Loader(path, 5, CenterCrop(6), shuffle=True, workers=2) as plain,
        Loader(path, 5, CenterCrop(6), shuffle=True, workers=2, transform=doubled) as loader,
    ):
        first, again = ([host(loader.batch(1, step)[0]).copy() for step in range(len(loader))] for _ in range(2))
        for step, x in enumerate(first):
            np.testing.assert_array_equal(x, again[step])
            shift = x - host(plain.batch(1, step)[0]) * np.float32(2)
            np.testing.assert_allclose(shift, shift.flat[0], atol=1e-4)  # float32 of numbers up to 512
            assert 0 <= shift.flat[0] <= 1
        shifts = {float(x.flat[0] - 2 * host(plain.batch(1, step)[0]).flat[0]) for step, x in enumerate(first)}
        assert len(shifts) == len(first)
    assert set(seen) == {((5, 6, 6, 3), "float32"), ((3, 6, 6, 3), "float32")}


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda x, rng: x[:, :-1], r"transform must return None or an array of x's type and shape, float32 \(5, 6, 6, 3\), got"),
        (lambda x, rng: x.astype(np.float64), "got float64"),
        (lambda x, rng: [1], r"got \[1\]"),
        (lambda x, rng: x / 0, "transform made NaN or infinity"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_function_that_returns_something_else_is_an_error(path, function, problem):
    with Loader(path, 5, CenterCrop(6), transform=function) as loader, pytest.raises(ValueError, match=problem):
        next(iter(loader))


def test_refusals(path):
    for options, problem in (
        ({"blend": Halves()}, r"blend= needs labels that can be blended: pass num_classes= to get one-hot rows, found int64"),
        (
            {"blend": Halves(), "num_classes": N, "crop": TenCrop(6)},
            "blend= needs one row of x for each sample; crop=TenCrop",
        ),
        ({"transform": 3}, "transform must be a function"),
        ({"transform": add_noise, "device": "cuda"}, 'device must be "auto" or "cpu"'),
        ({"color": Brighter(1), "mean": np.zeros((12, 14, 3))}, "mean must be a number for each channel .* pass its mean over"),
        (
            {"policy": RandAugment(), "mean": np.zeros((12, 14, 3))},
            "mean must be a number for each channel .* pass its mean over",
        ),
    ):
        with pytest.raises(ValueError, match=problem):
            Loader(path, 5, **{"crop": CenterCrop(6), **options})


AUGMENTATIONS = {
    "policy": {"policy": RandAugment(3, 20)},
    "colours of a policy": {"policy": TrivialAugment(operations=("brightness", "contrast", "color"))},
    "colour": {"color": Brighter(0.1)},
    "erasing": {"erase": Corner()},
    "blending": {"blend": Halves(), "num_classes": N},
    "function": {"transform": add_noise},
    "all": {"color": Brighter(0.1), "erase": Corner(), "blend": Halves(), "num_classes": N, "transform": add_noise},
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_batches_do_not_depend_on_workers_and_resume_in_mid_epoch(path, name):
    options = {"shuffle": True, "seed": 5, **AUGMENTATIONS[name]}
    crop = RandomResizedCrop(SIZE, mirror=True)
    with Loader(path, 4, crop, **options, workers=1) as loader:
        wanted = [[part.copy() for part in batch] for _ in range(2) for batch in loader]
    with Loader(path, 4, crop, **options, workers=3) as loader:
        iteration = iter(loader)
        got = [[part.copy() for part in next(iteration)] for _ in range(2)]
        state = loader.state_dict()
    with pickle.loads(pickle.dumps(Loader(path, 4, crop, **options))) as loader:
        loader.load_state_dict(state)
        got += [[part.copy() for part in batch] for _ in range(2) for batch in loader]
    for one, other in zip(got, wanted, strict=True):
        for part, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, right)


def test_a_state_of_other_transforms_is_refused(path):
    with Loader(path, 4, CenterCrop(6), color=Brighter(0.1)) as loader:
        state = loader.state_dict()
    with (
        Loader(path, 4, CenterCrop(6)) as loader,
        pytest.raises(ValueError, match=r"color .*Brighter\(step=0.1\).* \(here None\)"),
    ):
        loader.load_state_dict(state)


def test_ten_crops_of_a_sample_have_its_colour(path):
    images, mean = all_of(path)
    with Loader(path, 2, TenCrop(SIZE), color=Brighter(0.5)) as loader:
        x, y = loader.batch(0, 0)
        table = TenCrop(SIZE).table(12, 14, y[::10], 0, 0)
        colors = Brighter(0.5).matrices(y, 0, 0, None).astype(np.float32)
        np.testing.assert_array_equal(x, reference.transform(images[y[::10]], table, SIZE, colors=colors, mean=mean))


def test_what_is_not_a_description_is_refused_at_once(path):
    for options, problem in (
        ({"policy": TrivialAugment}, r"policy must be RandAugment\(\), TrivialAugment\(\) or None, got <class"),
        ({"policy": "rand"}, "policy must be RandAugment"),
        ({"color": Brighter}, "color must be like ColorJitter"),
        ({"color": [Brighter(1), "jitter"]}, "color must be like ColorJitter"),
        ({"erase": 0.5}, r"erase must be like RandomErasing\(\)"),
        ({"blend": Halves}, r"blend must be like MixUp\(\)"),
        ({"blend": Halves(), "labels": np.zeros((N, 3, 3), np.float32)}, "numbers or rows of numbers, found the shape"),
    ):
        with pytest.raises(ValueError, match=problem):
            Loader(path, 5, CenterCrop(6), **options)
    with pytest.raises(ValueError, match="blend= needs two samples in a batch or more, got batch_size=1"):
        Loader(path, 1, CenterCrop(6), blend=Halves(), num_classes=N)


def test_blending_that_is_unlikely_to_be_meant_is_a_warning(path, caplog):
    with Loader(path, 4, CenterCrop(6), blend=Halves(), labels=np.arange(N, dtype=np.float32)):
        assert "each image has the same partner in every epoch" in caplog.text
        assert "all of them are whole: if they are classes, pass num_classes=" in caplog.text
    caplog.clear()
    with Loader(path, 4, CenterCrop(6), blend=Halves(), num_classes=N, shuffle=True):
        assert caplog.text == ""


def test_numbers_that_the_type_does_not_hold_are_an_error(path):
    options = {"color": Brighter(1), "dtype": "float16", "scale": 100, "mean": None}
    problem = "holds numbers up to 65504, and colours may make uint8 images as large as"
    with Loader(path, 4, CenterCrop(6), **options) as loader, pytest.raises(ValueError, match=problem):
        loader.batch(0, 0)
    with pytest.raises(ValueError, match="65504, and erase_value is as large as 1e"):
        Loader(path, 4, CenterCrop(6), erase=Corner(1e6), dtype="float16")
    with Loader(path, 4, CenterCrop(6), **options, check_finite=False) as loader:
        assert np.isinf(np.asarray(loader.batch(0, 0)[0], np.float32)).any()


@pytest.mark.parametrize("channel_order", ["RGB", "BGR"])
def test_all_that_the_package_draws_at_once_is_what_the_oracle_makes_of_the_tables(path, channel_order):
    with h5py.File(path, "r+") as file:
        file["images"].attrs["channel_order"] = channel_order
    images, mean = all_of(path)
    crop, covariance = RandomResizedCrop(SIZE, (0.3, 1), mirror=True), np.diag([900.0, 400, 100])
    colors = [ColorJitter(0.4, 0.4, 0.4, 0.1, 0.2), Lighting(0.5, covariance), ChannelPermutation(0.5)]
    erase = RandomErasing(0.5, (0.1, 0.5), value=(1.0, 2.0, 3.0))
    blend = MixUpOrCutMix(MixUp(0.8), CutMix())
    options = {"color": colors, "erase": erase, "blend": blend, "num_classes": N, "shuffle": True, "seed": 11}
    n_cut = n_mixed = n_erased = 0
    with Loader(path, 5, crop, **options) as loader:
        for epoch in range(2):
            for step, (x, y) in enumerate(loader):
                samples = loader.samples(epoch, step)
                draw = samples, 11, epoch
                maps = compose_colors([color.matrices(*draw, channel_order) for color in colors]).astype(np.float32)
                erasures, rows = erase.rectangles(*SIZE, *draw), crop.rows(12, 14, *draw)
                plain = reference.transform(
                    images[samples], rows.crops, SIZE, boxes=rows.boxes, colors=maps, mean=mean, erasures=erasures,
                    erase_value=erase.value,
                )  # fmt: skip
                table = blend.table(*draw, *SIZE)
                np.testing.assert_array_equal(x, reference.blend(plain, table.weights, table.rectangles))
                share, one_hot = table.weights[:, None], np.eye(N, dtype=np.float32)[samples]
                np.testing.assert_array_equal(y, share * one_hot + (1 - share) * one_hot[::-1])
                is_cut = table.rectangles[:, 2] > 0
                n_cut, n_mixed = n_cut + is_cut.sum(), n_mixed + (~is_cut & (table.weights < 1)).sum()
                n_erased += (erasures[:, 2] > 0).sum()
    assert min(n_cut, n_mixed, n_erased) > 5
