"""Metadata of damaged files: unchanged, or an error that names the file."""

import contextlib

import numpy as np
import pytest

from fastprep.errors import DataError
from fastprep.h5 import read_metadata, write_images
from fastprep.h5.metadata import read_file_names, read_std


@pytest.mark.parametrize(
    "read",
    [lambda path: read_file_names(path, 2), lambda path: read_std(path, "images"), lambda path: read_metadata(path, "images")],
)
def test_any_byte_may_be_wrong(tmp_path, read):
    whole = tmp_path / "whole.h5"
    write_images(
        whole, np.zeros((2, 2, 2, 3), np.uint8), [0, 1], std=(1, 2, 3), channel_order="RGB", file_names=["a.png", "b.png"]
    )
    content = whole.read_bytes()
    for place in range(0, len(content), 5):
        path = tmp_path / f"{place}.h5"
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        with contextlib.suppress(DataError):  # whose message names the file
            read(path)
        path.unlink()


@pytest.mark.parametrize("mean", ["flie", "compute", ""])
def test_a_text_for_the_mean_is_refused(tmp_path, mean):
    with pytest.raises(ValueError, match=f'^mean must be None, numbers or "none", got {mean!r}'):
        write_images(tmp_path / "a.h5", np.zeros((2, 2, 2, 3), np.uint8), [0, 1], mean=mean)
    assert not list(tmp_path.iterdir())
