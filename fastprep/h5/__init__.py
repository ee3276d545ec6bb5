"""Everything about HDF5 files. No other folder imports h5py."""

from fastprep.h5._read import CopySink, PackSink
from fastprep.h5.axes import Axes, check_axes_name, check_image_shape
from fastprep.h5.byte_rows import ByteRows, open_rows
from fastprep.h5.cache import BlockCache, Scratch, ThreadScratch
from fastprep.h5.candidates import Candidate, find_candidates, seems_network
from fastprep.h5.chunks import NOT_FINITE
from fastprep.h5.columns import count_rows, has_column, has_row_each, join_columns, one_row_each
from fastprep.h5.convert_line import convert_line_of, only_if_whole, way_to_read_directly
from fastprep.h5.encoded_index import decoded_like, has_encoded_images, like_first
from fastprep.h5.encoded_reader import OtherSizeError, SizeSink, TakesJpegs, reader_of
from fastprep.h5.file_bytes import absolute, check_readable, is_there, size_at
from fastprep.h5.groups import Images, describe_images, is_group, is_pattern
from fastprep.h5.handles import Handles
from fastprep.h5.index import ImageIndex, warn_of_hdf5
from fastprep.h5.lists import read_rows
from fastprep.h5.marks import has_mark, writer_of
from fastprep.h5.mask_reader import mask_reader_of
from fastprep.h5.metadata import Metadata, are_weights, read_file_names, read_labels, read_metadata, read_std, read_weights
from fastprep.h5.name_pairs import marks_of, wrong_pair
from fastprep.h5.name_words import belong_together
from fastprep.h5.not_hdf5 import check_no_folder
from fastprep.h5.opening import open_images
from fastprep.h5.other_files import files_beside
from fastprep.h5.plausibility import MOST_CHANNELS
from fastprep.h5.reader import Reader
from fastprep.h5.sources import source_files
from fastprep.h5.store import store_mean
from fastprep.h5.survey import FileSurvey, survey
from fastprep.h5.unwritten import count_unwritten, describe_unwritten, warn_of_unwritten, warn_of_unwritten_in
from fastprep.h5.vectors import read_vector
from fastprep.h5.write import write_images
from fastprep.h5.write_encoded import write_encoded

__all__ = [
    "MOST_CHANNELS",
    "NOT_FINITE",
    "Axes",
    "BlockCache",
    "ByteRows",
    "Candidate",
    "CopySink",
    "FileSurvey",
    "Handles",
    "ImageIndex",
    "Images",
    "Metadata",
    "OtherSizeError",
    "PackSink",
    "Reader",
    "Scratch",
    "SizeSink",
    "TakesJpegs",
    "ThreadScratch",
    "absolute",
    "are_weights",
    "belong_together",
    "check_axes_name",
    "check_image_shape",
    "check_no_folder",
    "check_readable",
    "convert_line_of",
    "count_rows",
    "count_unwritten",
    "decoded_like",
    "describe_images",
    "describe_unwritten",
    "files_beside",
    "find_candidates",
    "has_column",
    "has_encoded_images",
    "has_mark",
    "has_row_each",
    "is_group",
    "is_pattern",
    "is_there",
    "join_columns",
    "like_first",
    "marks_of",
    "mask_reader_of",
    "one_row_each",
    "only_if_whole",
    "open_images",
    "open_rows",
    "read_file_names",
    "read_labels",
    "read_metadata",
    "read_rows",
    "read_std",
    "read_vector",
    "read_weights",
    "reader_of",
    "seems_network",
    "size_at",
    "source_files",
    "store_mean",
    "survey",
    "warn_of_hdf5",
    "warn_of_unwritten",
    "warn_of_unwritten_in",
    "way_to_read_directly",
    "write_encoded",
    "write_images",
    "writer_of",
    "wrong_pair",
]
