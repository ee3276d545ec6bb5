"""What the records of the CUDA warp kernel say, and what the oracle makes of them: for the stand-in for a GPU."""

import numpy as np
import reference


def warped(constants, images, records, mean, scale):
    """Return the result of a launch.

    Parameters
    ----------
    constants : dict of str
        The macros of the kernel.
    images : ndarray, shape (n, H, W, C)
    records : ndarray of int32, shape (n_out, RECORD)
    mean, scale : None or ndarray, shape (C,)

    Raises
    ------
    IndexError
        If a record leads outside of the images.
    """
    size = int(constants["CROP_HEIGHT"]), int(constants["CROP_WIDTH"])
    crops, boxed = records[:, :4].copy(), []
    parts = {"fill": numbers_of(constants, "FILL"), "erase_value": numbers_of(constants, "ERASE")}
    if "ACROSS" in constants or "TAPS_AT" in constants:
        boxed = [_resized(constants, images, record, size) for record in records]
        crops = np.zeros_like(crops)
        crops[:, 0], crops[:, 3] = np.arange(len(crops)), records[:, 3] & ~reference.TRANSPOSED
    if "POSITIONS" in constants:
        numbers = part_of(constants, records, "POSITIONS", 12).view(np.int64).reshape(-1, 2, 3)
        start, right, down = np.moveaxis(numbers / 2.0**32, 2, 0)
        parts["matrices"] = np.stack([right, down, start + 0.5 - right * 0.5 - down * 0.5], axis=-1)
    if "COLORS" in constants:
        channels = images.shape[3]
        parts["colors"] = part_of(constants, records, "COLORS", channels * (channels + 1)).view(np.float32)
        parts["colors"] = parts["colors"].reshape(len(records), channels, channels + 1)
    if "ERASE" in constants:
        parts["erasures"] = part_of(constants, records, "ERASED", 4)
    if not 0 <= crops[:, 0].min() <= crops[:, 0].max() < (len(boxed) or len(images)):
        raise IndexError(f"slots {crops[:, 0].tolist()}")
    layout = "channels_first" if constants["CHANNELS_FIRST"] == "1" else "channels_last"
    return reference.transform(
        np.stack(boxed) if boxed else images, crops, size, mean=mean, scale=scale, dtype=constants["TARGET"], layout=layout,
        **parts,
    )  # fmt: skip


def warped_one_by_one(constants, numbers, table, n_out, mean, scale):
    """Return the result of a launch for images of different sizes, see `warped`.

    Parameters
    ----------
    numbers : ndarray, shape (n,)
        Those of all images.
    table : ndarray of int32, shape (n, RECORD)
        Records, and rows that follow on them.
    """
    n_words, n_channels, at = table.shape[1], int(constants["SOURCE_CHANNELS"]), int(constants["IMAGE_AT"])
    rows = []
    for k in range(n_out):
        record = table.reshape(-1)[k * n_words :].copy()
        start, (height, width) = int(record[at : at + 2].view(np.int64)[0]), record[at + 2 : at + 4].tolist()
        image = numbers[start : start + height * width * n_channels]
        if start < 0 or len(image) < height * width * n_channels:
            raise IndexError(f"{height}x{width} pixels at {start}")
        record[0] = 0  # the slot, which is that of the only image
        picked = [int(part) for part in constants["PICKED"].split(",")] if "PICKED" in constants else slice(None)
        image = image.reshape(1, height, width, n_channels)[..., picked]
        rows.append(warped(constants, image, record[None], mean, scale))
    return np.concatenate(rows)


def part_of(constants, records, name, length):
    first = int(constants[name])
    return np.ascontiguousarray(records[:, first : first + length])


def numbers_of(constants, name):
    if name not in constants:
        return 0.0
    return np.array([int(bits.rstrip("u")) for bits in constants[name].split(",")], np.uint32).view(np.float32)


def _resized(constants, images, record, size):
    image = images[record[0]].astype(np.float32)
    image = image.transpose(1, 0, 2) if record[3] & reference.TRANSPOSED else image
    for k, (axis, name, n_out) in enumerate(((1, "ACROSS", size[1]), (0, "DOWN", size[0]))):
        if "TAPS_AT" in constants:  # the record goes on with all that follows on it
            at, most = record[int(constants["TAPS_AT"]) + 2 * k :][:2].tolist()
        else:
            at, most = int(constants[name]), int(constants[f"MOST_{name}"])
        words = record[at:]
        spans = words[: 2 * n_out].reshape(n_out, 2)
        weights = words[2 * n_out : (2 + most) * n_out].view(np.float32).reshape(n_out, most)
        lines = np.moveaxis(image, axis, 0)
        if (spans[:, 0] < 0).any() or (spans.sum(axis=1) > len(lines)).any():
            raise IndexError(f"taps {spans.tolist()}")
        with np.errstate(all="ignore"):
            made = [
                reference._weighted_sum(lines[first : first + n], row[:n]) for (first, n), row in zip(spans, weights, strict=True)
            ]
        image = np.moveaxis(np.stack(made), 0, axis)
    return image
