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
TRANSPOSED = 4  # flags bit 2: rows and columns change places, before the others

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


def as_height_width_channels(images, axes, channels=None):
    """Return images of any order of axes as (n, H, W, C), pixel by pixel.

    Parameters
    ----------
    images : ndarray
        One axis for each letter of `axes`.
    axes : str
        The letters H and W, and possibly N and C, each once, in the order of the array's axes. Without N there is one image, and
        without C one channel.
    channels : sequence of int, optional
        Which channels there are in the result, in this order. None: all.

    Returns
    -------
    ndarray
        Shape (n, H, W, C), of the dtype of `images`.
    """
    sides = {letter: images.shape[axes.index(letter)] if letter in axes else 1 for letter in "NHWC"}
    channels = range(sides["C"]) if channels is None else channels
    out = np.empty((sides["N"], sides["H"], sides["W"], len(channels)), images.dtype)
    for n in range(sides["N"]):
        for y in range(sides["H"]):
            for x in range(sides["W"]):
                for k, c in enumerate(channels):
                    place = {"N": n, "H": y, "W": x, "C": c}
                    out[n, y, x, k] = images[tuple(place[letter] for letter in axes)]
    return out


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


def triangle_taps(start, length, n_out, n_in):
    """Return the pixels of a source axis, and their weights, that make each output pixel of a resized part of it.

    The part is [start, start + length) in pixels, of which pixel k covers [k, k + 1). Output pixel i has its centre at
    ``start + (i + 1/2) * length / n_out`` and the weights of a triangle around it that reaches ``max(length / n_out, 1)`` to
    either side. Pixels beyond the ends of the axis have none; pixels of the axis outside the part have, as in Pillow's
    resize(box=).

    Parameters
    ----------
    start, length : float
    n_out : int
        Output pixels.
    n_in : int
        Pixels of the source axis.

    Returns
    -------
    list of (int, ndarray of float32)
        First pixel, and the weight of it and of those after it. Weights are float64, divided by their sum, which is added up in
        ascending order, and then rounded to float32.
    """
    step = length / n_out
    reach = max(step, 1.0)
    taps = []
    for i in range(n_out):
        centre = start + (i + 0.5) * step
        first = max(int(centre - reach + 0.5), 0)
        last = min(int(centre + reach + 0.5), n_in)
        weights = [max(0.0, 1.0 - abs((k - centre + 0.5) * (1.0 / reach))) for k in range(first, last)]
        total = 0.0
        for weight in weights:
            total += weight
        taps.append((first, np.array([weight / total for weight in weights], np.float32)))
    return taps


def _weighted_sum(values, weights):
    """Return the sum over the first axis, added in ascending order; each product and each sum rounds to float32."""
    total = values[0] * weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=True):
        total = total + value * weight
    return total


def resize_box(image, box, size):
    """Resize a part of an image by the triangle filter: first along rows, then along columns.

    Parameters
    ----------
    image : ndarray
        float32, shape (H, W, C).
    box : sequence of float
        y, x, height, width of the part, in pixels.
    size : tuple of int
        (h, w) of the result.

    Returns
    -------
    ndarray
        float32, shape (h, w, C).
    """
    y, x, height, width = (float(number) for number in box)
    (h, w), (H, W, C) = size, image.shape
    narrow = np.empty((H, w, C), np.float32)
    for j, (first, weights) in enumerate(triangle_taps(x, width, w, W)):
        narrow[:, j] = _weighted_sum([image[:, first + k] for k in range(len(weights))], weights)
    out = np.empty((h, w, C), np.float32)
    for i, (first, weights) in enumerate(triangle_taps(y, height, h, H)):
        out[i] = _weighted_sum([narrow[first + k] for k in range(len(weights))], weights)
    return out


def map_affine(image, matrix, size, fill):
    """Sample an image at the positions of a matrix, bilinearly; outside of it there is a constant.

    Positions are whole multiples of 2**-32 pixels: start and steps are rounded once, half to even, and then added without
    rounding. Weights are the upper 16 bits of the fraction.

    Parameters
    ----------
    image : ndarray
        float32, shape (H, W, C).
    matrix : array_like
        Shape (2, 3): (x, y) in the source = matrix @ (column, row, 1) in the result, where the centre of pixel k is at k + 1/2.
    size : tuple of int
        (h, w) of the result.
    fill : float or sequence of C floats

    Returns
    -------
    ndarray
        float32, shape (h, w, C).
    """
    (h, w), (H, W, C) = size, image.shape
    fill = _per_channel(fill, C, "fill")

    def pixel(y, x):
        return image[y, x] if 0 <= y < H and 0 <= x < W else fill

    def fixed(number):
        return round(number * 2.0**32)  # Python's round: half to even

    starts, right, down = [], [], []
    for a, b, c in ((float(a), float(b), float(c)) for a, b, c in np.asarray(matrix, np.float64)):
        starts.append(fixed(a * 0.5 + b * 0.5 + c - 0.5))
        right.append(fixed(a))
        down.append(fixed(b))
    out = np.empty((h, w, C), np.float32)
    for i in range(h):
        for j in range(w):
            x, y = (starts[k] + right[k] * j + down[k] * i for k in range(2))
            share_x, share_y = (np.float32((at >> 16 & 0xFFFF) / 65536) for at in (x, y))
            x, y = x >> 32, y >> 32
            rows = [pixel(row, x) * (np.float32(1) - share_x) + pixel(row, x + 1) * share_x for row in (y, y + 1)]
            out[i, j] = rows[0] * (np.float32(1) - share_y) + rows[1] * share_y
    return out


