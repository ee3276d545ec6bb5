"""Slow, plain numpy statements of every pixel operation: the oracle that the fast kernels are compared with, bit by bit.

Written from the specification, never from a kernel. ``test_reference.py`` checks it against cv2, against tiny examples
worked out by hand and against exact arithmetic. Whoever changes a line here changes what fastprep means.

Images are arrays of shape (H, W, C): row y runs downwards, column x to the right.

The bits of a NaN result are not part of the specification (numpy's float16 cast keeps the NaN's payload, ml_dtypes'
bfloat16 cast does not), so a comparison has to ask for "NaN in the same places, and the same bits everywhere else".
"""

import math

import ml_dtypes
import numpy as np

MIRRORED = 1  # flags bit 0: left and right change places
FLIPPED = 2  # flags bit 1: top and bottom change places

DTYPES = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def _per_channel(value, channels, name):
    """Return `value` once per channel, rounded to float32.

    Parameters
    ----------
    value : float or sequence of C floats
    channels : int
        C.
    name : str
        What to call `value` in an error.

    Returns
    -------
    ndarray
        float32, shape (C,).
    """
    value = np.asarray(value).astype(np.float32)
    if value.ndim == 0:
        return np.array([value] * channels, np.float32)
    # A list of one number for three channels would broadcast; it is more likely a mistake in the test.
    if value.shape != (channels,):
        raise ValueError(f"{name} has shape {value.shape}, the images have {channels} channels")
    return value


def crop(images, table, size, mean=None, scale=None, dtype="float32", layout="channels_last"):
    """Cut one crop per row of `table`, turn it over, subtract the mean, multiply by the scale, convert.

    With ``i' = h-1-i`` if flipped else ``i`` and ``j' = w-1-j`` if mirrored else ``j``::

        out[k,i,j,c] = (float32(images[slot,y+i',x+j',c]) - float32(mean)) * float32(scale)

    Each of the three steps (convert, subtract, multiply) rounds to float32, to nearest even; the result is then rounded
    once more if `dtype` is narrower.

    Parameters
    ----------
    images : ndarray
        Shape (n, H, W, C), any real dtype.
    table : ndarray
        int32, shape (n_out, 4): source slot, y, x, flags. Flags: bit 0 mirrored left-right, bit 1 flipped top-bottom.
    size : tuple of int
        (h, w) of a crop.
    mean : None, float, sequence of C floats or ndarray of shape (H, W, C), optional
        Of a mean image, the value at the very source pixel (y+i', x+j', c) is taken. None: 0.
    scale : None, float or sequence of C floats, optional
        None: 1.
    dtype : {"float32", "float16", "bfloat16"}, optional
    layout : {"channels_last", "channels_first"}, optional

    Returns
    -------
    ndarray
        `dtype`, shape (n_out, h, w, C) or (n_out, C, h, w), C-contiguous.
    """
    n, H, W, C = images.shape
    h, w = size
    mean = 0.0 if mean is None else mean
    # float32(huge) is inf, float32(inf) - inf is NaN, a large float32 is inf in float16: results, not accidents.
    with np.errstate(all="ignore"):
        scale = _per_channel(1.0 if scale is None else scale, C, "scale")
        if np.ndim(mean) == 3:
            mean_image = np.asarray(mean).astype(np.float32)
            if mean_image.shape != (H, W, C):
                raise ValueError(f"mean has shape {mean_image.shape}, the images have {(H, W, C)}")
        else:
            mean_image = np.empty((H, W, C), np.float32)
            mean_image[:, :] = _per_channel(mean, C, "mean")

        out = np.empty((len(table), h, w, C), np.float32)
        for k in range(len(table)):
            slot, y, x, flags = (int(entry) for entry in table[k])
            # numpy would take a negative index from the other end.
            if not (0 <= slot < n and 0 <= y <= H - h and 0 <= x <= W - w):
                raise ValueError(f"row {k} of the table, {(slot, y, x)}, leaves {n} images of {H} x {W}")
            if flags & ~(MIRRORED | FLIPPED):
                raise ValueError(f"row {k} of the table has the unknown flags {flags}")
            columns = [x + (w - 1 - j if flags & MIRRORED else j) for j in range(w)]  # x + j' for j = 0, 1, ...
            for i in range(h):
                row = y + (h - 1 - i if flags & FLIPPED else i)  # y + i'
                pixels = images[slot, row, columns].astype(np.float32)  # (w, C)
                pixels = pixels - mean_image[row, columns]
                pixels = pixels * scale
                out[k, i] = pixels

        # Both casts round to nearest even: shown in test_reference.py for every pair of neighbouring values.
        out = out.astype(DTYPES[dtype])

    if layout == "channels_last":
        return out
    if layout == "channels_first":
        return np.ascontiguousarray(out.transpose(0, 3, 1, 2))
    raise ValueError(f"unknown layout {layout!r}")


