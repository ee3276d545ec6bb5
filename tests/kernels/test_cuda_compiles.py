"""crop.cu, compiled by NVIDIA's own compilers, of CUDA 12 and 13, for every generation of GPUs that they know, without a GPU."""

import ctypes
import importlib.metadata
import itertools
import re

import numpy as np
import pytest

from fastprep.kernels import CropSpec
from fastprep.kernels.cuda import plan_of

ARCHITECTURES = {
    "nvidia-cuda-nvrtc-cu12": (70, 75, 80, 86, 89, 90, 100, 120),
    "nvidia-cuda-nvrtc": (75, 80, 86, 89, 90, 100, 103, 110, 120, 121),  # of CUDA 13
}
MEANS = {"none": None, "channels": [103.939, 116.779, 123.68], "image": np.zeros((256, 256, 3), np.float32)}


class Nvrtc:
    """NVIDIA's run-time compiler, https://docs.nvidia.com/cuda/nvrtc, from a wheel."""

    def __init__(self, wheel):
        self.wheel = wheel
        try:
            files = importlib.metadata.files(wheel) or []
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{wheel} is not installed, which compiles CUDA without a GPU (extra `test`)")
        # first the built-in functions, which some wheels' compilers find only among what is loaded already
        for pattern in (r"libnvrtc-builtins\.so\.[\d.]+", r"libnvrtc\.so\.\d+"):
            (file,) = (file for file in files if re.fullmatch(pattern, file.name))
            self.library = ctypes.CDLL(str(file.locate()))

    def architectures(self):
        n = ctypes.c_int()
        assert self.library.nvrtcGetNumSupportedArchs(ctypes.byref(n)) == 0
        numbers = (ctypes.c_int * n.value)()
        assert self.library.nvrtcGetSupportedArchs(numbers) == 0
        return list(numbers)

    def compile(self, launch, architecture, *options):
        """Return (cubin or PTX, log)."""
        library, program = self.library, ctypes.c_void_p()
        assert library.nvrtcCreateProgram(ctypes.byref(program), launch.source.encode(), b"crop.cu", 0, None, None) == 0
        try:
            all_options = [f"--gpu-architecture={architecture}", "-Xptxas=-v", *launch.options, *options]
            texts = (ctypes.c_char_p * len(all_options))(*[option.encode() for option in all_options])
            status = library.nvrtcCompileProgram(program, len(texts), texts)
            log = self._get(program, "ProgramLog").decode().rstrip("\0")
            assert status == 0, log
            return self._get(program, "CUBIN" if architecture.startswith("sm_") else "PTX"), log
        finally:
            library.nvrtcDestroyProgram(ctypes.byref(program))

    def _get(self, program, what):
        size = ctypes.c_size_t()
        assert getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)) == 0
        content = ctypes.create_string_buffer(size.value)
        assert getattr(self.library, f"nvrtcGet{what}")(program, content) == 0
        return content.raw


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


@pytest.mark.parametrize(
    ("nvrtc", "architecture"),
    [
        pytest.param(wheel, number, marks=[] if number in (numbers[0], numbers[-1]) else [pytest.mark.large])
        for wheel, numbers in ARCHITECTURES.items()
        for number in numbers
    ],
    indirect=["nvrtc"],
)
def test_no_spills_and_few_registers(nvrtc, architecture):
    """The numbers are from the compiler. A spill would be an access to memory for each element."""
    if architecture not in nvrtc.architectures():
        pytest.skip(f"the installed {nvrtc.wheel} does not compile for sm_{architecture}")
    for variant in VARIANTS:
        cubin, log = nvrtc.compile(launch_of(*variant), f"sm_{architecture}")
        assert cubin.startswith(b"\x7fELF")
        assert b"fastprep_crop" in cubin
        (used,) = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
        assert used == ("0", "0", "0"), (variant, log)
        assert int(re.search(r"Used (\d+) registers", log)[1]) <= 64, (variant, log)
        assert int(re.search(r"(\d+) bytes smem", log)[1]) <= 48 * 1024, (variant, log)


@pytest.mark.parametrize("architecture", ["compute_75", "compute_90"])
def test_moves_16_bytes_at_a_time(nvrtc, architecture):
    for variant in VARIANTS:
        ptx = nvrtc.compile(launch_of(*variant), architecture)[0].decode()
        assert re.search(r"st\.global\S*\.v4\.[fbu]32", ptx), variant
        assert re.search(r"ld\.global\.nc\.v4\.u32", ptx), variant
        assert ".local" not in ptx, variant


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
