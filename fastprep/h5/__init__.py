"""Everything about HDF5 files. No other folder imports h5py."""

from fastprep.h5._read import CopySink
from fastprep.h5.cache import BlockCache, Scratch
from fastprep.h5.handles import Handles
from fastprep.h5.index import ImageIndex, warn_of_hdf5
from fastprep.h5.metadata import Metadata, are_weights, read_file_names, read_labels, read_metadata, read_std
from fastprep.h5.other_files import files_beside
from fastprep.h5.reader import Reader, open_images
from fastprep.h5.store import store_mean
from fastprep.h5.survey import survey
from fastprep.h5.write import write_images

__all__ = [
    "BlockCache",
    "CopySink",
    "Handles",
    "ImageIndex",
    "Metadata",
    "Reader",
    "Scratch",
    "are_weights",
    "files_beside",
    "open_images",
    "read_file_names",
    "read_labels",
    "read_metadata",
    "read_std",
    "store_mean",
    "survey",
    "warn_of_hdf5",
    "write_images",
]
