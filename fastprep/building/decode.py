"""Decoding of an image file: upright, without transparency, 8 bits a channel, resized and cut to a square."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError, __version__
from PIL.JpegImagePlugin import JpegImageFile

from fastprep.building.memory import Memory, TooLargeError
from fastprep.building.source import Source
from fastprep.encoded.flattening import ChannelOrder, flat, strip_bytes
from fastprep.system import is_machine_fault

_ENDINGS = "jpg jpeg jpe jfif png apng webp bmp dib tif tiff gif ppm pgm pbm pnm"
ENDINGS = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""Endings of file names, in lower case."""
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""Formats that Pillow may try. Others are left out because they start other programs, or are not photographs or drawings."""

JPEG_GAP = 2  # a JPEG is decoded at a half, quarter or eighth if that leaves this many times the size: see docs/notes/building.md

_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}  # bytes of a pixel in Pillow; others have 4
_CANVAS = {"WEBP": 12, "TIFF": 4, "GIF": 4, "BMP": 4, "PPM": 6}  # bytes a pixel that a decoder takes besides the image itself
_TILE_WIDTH, _TILE_LENGTH = 322, 323  # tags of TIFF 6.0, section 15

DECODER = f"Pillow {__version__}, recipe 1"
"""What the pixels depend on besides the file; the number is raised when `read_image` gives other pixels."""

Resize = Literal["crop", "pad", "stretch"]

_Result = TypeVar("_Result")

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


class OutOfReachError(UnreadableError):
    """Fault of the machine on the way to an image file, such as a disk that went away; the image may be whole."""


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


def read_image(
    path: str | os.PathLike[str],
    size: int,
    channel_order: ChannelOrder = "RGB",
    memory: Memory | None = None,
    resize: Resize = "crop",
) -> DecodedImage:
    """Decode an image, turn it upright, and make a square of it.

    Parameters
    ----------
    path : str or path
        JPEG, PNG, WebP, BMP, TIFF, GIF or PNM; the first image if the file has several.
    size : int
        Height and width of the result in pixels.
    channel_order : {"RGB", "L"}
        "L" is grey, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
    memory : Memory, optional
        Bound that threads share, from which the bytes are taken that the header says are needed, before pixels are decoded.
    resize : {"crop", "pad", "stretch"}
        "crop" resizes the shorter side to `size` and cuts the square in the middle; "pad" resizes the longer side and puts the
        whole image in the middle of a black square; "stretch" resizes both sides, whatever that does to the shapes.

    Returns
    -------
    DecodedImage

    Raises
    ------
    OutOfReachError
        If reading fails, the file is gone, or the system has too little memory or too many open files.
    UnreadableError
        If the file is empty, damaged, cut short, of another kind, too large, or has pixels without a known range, or if it may
        not be read.

    Notes
    -----
    Transparent parts become white. 16 bits are divided by 256 to give 8. Colour profiles are not applied. Resizing is bicubic
    over all source pixels that a new pixel covers, so it does not alias.
    """
    limit = memory or Memory(sys.maxsize)
    return from_file(path, lambda file, n_bytes: _decode(file, n_bytes, size, channel_order, limit, resize))


def from_file(path: str | os.PathLike[str], decode: Callable[[io.BufferedReader, int], _Result]) -> _Result:
    """Open an image file, and tell a fault of the machine from damage of the image while it is decoded.

    Parameters
    ----------
    path : str or path
    decode : callable
        Function that takes the open file and its size in bytes; its errors are taken for damage, unless reading failed or memory
        is short.

    Returns
    -------
    object
        What the function returns.

    Raises
    ------
    OutOfReachError, UnreadableError
        See `read_image`.
    """
    try:
        source = Source(path)
    except OSError as error:
        # a file that is there, but may not be read, is so for good; if its folder can't be entered, nothing is known about it
        is_own_fault = isinstance(error, PermissionError) and os.path.lexists(path)
        raise (OutOfReachError if is_machine_fault(error) and not is_own_fault else UnreadableError)(_reason(error)) from error
    try:
        with source.buffered() as file:
            if source.n_bytes == 0:
                raise UnreadableError("the file is empty")
            return decode(file, source.n_bytes)
    except UnreadableError:
        raise
    except Exception as error:  # decoders raise many kinds of errors for damaged files
        if source.fault is not None:
            raise OutOfReachError(_reason(source.fault)) from error
        no_memory = isinstance(error, MemoryError) or "out of memory" in str(error)  # the latter by Pillow's decoders
        if no_memory or is_machine_fault(error):
            raise OutOfReachError(_reason(MemoryError() if no_memory else error)) from error
        raise UnreadableError(_reason(error)) from error


def _decode(
    file: io.BufferedReader, n_bytes: int, size: int, channel_order: ChannelOrder, memory: Memory, resize: Resize
) -> DecodedImage:
    memory.check_file(n_bytes)  # some decoders read all of it, and that before they know the size in pixels
    image: Image.Image = Image.open(file, formats=FORMATS)
    width, height = image.size
    is_jpeg, kind = isinstance(image, JpegImageFile), image.format
    if isinstance(image, JpegImageFile):
        image.draft(None, (JPEG_GAP * size, JPEG_GAP * size))
    with memory.taken(bytes_needed(image, (width, height), n_bytes, size, resize)):
        image.load()
        if not is_jpeg:
            width, height = image.size  # Pillow has turned a TIFF upright by now
        # each step lets go of the image before it, as `bytes_needed` counts on
        image, turned = _upright(image)
        image, note = _eight_bits(image, kind)
        image = flat(image, channel_order)
        square = _SQUARES[resize](image, size)
        pixels = np.asarray(square).reshape(size, size, len(channel_order))
    if turned:
        width, height = height, width
    return DecodedImage(pixels, width, height, note)


def bytes_needed(image: Image.Image, full_size: tuple[int, int], n_file_bytes: int, size: int, resize: Resize = "crop") -> int:
    """Return an upper bound of the memory that decoding an image takes, from its header.

    Parameters
    ----------
    image : Image
        Opened, with `draft` applied, but not loaded.
    full_size : (int, int)
        Width and height before `draft`.
    n_file_bytes : int
        Size of the file, all of which the decoders of WebP and TIFF read at once.
    size : int
        Height and width of the result in pixels.
    resize : {"crop", "pad", "stretch"}
        See `read_image`.

    Returns
    -------
    int
        Bytes.

    Notes
    -----
    Two images exist at a time: before and after it is turned, or before and after it becomes RGB. docs/notes/building.md has
    measurements.
    """
    stored = _STORED.get(image.mode, 4)
    both = {"I": 20, "F": 8}.get(image.mode, 10 if stored == 2 else max(2 * stored, stored + 5))
    width, height = image.size
    if image.format == "TIFF":  # a tile is decoded as a whole, however little of it lies in the image
        tags = getattr(image, "tag_v2", {})
        width = max(width, _whole_number(tags.get(_TILE_WIDTH)))
        height = max(height, _whole_number(tags.get(_TILE_LENGTH)))
    n_bytes = width * height * (both + _CANVAS.get(image.format or "", 0))
    if image.info.get("progressive"):
        n_bytes += 8 * full_size[0] * full_size[1]  # coefficients of 16 bits of up to four components, at the full size
    if image.format in ("WEBP", "TIFF"):
        n_bytes += 2 * n_file_bytes
    n_bytes += strip_bytes(width, height)
    n_rows = min(image.size) if resize == "crop" else max(image.size)  # of the image between the two passes of resizing
    return n_bytes + 4 * size * (n_rows + 2 * size)


def _whole_number(value: object) -> int:
    return value if isinstance(value, int) else 0


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


def _square(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size`, and keep the middle of the longer one.

    This equals resizing the whole image and cutting it, without the pixels that would be thrown away: an image of 1 x 100,000
    pixels would have 6.5 billion of them. Pixels beside the square still count at its edges.
    """
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))


def _padded(image: Image.Image, size: int) -> Image.Image:
    """Resize the longer side to `size`, and put the whole image in the middle of a black square."""
    width, height = image.size
    longer = max(width, height)
    sides = max(1, round(width * size / longer)), max(1, round(height * size / longer))
    square = Image.new(image.mode, (size, size))
    square.paste(image.resize(sides, Image.Resampling.BICUBIC), ((size - sides[0]) // 2, (size - sides[1]) // 2))
    return square


def _stretched(image: Image.Image, size: int) -> Image.Image:
    return image.resize((size, size), Image.Resampling.BICUBIC)


_SQUARES = {"crop": _square, "pad": _padded, "stretch": _stretched}


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a kind that is read here, or damaged at its start"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:,.0f} million pixels; reduce it first"
    if isinstance(error, TooLargeError):
        return f"too large: {error}; allow more with --memory, or reduce it first"
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
