"""What a sink that learns sizes may not be used for."""

import numpy as np
import pytest

from fastprep._sink import hand_over
from fastprep.h5 import SizeSink, open_images


def test_a_sink_of_sizes_is_refused_by_readers_of_pixels(make_file):
    path, _, _ = make_file(n=4)
    with pytest.raises(TypeError, match="SizeSink takes no pixels"):
        open_images(path).read(np.arange(4), np.arange(4), SizeSink(4))
    with pytest.raises(TypeError, match="SizeSink takes no pixels"):
        hand_over(np.zeros(12, np.uint8), np.zeros(1, np.int64), np.zeros(1, np.int64), SizeSink(1))
