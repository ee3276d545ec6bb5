"""Decoding of an image file: upright, without transparency, 8 bits a channel, resized and cut to a square."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError, __version__
from PIL.JpegImagePlugin import JpegImageFile

_ENDINGS = "jpg jpeg jpe jfif png apng webp bmp dib tif tiff gif ppm pgm pbm pnm"
ENDINGS = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""Endings of file names, in lower case."""
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""Formats that Pillow may try. Others are left out because they start other programs, or are not photographs or drawings."""

JPEG_GAP = 2  # a JPEG is decoded at a half, quarter or eighth if that leaves this many times the size: see docs/notes/building.md

DECODER = f"Pillow {__version__}, recipe 1"
"""What the pixels depend on besides the file; the number is raised when `read_image` gives other pixels."""

ChannelOrder = Literal["RGB", "L"]

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # undoes each orientation of EXIF 2.32, section 4.6.4.A


class UnreadableError(Exception):
    """Reason, for people, why an image file can't be decoded."""


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (size, size, C)
    width, height : int
        Size of the upright source in pixels.
    note : str
        Remark for its owner about how it was converted; mostly empty.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    note: str


def read_image(path: str | os.PathLike[str], size: int, channel_order: ChannelOrder = "RGB") -> DecodedImage:
    """Decode an image, turn it upright, resize its shorter side to `size` and cut the square in its middle.

    Parameters
    ----------
    path : str or path
        JPEG, PNG, WebP, BMP, TIFF, GIF or PNM; the first image if the file has several.
    size : int
        Height and width of the result in pixels.
    channel_order : {"RGB", "L"}
        "L" is grey, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).

    Returns
    -------
    DecodedImage

    Raises
    ------
    UnreadableError
        If the file is missing, empty, damaged, cut short, of another kind, too large, or has pixels without a known range.

    Notes
    -----
    Transparent parts become white. 16 bits are divided by 256 to give 8. Colour profiles are not applied. Resizing is bicubic
    over all source pixels that a new pixel covers, so it does not alias.
    """
    try:
        if os.path.getsize(path) == 0:
            raise UnreadableError("the file is empty")
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if isinstance(image, JpegImageFile):
                image.draft(None, (JPEG_GAP * size, JPEG_GAP * size))
            image.load()
            if not isinstance(image, JpegImageFile):
                width, height = image.size  # Pillow has turned a TIFF upright by now
            upright, turned = _upright(image)
            plain, note = _eight_bits(upright, image.format)
            square = _square(_flat(plain, channel_order), size)
    except UnreadableError:
        raise
    except Exception as error:  # decoders raise many kinds of errors for damaged files
        raise UnreadableError(_reason(error)) from error
    if turned:
        width, height = height, width
    return DecodedImage(np.asarray(square).reshape(size, size, len(channel_order)), width, height, note)


def _upright(image: Image.Image) -> tuple[Image.Image, bool]:
    """Return an image turned upright by its EXIF data, and whether width and height were exchanged."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # the pixels are whole even if the EXIF data are damaged
        orientation = None
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return (image, False) if turn is None else (image.transpose(turn), orientation in (5, 6, 7, 8))


def _eight_bits(image: Image.Image, kind: str | None) -> tuple[Image.Image, str]:
    """Return an image of at most 8 bits a channel, and a note if it had more."""
    wide = image.mode.startswith("I;16") or (image.mode == "I" and kind in ("PNG", "PPM"))
    if wide:
        values = np.asarray(image)
        # the range in use is not known, so 12-bit images become dark
        return Image.fromarray((values >> 8).astype(np.uint8)), f"16 bits, values up to {values.max()}, divided by 256"
    if image.mode in ("I", "F"):
        kinds = {"I": "32-bit whole numbers", "F": "floating-point numbers"}
        raise UnreadableError(f"its pixels are {kinds[image.mode]}, whose range is not known; convert it to 8 or 16 bits first")
    return image, ""


def _flat(image: Image.Image, channel_order: ChannelOrder) -> Image.Image:
    """Return an image in RGB or grey, with white where it was transparent."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")  # and from there to grey, so that there is one rule for grey
    return image if image.mode == channel_order else image.convert(channel_order)


def _square(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size`, and keep the middle of the longer one.

    This equals resizing the whole image and cutting it, without the pixels that would be thrown away: an image of 1 x 100,000
    pixels would have 6.5 billion of them. Pixels beside the square still count at its edges.
    """
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a kind that is read here, or damaged at its start"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:,.0f} million pixels; reduce it first"
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
