"""What the loader costs in training: `fit` with it, less `fit` with one batch that was made beforehand."""

import keras
import numpy as np
import pytest

import fastprep
from fastprep.h5 import write_images
from fastprep.model import alexnet

BATCH = 64


def one_batch(*arguments, **options):
    """Return a loader that hands out its first batch again and again: all of its work but reading and cropping."""
    loader = fastprep.Loader(*arguments, **options)
    batch = loader._source.prepare(0, 0)
    loader._source.prepare = lambda epoch, step: batch
    loader._source.grouping.most = 1  # which that is called for
    return loader


def epoch_of(loader, model):
    def epoch():
        model.fit(loader, epochs=1, verbose=0)
        return loader.n_samples

    return epoch


@pytest.fixture(scope="module")
def training_file(tmp_path_factory, n_images):
    """Images of the demo's size, a whole number of batches."""
    path = tmp_path_factory.mktemp("fit") / "train.h5"
    n = max(1, min(n_images, 512) // BATCH) * BATCH
    generator = np.random.default_rng(0)
    write_images(path, (generator.integers(0, 256, (96, 96, 3), dtype=np.uint8) for _ in range(n)), np.arange(n) % 2)
    yield path, n
    path.unlink()


def test_what_the_loader_costs_in_fit(interleaved, training_file):
    path, n = training_file
    crop = fastprep.RandomCrop(85, mirror=True, flip=True)
    options = {"batch_size": BATCH, "crop": crop, "mean": 120.0, "num_classes": 2}
    model = alexnet((85, 85, 3), 2)
    model.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy")
    loader, alone = (fastprep.Loader(path, shuffle=True, **options) for _ in range(2))

    def by_itself():
        return sum(len(x) for x, _ in alone)

    epochs = {
        "fit, from the file": epoch_of(loader, model),
        "fit, one constant batch": epoch_of(one_batch(path, **options), model),
        "the loader by itself": by_itself,
    }
    title = f"AlexNet on patches of 85, batches of {BATCH}: {n} images an epoch"
    interleaved(title, epochs, "fit, one constant batch", path=path, counts=dict.fromkeys(epochs, n))
