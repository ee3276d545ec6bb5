"""warp.cu, compiled by NVIDIA's own compilers, of CUDA 12 and 13, without a GPU."""

import itertools
import re

import numpy as np
import pytest
from nvrtc import ARCHITECTURES, EACH_ARCHITECTURE, Nvrtc, resources, share_of

from fastprep.kernels import WarpSpec
from fastprep.kernels.records import record_of
from fastprep.kernels.warp_plan import warp_plan_of
from fastprep.transforms import TransformTable

DTYPES, LAYOUTS = ("float32", "float16", "bfloat16"), ("channels_last", "channels_first")
PARTS = {
    "crop": {},
    "box": {"boxes": np.array([[0.0, 0, 256, 256]])},
    "matrix": {"matrices": np.array([[[1.0, 0, 0], [0, 1, 0]]])},
}
VARIANTS = [
    {"geometry": geometry, "dtype": dtype, "layout": layout, "has_colors": colors}
    for geometry, (dtype, layout, colors) in itertools.product(
        PARTS, [("float32", "channels_last", False), ("float32", "channels_last", True), ("bfloat16", "channels_first", True)]
    )
]
VARIANTS += [
    {"geometry": "box", "source_dtype": "float64", "dtype": "float16", "check_finite": True, "erase_value": 0.5},
    {"geometry": "box", "source_dtype": "float32", "dtype": "float32", "layout": "channels_first"},
    {"geometry": "matrix", "source_dtype": "uint16", "channels": (2, 0), "order": "CHW", "erase_value": [1, 2]},
    {"geometry": "box", "has_sizes": True, "dtype": "float32", "has_colors": True},
    {"geometry": "box", "has_sizes": True, "dtype": "float16", "erase_value": 0.5},
    {"geometry": "matrix", "has_sizes": True, "dtype": "bfloat16", "layout": "channels_first"},
]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def nvrtc(request):
    return Nvrtc(request.param)


def launch_of(source_dtype="uint8", size=(224, 224), **options):
    channels = options.get("channels")
    n_channels = 3 if channels is None else len(channels)
    spec = WarpSpec((256, 256, n_channels), source_dtype, size, 99.5, 1 / 57, source_channels=3, **options)
    table = TransformTable(
        np.zeros((1, 4), np.int32),
        **PARTS[spec.geometry],
        colors=np.zeros((1, 3, 4), np.float32) if spec.has_colors else None,
        erasures=None if spec.erase_value is None else np.zeros((1, 4), np.int32),
        sizes=np.array([[256, 256]]) if spec.has_sizes else None,
    )
    images = np.zeros((1, *spec.source_shape), source_dtype)
    images = images.reshape(-1) if spec.has_sizes else images
    return warp_plan_of(spec, images, record_of(spec).pack(spec.checked(table, 1)), 1)


@pytest.mark.parametrize(("nvrtc", "architecture"), EACH_ARCHITECTURE, indirect=["nvrtc"])
def test_no_spills_and_few_registers(nvrtc, architecture):
    """The numbers are from the compiler. A spill would be an access to memory for each element."""
    if architecture not in nvrtc.architectures():
        pytest.skip(f"the installed {nvrtc.wheel} does not compile for sm_{architecture}")
    for variant in share_of(VARIANTS, nvrtc.wheel, architecture):
        cubin, log = nvrtc.compile(launch_of(**variant), f"sm_{architecture}")
        assert b"fastprep_warp" in cubin
        spilt, registers, shared = resources(log)
        assert spilt == 0, (variant, log)
        has_more = variant.get("source_dtype") == "float64" or (variant.get("has_sizes") and variant["dtype"] == "float16")
        assert registers <= (80 if has_more else 64), (variant, log)
        assert shared <= 48 * 1024, (variant, log)


@pytest.mark.parametrize("options", [(), ("-ftz=true", "--fmad=true"), ("--use_fast_math",)])
def test_arithmetic_does_not_depend_on_options(nvrtc, options):
    """CuPy adds -ftz=true, and users may add other options."""
    for variant in VARIANTS[::2]:
        ptx = nvrtc.compile(launch_of(**variant), "compute_75", *options)[0].decode()
        assert re.search(r"st\.global\S*\.v4\.[fbu]32", ptx), variant
        assert "add.rn.f32" in ptx or not variant.get("has_colors"), variant
        assert ".local" not in ptx, variant
        assert not re.findall(r"\.ftz|fma\.|\.approx", ptx)
