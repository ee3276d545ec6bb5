"""What a sink that learns sizes may not be used for, and what encoded datasets are not taken for."""

import io

import h5py
import numpy as np
import pytest
from PIL import Image

import fastprep
from fastprep._sink import hand_over
from fastprep.errors import DataError
from fastprep.h5 import SizeSink, open_images


def test_a_sink_of_sizes_is_refused_by_readers_of_pixels(make_file):
    path, _, _ = make_file(n=4)
    with pytest.raises(TypeError, match="SizeSink takes no pixels"):
        open_images(path).read(np.arange(4), np.arange(4), SizeSink(4))
    with pytest.raises(TypeError, match="SizeSink takes no pixels"):
        hand_over(np.zeros(12, np.uint8), np.zeros(1, np.int64), np.zeros(1, np.int64), SizeSink(1))


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "L"), ("PNG", "P")])
def test_masks_whose_numbers_are_lost_when_they_are_encoded_are_refused(make_file, tmp_path, kind, mode):
    path, _, _ = make_file(n=4)
    buffer = io.BytesIO()
    Image.new(mode, (8, 9)).save(buffer, kind)
    with h5py.File(tmp_path / "masks.h5", "w") as file:
        rows = file.create_dataset("masks", (4,), h5py.vlen_dtype(np.uint8))
        for k in range(4):
            rows[k] = np.frombuffer(buffer.getvalue(), np.uint8)
    with pytest.raises(DataError, match=rf"masks\.h5.*masks are numbers, found {kind} of . channels.*as PNG in grey"):
        fastprep.Loader(path, 2, None, labels=fastprep.Mask(f"{tmp_path}/masks.h5:masks"), mean=None)
