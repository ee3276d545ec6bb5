"""statistics.cu and standardize.cu as C++ under sanitizers, in memory of exactly the right size, and compiled without a GPU."""

import itertools
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import reference
from crop_cases import assert_same_bits
from cuda_on_cpu import ArrayProgram
from nvrtc import ARCHITECTURES, EACH_ARCHITECTURE, Nvrtc, resources, share_of

from fastprep.kernels import CropSpec, WarpSpec
from fastprep.kernels.cuda import source_of
from fastprep.kernels.cuda_standardizing import NAMES, standard_grids, standard_options
from fastprep.kernels.records import Record

DTYPES, LAYOUTS = ("float32", "float16", "bfloat16"), ("channels_last", "channels_first")
SHAPES = [(1, 1, 1), (3, 5, 3), (8, 8, 4), (7, 9, 5), (31, 8, 1), (90, 70, 3)]


def spec_of(shape, dtype, layout, **options):
    kind = WarpSpec if "erase_value" in options else CropSpec
    return kind(shape, "float32", shape[:2], dtype=dtype, layout=layout, standardize=True, **options)


def add(program, spec, images, records):
    """Add both launches, as a loader makes them: float32 results lie where the images were. Return the second one's number."""
    options, grids = standard_options(spec, records.shape[1]), standard_grids(spec, len(images))
    (sums, numbers), (of_sums, of_numbers) = NAMES.items()
    assert (sums, of_sums) == ("statistics.cu", "standardize.cu")
    statistics = np.full((len(images), 4), np.nan, np.float32)
    first = program.add(numbers, source_of(sums), options, grids[sums], (images, statistics))
    out = (first, 0) if spec.dtype == "float32" else np.full(images.shape, np.nan, spec.out_dtype)
    checks = (np.zeros(len(images), np.uint32),) if spec.checks_finite else ()
    return program.add(of_numbers, source_of(of_sums), options, grids[of_sums], ((first, 0), (first, 1), records, out, *checks))


def standardized(images, dtype):
    return np.stack([reference.standardized(image) for image in images]).astype(reference.DTYPES[dtype])


needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed, which compiles CUDA as C++")


@needs_compiler
def test_equals_the_oracle(tmp_path):
    """Images that are aligned and others, more numbers than sums, some of one number, with and without what is erased."""
    rng, program, cases = np.random.default_rng(5), ArrayProgram(tmp_path), []
    for shape, dtype, layout in itertools.product(SHAPES, DTYPES, LAYOUTS):
        n = int(rng.integers(1, 4))
        images = (rng.standard_normal((n, *shape)) * 10.0 ** rng.integers(-42, 30) + rng.choice([0, 1e-30, 1000])).astype(
            np.float32
        )
        images[0] = images[0] if rng.random() < 0.7 else 7.25
        images = images if layout == "channels_last" else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        wanted = standardized(images, dtype)
        spec, records = spec_of(shape, dtype, layout), np.zeros((n, 4), np.int32)
        if rng.random() < 0.6:
            value = rng.uniform(-5, 5, shape[2])
            spec = spec_of(shape, dtype, layout, erase_value=value, geometry="matrix")
            places = Record(spec).places
            records = np.full((n, places["RECORD"]), -1, np.int32)
            corners = np.sort([rng.integers(0, (shape[0] + 1, shape[1] + 1), (n, 2)) for _ in range(2)], axis=0)
            records[:, places["ERASED"] : places["ERASED"] + 4] = np.hstack([corners[0], corners[1] - corners[0]])
            for image, (top, left), (bottom, right) in zip(wanted, *corners, strict=True):
                image = image if layout == "channels_last" else image.transpose(1, 2, 0)
                image[top:bottom, left:right] = value.astype(np.float32).astype(wanted.dtype)
        cases.append((spec, add(program, spec, images, records), wanted))
    results = program.run()
    for spec, launch, wanted in cases:
        try:
            assert_same_bits(results[launch][3], wanted)
        except AssertionError as error:
            raise AssertionError(f"{spec}: {error}") from None
    assert {isinstance(spec, WarpSpec) for spec, *_ in cases} == {False, True}


