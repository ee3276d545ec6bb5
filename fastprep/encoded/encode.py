"""Images encoded anew, by Pillow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fastprep.encoded.forms import KINDS, LONGEST_SIDES, LOSSY, QUALITY, Form


def encode(pixels: NDArray[np.uint8], form: Form, quality: int = QUALITY) -> bytes:
    """Encode an image; other threads run meanwhile.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, C)
        In RGB or grey. WebP has no grey.
    form : {"jpeg", "png", "webp", "webp-lossless"}
        JPEGs have chroma at half the size, as most photographs have. PNG and lossless WebP keep all pixels as they are.
    quality : int
        1..100, of JPEG, and of WebP that is not lossless.

    Returns
    -------
    bytes
        The whole file.

    Raises
    ------
    ValueError
        If the image does not have one or three channels, or the form has no grey or no images so large.
    """
    (height, width, channels), kind = pixels.shape, KINDS[form]
    if channels not in (1, 3):
        raise ValueError(f"images of one or three channels can be encoded, this one has {channels}")
    if channels == 1 and kind == "WebP":
        raise ValueError("WebP has no grey, and this image has one channel: encode it as PNG or JPEG")
    if max(height, width) > LONGEST_SIDES.get(kind, max(height, width)):
        raise ValueError(f"sides of a {kind} have at most {LONGEST_SIDES[kind]:,} pixels, this image has {height}x{width}")
    options: dict[str, Any] = {"quality": quality} if form in LOSSY else {"lossless": True} if form == "webp-lossless" else {}
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, kind, **options)
    return file.getvalue()