def center_offset(length, crop, order):
    """Return where a centred crop starts.

    Parameters
    ----------
    length : int
        Height or width of the image.
    crop : int
        The same of the crop, at most `length`.
    order : {"tutorial", "torchvision"}
        "tutorial" rounds a half down, "torchvision" rounds it to the even neighbour, as Python's ``round`` does
        (https://github.com/pytorch/vision/issues/5274; around 2020 torchvision rounded it up for a while).

    Returns
    -------
    int
    """
    if crop > length:
        raise ValueError(f"a crop of {crop} does not fit into {length}")
    if order == "tutorial":
        return math.floor((length - crop) / 2)
    if order == "torchvision":
        return int(round((length - crop) / 2.0))  # noqa: RUF046  (spelt as torchvision spells it)
    raise ValueError(f"unknown order {order!r}")


def _cut(image, y, x, size):
    """Return the crop of `size` (h, w) whose top-left pixel is (y, x): shape (h, w, C), a view of `image`."""
    h, w = size
    # A slice that leaves the image is not an error in numpy, only shorter.
    if not (0 <= y <= image.shape[0] - h and 0 <= x <= image.shape[1] - w):
        raise ValueError(f"a crop of {size} at {(y, x)} leaves an image of {image.shape[:2]}")
    return image[y : y + h, x : x + w]


def ten_crop(image, size, order):
    """Return the four corners and the centre of an image, and the same mirrored, by really mirroring.

    Parameters
    ----------
    image : ndarray
        Shape (H, W, C), any dtype.
    size : tuple of int
        (h, w) of a crop.
    order : {"tutorial", "torchvision"}
        "tutorial": top-left, top-right, bottom-right, bottom-left, centre; then the mirror image of each of these crops.
        "torchvision": top-left, top-right, bottom-left, bottom-right, centre; then the five crops at these places of the
        mirrored *image*, as torchvision.transforms.functional.ten_crop does: its sixth is the mirror image of the
        second.

    Returns
    -------
    list of ndarray
        Ten arrays of shape (h, w, C) and the dtype of `image`.
    """
    H, W = image.shape[:2]
    h, w = size
    top, bottom, left, right = 0, H - h, 0, W - w
    middle = (center_offset(H, h, order), center_offset(W, w, order))
    if order == "tutorial":
        places = [(top, left), (top, right), (bottom, right), (bottom, left), middle]
        crops = [_cut(image, y, x, size) for y, x in places]
        return crops + [crop[:, ::-1] for crop in crops]
    if order == "torchvision":
        places = [(top, left), (top, right), (bottom, left), (bottom, right), middle]
        mirrored = image[:, ::-1]
        return [_cut(image, y, x, size) for y, x in places] + [_cut(mirrored, y, x, size) for y, x in places]
    raise ValueError(f"unknown order {order!r}")


# The operations of the Dogs-vs-Cats tutorial: Adrian Rosebrock, Deep Learning for Computer Vision with Python,
# Practitioner Bundle (PyImageSearch), the classes MeanPreprocessor, PatchPreprocessor and CropPreprocessor.


def tutorial_mean(image, r_mean, g_mean, b_mean):
    """Subtract a mean from each channel of an image, in float32.

    Parameters
    ----------
    image : ndarray
        Shape (H, W, 3), channels in cv2's order B, G, R; uint8 or float64.
    r_mean, g_mean, b_mean : float
        Rounded to float32 first, as numpy does with a Python float that meets a float32 array (NEP 50).

    Returns
    -------
    ndarray
        float32, shape (H, W, 3), channels B, G, R.
    """
    image = image.astype("float32")
    b, g, r = image[:, :, 0], image[:, :, 1], image[:, :, 2]
    r = r - np.float32(r_mean)
    g = g - np.float32(g_mean)
    b = b - np.float32(b_mean)
    return np.stack([b, g, r], axis=2)


def tutorial_patch(image, y, x, height, width):
    """Return the patch that sklearn's extract_patches_2d returns when it draws the place (y, x).

    Parameters
    ----------
    image : ndarray
        Shape (H, W, C); uint8 or float64.
    y, x : int
        Row and column of the patch's top-left pixel.
    height, width : int
        Of the patch.

    Returns
    -------
    ndarray
        Shape (height, width, C), dtype of `image`.
    """
    return _cut(image, y, x, (height, width)).copy()


def tutorial_crop(image, height, width, horizontal_flip=True):
    """Return the four corners and the centre of an image, and their mirror images.

    The tutorial's centre crop runs from (dW, dH) to (W-dW, H-dH), one pixel too large where W-w or H-h is odd, and is
    then resampled to the size asked for. Here it has that size from the start, and nothing is resampled.

    Parameters
    ----------
    image : ndarray
        Shape (H, W, C); uint8 or float64.
    height, width : int
        Of a crop.
    horizontal_flip : bool, optional
        Whether to append the mirror images.

    Returns
    -------
    ndarray
        Shape (10, height, width, C), or (5, ...) without the mirror images; dtype of `image`.
    """
    H, W = image.shape[:2]
    starts = [  # x, y
        (0, 0),
        (W - width, 0),
        (W - width, H - height),
        (0, H - height),
        (int(0.5 * (W - width)), int(0.5 * (H - height))),
    ]
    crops = [_cut(image, y, x, (height, width)) for x, y in starts]
    if horizontal_flip:
        crops = crops + [crop[:, ::-1] for crop in crops]  # cv2.flip(crop, 1)
    return np.array(crops)
