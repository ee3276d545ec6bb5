"""Random affine maps: those of torchvision's parameters, exact for quarters of a turn, and drawn from seed, epoch and sample."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastprep
from fastprep.kernels import WarpSpec, crop, warp

ONE = np.array([0])
ANGLES = st.floats(-720, 720) | st.integers(-8, 8).map(lambda eighths: eighths * 45.0)
SHEARS = st.floats(-80, 80)


def matrix_of(affine, height, width, sample=0):
    return affine.rows(height, width, np.array([sample]), seed=0, epoch=0).matrices[0]


def mapped(images, affine):
    _, height, width, _ = images.shape
    affine = affine.fitted(height, width)
    rows = affine.rows(height, width, np.arange(len(images)), seed=0, epoch=0)
    return warp(images, rows, affine.height_width, fill=affine.fill)


def inverse_affine_matrix(centre, angle, translate, scale, shear):
    """Return the map from the result to the source that torchvision documents: the inverse of T C R S Sh C^-1."""

    def move(x, y):
        return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])

    angle, shear_x, shear_y = (math.radians(degrees) for degrees in (angle, *shear))
    rotation = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    along_y = np.array([[1, 0, 0], [-math.tan(shear_y), 1, 0], [0, 0, 1]])
    along_x = np.array([[1, -math.tan(shear_x), 0], [0, 1, 0], [0, 0, 1]])
    grown = np.diag([scale, scale, 1])
    forward = move(*translate) @ move(*centre) @ rotation @ along_y @ along_x @ grown @ move(-centre[0], -centre[1])
    return np.linalg.inv(forward)[:2]


@settings(max_examples=200)
@given(angle=ANGLES, scale=st.floats(0.05, 20), shear=st.tuples(SHEARS, SHEARS), sides=st.tuples(*[st.integers(1, 300)] * 2))
def test_a_matrix_is_that_of_its_parameters(angle, scale, shear, sides):
    height, width = sides
    along_x, along_y = shear
    affine = fastprep.RandomAffine(None, (angle, angle), None, (scale, scale), (along_x, along_x, along_y, along_y))
    wanted = inverse_affine_matrix((width / 2, height / 2), angle, (0, 0), scale, shear)
    np.testing.assert_allclose(matrix_of(affine, height, width), wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())


def test_a_matrix_is_that_of_torchvision():
    functional = pytest.importorskip("torchvision.transforms.v2.functional._geometry")
    rng = np.random.default_rng(0)
    for _ in range(200):
        angle, scale, shear = rng.uniform(-400, 400), rng.uniform(0.1, 5), rng.uniform(-60, 60, 2).tolist()
        affine = fastprep.RandomAffine(None, (angle, angle), (0.2, 0.3), (scale, scale), (shear[0], shear[0], shear[1], shear[1]))
        shifted, plain = affine, dataclasses.replace(affine, translate=(0, 0))
        linear = matrix_of(plain, 31, 44)[:, :2]
        shift = np.rint(np.linalg.solve(linear, matrix_of(plain, 31, 44)[:, 2] - matrix_of(shifted, 31, 44)[:, 2]))
        wanted = functional._get_inverse_affine_matrix([22, 15.5], angle, shift.tolist(), scale, shear)
        np.testing.assert_allclose(matrix_of(shifted, 31, 44).ravel(), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [None, (9, 6), 4, 5])
@pytest.mark.parametrize("affine", [{}, {"degrees": (360, 360)}, {"degrees": (-720, -720)}])
def test_the_identity_gives_the_bits_of_the_crop(size, affine, rng):
    images = rng.integers(0, 256, (2, 9, 12, 3), dtype=np.uint8)
    made = mapped(images, fastprep.RandomAffine(size, **affine))
    cut = fastprep.CenterCrop(made.shape[1:3])
    np.testing.assert_array_equal(made, crop(images, cut.table(9, 12, np.arange(2), 0, 0), cut.height_width))


def test_turns_by_quarters_are_exact_and_go_with_the_clock(rng):
    images = rng.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    for quarters in range(-5, 6):
        made = mapped(images, fastprep.RandomAffine(degrees=(90 * quarters, 90 * quarters)))
        np.testing.assert_array_equal(made[0], np.rot90(images[0], -quarters))
    wide = rng.integers(0, 256, (1, 6, 10, 1), dtype=np.uint8)
    made = mapped(wide, fastprep.RandomAffine((10, 6), (90, 90)))
    np.testing.assert_array_equal(made[0], np.rot90(wide[0], -1))


def test_content_moves_by_whole_pixels_and_what_comes_in_is_filled(rng):
    images = rng.integers(1, 256, (200, 10, 20, 3), dtype=np.uint8)
    affine = fastprep.RandomAffine(translate=(0.25, 0.1), fill=(7.0, 8.0, 9.0))
    made, found = mapped(images, affine), set()
    for image, out in zip(images, made, strict=True):
        padded = np.empty((12, 30, 3))
        padded[...] = (7, 8, 9)
        padded[1:11, 5:25] = image
        places = [
            (down, right)
            for down in range(-1, 2)
            for right in range(-5, 6)
            if np.array_equal(out, padded[1 - down : 11 - down, 5 - right : 25 - right])
        ]
        assert len(places) == 1
        found.add(places[0])
    assert {down for down, _ in found} == {-1, 0, 1}
    assert {right for _, right in found} == set(range(-5, 6))


def test_content_grows_with_scale_and_shears_to_the_left_at_the_top():
    images = np.zeros((1, 8, 8, 1), np.uint8)
    images[0, 3:5, 3:5] = 200
    grown = mapped(images, fastprep.RandomAffine(scale=(2, 2)))[0, :, :, 0]
    assert (grown > 100).sum() == 16
    assert (grown[2:6, 2:6] > 100).all()
    column = np.zeros((1, 9, 9, 1), np.uint8)
    column[0, :, 4] = 255
    sheared = mapped(column, fastprep.RandomAffine(shear=(45, 45)))[0, :, :, 0]
    np.testing.assert_array_equal(sheared, 255 * np.fliplr(np.eye(9)))  # x moves by minus tan(shear) * y, as in torchvision


def test_a_result_larger_than_the_image_has_it_in_the_middle(rng):
    images = rng.integers(0, 256, (1, 4, 5, 3), dtype=np.uint8)
    made = mapped(images, fastprep.RandomAffine((7, 9), fill=3))
    wanted = np.full((7, 9, 3), 3.0)
    wanted[2:6, 2:7] = images[0]
    np.testing.assert_array_equal(made[0], wanted)


def test_mirror_and_flip_come_last(rng):
    images = np.tile(rng.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8), (40, 1, 1, 1))
    made = mapped(images, fastprep.RandomAffine(degrees=(90, 90), mirror=True, flip=True))
    turned = np.rot90(images[0], -1)
    kinds = [[np.array_equal(out, way) for way in (turned, turned[:, ::-1], turned[::-1], turned[::-1, ::-1])] for out in made]
    assert (np.array(kinds).sum(axis=0) > 2).all()
    assert np.sum(kinds) == 40


def test_each_number_is_uniform_in_its_range_and_independent():
    affine = fastprep.RandomAffine(None, (-20, 60), (0.5, 0.25), (0.5, 1.5), (-10, 30, -40, 5))
    samples = np.arange(20_000)
    matrices = affine.rows(1000, 2000, samples, seed=2, epoch=0).matrices
    forward = np.linalg.inv(matrices[:, :, :2])
    scale = np.sqrt(np.linalg.det(forward))
    (a, b), (c, d) = (forward / scale[:, None, None]).transpose(1, 2, 0)
    moved = np.einsum("nij,nj->ni", forward, (1000, 500) - matrices[:, :, 2]) - (1000, 500)
    # Only the angle takes part in both columns; a = cos + sin * ty and c = sin - cos * ty, whose length is 1 / cos of the shear
    values = {"x": (moved[:, 0], -1000, 1000), "y": (moved[:, 1], -250, 250), "scale": (scale, 0.5, 1.5)}
    for ours, least, largest in values.values():
        shares = (np.sort(ours) - least) / (largest - least)
        assert np.abs(shares - (np.arange(len(samples)) + 0.5) / len(samples)).max() < 2 / math.sqrt(len(samples))
    shear_y = np.degrees(np.arccos(1 / np.hypot(a, c)))
    assert shear_y.max() == pytest.approx(40, abs=0.05)
    numbers = np.stack([*(ours for ours, _, _ in values.values()), np.arctan2(c, a), b * a + c * d])
    assert np.abs(np.corrcoef(numbers[:3]) - np.eye(3)).max() < 0.03
    assert np.abs(np.corrcoef(numbers)[3:, :3]).max() < 0.03


@pytest.mark.parametrize(
    ("options", "least", "largest"),
    [({"degrees": 30}, -30, 30), ({"degrees": (10, 50)}, 10, 50), ({"degrees": 400}, -400, 400), ({"degrees": (-3, -3)}, -3, -3)],
)
def test_angles_fill_their_range(options, least, largest):
    matrices = fastprep.RandomAffine(5, **options).rows(9, 9, np.arange(2000), 0, 0).matrices
    angles = np.degrees(np.arctan2(matrices[:, 0, 1], matrices[:, 0, 0]))
    if largest < 180:
        assert angles.min() == pytest.approx(least, abs=0.1)
        assert angles.max() == pytest.approx(largest, abs=0.1)
    else:
        assert np.histogram(angles, 8, (-180, 180))[0].min() > 150


def test_draws_stay_what_they_were():
    """A change here changes every user's epochs: it needs a line in the changelog."""
    affine = fastprep.RandomAffine(None, 30, (0.1, 0.2), (0.8, 1.2), (-10, 10, -5, 5), mirror=True)
    rows = affine.rows(300, 400, np.array([0, 1_000_000_000_000]), seed=7, epoch=3)
    assert rows.crops.tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]
    wanted = [
        [
            [0.8758078341827384, 0.4834367015145112, -81.77735988228494],
            [-0.4907033562307503, 0.8728111008114844, 115.73880364051246],
        ],
        [
            [0.8466799364308694, 0.07965670856272623, 6.484272769615899],
            [-0.16361985703885545, 0.8332266267855579, 38.03952337797918],
        ],
    ]
    assert rows.matrices.tolist() == wanted