def map_colors(image, matrix):
    """Map the channels of each pixel linearly: ``((m0 * first + m1 * second) + m2 * third) + m3``, each step rounded to float32.

    Parameters
    ----------
    image : ndarray
        float32, shape (h, w, C).
    matrix : ndarray
        float32, shape (C, C + 1).

    Returns
    -------
    ndarray
        float32, shape (h, w, C).
    """
    channels = [image[..., c] for c in range(image.shape[2])]
    return np.stack([_weighted_sum(channels, row[:-1]) + row[-1] for row in matrix], axis=-1)


def _added_up(numbers):
    """Return the sum of numbers, a list of floats, in the order of `standardized`.

    Number k, from 0, belongs to sum ``k // 256 % 32`` of lane ``k % 32``. Each sum is added up in ascending order of k, and each
    lane is the sum of its 32 sums, in their order. The upper half of the lanes is then added to the lower one, until one is left.
    """
    sums = [[0.0] * 32 for _ in range(32)]
    for k, number in enumerate(numbers):
        sums[k // 256 % 32][k % 32] += number
    lanes = [0.0] * 32
    for row in sums:
        lanes = [lane + number for lane, number in zip(lanes, row, strict=True)]
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [lanes[k] + lanes[half + k] for k in range(half)]
    return lanes[0]


def image_statistics(image):
    """Return what `standardized` subtracts from the numbers of an image, and multiplies them with.

    Sums are float64: of the distances from the first number, and of their squares. Mean and deviation follow in float64. The mean
    is then rounded to float32, and what is lost by that to another float32; one over the deviation, which is 1 / sqrt(n) for n
    numbers at least, is rounded to float32.

    Parameters
    ----------
    image : ndarray
        float32, C-contiguous: the order of its numbers in memory is the order in which they are added up.

    Returns
    -------
    high, low, factor : numpy.float32
    """
    numbers = image.ravel().tolist()
    n, first = len(numbers), numbers[0]
    total = _added_up([number - first for number in numbers])
    squares = _added_up([(number - first) * (number - first) for number in numbers])
    distance = total / n
    variance = max((squares - total * distance) / n, 0.0)
    deviation = max(math.sqrt(variance), 1.0 / math.sqrt(n))
    mean = first + distance
    with np.errstate(all="ignore"):
        high = np.float32(mean)
        return high, np.float32(mean - float(high)), np.float32(1.0 / deviation)


def standardized(image):
    """Bring an image to mean 0 and standard deviation 1, over all of its numbers: ``(x - m) / max(s, 1 / sqrt(n))``.

    As `tf.image.per_image_standardization`: ``((x - high) - low) * factor``, each step rounded to float32.
    `image_statistics` has the three numbers.
    """
    high, low, factor = image_statistics(image)
    with np.errstate(all="ignore"):
        return ((image - high) - low) * factor


def transform(
    images, crops, size, boxes=None, matrices=None, fill=0.0, colors=None, mean=None, scale=None, erasures=None, erase_value=0.0,
    dtype="float32", layout="channels_last", standardize=False,
):  # fmt: skip
    """Execute a transform table: geometry, flags, colour, mean and scale, standardisation, conversion, erasing.

    Parameters
    ----------
    images : ndarray
        Shape (n, H, W, C), any real dtype; rounded to float32.
    crops : ndarray
        int32, shape (n_out, 4): source slot, y, x, flags. The part at (y, x) has `size`, or with `TRANSPOSED` the same with rows
        and columns exchanged. Flags are applied to what has been cut out or resized: transposed, then flipped, then mirrored.
    boxes : ndarray, optional
        float64, shape (n_out, 4): y, x, height, width of the part of the source that is resized, see `resize_box`. Transposed
        images are resized after they are transposed, so rows of the result are made first.
    matrices : ndarray, optional
        float64, shape (n_out, 2, 3), see `map_affine`.
    colors : ndarray, optional
        float32, shape (n_out, C, C + 1), see `map_colors`.
    mean, scale : None, float or sequence of C floats, optional
        ``(value - mean) * scale``, each step rounded to float32.
    erasures : ndarray, optional
        int32, shape (n_out, 4): y, x, height, width in the result, which becomes `erase_value`; of height 0 for none.
    erase_value : float or sequence of C floats, optional
    dtype, layout
        See `crop`.
    standardize : bool, optional
        Whether each image of the result is standardised, before anything is erased, see `standardized`; in the order of `layout`.

    Returns
    -------
    ndarray
        `dtype`, shape (n_out, h, w, C) or (n_out, C, h, w), C-contiguous.
    """
    h, w = size
    C = images.shape[3]
    scale = _per_channel(1.0 if scale is None else scale, C, "scale")
    mean = _per_channel(0.0 if mean is None else mean, C, "mean")
    erase_value = _per_channel(erase_value, C, "erase_value")
    out = np.empty((len(crops), h, w, C), np.float32)
    with np.errstate(all="ignore"):
        for k in range(len(crops)):
            slot, y, x, flags = (int(entry) for entry in crops[k])
            image = images[slot].astype(np.float32)
            box = None if boxes is None else [float(number) for number in boxes[k]]
            if flags & TRANSPOSED:
                image, (y, x) = image.transpose(1, 0, 2), (x, y)
                box = None if box is None else [box[1], box[0], box[3], box[2]]
            if box is not None:
                part = resize_box(image, box, size)
            elif matrices is not None:
                part = map_affine(image, matrices[k], size, fill)
            else:
                part = _cut(image, y, x, size)
            if flags & FLIPPED:
                part = part[::-1]
            if flags & MIRRORED:
                part = part[:, ::-1]
            if colors is not None:
                part = map_colors(part, colors[k])
            out[k] = (part - mean) * scale
            if standardize and layout == "channels_last":
                out[k] = standardized(out[k])
            elif standardize:
                out[k] = standardized(np.ascontiguousarray(out[k].transpose(2, 0, 1))).transpose(1, 2, 0)
            if erasures is not None:
                top, left, height, width = (int(entry) for entry in erasures[k])
                out[k, top : top + height, left : left + width] = erase_value
        out = out.astype(DTYPES[dtype])
    return out if layout == "channels_last" else np.ascontiguousarray(out.transpose(0, 3, 1, 2))


def blend(x, weights, rectangles):
    """Blend each image with its partner, image n - 1 - k, as both were before. The middle one of an odd n, and one whose
    weight is 1, stay as they are.

    Parameters
    ----------
    x : ndarray
        float32, float16 or bfloat16, shape (n, h, w, C).
    weights : ndarray
        float32, shape (n,): share of the image itself; it and 1 minus it are exact.
    rectangles : ndarray
        int32, shape (n, 4): y, x, height, width of what is taken from the partner unchanged; of height 0 to mix all pixels:
        ``weight * own + (1 - weight) * other``, each step rounded to float32, and the result to the dtype of `x`.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.
    """
    out = x.copy()
    for k in range(len(x)):
        own, other = x[k], x[len(x) - 1 - k]
        top, left, height, width = (int(entry) for entry in rectangles[k])
        if k == len(x) - 1 - k or (not height and weights[k] == 1):
            continue
        if height:
            out[k, top : top + height, left : left + width] = other[top : top + height, left : left + width]
        else:
            share = np.float32(weights[k])
            mixed = share * own.astype(np.float32) + (np.float32(1) - share) * other.astype(np.float32)
            out[k] = mixed.astype(x.dtype)
    return out


def transform_mask(masks, crops, size, boxes=None, matrices=None, fill=0):
    """Execute the geometry of a transform table on masks: each pixel of the result is one pixel of the source, or `fill`.

    Without boxes and matrices, it is the pixel that is cut out. With a box it is the one that has the position
    ``start + (i + 1/2) * (length / n_out)`` of the source axis, pixel k having the positions from k up to k + 1. With a matrix,
    it is the one that has the position of the centre of the result's pixel, in multiples of 2**-32 as in `map_affine`.

    Parameters
    ----------
    masks : ndarray
        Shape (n, H, W) or (n, H, W, C), any dtype.
    crops, size, boxes, matrices
        As in `transform`.
    fill : number
        What there is outside of a mask, where a matrix leads there.

    Returns
    -------
    ndarray
        Dtype of `masks`, shape (n_out, h, w) or (n_out, h, w, C).
    """
    h, w = size

    def pixels(start, length, n_out, n_in):
        step = float(length) / n_out
        return [min(int(float(start) + (i + 0.5) * step), n_in - 1) for i in range(n_out)]

    def fixed(number):
        return round(number * 2.0**32)

    out = np.empty((len(crops), h, w, *masks.shape[3:]), masks.dtype)
    for k in range(len(crops)):
        slot, y, x, flags = (int(entry) for entry in crops[k])
        mask = masks[slot]
        box = [y, x, h, w] if boxes is None else [float(number) for number in boxes[k]]
        if flags & TRANSPOSED:
            mask = mask.swapaxes(0, 1)
            box = [x, y, h, w] if boxes is None else [box[1], box[0], box[3], box[2]]
        part = np.full(out.shape[1:], fill, masks.dtype)
        if matrices is not None:
            (a, b, c), (d, e, f) = np.asarray(matrices[k], np.float64).tolist()
            for i in range(h):
                for j in range(w):
                    column = (fixed(a * 0.5 + b * 0.5 + c) + fixed(a) * j + fixed(b) * i) >> 32
                    row = (fixed(d * 0.5 + e * 0.5 + f) + fixed(d) * j + fixed(e) * i) >> 32
                    if 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]:
                        part[i, j] = mask[row, column]
        elif boxes is not None:
            rows, columns = pixels(box[0], box[2], h, mask.shape[0]), pixels(box[1], box[3], w, mask.shape[1])
            for i in range(h):
                for j in range(w):
                    part[i, j] = mask[rows[i], columns[j]]
        else:
            part = _cut(mask, box[0], box[1], size)
        if flags & FLIPPED:
            part = part[::-1]
        if flags & MIRRORED:
            part = part[:, ::-1]
        out[k] = part
    return out


