"""Kinds of encoded images by their first bytes."""

import pytest
from encoded_images import examples

from fastprep.encoded import decode, kind_of, read_header
from fastprep.errors import DecodeError


@pytest.mark.parametrize("name", examples())
def test_each_kind_is_told_by_its_bytes(name):
    data = examples()[name]
    assert name.startswith(kind_of(data))
    assert kind_of(memoryview(data)) == kind_of(data[:12]) == read_header(data).kind


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\x89HDF\r\n\x1a\n\0\0\0\0\0", r"begins with the bytes 89 48 44 46 0d 0a 1a 0a 00 00 00 00 \(b'\\x89HDF"),
        (b"RIFF\0\0\0\0WAVEfmt ", "WAVE"),
        (b"%PDF", "25 50 44 46"),
        (b"", "no bytes"),
    ],
)
@pytest.mark.parametrize("function", [kind_of, read_header, decode])
def test_other_bytes_are_an_error_that_shows_them(data, shown, function):
    with pytest.raises(DecodeError, match=shown):
        function(data)
