"""The loader end to end, from the page cache, beside the tutorial's pipeline, numpy by hand, and the memory's limit.

The contenders are those of `peers/`, here in one process; `field.py` runs more of them, each with as many threads.
"""

import fastprep_loader
import memset
import numpy_h5py
import pytest
import tutorial
from protocol import Options

MEMSET = "memset of the output"
OTHERS = {"the tutorial's pipeline": tutorial, "h5py + numpy, buffers reused": numpy_h5py, MEMSET: memset}


@pytest.mark.parametrize("mirror", [False, True], ids=["straight", "half-mirrored"])
@pytest.mark.parametrize("workers", [1, 2])
def test_random_patches(interleaved, image_file, workers, mirror):
    epochs = {"fastprep": counted(fastprep_loader.make(image_file, Options(workers, mirror)))}
    epochs |= {name: counted(contender.make(image_file, Options(1, mirror))) for name, contender in OTHERS.items()}
    turned = "half mirrored" if mirror else "not mirrored"
    interleaved(f"random patches, {turned}, fastprep with {workers} worker{'s' * (workers > 1)}", epochs, MEMSET)


def counted(epoch):
    return lambda: sum(len(numbers) for _, numbers in epoch())
