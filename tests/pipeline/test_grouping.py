"""Small batches that are made several at a time are those that are made one by one."""

import itertools
import math

import h5py
import numpy as np
import pytest
from damaged_chunks import damage
from loader_batches import CROPS, check_same
from threads import threads_left

from fastprep import ColorJitter, MixUp, RandAugment, RandomCrop, RandomErasing
from fastprep.errors import DataError
from fastprep.loader import Loader
from fastprep.pipeline import grouping
from fastprep.pipeline.epoch_iterator import ImageIterator
from fastprep.pipeline.grouping import Grouping
from fastprep.pipeline.source import BatchSource

N = 300
OPTIONS = {"shuffle": True, "seed": 5, "device": "cpu", "workers": 2}


@pytest.fixture
def path(make_file):
    path, _, _ = make_file(n=N)
    with h5py.File(path, "r+") as file:
        file["labels"][...] = np.arange(N)
        file["other"] = np.arange(2 * N, dtype=np.float32).reshape(N, 2)
    return path


@pytest.fixture
def groups(monkeypatch):
    """Steps of each group; as if batches took no time."""
    sizes, prepare_group = [], BatchSource.prepare_group

    def noting(source, epoch, steps, **options):
        sizes.append(len(steps))
        return prepare_group(source, epoch, steps, **options)

    monkeypatch.setattr(BatchSource, "prepare_group", noting)
    monkeypatch.setattr(grouping, "TARGET_S", 1e6)
    monkeypatch.setattr(Grouping, "note", lambda self, n_batches, seconds: setattr(self, "_batch_s", 1e-3))
    return sizes


def copies(loader, n_epochs=2):
    def flat(part):
        return list(part.values()) if isinstance(part, dict) else [part]

    batches = (batch if isinstance(batch, tuple) else (batch,) for _ in range(n_epochs) for batch in loader)
    return [[np.array(own) for part in batch for own in flat(part)] for batch in batches]


def one_by_one(path, *arguments, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouping, "MOST_BATCHES", 1)
        with Loader(path, *arguments, **OPTIONS, **options) as loader:
            assert loader._source.grouping.most == 1
            return copies(loader)


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"labels": None, "drop_remainder": True, "shard": (1, 2)},
        {"labels": {"one": "labels", "two": "other"}, "class_weight": {"one": dict.fromkeys(range(N), 0.5)}},
        {"color": ColorJitter(0.3), "erase": RandomErasing(p=0.7), "policy": RandAugment(2, 20), "standardize": True},
    ],
    ids=["plain", "shard", "two labels", "transforms"],
)
def test_batches_are_those_that_are_made_one_by_one(path, groups, crop, options):
    wanted = one_by_one(path, 16, crop, **options)
    with Loader(path, 16, crop, **OPTIONS, **options) as loader:
        check_same(copies(loader), wanted)
    assert max(groups) > 2


def test_each_batch_of_a_group_begins_where_consumers_take_it_and_shares_no_byte(path, groups):
    with Loader(path, 4, RandomCrop(8), **OPTIONS) as loader:
        kept = [(x, x.copy()) for _ in range(3) for x, _ in loader]
        assert all(x.ctypes.data % grouping.ALIGNMENT == 0 for x, _ in kept)
        for x, copy in kept:
            np.testing.assert_array_equal(x, copy)  # nobody has written to it since
        spans = sorted((x.ctypes.data, x.nbytes) for x, _ in kept)
        assert all(start + n_bytes <= following for (start, n_bytes), (following, _) in itertools.pairwise(spans))
    assert max(groups) > 2


def test_an_epoch_goes_on_from_a_state_in_the_middle_of_a_group(path, groups):
    wanted = one_by_one(path, 4, RandomCrop(8))
    with Loader(path, 4, RandomCrop(8), **OPTIONS) as loader:
        iteration = iter(loader)
        for _ in range(6):
            next(iteration)
        state = loader.state_dict()
    assert state["seen"] == 24
    with Loader(path, 4, RandomCrop(8), **OPTIONS) as loader:
        loader.load_state_dict(state)
        check_same(copies(loader), wanted[6:])
    with Loader(path, 5, RandomCrop(8), **OPTIONS) as loader, Loader(path, 5, RandomCrop(8), **OPTIONS) as other:
        loader.load_state_dict(state)  # with batches of another size
        other.load_state_dict(state)
        other._source.grouping.most = 1
        check_same(copies(loader), copies(other))
    assert max(groups) > 2


def test_images_alone(path, groups):
    with Loader(path, 4, RandomCrop(8), **OPTIONS) as loader:
        batches = list(ImageIterator(loader._source))
        assert all(batch.y is None and batch.weights is None for batch in batches)
        rows = np.concatenate([batch.x for batch in batches])
        np.testing.assert_array_equal(rows, np.concatenate([loader.batch(0, step)[0] for step in range(len(loader))]))
    assert max(groups) > 2


@pytest.fixture
def damaged(make_file):
    path, _, _ = make_file(n=N, chunks=(1, 12, 14, 3), compression="gzip", fletcher32=True)
    damage(path, [41, 62])
    return path


