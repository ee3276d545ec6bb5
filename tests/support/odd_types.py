"""Types of HDF5 that numpy lacks."""

from h5py import h5t


def wide_float():
    """IEEE 754 binary128, as some machines and languages have it."""
    kind = h5t.IEEE_F64LE.copy()
    kind.set_size(16)
    kind.set_precision(128)
    kind.set_fields(127, 112, 15, 0, 112)
    kind.set_ebias(16383)
    return kind
