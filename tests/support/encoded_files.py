"""Files of encoded images of different sizes, and what the oracle makes of their images, decoded by Pillow one by one."""

import io

import h5py
import numpy as np
import reference
from conftest import host
from crop_cases import assert_same_bits
from encoded_images import by_pillow, photograph
from PIL import Image, ImageOps


def encoded(n=13, kind="JPEG", least=36, most=70, seed=5, size=None):
    """Return images, each as the bytes of a file: smooth ones with noise, of different sizes unless `size` is given."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        height, width = size or rng.integers(least, most, 2)
        pixels = photograph(int(height), int(width)) // 2 + rng.integers(0, 128, (height, width, 3), np.uint8)
        rows.append(by_pillow(pixels, kind, quality=int(rng.integers(60, 96))))
    return rows


def write_rows(path, rows, name="images", labels=True, **options):
    """Write images as h5py does, one row of bytes each, and the number of each as its label."""
    with h5py.File(path, "a") as file:
        dataset = file.create_dataset(name, (len(rows),), h5py.vlen_dtype("uint8"), **options)
        for k, row in enumerate(rows):
            dataset[k] = np.frombuffer(row, np.uint8)
        if labels and "labels" not in file:
            file["labels"] = np.arange(len(rows))
    return path


def by_pillow_upright(row, mode="RGB"):
    """Return what Pillow decodes, upright, on white where it is transparent, of shape (H, W, C)."""
    with Image.open(io.BytesIO(row)) as image:
        image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        pixels = np.asarray(image if image.mode == mode else image.convert("RGB").convert(mode))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def oracle(loader, images, samples, epoch, numbers=None, **options):
    """Return the rows of x for these samples: each by the table that it has by itself, of one image of one size.

    Parameters
    ----------
    images : sequence of ndarray, shape (H, W, C)
        Image of each sample, of any size.
    samples, numbers : ndarray of int64
        Images that are read, and the numbers by which their crops are drawn; the same if not given.
    options
        As in `reference.transform`.
    """
    augmentation, mean = loader._source.augmentation, loader.mean
    rows = []
    for sample, number in zip(samples, samples if numbers is None else numbers, strict=True):
        image = images[sample]
        table = augmentation.table(image.shape, np.array([number]), loader.seed, epoch)
        arguments = {"crops": table.crops, "size": augmentation.size, "boxes": table.boxes, "matrices": table.matrices}
        erase = loader.erase
        rows.append(
            reference.transform(
                image[None], **arguments, fill=augmentation.fill, colors=table.colors, mean=mean, erasures=table.erasures,
                erase_value=0.0 if erase is None else erase.value, **options,
            )
        )  # fmt: skip
    x = np.concatenate(rows)
    if loader.blend is None:
        return x
    blends = augmentation.blends(samples if numbers is None else numbers, loader.seed, epoch)
    return reference.blend(x, blends.weights, blends.rectangles)


def check_batches(loader, images, n_epochs=2, **options):
    """Check that batches are the oracle's, and that every sample comes once an epoch; labels are the numbers of samples."""
    for epoch in range(n_epochs):
        seen = []
        for step, batch in enumerate(loader):
            samples = loader.samples(epoch, step)
            assert_same_bits(host(batch[0]), oracle(loader, images, samples, epoch, **options))
            if loader.blend is None:
                numbers = samples if loader.indices is None else loader.indices[samples]
                np.testing.assert_array_equal(batch[1], numbers.repeat(loader.crop.n_crops))
            seen.append(samples)
        np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(loader.n_samples))
