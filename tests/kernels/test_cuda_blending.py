"""blend.cu as C++ under sanitizers, in a batch of exactly the right size, and compiled by NVIDIA's compiler without a GPU."""

import itertools
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import reference
from crop_cases import assert_same_bits
from cuda_on_cpu import ArrayProgram
from nvrtc import ARCHITECTURES, Nvrtc

from fastprep.kernels import CropSpec
from fastprep.kernels.cuda_blending import NAME, blend_grid, blend_options, blend_source

SHAPES = [(1, 1, 1), (3, 5, 3), (8, 8, 4), (7, 9, 5), (90, 70, 3)]
DTYPES, LAYOUTS = ("float32", "float16", "bfloat16"), ("channels_last", "channels_first")


def spec_of(shape, dtype, layout):
    return CropSpec(shape, "uint8", shape[:2], dtype=dtype, layout=layout)


def random_blends(rng, n, height, width):
    """Return shares and rectangles; some images are mixed, some have a rectangle, also one without width or one of all pixels."""
    shares = (rng.integers(0, 2**16 + 1, n) / 2**16).astype(np.float32)
    corners = np.stack([rng.integers(0, height, n), rng.integers(0, width, n)], 1)
    sides = np.stack([rng.integers(0, height - corners[:, 0] + 1), rng.integers(0, width - corners[:, 1] + 1)], 1)
    rectangles = np.hstack([corners, sides]).astype(np.int32)
    kinds = rng.integers(0, 3, n)
    rectangles[kinds == 0] = 0
    rectangles[(kinds == 1) & (rng.random(n) < 0.3)] = 0, 0, height, width
    return shares, rectangles


def run(folder, cases):
    """Run the kernel for each case: a spec, x, shares and rectangles; return what becomes of each x."""
    program = ArrayProgram(folder)
    for spec, *arrays in cases:
        n = len(arrays[0])
        program.add(NAME, blend_source(), blend_options(spec), blend_grid(spec, n), (*arrays, np.int32(n)))
    return [x for x, *_ in program.run()]


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed, which compiles blend.cu as C++")
def test_equals_the_oracle(tmp_path):
    """Images that are aligned like their partners and others, even and odd numbers of them, and numbers down to subnormal."""
    rng, cases, wanted = np.random.default_rng(5), [], []
    for shape, dtype, layout in itertools.product(SHAPES, DTYPES, LAYOUTS):
        spec, n = spec_of(shape, dtype, layout), int(rng.integers(1, 8))
        values = rng.standard_normal((n, *shape)) * 10.0 ** rng.integers(-9 if dtype == "float16" else -42, 4, (n, *shape))
        x = values.astype(np.float32).astype(reference.DTYPES[dtype])
        shares, rectangles = random_blends(rng, n, *shape[:2])
        out = reference.blend(x, shares, rectangles)
        if layout == "channels_first":
            x, out = (np.ascontiguousarray(array.transpose(0, 3, 1, 2)) for array in (x, out))
        cases.append((spec, x, shares, rectangles))
        wanted.append(out)
    for (spec, *_), got, want in zip(cases, run(tmp_path, cases), wanted, strict=True):
        try:
            assert_same_bits(got, want)
        except AssertionError as error:
            raise AssertionError(f"{spec}: {error}") from None


@pytest.mark.parametrize("wheel", ARCHITECTURES)
def test_compiles_without_spills_and_moves_16_bytes_at_a_time(wheel):
    nvrtc = Nvrtc(wheel)
    for dtype, layout in itertools.product(DTYPES, LAYOUTS):
        spec = spec_of((224, 224, 3), dtype, layout)
        launch = SimpleNamespace(source=blend_source(), options=blend_options(spec))
        for number in (ARCHITECTURES[wheel][0], ARCHITECTURES[wheel][-1]):
            if number in nvrtc.architectures():
                cubin, log = nvrtc.compile(launch, f"sm_{number}")
                assert NAME.encode() in cubin
                assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in log
                assert int(re.search(r"Used (\d+) registers", log)[1]) <= 80, log  # three blocks fit on a multiprocessor
        ptx = nvrtc.compile(launch, "compute_75", "-ftz=true", "--fmad=true")[0].decode()
        assert re.search(r"st\.global\S*\.v4\.[fbu]32", ptx)
        assert re.search(r"ld\.global\S*\.v4\.[fbu]32", ptx)
        assert not re.findall(r"\.ftz|fma\.|\.approx|\.local", ptx)


def test_a_batch_of_too_many_blocks_is_refused():
    with pytest.raises(ValueError, match=r"at most .* images of this size can be blended, got"):
        blend_grid(spec_of((1, 1, 1), "float32", "channels_last"), 2**33)
