"""Transform tables for tests of the warp kernels, and what the oracle makes of them."""

import numpy as np
import reference

from fastprep.transforms import TRANSPOSED, TransformTable

DTYPES = ("float32", "float16", "bfloat16")
LAYOUTS = ("channels_last", "channels_first")
PARTS = ("crops", "boxes", "matrices", "colors", "erasures")
ORDERS = ("HWC", "HCW", "CHW", "CWH", "WCH", "WHC")


def some_boxes(rng, n, height, width):
    """Return boxes of any size, some of which end where the image ends, or lie at whole coordinates."""
    sides = np.tile([height, width], (n, 1))
    lengths = sides * rng.uniform(1e-3, 1, (n, 2)) ** rng.choice([0.5, 1, 3], (n, 1))
    starts = (sides - lengths) * rng.choice([0, 1, rng.uniform()], (n, 1))
    whole = rng.random((n, 1)) < 0.3
    lengths = np.where(whole, np.maximum(np.round(lengths), 1), lengths)
    starts = np.clip(np.where(whole, np.floor(starts), starts), 0, sides - lengths)
    boxes = np.concatenate([starts, lengths], axis=1)
    beyond = (starts + lengths > sides).any(axis=1)  # by rounding
    boxes[beyond] = (0, 0, height, width)
    return boxes


def some_matrices(rng, n, height, width):
    """Return maps that lead from the result to the image and to what is beside it."""
    matrices = rng.normal(0, 1, (n, 2, 3)) * rng.choice([0.1, 1, 5], (n, 1, 1))
    matrices[:, :, 2] = rng.uniform(-0.3, 1.3, (n, 2)) * (width, height)
    matrices[rng.random(n) < 0.3] = [[1, 0, 0], [0, 1, 0]]
    far = rng.random(n) < 0.1
    matrices[far, :, 2] = rng.choice([-1, 1], (far.sum(), 2)) * (2.0**30 - 1e4)
    return matrices


def some_table(rng, case):
    n_images, height, width, _ = case["shape"]
    (h, w), n, geometry = case["size"], case["n_out"], case["geometry"]
    crops = np.zeros((n, 4), np.int32)
    crops[:, 0] = rng.integers(0, n_images, n)
    crops[:, 3] = rng.integers(0, 4 if geometry == "matrix" else 8, n)
    if geometry == "crop":
        is_turned = crops[:, 3] >= TRANSPOSED
        crops[:, 1] = rng.integers(0, height - np.where(is_turned, w, h) + 1)
        crops[:, 2] = rng.integers(0, width - np.where(is_turned, h, w) + 1)
    channels = 3 if case["picked"] else case["shape"][3]
    erasures = None
    if case["erasures"]:
        corners = np.sort([rng.integers(0, (h + 1, w + 1), (n, 2)) for _ in range(2)], axis=0)
        erasures = np.concatenate([corners[0], corners[1] - corners[0]], axis=1).astype(np.int32)
    return TransformTable(
        crops,
        some_boxes(rng, n, height, width) if geometry == "box" else None,
        some_matrices(rng, n, height, width) if geometry == "matrix" else None,
        some_colors(rng, n, channels, case["colors"]) if case["colors"] and channels in (1, 3) else None,
        erasures,
    )


def joined(tables, shapes):
    """Return one table of the tables of images by themselves, in slots 0, 1 and so on, with the sizes of the images."""
    parts = [np.concatenate([getattr(table, part) for table in tables]) if getattr(tables[0], part) is not None else None
             for part in PARTS]  # fmt: skip
    counts = [len(table) for table in tables]
    parts[0][:, 0] = np.repeat(np.arange(len(tables)), counts)
    return TransformTable(*parts, sizes=np.repeat(np.array([shape[:2] for shape in shapes]), counts, axis=0))


def some_colors(rng, n, channels, kind):
    """Return colours; of the kind "apart", each channel of a result is of one channel, and its factor mostly positive."""
    colors = rng.normal(0, 1, (n, channels, channels + 1)).astype(np.float32)
    if kind == "apart":
        factors = np.abs(colors[:, :, :channels]) * rng.choice([1, 1, 1, 1, 1, 1, 0, -1], (n, channels, 1))
        colors[:, :, :channels] = np.where(np.eye(channels) > 0, factors, rng.choice([0.0, -0.0], (n, channels, channels)))
        colors[:, :, channels] *= rng.choice([50, 1, 0, -0.0], (n, channels))
    return colors


def in_order(images, order, picked, rng):
    """Return images that were made with channels last in another order, with other channels between those that are picked."""
    if picked is not None:
        all_of_them = rng.integers(0, 256, (*images.shape[:3], 4)).astype(images.dtype)
        all_of_them[..., list(picked)] = images
        images = all_of_them
    return np.ascontiguousarray(images.transpose(0, *("HWC".index(axis) + 1 for axis in order)))


def oracle(images, table, size, mean=None, scale=None, dtype="float32", layout="channels_last", fill=0.0, erase_value=0.0,
           standardize=False):  # fmt: skip
    return reference.transform(
        images, table.crops, size, table.boxes, table.matrices, fill, table.colors, mean, scale, table.erasures, erase_value,
        dtype, layout, standardize,
    )  # fmt: skip
