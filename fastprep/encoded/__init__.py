"""Encoded images: what their bytes are, what their headers say, and their pixels. Nothing here knows HDF5."""

from fastprep.encoded.decode import decode
from fastprep.encoded.header import MAX_PIXELS, Header
from fastprep.encoded.headers import read_header
from fastprep.encoded.kinds import kind_of
from fastprep.encoded.masks import check_numbers, decode_mask, read_mask_header
from fastprep.encoded.parts import is_common, is_plain, part_decoder

__all__ = [
    "MAX_PIXELS",
    "Header",
    "check_numbers",
    "decode",
    "decode_mask",
    "is_common",
    "is_plain",
    "kind_of",
    "part_decoder",
    "read_header",
    "read_mask_header",
]
