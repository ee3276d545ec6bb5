"""Pixels of PNG, WebP, TIFF, GIF, JPEG 2000 and BMP, turned upright, and the arguments of `decode`."""

import io

import imagecodecs
import numpy as np
import pytest
from encoded_images import by_cv2, by_pillow, by_tifffile, examples, photograph, pillow_pixels, sixteen_bits, with_orientation
from optional_libraries import needs
from PIL import Image, ImageOps

from fastprep.encoded import decode, read_header
from fastprep.encoded.decode import upright
from fastprep.errors import DecodeError

PIXELS = photograph()
GREY = PIXELS[..., 0]
DEEP = sixteen_bits(PIXELS)
OTHERS = [name for name in examples() if not name.startswith("JPEG") or "2000" in name]


def grey601(pixels):
    """Return 0.299 R + 0.587 G + 0.114 B, ITU-R BT.601, in 16-bit fixed point."""
    red, green, blue = np.moveaxis(pixels.astype(np.int64), -1, 0)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(pixels.dtype)[..., None]


def on_white(pixels):
    """Return pixels with alpha on white, by the rule for each, rounded."""
    white = np.iinfo(pixels.dtype).max
    color, alpha = pixels[..., :-1].astype(np.float64), pixels[..., -1:] / white
    return np.floor(color * alpha + white * (1 - alpha) + 0.5).astype(pixels.dtype)


