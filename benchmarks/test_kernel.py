"""The crop kernel alone, one thread, beside a memset of its output: every version, straight and mirrored, and ten crops."""

import itertools
import os
from functools import partial

import numpy as np
import pytest
from kernel_batches import N_IMAGES, KernelBatch

from fastprep import RandomCrop, TenCrop
from fastprep.kernels import CropSpec
from fastprep.kernels._cpu import supported_versions

LIMIT = "memset of the output"


def contenders(spec, tables, monkeypatch):
    """Return functions that each make one batch: every version with every table, and a memset. The tables are of one length."""
    batch = KernelBatch(spec, len(next(iter(tables.values()))))
    made = {LIMIT: batch.fill}
    for version, (name, table) in itertools.product(supported_versions(), tables.items()):
        monkeypatch.setenv("FASTPREP_CPU_KERNEL", version)
        made[f"{version}, {name}"] = partial(batch.make, spec.cpu_sink(table, N_IMAGES, batch.out))
    return made


def of_few_images(table):
    table[:, 0] %= N_IMAGES
    return table


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_random_patches(interleaved, monkeypatch, dtype, layout):
    spec = CropSpec((256, 256, 3), "uint8", (227, 227), [106.1, 116.0, 125.0], None, dtype, layout)
    straight = of_few_images(RandomCrop(227).table(256, 256, np.arange(128), 0, 0))
    tables = {"straight": straight, "mirrored": straight + np.array([0, 0, 0, 1], np.int32)}
    epochs = contenders(spec, tables, monkeypatch)
    title = f"kernel alone, 227x227x3, {dtype}, {layout.replace('_', ' ')}"
    interleaved(title, epochs, LIMIT, path=os.devnull, counts=dict.fromkeys(epochs, 128))


def test_ten_crops(interleaved, monkeypatch):
    spec = CropSpec((256, 256, 3), "uint8", (227, 227), [106.1, 116.0, 125.0])
    table = of_few_images(TenCrop(227).table(256, 256, np.arange(12), 0, 0))
    epochs = contenders(spec, {"ten crops": table}, monkeypatch)
    interleaved("kernel alone, ten crops of 12 images", epochs, LIMIT, path=os.devnull, counts=dict.fromkeys(epochs, 120))
