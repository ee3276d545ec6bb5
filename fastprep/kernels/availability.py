"""What a CUDA device needs besides a driver, checked before the first batch: CUDA's compiler and a folder for its kernels."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from fastprep.errors import DeviceUnavailableError

INSTALL = "install fastprep[gpu], or the cupy that fits the driver, with CUDA's compiler: cupy-cuda12x[ctk] or cupy-cuda13x[ctk]"
_CACHE = "set CUPY_CACHE_DIR, or HOME, to a folder that can be written"
_TRIAL = 'extern "C" __global__ void fastprep_trial(float *out) { out[threadIdx.x] = 1.0f; }'


def failed_import(error: Exception) -> DeviceUnavailableError:
    """Return the error for whatever the import of cupy raised: it makes folders, loads libraries and reads the environment."""
    way_out = _CACHE if isinstance(error, OSError) else INSTALL
    return DeviceUnavailableError(f"cupy can't be imported ({_in_one_line(error)}); {way_out}")


def check_compiler(cupy: Any, number: int) -> None:
    """Compile a kernel of one line for a device, without a context on any device.

    Each part of NVRTC may be missing by itself: the library, which cupy does not bring; the library of built-in functions, which
    is loaded by the first compilation; and the device's architecture, which only some versions know.

    Parameters
    ----------
    cupy : module
    number : int
        Number of a device that exists.

    Raises
    ------
    DeviceUnavailableError
        If NVRTC can't be loaded, or does not compile for the device.
    """
    nvrtc = cupy.cuda.nvrtc
    try:
        newest, version = max(nvrtc.getSupportedArchs()), ".".join(map(str, nvrtc.getVersion()))
    except Exception as error:  # its type depends on what exactly is missing
        problem = f"NVRTC, CUDA's compiler, can't be loaded ({_in_one_line(error)}); {INSTALL}"
        raise DeviceUnavailableError(problem) from error
    properties = cupy.cuda.runtime.getDeviceProperties(number)
    major, minor = properties["major"], properties["minor"]
    program = nvrtc.createProgram(_TRIAL, "trial.cu", (), ())
    try:  # for the newest known architecture, where the device is newer: so does cupy
        nvrtc.compileProgram(program, (f"--gpu-architecture=sm_{min(10 * major + minor, newest)}",))
    except Exception as error:
        raise DeviceUnavailableError(
            f"NVRTC {version}, CUDA's compiler, can't compile for cuda:{number}, of compute capability {major}.{minor} "
            f"({_in_one_line(nvrtc.getProgramLog(program) or error)}); {INSTALL}"
        ) from error
    finally:
        nvrtc.destroyProgram(program)


def check_cache() -> None:
    """Try whether cupy could keep a compiled kernel in its folder, which it makes when it is imported.

    Raises
    ------
    DeviceUnavailableError
        If it could not, and would raise an error at the first batch.
    """
    folder = os.environ.get("CUPY_CACHE_DIR") or os.path.expanduser("~/.cupy/kernel_cache")
    if os.environ.get("CUPY_CACHE_IN_MEMORY") == "1" or not os.path.isdir(folder):
        return
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        problem = f"cupy can't keep compiled kernels in {folder} ({error.strerror}); {_CACHE}, or CUPY_CACHE_IN_MEMORY=1"
        raise DeviceUnavailableError(problem) from error


def _in_one_line(problem: object) -> str:
    """Return a message without line ends and without the rules of equals signs that cupy draws around some."""
    return " ".join(word for word in str(problem).split() if word.strip("="))
