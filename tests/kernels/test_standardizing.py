"""Standardised images against the oracle, bit by bit, and against numpy in float64."""

import ctypes
import itertools
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import reference
from conftest import CPU_VERSIONS, use_cpu_kernel
from crop_cases import assert_same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from warp_cases import DTYPES, LAYOUTS

from fastprep import kernels
from fastprep._sink import Status, hand_over
from fastprep.h5._read import read_images
from fastprep.kernels import CropSpec, WarpSpec, _cpu, crop, warp
from fastprep.kernels._cpu import supported_versions
from fastprep.kernels.ranges import check_range
from fastprep.transforms import TransformTable


@pytest.fixture(params=CPU_VERSIONS)
def version(request, monkeypatch):
    use_cpu_kernel(request.param, monkeypatch)
    return request.param


def whole(n):
    """Return the table of whole images."""
    return np.array([[k, 0, 0, 0] for k in range(n)], np.int32)


def in_float64(images):
    """Return what numpy makes of each image."""
    images = images.astype(np.float64)
    n = images[0].size
    return np.stack([(image - image.mean()) / max(image.std(), 1 / np.sqrt(n)) for image in images])


def cancelling(rng, n):
    """Return numbers whose sum is what rounding leaves of much larger ones: the order of the sums is plain to see."""
    x = rng.standard_normal(n) * 10.0 ** rng.integers(-3, 20, n)
    x[n - n // 2 :] = -x[: n // 2]
    return np.float32(rng.permutation(x))


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32),
    most=st.sampled_from([70, 2000, 20000]),
    dtype=st.sampled_from(DTYPES),
    stream=st.booleans(),
    before=st.integers(0, 40),
    kind=st.sampled_from(["normal", "one sign", "tiny", "huge", "far", "outlier", "subnormal", "cancelling"]),
)
def test_every_version_equals_the_oracle_for_any_number_of_any_size(seed, most, dtype, stream, before, kind):
    """More numbers than there are sums, whatever the first one is, and wherever the result begins in a cache line."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, most + 1))
    x = rng.standard_normal(n)
    kinds = {
        "normal": x,
        "one sign": np.abs(x) * 255,
        "tiny": x * 1e-30,
        "huge": x * 1e30,
        "far": x + 1e7,
        "subnormal": x * 1e-42,
    }
    x = np.float32(kinds.get(kind, x))
    if kind == "outlier":
        x[rng.integers(0, n)] = 1e9
    if kind == "cancelling":
        x = cancelling(rng, n)
    images = x.reshape(1, 1, n, 1)
    wanted = reference.standardized(images[0])[None].astype(reference.DTYPES[dtype])
    for version in supported_versions():
        with pytest.MonkeyPatch.context() as patch:
            use_cpu_kernel(version, patch)
            patch.setattr("fastprep.kernels.spec.stream_bytes", lambda: 0 if stream else 1 << 40)
            out = np.empty(n + before, wanted.dtype)[before:].reshape(wanted.shape)
            assert_same_bits(crop(images, whole(1), (1, n), dtype=dtype, out=out, standardize=True), wanted)


@pytest.mark.parametrize(("dtype", "layout"), list(itertools.product(DTYPES, LAYOUTS)))
def test_crops_with_a_mean_image_equal_the_oracle_at_a_size_people_use(version, rng, dtype, layout):
    images = rng.integers(0, 256, (2, 70, 80, 3), dtype=np.uint8)
    mean = rng.uniform(0, 255, (70, 80, 3)).astype(np.float32)
    table = np.array([[1, 1, 5, 1], [0, 6, 0, 2], [1, 3, 3, 0]], np.int32)
    made = reference.crop(images, table, (64, 72), mean, (0.5, 1, 2), layout=layout)
    wanted = np.stack([reference.standardized(image) for image in made]).astype(reference.DTYPES[dtype])
    assert_same_bits(crop(images, table, (64, 72), mean, (0.5, 1, 2), dtype, layout, standardize=True), wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_numbers_are_those_of_numpy_in_float64(version, rng, layout):
    """Within 1e-5 of the deviation, or of the number where that is larger, whatever mean and deviation are."""
    noise = rng.standard_normal((1, 50, 60, 3))
    spike = noise * 1e-3
    spike[0, 0, 0, 0] = 1e6
    cases = [rng.integers(0, 256, noise.shape), noise, noise + 1000, 1e4 + noise * 1e-2, noise * 1e-12, noise * 1e20, spike]
    for images in cases:
        images = images.astype(np.float32)
        got = crop(images, whole(1), (50, 60), layout=layout, standardize=True)
        got = got if layout == "channels_last" else got.transpose(0, 2, 3, 1)
        wanted = in_float64(images)
        assert (np.abs(got - wanted) <= 1e-5 * np.maximum(np.abs(wanted), 1)).all()


@pytest.mark.parametrize("value", [0.0, 77.0, 0.1, -3e38, 1e-42])
def test_images_of_one_number_become_zeros(version, value):
    images = np.full((1, 9, 33, 3), value, np.float32)
    for dtype in DTYPES:
        assert not crop(images, whole(1), (9, 33), dtype=dtype, standardize=True).astype(np.float32).any()
    assert not crop(images, np.array([[0, 0, 0, 0]]), (1, 1), standardize=True).any()


def test_erased_rectangles_are_not_in_the_statistics(version, rng):
    images = rng.integers(0, 256, (1, 20, 30, 3), dtype=np.uint8)
    plain = crop(images, whole(1), (20, 30), standardize=True)
    table = TransformTable(whole(1), erasures=np.array([[3, 4, 10, 20]], np.int32))
    erased = warp(images, table, (20, 30), erase_value=[7, 8, 9], standardize=True)
    assert (erased[0, 3:13, 4:24] == [7, 8, 9]).all()
    plain[0, 3:13, 4:24] = [7, 8, 9]
    assert_same_bits(erased, plain)


def test_every_row_has_statistics_of_its_own(version, rng):
    images = rng.integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    table = np.array([[2, 0, 0, 0], [0, 1, 2, 3], [2, 5, 5, 1], [0, 0, 0, 0], [1, 3, 4, 2], [2, 0, 0, 0]], np.int32)
    got = crop(images, table, (12, 13), standardize=True)
    for row, one in zip(table, got, strict=True):
        assert_same_bits(crop(images, row[None], (12, 13), standardize=True)[0], one)


@pytest.mark.parametrize("spec_of", [CropSpec, WarpSpec])
@pytest.mark.parametrize("source", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_images_with_numbers_that_are_not_finite_are_refused_or_become_nan(version, spec_of, source, value):
    images = np.ones((3, 8, 40, 1), source)
    images[1, 7, 39] = value
    for dtype, layout in itertools.product(DTYPES, LAYOUTS):
        spec = spec_of((8, 40, 1), source, (8, 40), dtype=dtype, layout=layout, check_finite=True, standardize=True)
        out = np.zeros(spec.out_shape(3), spec.out_dtype)
        sink = spec.cpu_sink(whole(3), 3, out)
        pixels, places = images.reshape(-1).view(np.uint8), np.arange(3)
        assert hand_over(pixels, places * images[0].nbytes, places, sink) == (Status.NOT_FINITE, 1)
        out = crop(images, whole(3), (8, 40), dtype=dtype, layout=layout, standardize=True)
        assert np.isnan(out[1].astype(np.float32)).all()
        assert not out[[0, 2]].any()


def test_only_what_is_standardised_has_to_fit_into_float32():
    """Numbers beyond float16 are standardised, and fit then; what is erased has to fit as it is."""
    images = np.array([[[[0.0], [3e6]]]])
    spec = CropSpec((1, 2, 1), "float64", (1, 2), dtype="float16", check_finite=True, standardize=True)
    check_range(CropSpec((1, 2, 1), "uint8", (1, 2), scale=1e6, dtype="float16", standardize=True), np.dtype("uint8"))
    out = np.empty((1, 1, 2, 1), np.float16)
    place = np.zeros(1, np.int64)
    done = hand_over(images.reshape(-1).view(np.uint8), place, place, spec.cpu_sink(whole(1), 1, out))
    assert done == (Status.OK, 1)
    assert out.ravel().tolist() == [-1, 1]
    with pytest.raises(ValueError, match="'float16' holds numbers up to 65504, and erase_value is as large as 70000"):
        WarpSpec((1, 2, 1), "uint8", (1, 2), dtype="float16", check_finite=True, standardize=True, erase_value=70000)


def test_only_the_bytes_that_the_rows_of_an_image_need_are_read(version, rng, tmp_path):
    """Those from the first one that any of its rows needs to the last one; what is around them is not there."""
    images = rng.integers(0, 256, (1, 40, 20, 3)).astype(np.float32)
    table = np.array([[0, 20, 3, 0], [0, 9, 4, 3], [0, 15, 10, 1]], np.int32)
    spec = CropSpec((40, 20, 3), "float32", (6, 7), check_finite=True, standardize=True)
    out = np.empty(spec.out_shape(3), np.float32)
    images.tofile(tmp_path / "images")
    scratch, place = np.full(images.size, np.nan, np.float32), np.zeros(1, np.int64)
    with (tmp_path / "images").open("rb") as file:
        status = read_images(file.fileno(), place, place, scratch.view(np.uint8), spec.cpu_sink(table, 1, out))
    assert status == (Status.OK, 1)
    rows = np.isnan(scratch.reshape(40, -1)).all(axis=1)
    assert np.flatnonzero(~rows).tolist() == list(range(9, 26))
    assert_same_bits(out, crop(images, table, (6, 7), standardize=True))


SUMS = """
#include "_standard.c"