def transform_points(points, crops, size, boxes=None, matrices=None):
    """Map points of each source image to the result: where what was at a point of the source has gone.

    A pixel k has the positions from k up to k + 1, on both sides.

    Parameters
    ----------
    points : ndarray
        float64, shape (n, M, 2): x and y.
    crops, size, boxes, matrices
        As in `transform`.

    Returns
    -------
    ndarray
        float64, shape (n_out, M, 2): x and y, which may lie outside of the result.
    """
    h, w = size
    out = np.empty((len(crops), *points.shape[1:]))
    for k in range(len(crops)):
        slot, top, left, flags = (int(entry) for entry in crops[k])
        for m, (x, y) in enumerate(points[slot].tolist()):
            height, width = (w, h) if flags & TRANSPOSED else (h, w)
            if matrices is not None:
                matrix = np.asarray(matrices[k], np.float64)
                x, y = np.linalg.solve(matrix[:, :2], [x, y] - matrix[:, 2])
            elif boxes is not None:
                y0, x0, box_height, box_width = (float(number) for number in boxes[k])
                x, y = (x - x0) * width / box_width, (y - y0) * height / box_height
            else:
                x, y = x - left, y - top
            if flags & TRANSPOSED:
                x, y = y, x
            out[k, m] = w - x if flags & MIRRORED else x, h - y if flags & FLIPPED else y
    return out