@needs_compiler
def test_sums_are_added_up_in_the_order_of_the_definition(tmp_path):
    """Of the squares' order hardly anything is left in the results, which are float32; here the kernel returns the sums."""
    rng, program, cases = np.random.default_rng(8), ArrayProgram(tmp_path), []
    start = "    const double n = (double)IMAGE,"
    source = source_of("statistics.cu")
    assert source.count(start) == 1
    source = source.replace(start, f"    float4 sums;\n    std::memcpy(&sums, &sum, sizeof sums);\n    return sums;\n{start}")
    for shape in ((1, 1, 1), (3, 11, 1), (10, 10, 3), (80, 100, 1), (64, 128, 1), (59, 113, 3)):
        spec, images = spec_of(shape, "float32", "channels_last"), rng.standard_normal((2, *shape)).astype(np.float32)
        images[1] = 10.0 ** rng.integers(-10, 18, shape) * images[1]
        arguments = images, np.zeros((2, 4), np.float32)
        grid = standard_grids(spec, 2)["statistics.cu"]
        cases.append((images, program.add(NAMES["statistics.cu"], source, standard_options(spec, 4), grid, arguments)))
    results = program.run()
    for images, launch in cases:
        for image, found in zip(images, results[launch][1].view(np.float64), strict=True):
            distances = [number - float(image.flat[0]) for number in image.ravel().tolist()]
            squares = [distance * distance for distance in distances]
            assert found.tolist() == [reference._added_up(distances), reference._added_up(squares)]


@needs_compiler
def test_images_with_results_that_are_not_finite_are_marked(tmp_path):
    program, launches = ArrayProgram(tmp_path), []
    images = np.random.default_rng(3).standard_normal((6, 40, 40, 3)).astype(np.float32)
    images[1, 39, 39, 2], images[2, 0, 0, 0], images[4, 7, 8, 1] = np.nan, np.inf, -np.inf
    images[5, :20], images[5, 20:] = 3e38, -3e38
    images[5, 0, 0] = -3.4e38, 3.4e38, 3e38
    for dtype, layout in itertools.product(DTYPES, LAYOUTS):
        spec = spec_of((40, 40, 3), dtype, layout, check_finite=True, erase_value=0)
        given = images if layout == "channels_last" else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        records = np.zeros((6, Record(spec).places["RECORD"]), np.int32)
        records[:, Record(spec).places["ERASED"] :][:, :4] = 0, 0, 40, 40
        launches.append((add(program, spec, given, records), np.isfinite(standardized(given, dtype).astype(np.float32))))
    results = program.run()
    for launch, finite in launches:
        *_, out, marks = results[launch]
        assert marks.tolist() == [0, 1, 1, 0, 1, 0]
        assert marks.tolist() == (~finite.reshape(6, -1).all(axis=1)).astype(int).tolist()
        assert not out.astype(np.float32).any()


@pytest.mark.parametrize(("nvrtc", "architecture"), EACH_ARCHITECTURE, indirect=["nvrtc"])
def test_compiles_without_spills_for_whole_blocks(nvrtc, architecture):
    if architecture not in nvrtc.architectures():
        pytest.skip(f"the installed {nvrtc.wheel} does not compile for sm_{architecture}")
    for (kernel, name), options in share_of([*itertools.product(NAMES.items(), all_options())], nvrtc.wheel, architecture):
        launch = SimpleNamespace(source=source_of(kernel), options=options)
        cubin, log = nvrtc.compile(launch, f"sm_{architecture}")
        assert name.encode() in cubin
        spilt, registers, _ = resources(log)
        assert spilt == 0, log
        assert registers <= 64, log  # a block of 1,024 threads fits, or four of 256


def all_options():
    for dtype, layout in itertools.product(DTYPES, LAYOUTS):
        spec = spec_of((224, 224, 3), dtype, layout, check_finite=True, erase_value=[0.5, 1, 2])
        yield standard_options(spec, Record(spec).places["RECORD"])
        yield standard_options(spec_of((224, 224, 3), dtype, layout), 4)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def nvrtc(request):
    return Nvrtc(request.param)


def test_no_step_is_fused_or_approximate_and_subnormal_numbers_stay(nvrtc):
    """With the options that cupy adds, and with --fmad=true."""
    for (kernel, _), options in itertools.product(NAMES.items(), all_options()):
        launch = SimpleNamespace(source=source_of(kernel), options=options)
        ptx = nvrtc.compile(launch, "compute_75", "-ftz=true", "--fmad=true")[0].decode()
        assert not re.findall(r"\.ftz|fma\.|\.approx|\.local", ptx)
        if kernel == "standardize.cu":
            assert re.search(r"st\.global\S*\.v4\.[fbu]32", ptx)
            assert re.search(r"ld\.global\S*\.v4\.[fbu]32", ptx)


def test_a_batch_of_too_many_blocks_is_refused():
    with pytest.raises(ValueError, match=r"at most .* images of this size can be standardised, got"):
        standard_grids(spec_of((1, 1, 1), "float32", "channels_last"), 2**33)
