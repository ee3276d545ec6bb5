"""Headers of encoded images, compared with Pillow's, and what bounds the work that they cause."""

import io
import struct
import zlib

import numpy as np
import pytest
from encoded_images import by_cv2, by_pillow, by_tifffile, examples, photograph, sixteen_bits, with_orientation
from PIL import ExifTags, Image, ImageOps

from fastprep.encoded import MAX_PIXELS, decode, read_header
from fastprep.encoded.jpeg_header import MAX_SCANS
from fastprep.errors import DecodeError

TURNING = {"JPEG": "JPEG", "PNG": "PNG", "WebP": "WEBP", "TIFF": "TIFF"}


def png_of(*chunks):
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def ihdr(width, height, bits=8, color=2):
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)


@pytest.mark.parametrize("name", examples())
def test_size_and_bits_are_those_of_the_image(name):
    header = read_header(examples()[name])
    assert (header.height, header.width) == photograph().shape[:2]
    assert header.bits == (16 if name.endswith(" 16") else 8)
    assert header.dtype == (np.uint16 if name.endswith(" 16") else np.uint8)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", TURNING)
def test_the_orientation_is_the_one_that_pillow_finds(kind, orientation):
    data = by_pillow(photograph(), TURNING[kind], **with_orientation(orientation))
    header = read_header(data)
    assert header.orientation == (orientation if 1 <= orientation <= 8 else 1)
    with Image.open(io.BytesIO(data)) as image:
        assert header.upright == ImageOps.exif_transpose(image).size[::-1]


def with_xmp(kind, text, **options):
    """Encode an image with XMP data, which Pillow 11.0 writes into WebP alone."""
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + text + b"</x:xmpmeta>"
    if kind == "WebP":
        return by_pillow(photograph(), "WEBP", xmp=xmp, **options)
    whole = by_pillow(photograph(), kind, **options)
    if kind == "PNG":
        return whole[:33] + png_of((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))[8:] + whole[33:]
    segment = b"http://ns.adobe.com/xap/1.0/\0" + xmp
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(segment)) + segment + whole[2:]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP"])
@pytest.mark.parametrize("text", [b'tiff:Orientation="6"', b"<tiff:Orientation>6</tiff:Orientation>"])
def test_an_orientation_in_xmp_counts_where_there_is_none_in_exif(kind, text):
    data = with_xmp(kind, text)
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif().get(ExifTags.Base.Orientation, 6) == 6  # Pillow 11.0 looks into the XMP data of PNG alone
    assert read_header(data).orientation == 6
    assert read_header(with_xmp(kind, text, **with_orientation(3))).orientation == 3


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
def test_the_profile_that_imagemagick_writes_into_a_png_counts(kind):
    exif = with_orientation(7)["exif"].tobytes()
    text = f"\nexif\n{len(exif):8}\n{exif.hex()}\n".encode()
    body = b"Raw profile type exif\0" + (b"\0" + zlib.compress(text) if kind == b"zTXt" else text)
    whole = by_pillow(photograph(), "PNG")
    data = whole[:33] + png_of((kind, body))[8:] + whole[33:]
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif()[ExifTags.Base.Orientation] == 7
    assert read_header(data).orientation == 7


def test_a_profile_that_unpacks_to_gigabytes_costs_no_memory():
    bomb = zlib.compress(bytes(1 << 26))
    whole = by_pillow(photograph(), "PNG")
    data = whole[:33] + png_of((b"zTXt", b"Raw profile type exif\0\0" + bomb))[8:] + whole[33:]
    assert read_header(data).orientation == 1


@pytest.mark.parametrize(
    "exif", [b"", b"MM", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff" + bytes(range(200)), b"junk" * 9]
)
def test_damaged_exif_says_nothing(exif):
    segment = b"Exif\0\0" + exif
    jpeg = by_pillow(photograph(), "JPEG")
    assert read_header(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(segment)) + segment + jpeg[2:]).orientation == 1


def test_ten_megabytes_of_segments_before_the_frame_are_skipped():
    jpeg = by_pillow(photograph(), "JPEG")
    segment = b"\xff\xe2\xff\xff" + bytes(65_533)
    assert read_header(jpeg[:2] + segment * 160 + jpeg[2:]).width == photograph().shape[1]
    with pytest.raises(DecodeError, match="more than 4,096 segments stand before its pixels"):
        read_header(jpeg[:2] + b"\xff\xe2\x00\x02" * 100_000 + jpeg[2:])
    with pytest.raises(DecodeError, match="more than 4,096 segments"):
        read_header(jpeg[:2] + b"\xff" * 100_000 + jpeg[2:])


def test_fill_bytes_before_a_marker_are_skipped():
    jpeg = by_pillow(photograph(), "JPEG")
    assert read_header(jpeg[:2] + b"\xff\xff\xff" + jpeg[2:]) == read_header(jpeg)


def test_a_png_of_a_million_chunks_is_refused():
    with pytest.raises(DecodeError, match="more than 100,000 chunks"):
        read_header(png_of(ihdr(8, 8)) + b"\0\0\0\0xxXx\0\0\0\0" * 1_000_000)


