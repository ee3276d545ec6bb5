"""The loader end to end, from the page cache, beside the tutorial's pipeline, numpy by hand, and the memory's limit."""

import contenders
import pytest

BATCH = 128


@pytest.mark.parametrize("mirror", [False, True], ids=["straight", "half-mirrored"])
@pytest.mark.parametrize("workers", [1, 2])
def test_random_patches(interleaved, pictures, workers, mirror):
    makers = {**contenders.CONTENDERS, "fastprep": contenders.fastprep_loader(workers)}
    epochs = {name: make(pictures, BATCH, mirror) for name, make in makers.items()}
    turned = "half mirrored" if mirror else "not mirrored"
    interleaved(f"random patches, {turned}, fastprep with {workers} worker{'s' * (workers > 1)}", epochs, "memset of the output")
