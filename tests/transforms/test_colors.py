"""Colours: maps that follow from (seed, epoch, sample) alone, equal to the definition pixel by pixel, and clear refusals."""

import math

import numpy as np
import pytest
import reference

import fastprep
from fastprep.transforms import compose_colors
from fastprep.transforms.draws import Draws, Stream

SAMPLES = np.arange(4000)
JITTER = fastprep.ColorJitter(brightness=0.2, contrast=0.3, saturation=0.5, hue=0.5, grayscale_p=0.1)
COVARIANCE = np.array([[5000.0, 4200, 3900], [4200, 4800, 4300], [3900, 4300, 5200]])
EVERY = [JITTER, fastprep.Lighting(0.1, COVARIANCE), fastprep.ChannelPermutation(p=0.5)]


def twisted(pixel, brightness, contrast, saturation, turns, is_grey, white):
    """Return one pixel (R, G, B) as DALI's documentation and source define ``color_twist``."""
    r, g, b = pixel
    y = 0.299 * r + 0.587 * g + 0.114 * b
    i = 0.596 * r - 0.274 * g - 0.321 * b
    q = 0.211 * r - 0.523 * g + 0.311 * b
    angle = math.radians(360 * turns)
    i, q = math.cos(angle) * i + math.sin(angle) * q, math.cos(angle) * q - math.sin(angle) * i
    i, q = i * saturation, q * saturation
    values = np.linalg.solve([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]], [y, i, q])
    if is_grey:
        values = [y, y, y]
    grey = white * 128 / 255
    return [brightness * (grey + contrast * (value - grey)) for value in values]


def factors_of(jitter, samples, seed, epoch):
    """Return brightness, contrast, saturation and hue of each sample, and whether it is grey."""
    draws = Draws(samples, seed, epoch)
    streams = Stream.BRIGHTNESS, Stream.CONTRAST, Stream.SATURATION, Stream.HUE
    limits = jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue
    drawn = [draws.uniform(stream, pair) for stream, pair in zip(streams, limits, strict=True)]
    return np.stack([*drawn, draws.uniform(Stream.GRAYSCALE) < jitter.grayscale_p], axis=1)


@pytest.mark.parametrize("white", [None, 1.0, 65535.0])
def test_jitter_is_the_definition_pixel_by_pixel(white, rng):
    jitter = fastprep.ColorJitter(0.2, 0.3, 0.5, 0.5, 0.1, white=white)
    white = white or 255
    pixels = rng.uniform(0, white, (1, 6, 3)).astype(np.float32)
    maps = jitter.matrices(SAMPLES[:60], 7, 2)
    drawn = factors_of(jitter, SAMPLES[:60], 7, 2)
    assert 0 < drawn[:, 4].sum() < 60
    for matrix, numbers in zip(maps, drawn, strict=True):
        wanted = [twisted(pixel, *numbers, white) for pixel in pixels[0].tolist()]
        got = reference.map_colors(pixels, matrix.astype(np.float32))[0]
        np.testing.assert_allclose(got, wanted, atol=1e-6 * white * 4)


def test_jitter_is_within_one_level_of_dalis_operator(rng):
    fn, pipeline_def, types = (pytest.importorskip(f"nvidia.dali{name}") for name in (".fn", "", ".types"))
    images = rng.integers(0, 256, (32, 9, 11, 3), dtype=np.uint8)
    jitter = fastprep.ColorJitter(0.4, 0.4, 0.8, 0.5)
    brightness, contrast, saturation, turns, _ = factors_of(jitter, SAMPLES[:32], 7, 2).T.astype(np.float32)

    @pipeline_def.pipeline_def(batch_size=len(images), num_threads=1, device_id=None)
    def pipeline():
        numbers = [brightness, contrast, saturation, turns * 360]
        brightness_, contrast_, saturation_, hue = (fn.external_source([list(v)], cycle=True) for v in numbers)
        source = fn.external_source([list(images)], cycle=True, layout="HWC")
        return fn.color_twist(
            source, brightness=brightness_, contrast=contrast_, saturation=saturation_, hue=hue, dtype=types.FLOAT
        )

    pipe = pipeline()
    pipe.build()
    theirs = pipe.run()[0].as_array()
    maps = jitter.matrices(SAMPLES[:32], 7, 2).astype(np.float32)
    ours = [reference.map_colors(image.astype(np.float32), matrix) for image, matrix in zip(images, maps, strict=True)]
    assert np.abs(np.stack(ours) - images).max() > 50
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_factors_that_are_one_change_nothing_and_grey_images_are_grey():
    np.testing.assert_array_equal(fastprep.ColorJitter().matrices(SAMPLES[:3], 0, 0), np.tile(np.eye(3, 4), (3, 1, 1)))
    grey = fastprep.ColorJitter(0.4, 0.4, 0.4, 0.5, grayscale_p=1).matrices(SAMPLES[:50], 0, 0)
    np.testing.assert_array_equal(grey, grey[:, :1].repeat(3, axis=1))
    luma = fastprep.ColorJitter(grayscale_p=1).matrices(SAMPLES[:1], 0, 0)[0, 0]
    np.testing.assert_array_equal(luma, [0.299, 0.587, 0.114, 0])


