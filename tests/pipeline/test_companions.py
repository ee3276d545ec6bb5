"""Labels and weights behind x in a buffer: where they lie, and how large the buffer must be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastprep.pipeline import Companions

TYPES = st.sampled_from(["bool", "uint8", "int16", "int64", "float32", "float64"])
ARRAYS = st.lists(st.tuples(TYPES, st.lists(st.integers(0, 5), max_size=2)), max_size=3)


@given(arrays=ARRAYS, n_rows=st.integers(0, 300), first=st.integers(0, 2000))
def test_arrays_are_aligned_and_overlap_neither_x_nor_each_other(arrays, n_rows, first):
    companions = Companions([np.zeros((7, *shape), dtype) for dtype, shape in arrays])
    placed, end = companions.place(first, n_rows), first
    for place, (dtype, shape) in zip(placed, arrays, strict=True):
        assert (place.dtype, place.shape) == (np.dtype(dtype), (n_rows, *shape))
        assert place.offset % 256 == 0
        assert place.offset >= end
        end = place.offset + n_rows * int(np.prod(shape)) * place.dtype.itemsize
    assert companions.end(first, n_rows) == end


@pytest.mark.parametrize(("first", "n_rows"), [(0, 5), (1000, 3)])
def test_arrays_that_stay_on_the_host_take_no_room(first, n_rows):
    arrays = [np.zeros(4, np.int32), None, np.zeros(4, np.float32)]
    companions = Companions(arrays, lambda dtype: None if dtype == np.int32 else dtype)
    assert [place is None for place in companions.place(first, n_rows)] == [True, True, False]
    assert companions
    assert not Companions(arrays, lambda dtype: None)
    assert Companions().end(first, n_rows) == first
