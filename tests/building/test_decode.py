"""Decoding of single images, against Pillow's calls spelled out and plain numpy."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from fastprep.building.decode import UnreadableError, read_image

SIZE = 24


def photograph(width=61, height=40):
    """An image with gradients, an edge, and something else in each corner."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x * y) % 256], -1).astype(np.uint8)
    pixels[: height // 3, : width // 4] = (250, 20, 30)
    return Image.fromarray(pixels)


def grey601(pixels):
    """Return 0.299 R + 0.587 G + 0.114 B, ITU-R BT.601, in 16-bit fixed point."""
    red, green, blue = np.moveaxis(pixels.astype(np.int64), -1, 0)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(np.uint8)


def on_white(rgba):
    """Return RGB of an image with transparency, by the rule for each pixel."""
    pixels = np.asarray(rgba.convert("RGBA")).astype(np.float64)
    alpha = pixels[..., 3:] / 255
    return Image.fromarray(np.floor(pixels[..., :3] * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8))


def square(image, size=SIZE):
    """Resize and cut the middle out."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)))


def save(image, path, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("order", ["RGB", "L"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.png", {}),
        ("x.PNG", {"interlace": 1}),
        ("x.bmp", {}),
        ("x.ppm", {}),
        ("x.tif", {}),
        ("deflate.tif", {"compression": "tiff_deflate"}),
        ("lzw.TIFF", {"compression": "tiff_lzw"}),
        ("x.webp", {"lossless": True}),
    ],
)
def test_formats_that_lose_nothing(tmp_path, name, options, order):
    image = photograph()
    decoded = read_image(save(image, tmp_path / name, **options), SIZE, order)
    wanted = image if order == "RGB" else Image.fromarray(grey601(np.asarray(image)))
    np.testing.assert_array_equal(decoded.pixels, square(wanted).reshape(SIZE, SIZE, len(order)))
    assert (decoded.width, decoded.height, decoded.note) == (61, 40, "")
    assert decoded.pixels.dtype == np.uint8


@pytest.mark.parametrize("name", ["x.jpg", "progressive.JPEG", "x.webp", "x.gif"])
def test_formats_that_lose_something_lose_what_pillow_loses(tmp_path, name):
    options = {"progressive": True} if "progressive" in name else {}
    path = save(photograph(), tmp_path / name, **options)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(read_image(path, SIZE).pixels, square(opened.convert("RGB")))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "RGB"])
@pytest.mark.parametrize("order", ["RGB", "L"])
def test_modes(tmp_path, mode, order):
    image = photograph().convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    path = save(image, tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr") else "x.png"))
    if mode in ("LA", "RGBA"):
        wanted = on_white(image)
    else:
        with Image.open(path) as opened:
            try:
                wanted = opened.convert("RGB")
            except OSError:
                if mode != "YCbCr":
                    raise
                pytest.skip("this Pillow can't read the TIFF of YCbCr that it wrote")
    pixels = np.asarray(wanted)
    wanted = wanted if order == "RGB" else Image.fromarray(grey601(pixels))
    np.testing.assert_array_equal(read_image(path, SIZE, order).pixels, square(wanted).reshape(SIZE, SIZE, len(order)))


@pytest.mark.parametrize("ending", ["png", "gif", "webp"])
def test_a_palette_with_a_transparent_colour_is_put_on_white(tmp_path, ending):
    if ending == "webp":
        path = save(photograph().convert("RGBA"), tmp_path / "x.webp", lossless=True)
    else:
        image = photograph().quantize(16)
        path = save(image, tmp_path / f"x.{ending}", transparency=image.getpixel((1, 1)))
    with Image.open(path) as opened:
        rgba = opened.convert("RGBA")
    pixels = np.asarray(rgba)[..., :3].copy()
    pixels[np.asarray(rgba)[..., 3] == 0] = 255
    assert (ending == "webp") or (pixels[1, 1] == 255).all()
    np.testing.assert_array_equal(read_image(path, SIZE).pixels, square(Image.fromarray(pixels)))


def test_palette_with_half_transparent_colours(tmp_path):
    image = photograph().quantize(16)
    path = save(image, tmp_path / "x.png", transparency=bytes(range(0, 256, 16)))
    with Image.open(path) as opened:
        wanted = on_white(opened)
    np.testing.assert_array_equal(read_image(path, SIZE).pixels, square(wanted))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_exif_orientations(tmp_path, orientation, ending):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if ending == "webp" else {"quality": 95} if ending == "jpg" else {}
    path = save(photograph(), tmp_path / f"x.{ending}", exif=exif, **options)
    decoded = read_image(path, SIZE)
    with Image.open(path) as opened:
        opened.load()
        wanted = ImageOps.exif_transpose(opened)
    np.testing.assert_array_equal(decoded.pixels, square(wanted))
    assert (decoded.width, decoded.height) == ((61, 40) if orientation <= 4 else (40, 61))
    # the red corner is where people see it, and not only where Pillow's own function puts it
    corner = {1: (1, 1), 2: (-2, 1), 3: (-2, -2), 4: (1, -2), 5: (1, 1), 6: (-2, 1), 7: (-2, -2), 8: (1, -2)}[orientation]
    x, y = (place % side for place, side in zip(corner, wanted.size, strict=True))
    assert np.abs(np.array(wanted.getpixel((x, y))) - (250, 20, 30)).max() < 30


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_no_reason_to_lose_a_image(tmp_path):
    path = save(photograph(), tmp_path / "x.jpg", exif=b"Exif\x00\x00MM\x00\x2a\x00\x00\xff\xff\x00\x01")
    plain = save(photograph(), tmp_path / "plain.jpg")
    np.testing.assert_array_equal(read_image(path, SIZE).pixels, read_image(plain, SIZE).pixels)


@pytest.mark.parametrize(
    ("size", "draft"),
    [((400, 300), None), ((97, 96), (49, 48)), ((800, 200), (200, 50)), ((95, 300), None), ((1000, 1000), (125, 125))],
)
def test_large_jpegs_are_decoded_at_a_fraction_that_leaves_twice_the_size(tmp_path, size, draft):
    path = save(photograph(*size), tmp_path / "x.jpg")
    side = {(400, 300): 200}.get(size, SIZE)
    with Image.open(path) as opened:
        opened.draft(None, (2 * side, 2 * side))
        assert opened.size == (draft or size)
        wanted = square(opened.convert("RGB"), side)
    decoded = read_image(path, side)
    np.testing.assert_array_equal(decoded.pixels, wanted)
    assert (decoded.width, decoded.height) == size
    with Image.open(path) as opened:  # and looks as the whole does
        assert np.abs(square(opened, side).astype(int) - decoded.pixels).mean() < 5


@pytest.mark.parametrize("order", ["RGB", "L"])
def test_cmyk_jpeg(tmp_path, order):
    path = save(photograph().convert("CMYK"), tmp_path / "x.jpg", quality=95)
    with Image.open(path) as opened:
        assert opened.mode == "CMYK"
        pixels = np.asarray(opened.convert("RGB"))
    assert np.abs(pixels.astype(int) - np.asarray(photograph())).mean() < 10  # not inverted
    wanted = Image.fromarray(pixels if order == "RGB" else grey601(pixels))
    np.testing.assert_array_equal(read_image(path, SIZE, order).pixels, square(wanted).reshape(SIZE, SIZE, len(order)))


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm"])
@pytest.mark.parametrize("order", ["RGB", "L"])
def test_sixteen_bits(tmp_path, name, order):
    values = (np.arange(40 * 61).reshape(40, 61) * 26).astype(np.uint16)
    path = save(Image.fromarray(values), tmp_path / name)
    decoded = read_image(path, SIZE, order)
    wanted = square(Image.fromarray((values // 256).astype(np.uint8)))
    for channel in range(len(order)):
        np.testing.assert_array_equal(decoded.pixels[..., channel], wanted)
    assert decoded.note == f"16 bits, values up to {values.max()}, divided by 256"


def test_sixteen_bit_colour_png(tmp_path):
    values = np.random.default_rng(1).integers(0, 65536, (40, 61, 3)).astype(">u2")

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\x00" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 61, 40, 16, 2, 0, 0, 0)
    path = tmp_path / "x.png"
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    np.testing.assert_array_equal(read_image(path, SIZE).pixels, square(Image.fromarray((values // 256).astype(np.uint8))))


@pytest.mark.parametrize("kind", ["int32", "float32"])
def test_pixels_without_a_known_range_are_refused(tmp_path, kind):
    path = save(Image.fromarray(np.ones((30, 30), kind)), tmp_path / "x.tif")
    with pytest.raises(UnreadableError, match="whose range is not known"):
        read_image(path, SIZE)


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tif"])
def test_of_several_images_the_first(tmp_path, ending):
    first, second = photograph(), ImageOps.invert(photograph())
    options = {"lossless": True} if ending == "webp" else {}
    path = save(first, tmp_path / f"x.{ending}", save_all=True, append_images=[second], **options)
    with Image.open(path) as opened:
        assert opened.n_frames == 2
        np.testing.assert_array_equal(read_image(path, SIZE).pixels, square(opened.convert("RGB")))
    assert np.abs(read_image(path, SIZE).pixels.astype(int) - square(first)).mean() < 15


def test_resizing_by_the_middle_is_resizing_the_whole_and_cutting(tmp_path):
    """Where the sides divide, so that the whole can be resized without distorting it."""
    for size in ((128, 96), (96, 160), (48, 48), (12, 24)):
        image = photograph(*size)
        scale = SIZE / min(size)
        whole = image.resize((round(size[0] * scale), round(size[1] * scale)), Image.Resampling.BICUBIC)
        left, top = ((side - SIZE) // 2 for side in whole.size)
        wanted = whole.crop((left, top, left + SIZE, top + SIZE))
        got = read_image(save(image, tmp_path / "x.png"), SIZE).pixels
        np.testing.assert_array_equal(got, np.asarray(wanted))


def test_resizing_does_not_alias(tmp_path):
    """A board of single black and white pixels becomes grey."""
    board = (np.indices((240, 240)).sum(axis=0) % 2 * 255).astype(np.uint8)
    pixels = read_image(save(Image.fromarray(board), tmp_path / "x.png"), SIZE, "L").pixels
    assert np.abs(pixels.astype(int) - 127.5).max() < 2


@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (20000, 1), (2, 3)])
def test_images_of_extreme_shape_need_no_memory(tmp_path, size):
    decoded = read_image(save(Image.new("RGB", size, (1, 2, 3)), tmp_path / "x.png"), SIZE)
    assert (decoded.pixels == (1, 2, 3)).all()
    assert (decoded.width, decoded.height) == size


# --- what can't be read


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "bmp", "tif", "webp", "ppm"])
def test_files_that_were_cut_short(tmp_path, ending):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8))
    path = save(noise, tmp_path / f"x.{ending}")
    for share in (0.9, 0.5, 0.1):
        with pytest.raises(UnreadableError) as caught:
            read_image(cut(path, share), SIZE)
        assert str(caught.value)
        assert "\n" not in str(caught.value)


def test_what_is_no_image(tmp_path, monkeypatch):
    for name, content, reason in (
        ("empty.jpg", b"", "the file is empty"),
        ("text.jpg", b"not an image\n" * 9, "not an image of a kind that is read here"),
        ("script.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a kind that is read here"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UnreadableError, match=reason):
            read_image(path, SIZE)
    with pytest.raises(UnreadableError, match="No such file"):
        read_image(tmp_path / "nowhere.jpg", SIZE)
    with pytest.raises(UnreadableError, match="Is a directory"):
        read_image(tmp_path, SIZE)


def test_a_decompression_bomb(tmp_path):
    """A small file of very many pixels is refused before it is decoded."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    content = io.BytesIO()
    content.write(b"\x89PNG\r\n\x1a\n")
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100_000))), (b"IEND", b"")):
        content.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    (tmp_path / "bomb.png").write_bytes(content.getvalue())
    with pytest.raises(UnreadableError, match="more than 179 million pixels"):
        read_image(tmp_path / "bomb.png", SIZE)