void sums_of_image(int version, const float *image, int64_t n, double *found)
{
    const fastprep_standard standard = {version, FASTPREP_TO_FLOAT32, 0, n};
    const sums all = sums_of(&standard, image);
    found[0] = all.distances, found[1] = all.squares;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed, which compiles the sums by themselves")
def test_sums_are_added_up_in_the_order_of_the_definition(tmp_path, rng):
    """Of the squares' order hardly anything is left in the results, which are float32."""
    folder = Path(kernels.__file__).parent
    if not (folder / "_standard.c").exists():
        pytest.skip("fastprep is installed without its C files")
    (tmp_path / "sums.c").write_text(SUMS)
    library = tmp_path / "sums.so"
    flags = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC", "-Wno-unused-function"]
    subprocess.run(["gcc", *flags, f"-I{folder}", tmp_path / "sums.c", "-o", library, "-lm"], check=True)
    function = ctypes.CDLL(str(library)).sums_of_image
    function.argtypes = [ctypes.c_int, *[np.ctypeslib.ndpointer(np.float32), ctypes.c_int64, np.ctypeslib.ndpointer(np.float64)]]
    for n in (1, 31, 33, 300, 8000, 8192, 20001):
        for image in (rng.standard_normal(n).astype(np.float32), cancelling(rng, n)):
            distances = [number - float(image[0]) for number in image.tolist()]
            wanted = [reference._added_up(distances), reference._added_up([distance * distance for distance in distances])]
            for version in supported_versions():
                found = np.empty(2)
                function(_cpu.VERSIONS[version], image, n, found)
                assert found.tolist() == wanted, (version, n)
