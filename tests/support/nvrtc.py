"""NVIDIA's run-time compilers of CUDA 12 and 13, which need no GPU, from wheels."""

import ctypes
import importlib.metadata
import re

import pytest

ARCHITECTURES = {
    "nvidia-cuda-nvrtc-cu12": (70, 75, 80, 86, 89, 90, 100, 120),
    "nvidia-cuda-nvrtc": (75, 80, 86, 89, 90, 100, 103, 110, 120, 121),  # of CUDA 13
}
# of each compiler the first and the last generation of GPUs; the others where much is tested
EACH_ARCHITECTURE = [
    pytest.param(wheel, number, marks=[] if number in (numbers[0], numbers[-1]) else [pytest.mark.large])
    for wheel, numbers in ARCHITECTURES.items()
    for number in numbers
]


def share_of(variants, wheel, architecture):
    """Return all variants for a compiler's first and last generation of GPUs, and for each between them another third."""
    place = ARCHITECTURES[wheel].index(architecture)
    return variants if place in (0, len(ARCHITECTURES[wheel]) - 1) else variants[place % 3 :: 3]


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
        assert library.nvrtcCreateProgram(ctypes.byref(program), launch.source.encode(), b"kernel.cu", 0, None, None) == 0
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


def resources(log):
    """Return what the compiler says of a kernel: bytes of its stack and its spills, registers, and bytes of shared memory."""
    (used,) = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    shared = re.search(r"(\d+) bytes smem", log)
    return sum(map(int, used)), int(re.search(r"Used (\d+) registers", log)[1]), int(shared[1]) if shared else 0
