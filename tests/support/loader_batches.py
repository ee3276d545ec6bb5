"""Crops of every geometry, and the batches of a loader with the tables that they were made by."""

import pickle

import numpy as np
from conftest import host
from crop_cases import assert_same_bits

from fastprep import CenterCrop, RandomAffine, RandomCrop, RandomResizedCrop, Resize, TenCrop
from fastprep.loader import Loader

SOURCE, SIZE = (12, 14), (7, 9)
CROPS = {
    "cut": RandomCrop(SIZE, mirror=True, flip=True),
    "turned": RandomCrop(8, mirror=True, turn=True),
    "resized": RandomResizedCrop(SIZE, mirror=True),
    "resized, all": Resize(SIZE),
    "affine": RandomAffine(SIZE, degrees=40, shear=10, scale=(0.6, 1.5), mirror=True, flip=True),
    "ten": TenCrop(SIZE),
    "whole": CenterCrop(SOURCE),
}


def table_of(loader, epoch, step):
    """Return the samples of a batch, its table, and what the oracle takes for that."""
    samples = loader.samples(epoch, step)
    table = loader._source.augmentation.table(loader._dataset.image_shape, samples, loader.seed, epoch)
    return (
        samples,
        table,
        {"crops": table.crops, "size": loader.crop.height_width, "boxes": table.boxes, "matrices": table.matrices},
    )


def epochs(loader, n=2):
    """Return copies of the batches of some epochs."""
    return [tuple(np.array(host(part)) for part in batch) for _ in range(n) for batch in loader]


def check_same(one, other):
    """Check that two lists of batches are the same."""
    assert len(one) == len(other)
    for batch, wanted in zip(one, other, strict=True):
        for part, right in zip(batch, wanted, strict=True):
            np.testing.assert_array_equal(part, right)


def copies(batches):
    return [(host(x).copy(), np.array(y)) for x, y in batches]


def check_pure(path, options):
    """Check that shuffled batches do not depend on workers, shards and interruptions; labels are the numbers of the samples."""
    options = {**options, "shuffle": True, "seed": 5}
    with Loader(path, 4, **options, workers=1) as loader:
        wanted = copies(loader) + copies(loader)
    with Loader(path, 4, **options, workers=3) as loader:
        iteration = iter(loader)
        got = copies(next(iteration) for _ in range(2))
        state = loader.state_dict()
    with pickle.loads(pickle.dumps(Loader(path, 4, **options))) as loader:
        loader.load_state_dict(state)
        got += copies(loader) + copies(loader)
    for (x, y), (x_wanted, y_wanted) in zip(got, wanted, strict=True):
        assert_same_bits(x, x_wanted)
        np.testing.assert_array_equal(y, y_wanted)

    n_batches = len(wanted) // 2
    whole = [np.concatenate(parts) for parts in zip(*wanted[:n_batches], strict=True)]
    shards = []
    for rank in range(2):
        with Loader(path, 3, **options, shard=(rank, 2)) as loader:
            shards += copies(loader)
    joined = [np.concatenate(parts) for parts in zip(*shards, strict=True)]
    orders = [np.argsort(y, kind="stable") for _, y in (whole, joined)]
    assert_same_bits(joined[0][orders[1]], whole[0][orders[0]])
    np.testing.assert_array_equal(joined[1][orders[1]], whole[1][orders[0]])
