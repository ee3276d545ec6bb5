"""What the header of an encoded image says, and the bound for its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fastprep.encoded.kinds import Kind
from fastprep.errors import DecodeError

Mode = Literal["RGB", "L"]

MAX_PIXELS = 178_956_970
"""Pixels of the largest image that is decoded. Pillow's own bound: above it, it takes an image for a decompression bomb."""

MAX_PARTS = 4096
"""Segments, chunks or entries that are looked at in one header; photographs have fewer than a hundred."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an encoded image.

    Parameters
    ----------
    kind : str
        What `kind_of` returns.
    height, width : int
        Size in pixels as it is stored, before the orientation is applied.
    channels : int
        Channels as they are stored, transparency included: 1 to 4. The colours of a palette count as 3.
    bits : int
        Bits of a channel; 8 for palettes.
    orientation : int
        Orientation by EXIF 2.32, section 4.6.4.A: 1 to 8, and 1 if nothing is said.
    is_rgb : bool
        Whether the three channels of a JPEG are stored as RGB, and not as luminance and two colour differences.
    """

    kind: Kind
    height: int
    width: int
    channels: int
    bits: int
    orientation: int = 1
    is_rgb: bool = False

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width of the pixels that `decode` returns."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels that `decode` returns: uint8, or uint16 for more than 8 bits."""
        return np.dtype(np.uint16 if self.bits > 8 else np.uint8)

    def shape(self, mode: Mode | None = None) -> tuple[int, int, int]:
        """Shape of the pixels that `decode` returns for a mode: height, width, and 1 or 3 channels."""
        n_channels = {"RGB": 3, "L": 1, None: 1 if self.channels <= 2 else 3}[mode]
        return (*self.upright, n_channels)


def check_size(header: Header, max_pixels: int) -> None:
    """Raise a DecodeError if an image has no pixels, or more than it may have."""
    height, width = header.height, header.width
    if height < 1 or width < 1:
        raise DecodeError(f"the header of the {header.kind} is damaged: it says {height} x {width} pixels")
    if height * width > max_pixels:
        raise DecodeError(
            f"the {header.kind} says it has {height:,} x {width:,} pixels, more than {max_pixels:,}; it may be a decompression "
            f"bomb. Make it smaller, or raise max_pixels if it is yours"
        )


def damaged(kind: Kind, problem: str) -> DecodeError:
    """Return the error for a header that can't be true."""
    return DecodeError(f"the header of the {kind} is damaged: {problem}")