@settings(max_examples=100)
@given(
    shape=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    size=st.none() | st.integers(1, 3000) | st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    scale=st.floats(1e-12, 2),
    shear=st.floats(0, 89.999999),
    seed=st.integers(0, 9),
)
def test_what_the_kernels_can_not_count_is_refused_before_there_is_a_batch(shape, size, scale, shear, seed):
    affine = fastprep.RandomAffine(size, 180, (1, 1), (scale, 2), (-shear, shear, -shear, shear))
    affine = affine.fitted(*shape)
    try:
        affine.geometry(*shape)
    except ValueError as error:
        problem = str(error)
    else:
        rows = affine.rows(*shape, np.arange(20), seed, 0)
        assert len(WarpSpec((*shape, 3), "uint8", affine.height_width, geometry="matrix").checked(rows, 20)) == 20
        return
    assert problem.startswith("scale and shear of a crop must keep within 2**30 pixels of the image, found up to ")
    assert scale < 1e-3 or shear > 80


def test_equality_text_and_pickling():
    crops = [
        fastprep.RandomAffine(),
        fastprep.RandomAffine(8),
        fastprep.RandomAffine(8, 10),
        fastprep.RandomAffine(8, translate=(0, 0.1)),
        fastprep.RandomAffine(8, scale=(1, 2)),
        fastprep.RandomAffine(8, shear=3),
        fastprep.RandomAffine(8, shear=(-3, 3, -1, 1)),
        fastprep.RandomAffine(8, fill=(1, 2, 3)),
        fastprep.RandomAffine(8, mirror=True),
        fastprep.RandomAffine(8, flip=True),
    ]
    for k, affine in enumerate(crops):
        affine.rows(9, 9, ONE, 0, 0)  # what it remembers of that is not part of it
        assert pickle.loads(pickle.dumps(affine)) == affine
        assert eval(repr(affine), {"RandomAffine": fastprep.RandomAffine}) == affine
        assert [other == affine for other in crops] == [j == k for j in range(len(crops))]
    assert len({*crops}) == len({repr(affine) for affine in crops}) == len(crops)
    assert fastprep.RandomAffine([8, 8], 10, shear=3, fill=[1, 2]) == fastprep.RandomAffine(
        8, (-10, 10), None, (1, 1), (-3, 3), fill=(1, 2)
    )
    assert fastprep.RandomAffine().fitted(8, 9).height_width == (8, 9)
    assert fastprep.RandomAffine(5).fitted(8, 9) == fastprep.RandomAffine(5)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"size": 0}, r"size must be a positive integer or \(height, width\), got 0"),
        ({"degrees": -1}, r"degrees must be a number that is not negative, or \(least, largest\), got -1"),
        ({"degrees": (5, 4)}, "degrees must be"),
        ({"degrees": (1, 2, 3)}, "degrees must be"),
        ({"degrees": math.nan}, "degrees must be"),
        ({"degrees": (0, math.inf)}, "degrees must be"),
        ({"degrees": "30"}, "degrees must be"),
        ({"degrees": True}, "degrees must be"),
        ({"translate": 0.1}, r"translate must be fractions of width and height, \(x, y\) in 0\.\.1, got 0\.1"),
        ({"translate": (0.1, 1.1)}, "translate must be"),
        ({"translate": (-0.1, 0)}, "translate must be"),
        ({"translate": (math.nan, 0)}, "translate must be"),
        ({"scale": 2}, r"scale must be \(least, largest\), got 2"),
        ({"scale": (0, 1)}, "scale must be positive and ascending"),
        ({"scale": (2, 1)}, "scale must be positive and ascending"),
        ({"shear": 90}, "shear must lie between -90 and 90 degrees, got 90"),
        ({"shear": (-3, 3, 4)}, "shear must be"),
        ({"shear": (-3, 3, 4, 2)}, "shear must be"),
        ({"shear": (3, -3)}, "shear must be"),
        ({"shear": -1}, "shear must be"),
    ],
)
def test_refusals(options, problem):
    with pytest.raises(ValueError, match=problem):
        fastprep.RandomAffine(**{"size": 5, **options})


def test_the_size_of_images_that_are_not_known_is_an_error():
    with pytest.raises(ValueError, match="size is None, the size of the images"):
        _ = fastprep.RandomAffine().height_width
