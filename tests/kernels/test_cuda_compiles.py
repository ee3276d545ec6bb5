"""crop.cu, compiled by NVIDIA's own compilers, of CUDA 12 and 13, for every generation of GPUs that they know, without a GPU."""

import itertools
import re

import numpy as np
import pytest
from nvrtc import ARCHITECTURES, EACH_ARCHITECTURE, Nvrtc, resources, share_of

from fastprep.kernels import CropSpec
from fastprep.kernels.cuda import plan_of

MEANS = {"none": None, "channels": [103.939, 116.779, 123.68], "image": np.zeros((256, 256, 3), np.float32)}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def nvrtc(request):
    return Nvrtc(request.param)


def launch_of(source="uint8", dtype="float32", layout="channels_last", mean="channels", channels=3, check_finite=False):
    images = np.zeros((1, 256, 256, channels), source)
    values = MEANS[mean] if channels == 3 else None
    spec = CropSpec(images.shape[1:], source, (227, 227), values, 1 / 255, dtype, layout, check_finite)
    return plan_of(spec, images, spec.checked_table(np.zeros((1, 4), np.int32), 1))


DTYPES, LAYOUTS = ("float32", "float16", "bfloat16"), ("channels_last", "channels_first")
VARIANTS = [("uint8", *rest) for rest in itertools.product(DTYPES, LAYOUTS, MEANS)]
VARIANTS += [(source, "float16", layout, "image") for source in ("uint16", "float32", "float64") for layout in LAYOUTS]
VARIANTS += [("uint8", "float32", "channels_last", "none", channels) for channels in (1, 4, 5, 1000)]
VARIANTS += [(source, dtype, "channels_last", "channels", 3, True) for source in ("float32", "float64") for dtype in DTYPES]


@pytest.mark.parametrize(("nvrtc", "architecture"), EACH_ARCHITECTURE, indirect=["nvrtc"])
def test_no_spills_and_few_registers(nvrtc, architecture):
    """The numbers are from the compiler. A spill would be an access to memory for each element."""
    if architecture not in nvrtc.architectures():
        pytest.skip(f"the installed {nvrtc.wheel} does not compile for sm_{architecture}")
    for variant in share_of(VARIANTS, nvrtc.wheel, architecture):
        cubin, log = nvrtc.compile(launch_of(*variant), f"sm_{architecture}")
        assert cubin.startswith(b"\x7fELF")
        assert b"fastprep_crop" in cubin
        spilt, registers, shared = resources(log)
        assert spilt == 0, (variant, log)
        assert registers <= 64, (variant, log)
        assert shared <= 48 * 1024, (variant, log)


@pytest.mark.parametrize("architecture", ["compute_75", "compute_90"])
def test_moves_16_bytes_at_a_time(nvrtc, architecture):
    """From compute_80 on, the source is another one for numbers of 16 bits."""
    for variant in VARIANTS if architecture == "compute_75" else [some for some in VARIANTS if some[1] != "float32"]:
        ptx = nvrtc.compile(launch_of(*variant), architecture)[0].decode()
        assert re.search(r"st\.global\S*\.v4\.[fbu]32", ptx), variant
        assert re.search(r"ld\.global\.nc\.v4\.u32", ptx), variant
        assert ".local" not in ptx, variant


@pytest.mark.parametrize("architecture", ["sm_75", "sm_90"])
def test_sources_of_other_orders_need_no_more_than_channels_last(nvrtc, architecture):
    for order, layout, picked in itertools.product(("CHW", "CWH", "HWC", "WHC"), LAYOUTS, (None, (2, 1, 0))):
        spec = CropSpec(
            (256, 256, 3), "uint8", (227, 227), MEANS["channels"], 1 / 255, layout=layout, order=order, channels=picked
        )
        images = np.zeros((1, *spec.source_shape), np.uint8)
        cubin, log = nvrtc.compile(plan_of(spec, images, spec.checked_table(np.zeros((1, 4), np.int32), 1)), architecture)
        assert b"fastprep_crop" in cubin
        spilt, registers, shared = resources(log)
        assert spilt == 0
        assert registers <= 64, (order, layout, log)
        assert shared <= 48 * 1024, (order, layout, log)


@pytest.mark.parametrize("options", [(), ("-ftz=true",), ("-ftz=true", "--fmad=true"), ("--use_fast_math",)])
def test_arithmetic_does_not_depend_on_options(nvrtc, options):
    """CuPy adds -ftz=true, and users may add other options."""
    for source in ("uint8", "float32", "float64"):
        for dtype in DTYPES:
            ptx = nvrtc.compile(launch_of(source, dtype), "compute_75", *options)[0].decode()
            assert "sub.rn.f32" in ptx
            assert "mul.rn.f32" in ptx
            assert not re.findall(r"\.ftz|fma\.|\.approx", ptx)


def test_an_error_in_the_source_is_reported(nvrtc):
    launch = launch_of()
    broken = type(launch)(**{**vars(launch), "source": launch.source.replace("subtract(", "nowhere(", 1)})
    with pytest.raises(AssertionError, match='identifier "subtract" is undefined'):
        nvrtc.compile(broken, "sm_80")