def transform_boxes(corners, crops, size, boxes=None, matrices=None):
    """Map the boxes of objects of each source image to the result.

    Parameters
    ----------
    corners : ndarray
        float64, shape (n, M, 4): left, top, right and bottom edge of each object, in positions as in `transform_points`.
    crops, size, boxes, matrices
        As in `transform`.

    Returns
    -------
    edges : ndarray
        float64, shape (n_out, M, 4): edges of the upright box around the four mapped corners, clipped to the result.
    share : ndarray
        float64, shape (n_out, M): share of the area of the upright box that is left of it.
    """
    h, w = size
    edges, share = np.empty((len(crops), *corners.shape[1:])), np.empty((len(crops), corners.shape[1]))
    left, top, right, bottom = np.moveaxis(corners, 2, 0)
    four = [np.stack(corner, axis=-1) for corner in ((left, top), (right, top), (left, bottom), (right, bottom))]
    mapped = [transform_points(corner, crops, size, boxes, matrices) for corner in four]
    for k in range(len(crops)):
        for m in range(corners.shape[1]):
            xs, ys = ([corner[k, m, axis] for corner in mapped] for axis in (0, 1))
            whole = (max(xs) - min(xs)) * (max(ys) - min(ys))
            x0, x1 = (min(max(x, 0.0), w) for x in (min(xs), max(xs)))
            y0, y1 = (min(max(y, 0.0), h) for y in (min(ys), max(ys)))
            edges[k, m] = x0, y0, x1, y1
            share[k, m] = (x1 - x0) * (y1 - y0) / whole if whole else 0.0
    return edges, share
