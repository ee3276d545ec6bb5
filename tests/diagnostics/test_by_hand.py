"""Contenders of a comparison do the job of the loader: the same crops, each as likely, in the same form."""

import itertools
from contextlib import closing

import numpy as np
import pytest

from fastprep import Loader, RandomCrop
from fastprep.diagnostics.by_hand import Job, by_hand

N, BATCH, SIZE, EPOCHS = 10, 4, 11, 30  # of images of 12x14, so that there are 2 x 4 places, each mirrored or not
PLACES = list(itertools.product(range(2), range(4), (False, True)))


def loader(job):
    crop = RandomCrop(job.size, mirror=True)
    with closing(Loader(job.path, job.batch_size, crop, shuffle=True, mean=job.mean, labels=None, device="cpu")) as loader:
        while True:
            yield from loader


def contender(name):
    if name == "fastprep":
        return loader
    if "tf.data" in name:
        pytest.importorskip("tensorflow").random.set_seed(3)  # as a run with a seed does
    return by_hand(with_tensorflow=True)[name]


@pytest.mark.parametrize("name", ["fastprep", *by_hand(with_tensorflow=True)])
def test_each_makes_every_crop_of_each_image_once_an_epoch_to_the_bit(name, make_file):
    path, images, _ = make_file(n=N)
    mean = np.array([3.5, 100.25, 0.1], "float32")
    known = {}
    for number, (y, x, mirrored) in itertools.product(range(N), PLACES):
        crop = images[number, y : y + SIZE, x : x + SIZE].astype("float32") - mean
        known[(crop[:, ::-1] if mirrored else crop).tobytes()] = number, (y, x, mirrored)
    batches, places = contender(name)(Job(str(path), BATCH, SIZE, mean)), set()
    for _ in range(EPOCHS):
        numbers = []
        for rows in (4, 4, 2):
            batch = np.asarray(next(batches))
            assert (batch.shape, batch.dtype) == ((rows, SIZE, SIZE, 3), np.float32)
            for row in batch:
                number, place = known[row.tobytes()]
                numbers.append(number)
                places.add(place)
        assert sorted(numbers) == list(range(N))
    assert places == set(PLACES)  # 300 draws miss one of 16 places once in ten million runs
    batches.close()


def test_without_tensorflow_its_way_is_left_out():
    names = list(by_hand(with_tensorflow=False))
    assert names == ["numpy by hand, images in memory", "a loop over images, as in the tutorial"]
    assert list(by_hand(with_tensorflow=True)) == ["tf.data, images in memory", *names]
