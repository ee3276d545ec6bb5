"""Libraries of the extras: where one is not installed, the tests that need it are skipped, and the others run.

A test that imports such a library, at the head of its module or further down, or by another module of tests, says nothing of it:
`conftest.py` skips it. A test in which fastprep needs the library, or a process that the test starts, is marked by `needs`.
Without the mark it fails, since fastprep may have asked for a library that it ought not to need.
"""

import importlib.util
import os
import traceback
from pathlib import Path

import pytest

import fastprep

BACKENDS = ("tensorflow", "jax", "torch")
OPTIONAL = (
    *BACKENDS,
    "cv2",
    "elpv_dataset",
    "hdf5plugin",
    "hdf5storage",
    "keras",
    "netCDF4",
    "obstore",
    "ray",
    "simplejpeg",
    "skimage",
    "sklearn",
    "tables",
    "tifffile",
)


def needs(*libraries):
    """Return a mark that skips a test, a module of tests or a parameter where one of these libraries is not installed."""
    if unknown := set(libraries) - set(OPTIONAL):
        raise ValueError(f"libraries must be among the optional ones, {', '.join(OPTIONAL)}; got {', '.join(sorted(unknown))}")
    missing = [name for name in libraries if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{(missing or libraries)[0]} is not installed")


def missing_library(error):
    """Return the name of the library that an import did not find, whatever was raised because of that; else None."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and (name := (error.name or "").partition(".")[0]) in OPTIONAL:
            return name
        error = error.__cause__ or error.__context__
    return None


def missing_in_tests(error):
    """Return the name of the library that an import did not find if it was not fastprep that imported it; else None."""
    package = Path(fastprep.__file__).parent
    by_fastprep = any(package in Path(frame.filename).parents for frame in traceback.extract_tb(error.__traceback__))
    return missing_library(error) if isinstance(error, ModuleNotFoundError) and not by_fastprep else None


def choose_backend():
    """Have Keras run on JAX or torch where TensorFlow, its default, is not installed; what the user chose stays."""
    if "KERAS_BACKEND" not in os.environ:
        installed = [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
        if installed and installed[0] != "tensorflow":
            os.environ["KERAS_BACKEND"] = installed[0]