def test_a_jpeg_of_thousands_of_scans_is_refused():
    jpeg = by_pillow(photograph(), "JPEG", progressive=True)
    first = jpeg.index(b"\xff\xda")
    second = jpeg.index(b"\xff\xda", first + 2)
    with pytest.raises(DecodeError, match=rf"scans, more than {MAX_SCANS}"):
        read_header(jpeg[:second] + jpeg[first:second] * 5000 + jpeg[second:])


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP", "WebP lossless", "TIFF", "GIF", "JPEG 2000", "JPEG 2000 16", "BMP"])
def test_a_bomb_is_refused_before_memory_is_taken(name):
    data, (height, width) = bytearray(examples()[name]), photograph().shape[:2]
    claim = 60_000 if name.startswith(("JPEG", "PNG", "TIFF", "GIF", "BMP")) else 16_000
    if name == "PNG":
        data = bytearray(png_of(ihdr(claim, claim), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")))
    elif name == "JPEG":
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = struct.pack(">HH", claim, claim)
    elif name == "WebP":
        start = data.index(b"\x9d\x01\x2a") + 3
        data[start : start + 4] = struct.pack("<HH", claim, claim)
    elif name == "WebP lossless":
        data[24:30] = (claim - 1).to_bytes(3, "little") * 2  # the canvas of the extended format
    elif name == "GIF":
        data[6:10] = struct.pack("<HH", claim, claim)
    elif name == "BMP":
        data[18:26] = struct.pack("<ii", claim, -claim)
    elif name == "TIFF":
        data = bytearray(by_pillow(Image.new("L", (1, 1)), "TIFF"))
        for tag in (256, 257):
            start = data.index(struct.pack("<HHI", tag, 4, 1))
            data[start + 8 : start + 12] = struct.pack("<I", claim)
    else:
        start = data.index(b"\xff\x4f\xff\x51") + 8
        assert data[start : start + 8] == struct.pack(">II", width, height)
        data[start : start + 8] = struct.pack(">II", claim, claim)
        data[start + 16 : start + 24] = struct.pack(">II", claim, claim)
    for function in (read_header, decode):
        with pytest.raises(DecodeError, match=rf"{claim:,} x {claim:,} pixels, more than 178,956,970; it may be a decompression"):
            function(bytes(data))


def test_the_bound_is_pillows_and_can_be_set():
    assert MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS
    data, (height, width) = by_pillow(photograph(), "PNG"), photograph().shape[:2]
    assert read_header(data, max_pixels=height * width).width == width
    for function in (read_header, decode):
        with pytest.raises(DecodeError, match="more than 2,789"):
            function(data, max_pixels=height * width - 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:40], "cut short"),
        (lambda data: data[:2] + b"\xff\xd9" + data[2:], "marker 0xd9 at byte 2, before any pixels"),
        (lambda data: data[:2] + b"xx" + data[2:], "begins with the bytes"),
        (lambda data: data.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc1\x00\x11\x0c"), "12 bits a channel"),
        (lambda data: data.replace(b"\xff\xc0", b"\xff\xc3"), "is lossless, and only baseline and progressive"),
        (lambda data: data.replace(b"\xff\xc0", b"\xff\xc9"), "is arithmetic, and only baseline and progressive"),
        (lambda data: data.replace(b"\xff\xc0", b"\xff\xe9"), "pixels without a frame"),
        (lambda data: data[: data.index(b"\xff\xc0") + 5] + bytes(4) + data[data.index(b"\xff\xc0") + 9 :], "0 x 0 pixels"),
    ],
)
def test_jpegs_that_are_not_decoded_say_why(change, message):
    with pytest.raises(DecodeError, match=message):
        read_header(change(by_pillow(photograph(), "JPEG")))


@pytest.mark.parametrize("dtype", ["int16", "uint32", "float32"])
def test_numbers_without_a_known_range_are_refused(dtype):
    with pytest.raises(DecodeError, match="whose range is not known; convert it to 8 or 16 bits first"):
        read_header(by_tifffile(photograph().astype(dtype), photometric="rgb"))


@pytest.mark.parametrize(("compression", "name"), [("jpeg", "JPEG"), ("group4", "CCITT fax")])
def test_compressions_of_a_tiff_that_hide_damage_are_refused(compression, name):
    """Libtiff puts grey, or white, where bytes are missing."""
    image = Image.fromarray(photograph()) if compression == "jpeg" else Image.fromarray(photograph()[..., 0] > 99)
    with pytest.raises(DecodeError, match=f"compressed by {name}, whose damage would not be noticed"):
        read_header(by_pillow(image, "TIFF", compression=compression))


def test_a_tile_far_larger_than_its_image_is_refused():
    data = bytearray(by_tifffile(photograph(), photometric="rgb", tile=(64, 64)))
    start = (
        data.index(struct.pack("<HHI", 322, 4, 1))
        if struct.pack("<HHI", 322, 4, 1) in data
        else data.index(struct.pack("<HHI", 322, 3, 1))
    )
    data[start : start + 12] = struct.pack("<HHII", 322, 4, 1, 50_000)
    with pytest.raises(DecodeError, match="a tile with a side of 50,000 pixels"):
        read_header(bytes(data))


def test_files_of_cv2_and_tifffile_in_either_order_of_bytes():
    deep = sixteen_bits(photograph())
    for data in (by_tifffile(deep, photometric="rgb", byteorder=">"), by_tifffile(deep, photometric="rgb", bigtiff=True)):
        header = read_header(data)
        assert (*header.upright, header.channels, header.bits) == (*deep.shape, 16)
    assert read_header(by_cv2(deep, ".png")).bits == 16


@pytest.mark.parametrize(
    "wrap", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8), lambda d: np.frombuffer(d, np.int8)]
)
def test_bytes_may_be_in_anything(wrap):
    data = by_pillow(photograph(), "PNG")
    assert read_header(wrap(data)) == read_header(data)
    np.testing.assert_array_equal(decode(wrap(data)), photograph())


@pytest.mark.parametrize("data", [np.zeros(40, np.uint16), np.zeros((4, 10), np.uint8), np.zeros(80, np.uint8)[::2]])
def test_other_arrays_are_refused(data):
    with pytest.raises(ValueError, match="data must be bytes, or an array of uint8 with one axis"):
        read_header(data)
