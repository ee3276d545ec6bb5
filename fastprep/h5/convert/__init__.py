"""Rewriting of HDF5 files in the layout that loads fastest."""

from fastprep.h5.convert.rewrite import InexactError, OtherFilesError, Rewritten, rewrite

__all__ = ["InexactError", "OtherFilesError", "Rewritten", "rewrite"]
