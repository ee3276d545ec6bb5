"""Encoded images: what their bytes are, what their headers say, and their pixels. Nothing here knows HDF5."""
