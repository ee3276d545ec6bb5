"""Images of Pillow without transparency, in RGB or grey: what building a data set and decoding an image have in common."""

from __future__ import annotations

from typing import Literal

from PIL import Image

ChannelOrder = Literal["RGB", "L"]

_STRIP_PIXELS = 1 << 18
_STRIP_BYTES = 24  # a pixel of a strip: cut out, with its transparency, white, on white, as RGB, and as it is pasted


def flat(image: Image.Image, channel_order: ChannelOrder) -> Image.Image:
    """Return an image in RGB or grey, with white where it was transparent.

    Parameters
    ----------
    image : Image
        Of at most 8 bits a channel.
    channel_order : {"RGB", "L"}
        "L" is grey, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).

    Returns
    -------
    Image
    """
    if image.has_transparency_data:
        image = _on_white(image)
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")  # and from there to grey, so that there is one rule for grey
    return image if image.mode == channel_order else image.convert(channel_order)


def strip_bytes(width: int, height: int) -> int:
    """Return the bytes that putting an image on white takes besides the image and the result."""
    return _STRIP_BYTES * min(width * height, max(_STRIP_PIXELS, width))


def _on_white(image: Image.Image) -> Image.Image:
    """Put an image on white, a few rows at a time, because whole images with transparency would be in memory four times."""
    result = Image.new("RGB", image.size)
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        result.paste(Image.alpha_composite(white, strip).convert("RGB"), (0, top))
    return result
