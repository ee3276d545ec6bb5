"""Rewriting of HDF5 files: in the layout that loads fastest, or with encoded images."""

from fastprep.h5.convert.exact import InexactError
from fastprep.h5.convert.images import SizesDifferError
from fastprep.h5.convert.options import Encoding, Loss, OtherFilesError, OtherLabels, Resize, Rewritten
from fastprep.h5.convert.rewrite import rewrite

__all__ = [
    "Encoding",
    "InexactError",
    "Loss",
    "OtherFilesError",
    "OtherLabels",
    "Resize",
    "Rewritten",
    "SizesDifferError",
    "rewrite",
]
