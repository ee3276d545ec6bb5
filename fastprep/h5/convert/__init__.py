"""Rewriting of an HDF5 file in the layout that loads fastest."""

from fastprep.h5.convert.rewrite import InexactError, Rewritten, rewrite

__all__ = ["InexactError", "Rewritten", "rewrite"]
