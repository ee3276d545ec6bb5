"""Rewriting of HDF5 files in the layout that loads fastest."""

from fastprep.h5.convert.rewrite import InexactError, Rewritten, rewrite

__all__ = ["InexactError", "Rewritten", "rewrite"]