@pytest.mark.parametrize("order", ["BGR", "GRB", "bgr"])
def test_the_order_of_the_channels_changes_nothing_but_the_order(order):
    places = ["RGB".index(letter) for letter in order.upper()]
    for color in (JITTER, fastprep.ChannelPermutation()):
        in_rgb = color.matrices(SAMPLES[:40], 3, 1, "RGB")
        np.testing.assert_array_equal(in_rgb, color.matrices(SAMPLES[:40], 3, 1))
        np.testing.assert_array_equal(
            color.matrices(SAMPLES[:40], 3, 1, order), in_rgb[:, places][..., [*places, 3]], strict=True
        )


def test_one_channel_has_brightness_and_contrast():
    jitter = fastprep.ColorJitter((1.5, 1.5), (0.5, 0.5))
    np.testing.assert_array_equal(jitter.matrices(SAMPLES[:2], 0, 0, "L"), [[[0.75, 1.5 * 64]]] * 2)
    np.testing.assert_array_equal(
        fastprep.Lighting(0.1, [[100.0]]).matrices(SAMPLES, 0, 0, "L")[..., 0], np.ones((len(SAMPLES), 1))
    )


@pytest.mark.parametrize("color", EVERY, ids=lambda color: type(color).__name__)
def test_a_draw_depends_on_seed_epoch_and_sample_only(color):
    whole = color.matrices(SAMPLES, 7, 2)
    shuffled = np.random.default_rng(0).permutation(SAMPLES)
    np.testing.assert_array_equal(color.matrices(shuffled, 7, 2), whole[shuffled])
    np.testing.assert_array_equal(color.matrices(SAMPLES[17:18], 7, 2), whole[17:18])
    for seed, epoch in ((8, 2), (7, 3), (2, 7)):
        assert (color.matrices(SAMPLES, seed, epoch) == whole).all(axis=(1, 2)).mean() < 0.5


PINNED = {
    "jitter": [
        [1.08820933, -0.126962102, 0.0564208164, -1.72837984],
        [0.0425226356, 0.626914422, -0.00533699569, 20.7294641],
        [0.231748933, 1.23633806, -0.445509876, 21.5383369],
    ],
    "lighting": [
        [-1.88688446, -1.51477875, -1.715578],
        [2.18087634, 1.8606455, 1.22485914],
        [0.441332726, 0.583816227, 1.1085968],
    ],
    "permutation": [[0, 1, 2], [0, 2, 1], [0, 1, 2]],
}


def test_draws_stay_what_they_are():
    """A change here changes every user's epochs: it needs a line in the changelog."""
    samples = np.array([0, 5, 1_000_000_000_000])
    jitter, lighting, permutation = (color.matrices(samples, 7, 3) for color in EVERY)
    np.testing.assert_allclose(jitter[:, 0], PINNED["jitter"], rtol=1e-6)
    np.testing.assert_allclose(lighting[..., 3], PINNED["lighting"], rtol=1e-6)
    assert np.argmax(permutation[..., :3], axis=2).tolist() == PINNED["permutation"]


def ks(drawn, cumulative):
    """Return the largest distance between the distribution of `drawn` and a cumulative function."""
    ranked = cumulative(np.sort(drawn))
    steps = np.arange(len(drawn) + 1) / len(drawn)
    return max(np.abs(ranked - steps[1:]).max(), np.abs(ranked - steps[:-1]).max())


# the distance of Kolmogorov and Smirnov is larger with probability 1.2e-4; seed and samples are fixed
LIMIT = 2.2 / math.sqrt(len(SAMPLES))


def test_factors_are_uniform_and_independent():
    drawn = factors_of(JITTER, SAMPLES, 3, 1)
    for column, (low, high) in enumerate((JITTER.brightness, JITTER.contrast, JITTER.saturation, JITTER.hue)):
        assert ks(drawn[:, column], lambda values, low=low, high=high: (values - low) / (high - low)) < LIMIT
    assert abs(drawn[:, 4].mean() - 0.1) < 0.02
    assert np.abs(np.corrcoef(drawn.T) - np.eye(5)).max() < 0.06


