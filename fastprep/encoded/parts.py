"""JPEGs handed to a sink, of which only the part is decoded that the sink reads; where libjpeg-turbo was there at the build."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink
from fastprep.encoded.header import Header, Mode

_Bytes = NDArray[np.uint8]
_Numbers = NDArray[np.int64]
HandOver = Callable[[list[_Bytes], _Numbers, _Numbers, int, _Bytes, Sink], tuple[int, int]]


def is_plain(header: Header, mode: Mode) -> bool:
    """Tell whether an image is a JPEG whose pixels libjpeg gives as `decode` returns them in this mode: not turned, no ink."""
    return header.kind == "JPEG" and header.orientation == 1 and header.channels in ((1, 3) if mode == "RGB" else (1,))


def is_common(header: Header, mode: Mode) -> bool:
    """Tell whether an image is a JPEG as most are: upright, and grey or luminance and colour differences, as the mode has it."""
    is_upright = header.kind == "JPEG" and header.orientation == 1
    return is_upright and header.channels == (3 if mode == "RGB" else 1) and not header.is_rgb


@functools.cache
def part_decoder() -> HandOver | None:
    """Return the function that decodes plain JPEGs and hands them to a sink; None where it was not compiled.

    Its arguments are the rows of bytes, their sizes as their headers tell them, int64 (n, 2), their slots, the number of
    channels, memory for the largest image, and the sink. It returns a status and how many images were handed over. With status
    0, the next one has to be decoded by `decode`: it is damaged, progressive, or otherwise something else than usual.
    """
    try:
        from fastprep.encoded._libjpeg import hand_over_jpegs
    except ImportError:
        return None
    return hand_over_jpegs
