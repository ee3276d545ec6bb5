"""Masked arrays as arguments: what is below a mask is no value, and numpy hands it on all the same."""

import numpy as np
import pytest

import fastprep
from fastprep.loader import Loader

N = 8


@pytest.fixture
def path(make_file):
    return make_file(n=N)[0]


def masked(values, place):
    array = np.ma.masked_array(values)
    array[place] = np.ma.masked
    return array


ARGUMENTS = {
    "labels": lambda: {"labels": masked(np.arange(N), 3)},
    "sample_weight": lambda: {"sample_weight": masked(np.ones(N), 3)},
    "sampling": lambda: {"sampling": masked(np.ones(N), 3)},
    "indices": lambda: {"indices": masked(np.arange(N), 3)},
    "mean": lambda: {"mean": masked(np.ones(3), 1)},
    "labels: masks": lambda: {"labels": fastprep.Mask(masked(np.zeros((N, 12, 14), np.uint8), (3, 2, 1)))},
    "labels['boxes']": lambda: {"labels": {"boxes": fastprep.Boxes(masked(np.zeros((N, 2, 4)), (3, 1, 0)))}},
}


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_masked_values_are_an_error_with_their_place_and_the_way_out(path, argument):
    options = {"mean": None, **ARGUMENTS[argument]()}
    with pytest.raises(ValueError, match=r"must have no masked values, and 1 of \d+ are, the first at [\d, ]+: leave") as error:
        Loader(path, 4, None, **options)
    assert str(error.value).startswith(argument)


def test_a_masked_array_without_masked_values_is_an_array(path):
    labels = np.ma.masked_array(np.arange(N), mask=np.zeros(N, bool))
    with Loader(path, 4, None, mean=None, labels=labels) as loader:
        assert loader.labels.tolist() == list(range(N))
