"""Policies: each operation drawn as often, with the magnitudes of the papers, and composed with any crop into one matrix."""

import math
import pickle

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_tables import SIZE, random_table

import fastprep
from fastprep.kernels import WarpSpec
from fastprep.transforms import Augmentation, TransformTable, fitted, geometry_of, rows_of
from fastprep.transforms.draws import Draws, Stream
from fastprep.transforms.geometry import moved
from fastprep.transforms.policies import COLORS, GEOMETRY, OPERATIONS

SAMPLES = np.arange(9000)
HEIGHT, WIDTH = 40, 55
TRIVIAL, RAND = fastprep.TrivialAugment(), fastprep.RandAugment(3, 17)
# rotation in degrees, shear, change of a factor; translation follows
LARGEST = {"RandAugment": (30.0, 0.3, 0.9), "TrivialAugment": (135.0, 0.99, 0.99)}
CROPS = {
    "crop": fastprep.RandomCrop(24, mirror=True, flip=True, turn=True),
    "box": fastprep.RandomResizedCrop(24, mirror=True, flip=True, turn=True),
    "resized": fastprep.RandomCrop((20, 31), resize=36, mirror=True),
    "matrix": fastprep.RandomAffine((20, 31), 40, (0.1, 0.2), (0.5, 2), 10, mirror=True, flip=True),
    "ten": fastprep.TenCrop((20, 31)),
    "whole": fastprep.CenterCrop((HEIGHT, WIDTH)),
}


def drawn(policy, sample, seed, epoch, crop=0):
    """Return name and signed level of each operation that is drawn for a row."""
    draws = Draws(np.array([sample]), seed, epoch)
    steps = []
    for step in range(getattr(policy, "n", 1)):
        name = policy.operations[draws.integers(Stream.POLICY_OPERATION, len(policy.operations), step, crop)[0]]
        level = getattr(policy, "magnitude", None)
        level = draws.integers(Stream.POLICY_BIN, policy.bins, step, crop)[0] if level is None else level
        steps.append((name, -level if draws.integers(Stream.POLICY_SIGN, 2, step, crop)[0] else level))
    return steps


def move(x, y):
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def step_forward(policy, name, level, height, width):
    """Return the 3x3 map by which an operation moves positions of an image of this size."""
    degrees, shear, _ = LARGEST[type(policy).__name__]
    share = level / (policy.bins - 1)
    angle, slope = math.radians(degrees * share), shear * share
    x, y = (32, 32) if type(policy) is fastprep.TrivialAugment else (150 / 331 * width, 150 / 331 * height)
    moves = {
        "rotation": [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]],
        "shear_x": [[1, -slope, 0], [0, 1, 0], [0, 0, 1]],
        "shear_y": [[1, 0, 0], [-slope, 1, 0], [0, 0, 1]],
        "translation_x": move(math.trunc(x * share + math.copysign(1e-9, share)), 0),
        "translation_y": move(0, math.trunc(y * share + math.copysign(1e-9, share))),
    }
    centre = move(width / 2, height / 2)
    return centre @ np.array(moves.get(name, np.eye(3))) @ np.linalg.inv(centre)


def crop_forward(table, k, size):
    """Return the 3x3 map from the source to an output image, flags included."""
    (h, w), (_, top, left, flags) = size, table.crops[k].tolist()
    if flags & reference.TRANSPOSED:
        h, w = w, h
    if table.matrices is not None:
        forward = np.linalg.inv(np.vstack([table.matrices[k], [0, 0, 1]]))
    elif table.boxes is not None:
        top, left, height, width = table.boxes[k]
        forward = np.diag([w / width, h / height, 1]) @ move(-left, -top)
    else:
        forward = move(-left, -top)
    if flags & reference.TRANSPOSED:
        forward = np.eye(3)[[1, 0, 2]] @ forward
    h, w = size
    if flags & reference.FLIPPED:
        forward = move(0, h) @ np.diag([1, -1, 1]) @ forward
    return move(w, 0) @ np.diag([-1, 1, 1]) @ forward if flags & reference.MIRRORED else forward