def test_a_image_whose_name_lies_about_its_kind(tmp_path):
    image = photograph()
    np.testing.assert_array_equal(read_image(save(image, tmp_path / "x.jpg", format="PNG"), SIZE).pixels, square(image))


@pytest.mark.parametrize("size", [(61, 40), (40, 61), (24, 24), (300, 2)])
@pytest.mark.parametrize("order", ["RGB", "L"])
def test_pad_and_stretch_are_those_of_pillow(tmp_path, size, order):
    image = photograph(*size)
    path, longer = save(image, tmp_path / "x.png"), max(size)
    wanted = image if order == "RGB" else Image.fromarray(grey601(np.asarray(image)))
    sides = tuple(max(1, round(side * SIZE / longer)) for side in size)
    padded = np.zeros((SIZE, SIZE, len(order)), np.uint8)
    left, top = ((SIZE - side) // 2 for side in sides)
    small = np.asarray(wanted.resize(sides, Image.Resampling.BICUBIC)).reshape(sides[1], sides[0], -1)
    padded[top : top + sides[1], left : left + sides[0]] = small
    np.testing.assert_array_equal(read_image(path, SIZE, order, resize="pad").pixels, padded)
    stretched = np.asarray(wanted.resize((SIZE, SIZE), Image.Resampling.BICUBIC)).reshape(padded.shape)
    np.testing.assert_array_equal(read_image(path, SIZE, order, resize="stretch").pixels, stretched)
