"""Everything about HDF5 files. No other folder imports h5py."""

from fastprep.h5._read import CopySink
from fastprep.h5.cache import BlockCache, Scratch
from fastprep.h5.chunks import NOT_FINITE
from fastprep.h5.handles import Handles
from fastprep.h5.index import ImageIndex, warn_of_hdf5
from fastprep.h5.marks import has_mark, writer_of
from fastprep.h5.metadata import Metadata, are_weights, read_file_names, read_labels, read_metadata, read_std
from fastprep.h5.other_files import files_beside
from fastprep.h5.plausibility import MOST_CHANNELS, check_axes_name
from fastprep.h5.reader import Reader, open_images
from fastprep.h5.sources import source_files
from fastprep.h5.store import store_mean
from fastprep.h5.survey import FileSurvey, survey
from fastprep.h5.unwritten import count_unwritten, describe_unwritten, warn_of_unwritten
from fastprep.h5.write import write_images

__all__ = [
    "MOST_CHANNELS",
    "NOT_FINITE",
    "BlockCache",
    "CopySink",
    "FileSurvey",
    "Handles",
    "ImageIndex",
    "Metadata",
    "Reader",
    "Scratch",
    "are_weights",
    "check_axes_name",
    "count_unwritten",
    "describe_unwritten",
    "files_beside",
    "has_mark",
    "open_images",
    "read_file_names",
    "read_labels",
    "read_metadata",
    "read_std",
    "source_files",
    "store_mean",
    "survey",
    "warn_of_hdf5",
    "warn_of_unwritten",
    "write_images",
    "writer_of",
]