@pytest.mark.parametrize("policy", [TRIVIAL, RAND], ids=lambda policy: type(policy).__name__)
@pytest.mark.parametrize("name", CROPS)
def test_a_matrix_is_the_product_of_crop_flags_and_operations(name, policy):
    crop, samples, wanted = CROPS[name], SAMPLES[100:160], []
    before = rows_of(crop, HEIGHT, WIDTH, samples, 7, 2)
    table = Augmentation(crop, policy=policy).table((HEIGHT, WIDTH, 3), samples, 7, 2)
    assert table.geometry == "matrix"
    for k in range(len(table)):
        forward = crop_forward(before, k, crop.height_width)
        for step in drawn(policy, samples[k // crop.n_crops], 7, 2, k % crop.n_crops):
            forward = step_forward(policy, *step, *crop.height_width) @ forward
        wanted.append(np.linalg.inv(forward)[:2])
    np.testing.assert_allclose(table.matrices, wanted, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(table.crops[:, 0], before.crops[:, 0])
    assert not table.crops[:, 1:].any()


@pytest.mark.parametrize("geometry", ["crop", "box", "matrix"])
def test_every_flag_goes_into_the_matrix(geometry, rng):
    table = random_table(geometry, rng, n_out=40)
    same = np.tile(np.eye(2, 3), (40, 1, 1))
    n_flags = 8 if geometry != "matrix" else 4
    assert len(set(table.crops[:, 3].tolist())) == n_flags
    for positions in (same, same + rng.uniform(-0.5, 0.5, same.shape)):
        wanted = [np.linalg.inv(crop_forward(table, k, SIZE)) @ np.vstack([positions[k], [0, 0, 1]]) for k in range(40)]
        np.testing.assert_allclose(moved(table, SIZE, positions).matrices, np.array(wanted)[:, :2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [SIZE, (6, 6)])
def test_what_is_not_moved_has_the_bits_of_the_crop(size, rng):
    images = rng.integers(0, 256, (3, 11, 14, 3), dtype=np.uint8)
    table = random_table("crop", rng, n_out=24, size=size)
    as_matrix = moved(table, size, np.tile(np.eye(2, 3), (24, 1, 1)))
    np.testing.assert_array_equal(
        reference.transform(images, as_matrix.crops, size, matrices=as_matrix.matrices),
        reference.transform(images, table.crops, size),
    )


def test_no_magnitude_changes_nothing():
    still = fastprep.RandAugment(4, 0)
    np.testing.assert_array_equal(still.positions(9, 7, SAMPLES[:200], 0, 0), np.tile(np.eye(2, 3), (200, 1, 1)))
    np.testing.assert_array_equal(still.matrices(SAMPLES[:200], 0, 0), np.tile(np.eye(3, 4), (200, 1, 1)))


def luma_kept(pixel, factor):
    """Return a pixel whose chroma, I and Q of YIQ, is multiplied."""
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
    return np.linalg.solve(to_yiq, to_yiq @ pixel * [1, factor, factor])


@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("policy", [TRIVIAL, RAND], ids=lambda policy: type(policy).__name__)
def test_colours_are_those_of_the_jitter_one_after_the_other(policy, order, rng):
    pixels = rng.uniform(0, 255, (60, 3))
    maps = policy.matrices(SAMPLES[:60], 3, 1, order)
    places = ["RGB".index(letter) for letter in order]
    seen = set()
    for sample in range(60):
        wanted = pixels[sample]
        for name, level in drawn(policy, sample, 3, 1):
            factor = 1 + LARGEST[type(policy).__name__][2] * level / 30
            if name == "brightness":
                wanted = factor * wanted
            elif name == "contrast":
                wanted = 128 + factor * (wanted - 128)
            elif name == "color":
                wanted = luma_kept(wanted, factor)
            seen.add(name)
        np.testing.assert_allclose(maps[sample] @ [*pixels[sample][places], 1], wanted[places], rtol=1e-9, atol=1e-9)
    assert seen == {*OPERATIONS}


def test_white_says_where_grey_is_and_one_channel_has_brightness_and_contrast():
    policy = fastprep.RandAugment(1, 30, operations=("contrast",), white=1.0)
    maps = policy.matrices(SAMPLES[:50], 0, 0, "L")
    assert {tuple(row[0].round(9).tolist()) for row in maps} == {
        (factor, round(128 / 255 * (1 - factor), 9)) for factor in (0.1, 1.9)
    }
    assert fastprep.TrivialAugment(operations=("brightness",)).matrices(SAMPLES[:5], 0, 0, "L").shape == (5, 1, 2)


def chi_square(values, n_kinds):
    counts = np.bincount(values, minlength=n_kinds)
    assert len(counts) == n_kinds
    expected = len(values) / n_kinds
    return ((counts - expected) ** 2 / expected).sum()


@pytest.mark.parametrize("policy", [TRIVIAL, RAND], ids=lambda policy: type(policy).__name__)
def test_each_operation_is_drawn_as_often_with_either_sign_in_every_step_and_row(policy):
    n_drawn = getattr(policy, "n", 1)
    steps = policy._levels(SAMPLES, 3, 1, 2)
    numbers = []
    for step in steps:
        rows = np.stack([step[name] for name in policy.operations]).reshape(len(OPERATIONS), len(SAMPLES), 2)
        assert ((rows != 0).sum(axis=0) <= 1).all()
        for row in np.moveaxis(rows, 2, 0):
            is_moved = (row != 0).any(axis=0)
            assert is_moved.mean() > 0.95 or n_drawn > 1
            operations = np.argmax(row != 0, axis=0)[is_moved]
            assert chi_square(operations, len(OPERATIONS)) < 35  # of 8 degrees of freedom: 3e-5; seed and samples are fixed
            signs = (row.sum(axis=0)[is_moved] < 0).astype(np.int64)
            for number in range(len(OPERATIONS)):
                assert chi_square(signs[operations == number], 2) < 15  # of 1 degree of freedom: 1e-4
            numbers.append(row.sum(axis=0))
    assert len(numbers) == 2 * n_drawn
    assert np.abs(np.corrcoef(np.abs(numbers) + np.sign(numbers)) - np.eye(len(numbers))).max() < 0.05


def test_trivial_magnitudes_are_alike_and_those_of_rand_augment_are_one():
    (levels,) = fastprep.TrivialAugment(operations=("rotation",))._levels(SAMPLES, 3, 1, 1)
    assert chi_square(np.abs(levels["rotation"]).astype(np.int64), 31) < 70  # of 30 degrees of freedom: 5e-5
    (levels,) = fastprep.RandAugment(1, 9, operations=("rotation",))._levels(SAMPLES, 3, 1, 1)
    assert set(levels["rotation"].tolist()) == {-9.0, 9.0}


def ends_of(policy, name, height, width):
    """Return the smallest and the largest number of an operation, out of the matrices of a policy that has no other."""
    if name in COLORS:
        maps = policy.matrices(SAMPLES[:500], 0, 0)
        # colour multiplies two directions of three, and leaves the luma
        numbers = maps[:, 0, 0] if name != "color" else (np.trace(maps[..., :3], axis1=1, axis2=2) - 1) / 2
    else:
        matrices = policy.positions(height, width, SAMPLES[:500], 0, 0)
        linear, offset = matrices[:, :, :2], (width / 2, height / 2) - matrices @ (width / 2, height / 2, 1)
        numbers = {
            "rotation": np.degrees(np.arctan2(linear[:, 0, 1], linear[:, 0, 0])),
            "shear_x": linear[:, 0, 1],
            "shear_y": linear[:, 1, 0],
            "translation_x": offset[:, 0],
            "translation_y": offset[:, 1],
        }[name]
    return numbers.min(), numbers.max()


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (
            lambda name: fastprep.RandAugment(1, 30, operations=(name,)),
            {"rotation": 30, "shear_x": 0.3, "shear_y": 0.3, "translation_x": 150, "translation_y": 75, "brightness": 0.9},
        ),
        (
            lambda name: fastprep.RandAugment(1, 9, operations=(name,)),
            {"rotation": 9, "shear_x": 0.09, "shear_y": 0.09, "translation_x": 45, "translation_y": 22, "brightness": 0.27},
        ),
        (
            lambda name: fastprep.RandAugment(1, 4, bins=11, operations=(name,)),
            {"rotation": 12, "shear_x": 0.12, "shear_y": 0.12, "translation_x": 60, "translation_y": 30, "brightness": 0.36},
        ),
        (
            lambda name: fastprep.TrivialAugment(operations=(name,)),
            {"rotation": 135, "shear_x": 0.99, "shear_y": 0.99, "translation_x": 32, "translation_y": 32, "brightness": 0.99},
        ),
    ],
)
def test_magnitudes_reach_from_one_side_to_the_other(make, wanted):
    wanted = {**wanted, "contrast": wanted["brightness"], "color": wanted["brightness"]}
    assert wanted.keys() == {*GEOMETRY, *COLORS}
    for name, largest in wanted.items():
        middle = 1 if name in COLORS else 0
        ends = ends_of(make(name), name, 165.5, 331)
        assert ends == pytest.approx((middle - largest, middle + largest), abs=1e-9), name


def test_draws_stay_what_they_were():
    """A change here changes every user's epochs: it needs a line in the changelog."""
    samples = np.array([0, 5, 1_000_000_000_000])
    assert [drawn(RAND, sample, 7, 3, 1) for sample in samples] == [
        [("rotation", -17), ("shear_x", -17), ("translation_x", 17)],
        [("translation_x", -17), ("shear_x", -17), ("brightness", -17)],
        [("shear_y", 17), ("shear_x", 17), ("identity", 17)],
    ]
    turned = [[0.8910065241883679, -0.4539904997395468, 8.989727012325844], [0.4539904997395468, 0.8910065241883679]]
    wanted = [
        [[1, 0, 0], [0, 1, 0]],
        [turned[0], [*turned[1], -7.444907857616455]],
        [[1, 0, 6], [0, 1, 0]],
        [[1, 0, 1], [0, 1, 0]],
        [[1, 0, 0], [0.528, 1, -10.56]],
        [[1, 0, 0], [0.066, 1, -1.3200000000000003]],
    ]
    assert TRIVIAL.positions(30, 40, samples, 7, 3, 2).tolist() == wanted
    contrast = TRIVIAL.matrices(samples, 7, 3)[:, 0, ::3]
    np.testing.assert_allclose(contrast, [[0.538, 59.136], [1, 0], [1, 0]], rtol=1e-12)


def test_a_draw_depends_on_seed_epoch_sample_and_row_only():
    for draw in (lambda *where: RAND.positions(20, 30, *where), lambda *where: RAND.matrices(*where[:3], None, *where[3:])):
        whole = draw(SAMPLES[:500], 7, 2, 3)
        by_sample = whole.reshape(500, 3, *whole.shape[1:])
        shuffled = np.random.default_rng(0).permutation(500)
        np.testing.assert_array_equal(draw(SAMPLES[shuffled], 7, 2, 3), by_sample[shuffled].reshape(whole.shape))
        np.testing.assert_array_equal(draw(SAMPLES[:500], 7, 2), by_sample[:, 0])
        others = [draw(SAMPLES[:500], 8, 2), draw(SAMPLES[:500], 7, 3), by_sample[:, 1], by_sample[:, 2]]
        for other in others:
            assert (other == by_sample[:, 0]).all(axis=(1, 2)).mean() < 0.5


def test_only_what_a_policy_has_becomes_part_of_the_table():
    crop = fastprep.RandomResizedCrop(8)
    for operations, geometry, has_colors in (
        (OPERATIONS, "matrix", True),
        (("identity", "shear_x"), "matrix", False),
        (("identity", "brightness"), "box", True),
    ):
        augmentation = Augmentation(crop, policy=fastprep.TrivialAugment(operations=operations))
        table = augmentation.table((HEIGHT, WIDTH, 3), SAMPLES[:5], 0, 0)
        assert (table.geometry, table.colors is not None) == (geometry, has_colors)
        assert augmentation.geometry(HEIGHT, WIDTH) == geometry
        assert augmentation.has_colors == has_colors
        assert augmentation.warps(HEIGHT, WIDTH)
        assert augmentation.is_random
        if geometry == "box":
            np.testing.assert_array_equal(table.boxes, crop.rows(HEIGHT, WIDTH, SAMPLES[:5], 0, 0).boxes)


def test_masks_have_the_geometry_of_a_policy_and_nothing_else():
    crop, jitter = fastprep.RandomCrop(8), fastprep.ColorJitter(0.5)
    for policy, moves in ((TRIVIAL, True), (fastprep.TrivialAugment(operations=COLORS), False)):
        own = Augmentation(crop, [jitter], fastprep.RandomErasing(), policy=policy).of_targets()
        assert (own.warps(HEIGHT, WIDTH), own.geometry(HEIGHT, WIDTH) == "matrix") == (moves, moves)
        assert (own.color, own.erase) == ((), None)


def test_the_colours_of_a_policy_come_before_those_of_color():
    policy, jitter = fastprep.TrivialAugment(operations=COLORS), fastprep.ColorJitter((2, 2), (0.5, 0.5))
    augmentation = Augmentation(fastprep.TenCrop(8), [jitter], policy=policy)
    first, second = policy.matrices(SAMPLES[:9], 4, 2, None, 10), jitter.matrices(SAMPLES[:9], 4, 2).repeat(10, axis=0)
    wanted = second[..., :3] @ first
    wanted[..., 3] += second[..., 3]
    np.testing.assert_array_equal(augmentation.table((20, 20, 3), SAMPLES[:9], 4, 2).colors, wanted.astype(np.float32))


@settings(max_examples=100)
@given(
    policy=st.builds(fastprep.RandAugment, st.integers(1, 16), st.integers(0, 30)) | st.just(TRIVIAL),
    shape=st.tuples(*[st.integers(1, 300_000)] * 2),
    crop=st.builds(
        fastprep.RandomAffine,
        st.tuples(*[st.integers(1, 3000)] * 2),
        st.just(180),
        st.just((1, 1)),
        st.floats(1e-7, 1).map(lambda least: (least, 1)),
        mirror=st.booleans(),
    )
    | st.builds(fastprep.RandomResizedCrop, st.integers(1, 3000)),
)
def test_what_the_kernels_can_not_count_is_refused_before_there_is_a_batch(policy, shape, crop):
    augmentation = Augmentation(crop, policy=policy)
    try:
        augmentation.geometry(*shape)
    except ValueError as error:
        problem = str(error)
    else:
        table = augmentation.table((*shape, 3), np.arange(20), 0, 0)
        spec = WarpSpec((*shape, 3), "uint8", crop.height_width, geometry="matrix", has_colors=True)
        assert len(spec.checked(table, 20)) == 20
        return
    assert "must keep within 2**30 pixels of the image, found up to " in problem


def test_ordinary_images_are_far_from_that_limit():
    for policy in (TRIVIAL, fastprep.RandAugment(16, 30)):
        for crop in CROPS.values():
            crop = fitted(crop, 50_000, 50_000)
            assert Augmentation(crop, policy=policy).geometry(50_000, 50_000) == "matrix"
    assert geometry_of(CROPS["crop"], HEIGHT, WIDTH) == "crop"


def test_fill_is_that_of_the_policy_or_of_the_crop():
    affine, plain = fastprep.RandomAffine(8, fill=(1, 2, 3)), fastprep.RandomCrop(8)
    for crop, fill, wanted in ((plain, None, 0), (plain, 7, 7), (affine, None, (1, 2, 3)), (affine, [1, 2, 3], (1, 2, 3))):
        assert Augmentation(crop, policy=fastprep.TrivialAugment(fill=fill)).fill == wanted
    with pytest.raises(ValueError, match=r"fill of the policy must be that of the crop, .* leave out fill=7, or give it to both"):
        _ = Augmentation(affine, policy=fastprep.TrivialAugment(fill=7)).fill


def test_equality_text_and_pickling():
    policies = [
        fastprep.RandAugment(),
        fastprep.RandAugment(3),
        fastprep.RandAugment(2, 10),
        fastprep.RandAugment(bins=11),
        fastprep.RandAugment(fill=3),
        fastprep.RandAugment(white=1),
        fastprep.RandAugment(operations=("rotation", "color")),
        fastprep.TrivialAugment(),
        fastprep.TrivialAugment(bins=11),
        fastprep.TrivialAugment(operations=("rotation", "color")),
    ]
    for k, policy in enumerate(policies):
        assert pickle.loads(pickle.dumps(policy)) == policy
        assert eval(repr(policy), vars(fastprep)) == policy
        assert [other == policy for other in policies] == [j == k for j in range(len(policies))]
    assert len({*policies}) == len({repr(policy) for policy in policies}) == len(policies)
    assert fastprep.RandAugment(operations=["color", "rotation"]) == policies[6]
    assert fastprep.RandAugment(2, 9) == policies[0]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: fastprep.RandAugment(0), r"n must be an integer in 1\.\.16, got 0"),
        (lambda: fastprep.RandAugment(17), "n must be"),
        (lambda: fastprep.RandAugment(True), "n must be"),
        (lambda: fastprep.RandAugment(2.0), "n must be"),
        (lambda: fastprep.RandAugment(2, 31), r"magnitude must be an integer in 0\.\.30, got 31"),
        (lambda: fastprep.RandAugment(2, -1), "magnitude must be"),
        (lambda: fastprep.RandAugment(2, bins=9), r"magnitude must be an integer in 0\.\.8, got 9"),
        (lambda: fastprep.TrivialAugment(bins=1), r"bins must be an integer in 2\.\.1001, got 1"),
        (
            lambda: fastprep.TrivialAugment(operations=("invert",)),
            r"operations must be different ones out of 'identity', 'rotation'",
        ),
        (lambda: fastprep.TrivialAugment(operations=()), "operations must be"),
        (lambda: fastprep.TrivialAugment(operations="rotation"), "operations must be .* got 'rotation'"),
        (lambda: fastprep.TrivialAugment(operations=("identity",)), "one of them not 'identity', got"),
        (lambda: fastprep.TrivialAugment(operations=("color", "color")), "operations must be different"),
        (lambda: fastprep.RandAugment(operations=COLORS, fill=3), r"fill goes with operations that move .* leave fill=3 out"),
        (lambda: fastprep.TrivialAugment(white=0), "white must be a number above 0, got 0"),
        (lambda: TRIVIAL.fitted("float32"), r"policy: images are float32, so TrivialAugment needs white=, their value of white"),
        (lambda: TRIVIAL.matrices(SAMPLES, 0, 0, "L"), r"policy: images with one channel have no \"color\" to change: pass oper"),
        (
            lambda: TRIVIAL.matrices(SAMPLES, 0, 0, "CMYK"),
            "policy: TrivialAugment is for images with one channel or with R, G and",
        ),
        (lambda: Augmentation(CROPS["crop"], policy=TRIVIAL).check_colors(5), "policy: TrivialAugment.* with 5 channels"),
        (lambda: Augmentation(CROPS["crop"], policy=TRIVIAL).geometry(23, 40), "crop is larger than the image: 24x24 from 23x40"),
    ],
)
def test_refusals(make, problem):
    with pytest.raises(ValueError, match=problem):
        make()


def test_images_of_other_types_need_no_white_without_contrast():
    policy = fastprep.TrivialAugment(operations=("brightness", "color"))
    assert policy.fitted("float32") == policy
    assert TRIVIAL.fitted("uint8").white == 255
    assert isinstance(Augmentation(CROPS["crop"], policy=policy).table((40, 40, 3), SAMPLES[:2], 0, 0), TransformTable)