LOSSLESS = {
    "PNG": (lambda: by_pillow(PIXELS, "PNG"), PIXELS),
    "PNG interlaced": (lambda: by_pillow(PIXELS, "PNG", interlace=1), PIXELS),
    "PNG by cv2": (lambda: by_cv2(PIXELS, ".png"), PIXELS),
    "PNG by imagecodecs": (lambda: imagecodecs.png_encode(PIXELS), PIXELS),
    "PNG grey": (lambda: by_pillow(GREY, "PNG"), GREY),
    "PNG of one bit": (lambda: by_pillow(Image.fromarray(GREY > 99), "PNG"), (GREY > 99) * np.uint8(255)),
    "PNG 16": (lambda: imagecodecs.png_encode(DEEP), DEEP),
    "PNG 16 by cv2": (lambda: by_cv2(DEEP, ".png"), DEEP),
    "PNG 16 grey": (lambda: by_cv2(DEEP[..., 0], ".png"), DEEP[..., 0]),
    "PNG 16 grey by Pillow": (lambda: by_pillow(Image.fromarray(DEEP[..., 0]), "PNG"), DEEP[..., 0]),
    "WebP": (lambda: by_pillow(PIXELS, "WEBP", lossless=True), PIXELS),
    "WebP by imagecodecs": (lambda: imagecodecs.webp_encode(PIXELS, lossless=True), PIXELS),
    "TIFF": (lambda: by_pillow(PIXELS, "TIFF"), PIXELS),
    "TIFF LZW": (lambda: by_pillow(PIXELS, "TIFF", compression="tiff_lzw"), PIXELS),
    "TIFF deflated": (lambda: by_pillow(PIXELS, "TIFF", compression="tiff_adobe_deflate"), PIXELS),
    "TIFF by PackBits": (lambda: by_pillow(PIXELS, "TIFF", compression="packbits"), PIXELS),
    "TIFF by cv2": (lambda: by_cv2(PIXELS, ".tiff"), PIXELS),
    "TIFF by tifffile": (lambda: by_tifffile(PIXELS, photometric="rgb"), PIXELS),
    "TIFF tiled, deflated": (lambda: by_tifffile(PIXELS, photometric="rgb", tile=(32, 32), compression="deflate"), PIXELS),
    "TIFF in planes": (lambda: by_tifffile(np.moveaxis(PIXELS, 2, 0), photometric="rgb", planarconfig="separate"), PIXELS),
    "TIFF grey": (lambda: by_tifffile(GREY, photometric="minisblack"), GREY),
    "TIFF where 0 is white": (lambda: by_tifffile(GREY, photometric="miniswhite"), 255 - GREY),
    "BigTIFF": (lambda: by_tifffile(PIXELS, photometric="rgb", bigtiff=True), PIXELS),
    "TIFF 16": (lambda: by_tifffile(DEEP, photometric="rgb"), DEEP),
    "TIFF 16 by cv2": (lambda: by_cv2(DEEP, ".tiff"), DEEP),
    "TIFF 16 big-endian": (lambda: by_tifffile(DEEP, photometric="rgb", byteorder=">"), DEEP),
    "TIFF 16 tiled, LZW": (lambda: by_tifffile(DEEP, photometric="rgb", tile=(32, 32), compression="lzw"), DEEP),
    "TIFF 16 in planes": (lambda: by_tifffile(np.moveaxis(DEEP, 2, 0), photometric="rgb", planarconfig="separate"), DEEP),
    "TIFF 16 grey": (lambda: by_tifffile(DEEP[..., 0], photometric="minisblack"), DEEP[..., 0]),
    "TIFF 16 where 0 is white": (lambda: by_tifffile(DEEP[..., 0], photometric="miniswhite"), 65535 - DEEP[..., 0]),
    "TIFF 16 of two pages": (lambda: by_tifffile(np.stack([DEEP, DEEP[::-1]]), photometric="rgb"), DEEP),
    "JPEG 2000": (lambda: imagecodecs.jpeg2k_encode(PIXELS, level=0), PIXELS),
    "JPEG 2000 by Pillow": (lambda: by_pillow(PIXELS, "JPEG2000"), PIXELS),
    "JPEG 2000 codestream": (lambda: imagecodecs.jpeg2k_encode(PIXELS, level=0, codecformat="j2k"), PIXELS),
    "JPEG 2000 grey": (lambda: imagecodecs.jpeg2k_encode(GREY, level=0), GREY),
    "JPEG 2000 16": (lambda: imagecodecs.jpeg2k_encode(DEEP, level=0), DEEP),
    "JPEG 2000 of 12 bits": (lambda: imagecodecs.jpeg2k_encode(DEEP >> 4, level=0, bitspersample=12), DEEP >> 4),
    "JPEG 2000 16 grey": (lambda: imagecodecs.jpeg2k_encode(DEEP[..., 0], level=0), DEEP[..., 0]),
    "BMP": (lambda: by_pillow(PIXELS, "BMP"), PIXELS),
    "BMP by cv2": (lambda: by_cv2(PIXELS, ".bmp"), PIXELS),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_kinds_that_lose_nothing_give_the_pixels(name):
    encode, pixels = LOSSLESS[name]
    data = encode()
    wanted = pixels if pixels.ndim == 3 else pixels[..., None]
    got = decode(data)
    np.testing.assert_array_equal(got, wanted)
    header = read_header(data)
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape) == (header.dtype, header.shape())
    assert got.flags.c_contiguous
    assert got.flags.writeable
    three = wanted if wanted.shape[2] == 3 else np.repeat(wanted, 3, axis=2)
    np.testing.assert_array_equal(decode(data, "RGB"), three)
    np.testing.assert_array_equal(decode(data, "L"), grey601(three))
    for mode in (None, "RGB", "L"):
        around = np.full((3, *header.shape(mode)), 77, header.dtype)
        assert np.shares_memory(decode(data, mode, around[1]), around[1])
        np.testing.assert_array_equal(around[1], decode(data, mode))
        assert (around[[0, 2]] == 77).all()


