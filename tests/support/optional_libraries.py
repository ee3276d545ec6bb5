"""Libraries of the extras: where one is not installed, the tests that need it are skipped, and the others run."""

import importlib.util
import os

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
    "simplejpeg",
    "skimage",
    "sklearn",
    "tables",
    "tifffile",
)


def missing_library(error):
    """Return the name of the library that an import did not find, whatever was raised because of that; else None."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and (name := (error.name or "").partition(".")[0]) in OPTIONAL:
            return name
        error = error.__cause__ or error.__context__
    return None


def choose_backend():
    """Have Keras run on JAX or torch where TensorFlow, its default, is not installed; what the user chose stays."""
    if "KERAS_BACKEND" not in os.environ:
        installed = [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
        if installed and installed[0] != "tensorflow":
            os.environ["KERAS_BACKEND"] = installed[0]
