"""Encoded images of every kind, made by Pillow, cv2, imagecodecs and tifffile out of the same pixels."""

import io

import imagecodecs
import numpy as np
from PIL import Image


def photograph(height=45, width=62):
    """Return smooth pixels with an edge and something else in each corner, uint8, (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // (width - 1), y * 255 // (height - 1), 64 + (x * y) % 128], -1).astype(np.uint8)
    pixels[: height // 3, : width // 4] = (250, 20, 30)
    return pixels


def sixteen_bits(pixels):
    """Return pixels as uint16 over the whole range, with both bytes of a number in use."""
    return (pixels.astype(np.uint16) << 8) + pixels[::-1, ::-1]


def by_pillow(pixels, kind, mode=None, **options):
    """Encode pixels, or an image of Pillow, with Pillow."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def by_tifffile(pixels, **options):
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def by_cv2(pixels, ending, *options):
    import cv2

    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])
    return cv2.imencode(ending, pixels, options)[1].tobytes()


def pillow_pixels(data, mode="RGB"):
    """Return what Pillow decodes, converted by it."""
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert(mode))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def with_orientation(orientation):
    """Return the options for Pillow's `save` that store an orientation as EXIF."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif}


def examples():
    """Return encoded images by name; the name begins with the kind."""
    pixels = photograph()
    deep, grey = sixteen_bits(pixels), pixels[..., 0]
    indexed = Image.fromarray(pixels).quantize(16)
    return {
        "JPEG": by_pillow(pixels, "JPEG", quality=90),
        "JPEG grey": by_pillow(grey, "JPEG"),
        "JPEG progressive": by_pillow(pixels, "JPEG", progressive=True),
        "JPEG restarts": by_pillow(pixels, "JPEG", restart_marker_blocks=2),
        "JPEG RGB": by_pillow(pixels, "JPEG", keep_rgb=True),
        "JPEG CMYK": by_pillow(pixels, "JPEG", "CMYK"),
        "JPEG turned": by_pillow(pixels, "JPEG", **with_orientation(6)),
        "PNG": by_pillow(pixels, "PNG"),
        "PNG grey": by_pillow(grey, "PNG"),
        "PNG palette": by_pillow(indexed, "PNG"),
        "PNG turned": by_pillow(pixels, "PNG", **with_orientation(8)),
        "PNG 16": imagecodecs.png_encode(deep),
        "WebP": by_pillow(pixels, "WEBP"),
        "WebP lossless": by_pillow(pixels, "WEBP", lossless=True, **with_orientation(3)),
        "TIFF": by_pillow(pixels, "TIFF"),
        "TIFF LZW": by_pillow(pixels, "TIFF", compression="tiff_lzw", **with_orientation(5)),
        "TIFF 16": by_pillow(Image.fromarray(deep[..., 0]), "TIFF"),
        "GIF": by_pillow(indexed, "GIF"),
        "JPEG 2000": imagecodecs.jpeg2k_encode(pixels, level=0),
        "JPEG 2000 codestream": imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k"),
        "JPEG 2000 16": imagecodecs.jpeg2k_encode(deep, level=0),
        "BMP": by_pillow(pixels, "BMP"),
        "BMP palette": by_pillow(indexed, "BMP"),
    }
