"""What transforms cost: the warp kernel alone, one thread, and the loader with each of them beside the loader without."""

import dataclasses
import os
from functools import partial

import h5py
import numpy as np
import pytest
from kernel_batches import N_IMAGES, KernelBatch

import fastprep
from fastprep.kernels import CropSpec, WarpSpec
from fastprep.kernels._cpu import supported_versions
from fastprep.transforms import Augmentation

N_OUT, MEAN = 128, [106.1, 116.0, 125.0]
LIMIT = "memset of the output"
CROP, RESIZED = fastprep.RandomCrop(227, mirror=True), fastprep.RandomResizedCrop(224, mirror=True)
JITTER = fastprep.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)

KERNELS = {
    "crop": Augmentation(fastprep.RandomCrop(224, mirror=True)),
    "crop, turned": Augmentation(fastprep.RandomCrop(224, mirror=True, turn=True)),
    "crop, colour": Augmentation(fastprep.RandomCrop(224, mirror=True), (JITTER,)),
    "resized crop": Augmentation(RESIZED),
    "resized crop, colour": Augmentation(RESIZED, (JITTER,)),
}


def spec_of(augmentation):
    arguments = (256, 256, 3), "uint8", augmentation.size, MEAN
    if not augmentation.warps(256, 256):
        return CropSpec(*arguments)
    return WarpSpec(*arguments, geometry=augmentation.geometry(256, 256), has_colors=bool(augmentation.color))


@pytest.mark.parametrize("version", supported_versions())
def test_the_kernels_alone(interleaved, monkeypatch, version):
    monkeypatch.setenv("FASTPREP_CPU_KERNEL", version)
    batch = KernelBatch(spec_of(KERNELS["crop"]), N_OUT)
    epochs = {LIMIT: batch.fill}
    for name, augmentation in KERNELS.items():
        table = augmentation.table((256, 256, 3), np.arange(N_OUT), 0, 0)
        crops = table.crops.copy()
        crops[:, 0] %= N_IMAGES
        table = dataclasses.replace(table, crops=crops)
        epochs[name] = partial(batch.make, spec_of(augmentation).cpu_sink(table, N_IMAGES, batch.out))
    interleaved(f"kernels alone, 224x224x3, {version}", epochs, LIMIT, path=os.devnull, counts=dict.fromkeys(epochs, N_OUT))


def epoch_of(path, crop, workers, **transforms):
    """Return a function that runs an epoch with some transforms, and returns how many samples it had."""
    loader = fastprep.Loader(path, 128, crop, shuffle=True, mean=MEAN, device="cpu", workers=workers, **transforms)
    return lambda: sum(len(batch) if loader.labels is None else len(batch[0]) for batch in loader)


@pytest.mark.parametrize("workers", [1, 2])
def test_geometry(interleaved, image_file, workers):
    """Turns to the plain crop are to be 0.9 and more."""
    crops = {
        "random crop": CROP,
        "random crop, turned": dataclasses.replace(CROP, turn=True),
        "random crop of a resized image": fastprep.RandomCrop(227, mirror=True, resize=288),
        "random resized crop": fastprep.RandomResizedCrop(227, mirror=True),
        "random affine": fastprep.RandomAffine(227, degrees=15, mirror=True),
    }
    epochs = {name: epoch_of(image_file, crop, workers) for name, crop in crops.items()}
    interleaved(f"geometry, {workers} worker{'s' * (workers > 1)}", epochs, "random crop")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("crop", [CROP, RESIZED], ids=["crop", "resized crop"])
def test_colours_erasing_and_blending(interleaved, image_file, workers, crop):
    """To the loader without, colour is to be 0.6 and more, lighting 0.95, mixing 0.5. Policies that move pixels use matrices."""
    without = "without"
    components = np.array([[0.4, 0.4, 0.4], [0.3, 0, -0.3], [0.1, -0.2, 0.1]]) * 50
    transforms = {
        without: {},
        "colour": {"color": JITTER},
        "lighting": {"color": fastprep.Lighting(covariance=components.T @ components)},
        "erasing": {"erase": fastprep.RandomErasing()},
        "standardised": {"standardize": True},
        "RandAugment": {"policy": fastprep.RandAugment()},
        "RandAugment of colours": {"policy": fastprep.RandAugment(operations=("brightness", "contrast", "color"))},
        "without, one-hot": {"num_classes": 2},
        "MixUp": {"blend": fastprep.MixUp(), "num_classes": 2},
        "CutMix": {"blend": fastprep.CutMix(), "num_classes": 2},
    }
    epochs = {name: epoch_of(image_file, crop, workers, **options) for name, options in transforms.items()}
    interleaved(f"{crop!r}, {workers} worker{'s' * (workers > 1)}", epochs, without)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("crop", [CROP, RESIZED], ids=["crop", "resized crop"])
def test_masks_boxes_and_points(interleaved, image_file, tmp_path, workers, crop):
    """To the loader without labels, images with a mask of one byte a pixel are to be 0.7 and more."""
    with h5py.File(image_file) as file, h5py.File(tmp_path / "masks.h5", "w") as masks:
        n = len(file["images"])
        masks["masks"] = np.random.default_rng(0).integers(0, 21, (n, 256, 256), dtype=np.uint8)
    some = np.add(np.random.default_rng(1).uniform(0, 128, (n, 20, 4)), [0, 0, 128, 128])
    without = "without labels"
    labels = {
        without: None,
        "a mask": fastprep.Mask(f"{tmp_path}/masks.h5:masks"),
        "a mask, resized bilinearly": fastprep.Mask(f"{tmp_path}/masks.h5:masks", interpolation="bilinear"),
        "20 boxes": fastprep.Boxes(some),
        "40 points": fastprep.Points(some.reshape(n, 40, 2)),
    }
    epochs = {name: epoch_of(image_file, crop, workers, labels=value) for name, value in labels.items()}
    interleaved(f"{crop!r}, {workers} worker{'s' * (workers > 1)}", epochs, without)