def test_lighting_is_normal_along_the_principal_components_as_in_the_paper():
    offsets = fastprep.Lighting(0.1, COVARIANCE).matrices(SAMPLES, 3, 1)[..., 3]
    values, vectors = np.linalg.eigh(COVARIANCE / 255**2)  # of images in 0..1
    alphas = offsets / 255 @ vectors / values
    for column in alphas.T:
        assert ks(column, np.vectorize(lambda v: (1 + math.erf(v / 0.1 / math.sqrt(2))) / 2)) < LIMIT
    assert np.abs(np.corrcoef(alphas.T) - np.eye(3)).max() < 0.06


def test_lighting_is_the_same_for_images_of_another_range():
    small = fastprep.Lighting(0.1, COVARIANCE / 255**2, white=1).matrices(SAMPLES[:9], 3, 1)[..., 3]
    np.testing.assert_allclose(small * 255, fastprep.Lighting(0.1, COVARIANCE).matrices(SAMPLES[:9], 3, 1)[..., 3], rtol=1e-12)


def test_permutations_are_alike_and_as_frequent_as_asked():
    maps = fastprep.ChannelPermutation(p=0.5).matrices(SAMPLES, 3, 1)[..., :3]
    assert ((maps == 0) | (maps == 1)).all()
    kinds, counts = np.unique(np.argmax(maps, axis=2), axis=0, return_counts=True)
    expected = np.where((kinds == [0, 1, 2]).all(axis=1), 7 / 12, 1 / 12) * len(SAMPLES)
    assert len(kinds) == 6
    assert ((counts - expected) ** 2 / expected).sum() < 25  # chi-square of 5 degrees of freedom: 1.4e-4


def test_composed_maps_are_applied_one_after_the_other(rng):
    pixel = rng.uniform(0, 255, 3)
    maps = [color.matrices(SAMPLES[:20], 3, 1) for color in EVERY]
    for k, composed in enumerate(compose_colors(maps)):
        wanted = pixel
        for each in maps:
            wanted = each[k] @ [*wanted, 1]
        np.testing.assert_allclose(composed @ [*pixel, 1], wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: fastprep.ColorJitter(-1), r"brightness must be a number v for factors in 1 - v..1 \+ v.* got -1"),
        (lambda: fastprep.ColorJitter(contrast=(2, 1)), "contrast must be .*factor, from 0, got"),
        (lambda: fastprep.ColorJitter(saturation=(-1, 1)), "saturation must be"),
        (lambda: fastprep.ColorJitter(brightness=math.nan), "brightness must be"),
        (lambda: fastprep.ColorJitter(brightness=True), "brightness must be"),
        (lambda: fastprep.ColorJitter(hue=0.6), "hue must be a number v in 0..1/2"),
        (lambda: fastprep.ColorJitter(hue=(-1, 0)), "hue must be"),
        (lambda: fastprep.ColorJitter(grayscale_p=2), "grayscale_p must be a probability in 0..1, got 2"),
        (lambda: fastprep.ColorJitter(white=0), "white must be a number above 0, got 0"),
        (lambda: fastprep.ChannelPermutation("often"), "p must be a probability"),
        (lambda: fastprep.Lighting(0), "alpha_std must be a number above 0"),
        (lambda: fastprep.Lighting(covariance="file.h5"), r"covariance must be \"file\", or finite numbers of shape \(1, 1\) or"),
        (lambda: fastprep.Lighting(covariance=np.ones((2, 2))), "covariance must be"),
        (lambda: fastprep.Lighting(covariance=np.full((3, 3), np.nan)), "covariance must be"),
        (lambda: fastprep.Lighting(covariance=-np.eye(3)), "covariance must be symmetric, and no variance negative"),
        (lambda: fastprep.Lighting(covariance=np.eye(3) + np.eye(3, k=1)), "covariance must be symmetric"),
        (lambda: fastprep.Lighting().matrices(SAMPLES, 0, 0), 'covariance="file" is known to a loader only'),
        (lambda: EVERY[1].matrices(SAMPLES, 0, 0, "L"), r"covariance of Lighting has the shape \(3, 3\), .* channels 'L'"),
        (lambda: JITTER.matrices(SAMPLES, 0, 0, "L"), "one channel have no saturation, hue or colour to lose: leave them out of"),
        (lambda: EVERY[2].matrices(SAMPLES, 0, 0, "L"), "images with one channel have no ChannelPermutation"),
        (lambda: JITTER.matrices(SAMPLES, 0, 0, "CMYK"), "ColorJitter is for images with one channel or with R, G and B, these"),
        (lambda: EVERY[2].matrices(SAMPLES, 0, 0, "RGG"), "ChannelPermutation is for images with"),
    ],
)
def test_refusals(make, problem):
    with pytest.raises(ValueError, match=problem):
        make()
