"""Images inside a page, as data URIs."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from fastprep.encoded.encode import encode

_LARGE = 6000  # bytes of a PNG from which on the image goes into a page as a JPEG


def data_uri(pixels: NDArray[np.uint8], *, lossless: bool = False) -> str:
    """Return an image as the address of an `img`.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 1 or 3)
        In RGB or grey.
    lossless : bool
        Whether it is a PNG, however large it is; otherwise large ones are JPEGs.
    """
    kind, content = "png", encode(pixels, "png")
    if not lossless and len(content) > _LARGE:
        kind, content = "jpeg", encode(pixels, "jpeg")
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
