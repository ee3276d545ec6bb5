"""netCDF4 with its own filters, wherever TensorFlow was imported before, and after h5py has those of hdf5plugin.

Both have a filter for Blosc. If netCDF4 is imported first, h5py can't create datasets with that of hdf5plugin.
"""

import contextlib
import os

with contextlib.suppress(ImportError):
    import hdf5plugin  # noqa: F401

if os.environ.get("HDF5_PLUGIN_PATH") == "disable":  # as TensorFlow leaves it; netCDF4 finds its own filters through it
    del os.environ["HDF5_PLUGIN_PATH"]

import netCDF4

__all__ = ["netCDF4"]