@pytest.mark.parametrize("name", [name for name in OTHERS if "16" not in name])
def test_pixels_are_pillows(name):
    data = examples()[name]
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(decode(data, "RGB"), wanted)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", [pytest.param("JPEG", marks=needs("simplejpeg")), "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_images_are_turned_as_pillow_turns_them(kind, orientation, mode):
    data = by_pillow(PIXELS, kind, **with_orientation(orientation))
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    got = decode(data, mode)
    np.testing.assert_array_equal(got, wanted if mode == "RGB" else grey601(wanted))
    out = np.empty(read_header(data).shape(mode), np.uint8)
    decode(data, mode, out)
    np.testing.assert_array_equal(out, got)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bits_are_turned_as_well(orientation):
    with_tag = by_tifffile(DEEP, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    np.testing.assert_array_equal(decode(with_tag), upright(DEEP, orientation))
    eight = by_tifffile(PIXELS, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    np.testing.assert_array_equal(decode(eight), upright(PIXELS, orientation))


def test_the_first_row_and_column_go_where_exif_says():
    """EXIF 2.32, section 4.6.4.A: the sides of the upright image where the first row and the first column belong."""
    sides = ["top left", "top right", "bottom right", "bottom left", "left top", "right top", "right bottom", "left bottom"]
    numbers = np.arange(6).reshape(2, 3, 1)
    for orientation, words in enumerate(sides, 1):
        turned = upright(numbers, orientation)[..., 0]
        edges = {"top": turned[0], "bottom": turned[-1], "left": turned[:, 0], "right": turned[:, -1]}
        row, column = words.split()
        assert set(edges[row]) == {0, 1, 2}
        assert set(edges[column]) == {0, 3}


RAMP = np.broadcast_to(np.linspace(0, 255, PIXELS.shape[1]).astype(np.uint8), PIXELS.shape[:2])[..., None]
TRANSPARENT = np.concatenate([PIXELS, RAMP], 2)
DEEP_RAMP = np.broadcast_to(np.linspace(0, 65535, PIXELS.shape[1]).astype(np.uint16), PIXELS.shape[:2])[..., None]
DEEP_TRANSPARENT = np.concatenate([DEEP, DEEP_RAMP], 2)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG2000"])
def test_transparent_parts_become_white(kind):
    data = by_pillow(TRANSPARENT, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(decode(data), on_white(TRANSPARENT))
    np.testing.assert_array_equal(decode(data, "L"), grey601(on_white(TRANSPARENT)))
    opaque = TRANSPARENT.copy()
    opaque[..., 3] = 255
    np.testing.assert_array_equal(decode(by_pillow(opaque, kind, **({"lossless": True} if kind == "WEBP" else {}))), PIXELS)


def test_transparent_parts_of_sixteen_bits_become_white():
    for encode in (imagecodecs.png_encode, lambda pixels: imagecodecs.jpeg2k_encode(pixels, level=0)):
        np.testing.assert_array_equal(decode(encode(DEEP_TRANSPARENT)), on_white(DEEP_TRANSPARENT))
    opaque = DEEP_TRANSPARENT.copy()
    opaque[..., 3] = 65535
    np.testing.assert_array_equal(decode(imagecodecs.png_encode(opaque)), DEEP)
    grey = np.ascontiguousarray(DEEP_TRANSPARENT[..., [0, 3]])
    np.testing.assert_array_equal(decode(imagecodecs.png_encode(grey)), on_white(grey))


def test_a_fourth_channel_of_sixteen_bits_in_a_tiff_has_to_be_plain_transparency():
    data = by_tifffile(DEEP_TRANSPARENT, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(decode(data), on_white(DEEP_TRANSPARENT))
    for kind, number in (("unspecified", 0), ("assocalpha", 1)):
        data = by_tifffile(DEEP_TRANSPARENT, photometric="rgb", extrasamples=[kind])
        with pytest.raises(DecodeError, match=rf"4 channels of 16 bits, .*plain transparency .*\(ExtraSamples \({number},\)\)"):
            decode(data)


def test_grey_with_transparency_stays_grey():
    image = Image.fromarray(GREY)
    image.putalpha(Image.fromarray(np.ascontiguousarray(RAMP[..., 0])))
    got = decode(by_pillow(image, "PNG"))
    np.testing.assert_array_equal(got, on_white(np.stack([GREY, RAMP[..., 0]], -1)))


def test_a_transparent_colour_of_a_palette_becomes_white():
    indexed = Image.fromarray(PIXELS).quantize(16)
    clear = indexed.getpixel((1, 1))
    wanted = np.array(indexed.convert("RGB"))
    wanted[np.asarray(indexed) == clear] = 255
    for kind in ("PNG", "GIF"):
        np.testing.assert_array_equal(decode(by_pillow(indexed, kind, transparency=clear)), wanted)


def test_the_first_of_several_images_is_decoded():
    frames = [Image.fromarray(np.roll(PIXELS, 9 * k, 0)).quantize(32) for k in range(3)]
    data = by_pillow(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode(data), np.asarray(frames[0].convert("RGB")))
    coloured = [frame.convert("RGB") for frame in frames]
    data = by_pillow(coloured[0], "WEBP", save_all=True, append_images=coloured[1:], lossless=True)
    np.testing.assert_array_equal(decode(data), np.asarray(coloured[0]))


def test_ink_in_a_tiff_is_converted_as_pillow_does_it():
    data = by_pillow(PIXELS, "TIFF", "CMYK")
    np.testing.assert_array_equal(decode(data), pillow_pixels(data))


@pytest.mark.parametrize("place", [20, 60, -20, -6])
def test_checksums_of_a_png_of_sixteen_bits_are_checked_before_its_pixels(place):
    data = bytearray(examples()["PNG 16"])
    data[place] ^= 4
    with pytest.raises(DecodeError, match=r"checksum of its (first chunk|chunk at byte \d+) is wrong"):
        decode(bytes(data))


def test_sixteen_bits_of_ink_are_refused():
    data = by_tifffile(np.concatenate([DEEP, DEEP_RAMP], 2), photometric="separated")
    with pytest.raises(DecodeError, match=r"neither grey nor RGB \(PhotometricInterpretation 5\)"):
        decode(data)


CUT = {name: lambda name=name: examples()[name] for name in OTHERS}
CUT |= {
    name: LOSSLESS[name][0]
    for name in (
        "TIFF in planes",
        "TIFF deflated",
        "TIFF by PackBits",
        "TIFF tiled, deflated",
        "TIFF 16 tiled, LZW",
        "TIFF 16 in planes",
    )
}


@pytest.mark.parametrize("name", CUT)
def test_an_image_that_is_cut_short_is_an_error_unless_all_pixels_are_there(name):
    data = CUT[name]()
    whole, n_whole = decode(data), 0
    cuts = [*range(0, len(data) - 60, max(1, len(data) // 300)), *range(len(data) - 60, len(data))]
    for n_bytes in cuts:
        try:
            got = decode(data[:n_bytes])
        except DecodeError:
            continue
        np.testing.assert_array_equal(got, whole, err_msg=f"{n_bytes} of {len(data)} bytes")
        n_whole += 1
    assert n_whole <= 60  # what ends a file after its pixels is short


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty((45, 62, 3), np.uint16), r"out must be uint8 \(45, 62, 3\) for this PNG, got uint16 \(45, 62, 3\)"),
        (np.empty((62, 45, 3), np.uint8), r"got uint8 \(62, 45, 3\)"),
        (np.empty((45, 62), np.uint8), r"got uint8 \(45, 62\)"),
        (np.empty((45, 62, 4), np.uint8)[..., :3], "out must be C-contiguous, and writable"),
        (np.broadcast_to(np.uint8(0), (45, 62, 3)), "out must be C-contiguous, and writable"),
    ],
)
def test_memory_that_does_not_fit_is_refused(out, message):
    with pytest.raises(ValueError, match=message):
        decode(examples()["PNG"], out=out)


def test_a_mode_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="mode must be 'RGB', 'L' or None, got 'BGR'"):
        decode(examples()["PNG"], "BGR")


def test_too_little_memory_is_not_taken_for_damage(monkeypatch):
    def no_memory(*_):
        raise OSError("out of memory error when reading image file")

    monkeypatch.setattr("fastprep.encoded.eight_bits.flat", no_memory)
    with pytest.raises(MemoryError, match="too little memory to decode the PNG"):
        decode(examples()["PNG"])
