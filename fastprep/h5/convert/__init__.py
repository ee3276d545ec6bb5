"""Rewriting of HDF5 files in the layout that loads fastest."""

from fastprep.h5.convert.images import InexactError
from fastprep.h5.convert.options import OtherFilesError, OtherLabels, Rewritten
from fastprep.h5.convert.rewrite import rewrite

__all__ = ["InexactError", "OtherFilesError", "OtherLabels", "Rewritten", "rewrite"]
