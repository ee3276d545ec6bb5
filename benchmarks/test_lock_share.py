"""How much of its processor time a worker holds Python's lock, case by case, beside the rate with one worker.

See `fastprep/diagnostics/lock_share.py` for the method. Unlike rates, the shares hardly depend on what else the machine does.
"""

import numpy as np
import pytest

import fastprep
from fastprep.diagnostics.lock_share import preparing, share_of_lock
from fastprep.h5 import write_images

BATCH = 128
LARGE, MIDDLE, SMALL = (256, 256, 3), (96, 96, 3), (28, 28, 1)
CASES = {  # shape of the images, crop, further arguments of the loader
    "256x256x3, crop of 227": (LARGE, fastprep.RandomCrop(227, mirror=True), {}),
    "256x256x3, crop of 227, mmap": (LARGE, fastprep.RandomCrop(227, mirror=True), {"io": "mmap"}),
    "256x256x3, ten crops of 227": (LARGE, fastprep.TenCrop(227), {}),
    "256x256x3, resized to 224": (LARGE, fastprep.RandomResizedCrop(224, mirror=True), {}),
    "256x256x3, crop of 227, MixUp": (LARGE, fastprep.RandomCrop(227, mirror=True), {"blend": fastprep.MixUp(0.2)}),
    "96x96x3, crop of 85": (MIDDLE, fastprep.RandomCrop(85, mirror=True), {}),
    "28x28x1, crop of 24": (SMALL, fastprep.RandomCrop(24, mirror=True), {}),
    "28x28x1, whole": (SMALL, None, {}),
}


@pytest.fixture(scope="module")
def file_of(tmp_path_factory, n_images):
    """Return a function that gives a file of images of a shape; small ones are more, for as many batches in a group as usual."""
    paths = {}

    def path_of(shape):
        if shape not in paths:
            paths[shape] = tmp_path_factory.mktemp("lock") / "images.h5"
            generator = np.random.default_rng(0)
            n = max(2 * BATCH, n_images * (4 if shape == SMALL else 1) // BATCH * BATCH)
            images = (generator.integers(0, 256, shape, dtype=np.uint8) for _ in range(n))
            write_images(paths[shape], images, np.arange(n) % 10)
        return paths[shape]

    yield path_of
    for path in paths.values():
        path.unlink()


@pytest.mark.parametrize("case", CASES)
def test_share_of_the_lock(benchmark, line_at_the_end, file_of, case):
    shape, crop, options = CASES[case]
    options = {"num_classes": 10, **options} if "blend" in options else options
    with fastprep.Loader(file_of(shape), BATCH, crop, mean=0, shuffle=True, workers=1, device="cpu", **options) as loader:
        benchmark.pedantic(lambda: [None for _ in loader], rounds=5, warmup_rounds=1)
        rate = loader.n_samples / benchmark.stats.stats.median
        share = share_of_lock(preparing(loader))
    spread = {"least": share.low, "largest": share.high}
    benchmark.extra_info.update({"images/s": rate, "share of time with Python's lock": share.value, "share, spread": spread})
    line_at_the_end(f"{case:32}{rate:>12,.0f} images/s{share!s:>24} of a worker's time with Python's lock")