def test_an_error_comes_with_the_batch_that_was_asked_for_and_not_before(damaged, groups):
    with Loader(damaged, 4, RandomCrop(8), **{**OPTIONS, "shuffle": False}) as loader:
        iteration = iter(loader)
        for _ in range(10):
            next(iteration)
        with pytest.raises(DataError) as error:
            next(iteration)
        assert error.value.sample == 41
        assert list(iteration) == []
        assert loader.state_dict()["seen"] == 40
    assert max(groups) > 2


def test_samples_in_the_place_of_damaged_ones_are_told_of_their_own_batch(damaged, groups):
    options = {**OPTIONS, "shuffle": False, "on_corrupt": "skip"}
    with Loader(damaged, 4, RandomCrop(8), **options) as loader:
        marks = [batch.replaced for batch in loader._epoch_iterator()]
    assert max(groups) > 2
    for step, replaced in enumerate(marks):
        wanted = {10: [False, True, False, False], 15: [False, False, True, False]}.get(step)
        assert (None if replaced is None else replaced.tolist()) == wanted


def test_a_loader_that_is_closed_in_the_middle_of_a_group(path, groups):
    loader = Loader(path, 4, RandomCrop(8), **OPTIONS)
    iteration = iter(loader)
    for _ in range(5):
        next(iteration)
    loader.close()
    with pytest.raises(RuntimeError, match="the loader was closed"):
        next(iteration)
    assert threads_left() == []


def test_a_group_takes_no_longer_than_one_may_wait_for_it():
    own = Grouping(8)
    assert own.size(1000, 2) == 1  # nothing is known yet
    for seconds, size in ((1.0, 1), (grouping.TARGET_S, 1), (grouping.TARGET_S / 3, 3), (0.0, 8)):
        own.note(1, seconds)
        assert own.size(1000, 2) == size
    own = Grouping(8)
    own.note(4, 4 * grouping.TARGET_S / 5)
    assert own.size(1000, 2) == 5
    assert [own.size(n_left, 2) for n_left in (1, 3, 4, 8, 9, 13, 400)] == [1, 3, 4, 4, 5, 5, 5]
    assert [own.size(n_left, 1) for n_left in (1, 3, 4, 8)] == [1, 3, 4, 5]
    assert Grouping(1).size(1000, 2) == 1
    assert Grouping(4)._batch_s == math.inf


def test_the_groups_of_an_epoch_become_smaller_towards_its_end_and_none_is_of_few_batches():
    own, n_left, sizes = Grouping(32), 128, []
    own.note(1, 0.0)
    while n_left:
        sizes.append(own.size(n_left, 3))
        n_left -= sizes[-1]
    assert sizes == [32, 32, 22, 14, 10, 6, 4, 4, 4]


def test_batches_that_take_longer_than_before_make_groups_smaller_step_by_step():
    own = Grouping(8)
    own.note(1, grouping.TARGET_S / 8)
    sizes = []
    for _ in range(6):
        own.note(1, 1.0)
        sizes.append(own.size(1000, 2))
    assert sizes == [5, 3, 2, 1, 1, 1]


def test_no_more_groups_are_under_way_than_processors_have_use_for(path, monkeypatch):
    monkeypatch.setattr(grouping, "usable_processors", lambda: 2)
    monkeypatch.setattr(grouping, "MOST_BATCHES", 4)
    with Loader(path, 4, RandomCrop(8), **{**OPTIONS, "workers": 16}) as loader:
        loader._source.grouping.note(1, 0.0)
        iteration, under_way = loader._epoch_iterator(), []
        for _ in iteration:
            if iteration._submitted < N // 4 - 4:  # the last one may be alone, and those that are made one by one are not counted
                under_way.append(len(iteration._ahead))
    assert 1 < max(under_way) <= 2 + loader._pool.prefetch


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"batch_size": 8}, 19),  # half of an epoch, for each of two threads to have something to do
        ({"batch_size": 8, "workers": 40}, 19),  # of which two are of use here
        ({}, 32),
        ({"batch_size": 5, "crop": RandomCrop(7)}, 1),  # 5 x 7 x 7 x 3 floats are no multiple of 64 bytes
        ({"blend": MixUp(0.2), "num_classes": N}, 1),  # in each batch
        ({"transform": lambda x: x}, 1),
    ],
)
def test_what_is_made_one_by_one(path, options, most, monkeypatch):
    monkeypatch.setattr(grouping, "usable_processors", lambda: 2)
    options = {"batch_size": 4, "crop": RandomCrop(8), **OPTIONS, **options}
    with Loader(path, **options) as loader:
        assert loader._source.grouping.most == most


def test_chunks_of_several_images_and_large_batches_are_made_one_by_one(make_file, monkeypatch):
    path, _, _ = make_file(n=N, chunks=(5, 12, 14, 3), compression="gzip")
    with Loader(path, 4, RandomCrop(8), **OPTIONS) as loader:
        assert loader._source.grouping.most == 1
    path, _, _ = make_file(n=N, name="b.h5")
    monkeypatch.setattr(grouping, "MOST_BYTES", 4 * 8 * 8 * 3 * 4 * 2)
    with Loader(path, 4, RandomCrop(8), **OPTIONS) as loader:
        assert loader._source.grouping.most == 2
        assert loader._pool.buffer_bytes == grouping.MOST_BYTES
