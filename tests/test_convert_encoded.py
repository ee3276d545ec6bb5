"""The convert command and encoded images: into them, out of them, and from file to file without a change."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest
import reference
from conversions import check_refused, run
from encoded_files import by_pillow_upright, encoded, write_rows
from encoded_images import by_pillow, photograph, with_orientation
from optional_libraries import needs
from PIL import Image

from fastprep import CenterCrop, RandomCrop, Resize, image_mean
from fastprep.encoded import decode, kind_of
from fastprep.encoded import encode as encoding
from fastprep.h5 import open_images
from fastprep.h5.convert import Encoding, rewrite, stream
from fastprep.loader import Loader

pytestmark = [needs("simplejpeg"), pytest.mark.usefixtures("no_thread_left")]

rewriting = sys.modules["fastprep.h5.convert.rewrite"]
N, SIZE = 11, (24, 30)
LAYOUTS = {
    "contiguous": {},
    "gzip": {"chunks": (5, *SIZE, 3), "compression": "gzip", "shuffle": True},
    "split images": {"chunks": (4, 11, 7, 1), "compression": "gzip"},
}


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "new.h5"


@pytest.fixture(scope="module")
def pixels():
    """Photographs of one size."""
    rng = np.random.default_rng(3)
    return np.stack([photograph(*SIZE) // 2 + rng.integers(0, 100, (*SIZE, 3), np.uint8) // (1 + k % 4) for k in range(N)])


def write(path, images, **attributes):
    """Write pixels, labels and something else."""
    layout = attributes.pop("layout", {})
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("images", data=images, **layout)
        dataset.attrs.update(attributes)
        file["labels"] = np.arange(len(images)) % 3
        file["more/boxes"] = np.arange(len(images) * 4.0).reshape(-1, 4)
        file["more/again"] = dataset
        file.attrs["licence"] = "CC BY"
    return path


def rows_of(path, name="images"):
    with h5py.File(path) as file:
        return [row.tobytes() for row in file[name]]


def attributes_of(path, name="images"):
    with h5py.File(path) as file:
        return dict(file[name].attrs)


# --- from pixels


@pytest.mark.parametrize("form", ["png", "webp-lossless"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_loss_every_pixel_is_kept_and_all_else_is_too(tmp_path, out, pixels, capsys, form, layout):
    path = write(tmp_path / "old.h5", pixels.astype("float32"), layout=LAYOUTS[layout], channel_order="RGB", unit="counts")
    assert run(path, out, "--encode", form) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    words = "PNG, without loss" if form == "png" else "WebP, without loss"
    assert f" MB, {words}, mean " in captured.out
    assert f"; as pixels the images take {pixels.nbytes / 1e6:,.1f} MB (" in captured.out
    for row, image in zip(rows_of(out), pixels, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(row))), image)
    with h5py.File(out) as file:
        assert file["more/again"] == file["images"]
        np.testing.assert_array_equal(file["labels"][()], np.arange(N) % 3)
        np.testing.assert_array_equal(file["more/boxes"][()], np.arange(N * 4.0).reshape(N, 4))
        assert file.attrs["licence"] == "CC BY"
        assert dict(file["images"].attrs).keys() == {"channel_order", "unit", "mean"}
    with Loader(path, 4, None, mean=None) as before, Loader(out, 4, None, mean=None) as after:
        for (x, y), (x_new, y_new) in zip(before, after, strict=True):
            np.testing.assert_array_equal(x, x_new)
            np.testing.assert_array_equal(y, y_new)
    np.testing.assert_array_equal(attributes_of(out)["mean"], image_mean(out))
    np.testing.assert_array_equal(image_mean(out), image_mean(path))
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize(("form", "quality"), [("jpeg", None), ("jpeg", 40), ("webp", 70)])
def test_with_loss_the_last_line_says_how_much(tmp_path, out, pixels, capsys, form, quality):
    path = write(tmp_path / "old.h5", pixels, channel_order="RGB")
    assert run(path, out, "--encode", form, *([] if quality is None else ["--quality", quality])) == 0
    kind = {"jpeg": "JPEG", "webp": "WEBP"}[form]
    rows = rows_of(out)
    assert rows == [by_pillow(image, kind, quality=quality or 90) for image in pixels]
    decoded = np.stack([decode(row, "RGB") for row in rows])
    difference = decoded.astype(float) - pixels
    squares = np.square(difference).mean(axis=(1, 2, 3))
    psnr, least = 10 * np.log10(255**2 / squares.mean()), 10 * np.log10(255**2 / squares.max())
    wanted = (
        f"of quality {quality or 90}, mean {' '.join(f'{value:.2f}' for value in image_mean(out))}; "
        f"PSNR {psnr:.1f} dB, at least {least:.1f} dB in image {squares.argmax()}, "
        f"largest difference {abs(difference).max():.0f} of 255; as pixels the images take"
    )
    assert wanted in capsys.readouterr().out
    # where none was stored, the mean is that of what a loader decodes
    np.testing.assert_allclose(attributes_of(out)["mean"], decoded.mean(axis=(0, 1, 2)), rtol=1e-14)
    np.testing.assert_array_equal(attributes_of(out)["mean"], image_mean(out))


def test_grey_images_stay_grey(tmp_path, out, pixels, capsys):
    path = write(tmp_path / "old.h5", pixels[..., 0])
    for form in ("png", "jpeg"):
        assert run(path, out, "--encode", form, "--overwrite") == 0
        assert [Image.open(io.BytesIO(row)).mode for row in rows_of(out)] == ["L"] * N
        with Loader(out, N, None, mean=None) as loader:
            assert loader.channel_order == "L"
            (x, _), wanted = loader.batch(0, 0), np.stack([decode(row, "L") for row in rows_of(out)])
        np.testing.assert_array_equal(x, wanted)
        if form == "png":
            np.testing.assert_array_equal(x[..., 0], pixels[..., 0])
    capsys.readouterr()
    out.unlink()
    check_refused(capsys, out, "sample 0: WebP has no grey", path, out, "--encode", "webp")


@pytest.mark.parametrize("how", ["attribute", "option"])
def test_channels_in_another_order_are_reordered_with_all_that_speaks_of_them(tmp_path, out, pixels, capsys, how):
    spread = np.arange(9.0).reshape(3, 3)
    order = {"channel_order": "BGR"} if how == "attribute" else {}
    mean, std = pixels.mean(axis=(0, 1, 2)), [4.0, 5.0, 6.0]
    path = write(tmp_path / "old.h5", pixels, mean=mean, std=std, covariance=spread, **order)
    assert run(path, out, "--encode", "png", *([] if order else ["--channel-order", "BGR"])) == 0
    assert "the channels are stored as RGB, as in any encoded image; mean, std, covariance, channel" in capsys.readouterr().err
    for row, image in zip(rows_of(out), pixels, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(row))), image[..., ::-1])
    attributes = attributes_of(out)
    np.testing.assert_array_equal(attributes["mean"], mean[::-1])
    np.testing.assert_array_equal(attributes["std"], std[::-1])
    np.testing.assert_array_equal(attributes["covariance"], spread[::-1, ::-1])
    (tmp_path / "mean.json").write_text('{"R": 1, "G": 2, "B": 3}')
    named = str(tmp_path / "mean.json")
    with Loader(path, N, None, mean=named) as before, Loader(out, N, None, mean=named) as after:
        assert after.channel_order == "RGB"
        np.testing.assert_array_equal(before.batch(0, 0)[0], after.batch(0, 0)[0][..., ::-1])


def test_an_order_that_nobody_names_is_said(tmp_path, out, pixels, capsys):
    path = write(tmp_path / "old.h5", pixels)
    assert run(path, out, "--encode", "png") == 0
    assert "they are taken for RGB (--channel-order BGR says another)" in capsys.readouterr().err
    np.testing.assert_array_equal(decode(rows_of(out)[0]), pixels[0])
    assert run(path, out, "--encode", "png", "--channel-order", "RGB", "--overwrite") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("n_channels", [3, 1])
def test_a_stored_mean_is_kept_and_one_of_other_pixels_is_said(tmp_path, out, pixels, capsys, n_channels):
    images = pixels[..., :n_channels]
    path = write(
        tmp_path / "old.h5", images, mean=[101.0, 102.0, 103.0][:n_channels], channel_order="RGB" if n_channels == 3 else "L"
    )
    assert run(path, out, "--encode", "png") == 0
    assert capsys.readouterr().err == ""  # that of training, perhaps: as a conversion to pixels keeps it
    assert run(path, out, "--encode", "jpeg", "--overwrite") == 0
    captured = capsys.readouterr()
    assert "mean kept" in captured.out
    now = " ".join(f"{value:.3f}" for value in image_mean(out))
    kept = "101.000 102.000 103.000" if n_channels == 3 else "101.000"
    assert f"though pixels have changed: {kept}; that of the pixels of the new file is {now}" in captured.err
    np.testing.assert_array_equal(attributes_of(out)["mean"], [101.0, 102.0, 103.0][:n_channels])


def test_images_with_a_dataset_each_and_labels_of_theirs(tmp_path, out, pixels):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        for k, image in enumerate(pixels):
            file[f"X/{k}"], file[f"y/{k}"] = image, k % 2
        file["X"].attrs["channel_order"] = "RGB"
    assert run(tmp_path / "old.h5", out, "--images", "X/", "--labels", "y/", "--encode", "png") == 0
    for row, image in zip(rows_of(out), pixels, strict=True):
        np.testing.assert_array_equal(decode(row), image)
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["labels"][()], np.arange(N) % 2)
        assert file["file_names"][3] == b"X/3"
        assert "X" not in file


def test_axes_that_are_no_longer_there_are_not_described(tmp_path, out, pixels, capsys):
    path = write(tmp_path / "old.h5", pixels.transpose(0, 3, 1, 2), channel_order="RGB")
    with h5py.File(path, "r+") as file:
        for axis, name in zip(file["images"].dims, ("n", "channel", "y", "x"), strict=True):
            axis.label = name
    assert run(path, out, "--axes", "NCHW", "--encode", "png") == 0
    assert "describe its old axes are left out: DIMENSION_LABELS" in capsys.readouterr().err
    for row, image in zip(rows_of(out), pixels, strict=True):
        np.testing.assert_array_equal(decode(row), image)


# --- out of encoded images


@pytest.fixture(scope="module")
def rows():
    """Photographs of different sizes, one of them turned, and one without loss."""
    turned = by_pillow(photograph(41, 66), "JPEG", **with_orientation(6))
    return [*encoded(N - 3), by_pillow(photograph(50, 47), "PNG"), turned, by_pillow(photograph(64, 64), "JPEG")]


@pytest.fixture(scope="module")
def images(rows):
    return [by_pillow_upright(row) for row in rows]


@pytest.fixture
def path(tmp_path, rows):
    return write_rows(tmp_path / "encoded.h5", rows)


SIZES = {
    ("--size", "32"): CenterCrop(32, resize=32),
    ("--size", "32", "--shorter-side", "40"): CenterCrop(32, resize=40),
    ("--size", "28x36"): CenterCrop((28, 36), resize=36),
    ("--size", "28X36", "--resize", "stretch"): Resize((28, 36)),
    ("--size", "80"): CenterCrop(80, resize=80),  # larger than any of them
}


@pytest.mark.parametrize("options", SIZES, ids=" ".join)
def test_images_of_different_sizes_become_what_a_loader_makes_of_them(path, out, images, capsys, options):
    crop = SIZES[options]
    assert run(path, out, *options) == 0
    with h5py.File(out) as file:
        new = file["images"][()]
        assert (new.dtype, new.shape[1:3]) == (np.uint8, crop.height_width)
        assert file["images"].attrs["channel_order"] == b"RGB"
    with Loader(path, N, crop, mean=None) as before, Loader(out, N, None, mean=None) as after:
        (x, y), (x_new, y_new) = before.batch(0, 0), after.batch(0, 0)
        assert after.channel_order == before.channel_order
    np.testing.assert_array_equal(np.rint(x), x_new)
    np.testing.assert_array_equal(y, y_new)
    for image, pixels in zip(images, new, strict=True):  # and what the oracle makes of them
        table = crop.rows(*image.shape[:2], np.zeros(1, np.int64), 0, 0)
        (wanted,) = reference.transform(image[None], crops=table.crops, size=crop.height_width, boxes=table.boxes)
        np.testing.assert_array_equal(np.rint(wanted), pixels)
    np.testing.assert_array_equal(attributes_of(out)["mean"], image_mean(out))
    assert f"read {N} images of different sizes uint8, encoded" in capsys.readouterr().out


@pytest.mark.parametrize("size", [20, 32])
def test_a_centre_crop_of_the_resized_file_is_that_of_the_encoded_one(path, out, size):
    """The weights of the filter may differ in their last bit, so that a number just on the edge could be rounded elsewhere."""
    assert run(path, out, "--size", "32") == 0
    with Loader(path, N, CenterCrop(size, resize=32), mean=None) as before, Loader(out, N, CenterCrop(size), mean=None) as after:
        np.testing.assert_array_equal(np.rint(before.batch(0, 0)[0]), after.batch(0, 0)[0])


def test_different_sizes_are_refused_with_the_ways_out(path, out, capsys, rows, images):
    (height, width), (other_height, other_width) = images[0].shape[:2], images[1].shape[:2]
    sizes = (
        f"{height}x{width} pixels in the first one, {other_height}x{other_width} here; a dataset of pixels has images of one size"
    )
    message = check_refused(capsys, out, f"sample 1: images have different sizes: {sizes}", path, out)
    assert "--size gives all images one size; --encode writes encoded images, which keep their sizes" in message
    check_refused(capsys, out, "--shorter-side must be at least 32", path, out, "--size", "32", "--shorter-side", "31")
    narrow = path, out, "--size", "28x36", "--shorter-side", "30"
    check_refused(capsys, out, "crop is larger than the resized image: 28x36", *narrow)


def test_images_of_one_size_need_no_option(tmp_path, out, capsys):
    path = write_rows(tmp_path / "encoded.h5", encoded(N, size=(20, 24)))
    assert run(path, out) == 0
    assert capsys.readouterr().err == ""
    how = {"crop": RandomCrop(16), "shuffle": True, "mean": None}
    with Loader(path, 4, **how) as before, Loader(out, 4, **how) as after:
        for (x, y), (x_new, y_new) in zip(before, after, strict=True):
            np.testing.assert_array_equal(x, x_new)
            np.testing.assert_array_equal(y, y_new)


def test_pixels_are_resized_as_well(tmp_path, out, pixels):
    path = write(tmp_path / "old.h5", pixels.astype("int16"), layout={"chunks": (4, 11, 7, 1)}, channel_order="RGB")
    assert run(path, out, "--size", "16") == 0
    with Loader(path, N, CenterCrop(16, resize=16), mean=None) as before, Loader(out, N, None, mean=None) as after:
        np.testing.assert_array_equal(np.rint(before.batch(0, 0)[0]), after.batch(0, 0)[0])
    assert run(path, out, "--size", "16", "--encode", "png", "--overwrite") == 0
    with Loader(path, N, CenterCrop(16, resize=16), mean=None) as before, Loader(out, N, None, mean=None) as after:
        np.testing.assert_array_equal(np.rint(before.batch(0, 0)[0]), after.batch(0, 0)[0])


# --- from encoded to encoded


def test_bytes_are_kept_when_files_are_joined(tmp_path, out, rows, images, capsys):
    first = write_rows(tmp_path / "a.h5", rows[:4], chunks=(3,), compression="gzip")
    second = write_rows(tmp_path / "b.h5", rows[4:])
    assert run(first, second, out, "--encode", "keep") == 0
    captured = capsys.readouterr()
    assert (
        f"encoded as they were, mean {' '.join(f'{value:.2f}' for value in image_mean(out))}; the bytes of {N} images"
        in captured.out
    )
    assert rows_of(out) == rows
    np.testing.assert_array_equal(image_mean(out), image_mean([first, second]))
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["labels"][()], [*range(4), *range(N - 4)])
        assert file["images"].chunks is None
    with contextlib.closing(open_images(out)) as reader:
        for got, image in zip(reader.images(np.arange(N)), images, strict=True):
            np.testing.assert_array_equal(got, image)


def test_only_images_of_another_kind_are_encoded_anew_unless_a_quality_or_a_size_is_given(path, out, rows, capsys):
    assert run(path, out, "--encode", "jpeg") == 0
    assert f"the bytes of {N - 1} images are unchanged; PSNR" in capsys.readouterr().out
    new = rows_of(out)
    assert [kind_of(row) for row in new] == ["JPEG"] * N
    assert [k for k in range(N) if new[k] != rows[k]] == [N - 3]
    assert new[N - 3] == by_pillow(decode(rows[N - 3]), "JPEG", quality=90)
    assert run(path, out, "--encode", "jpeg", "--quality", 50, "--overwrite") == 0
    assert rows_of(out) == [by_pillow(decode(row, "RGB"), "JPEG", quality=50) for row in rows]
    assert run(path, out, "--encode", "png", "--size", 30, "--overwrite") == 0
    with Loader(path, N, CenterCrop(30, resize=30), mean=None) as before, Loader(out, N, None, mean=None) as after:
        np.testing.assert_array_equal(np.rint(before.batch(0, 0)[0]), after.batch(0, 0)[0])


def test_files_of_pixels_and_of_encoded_images_are_joined(tmp_path, out, pixels, rows):
    first = write(tmp_path / "a.h5", pixels, channel_order="RGB")
    second = write_rows(tmp_path / "b.h5", rows)
    assert run(first, second, out, "--encode", "png") == 0
    decoded = [decode(row) for row in rows_of(out)]
    for got, wanted in zip(decoded, [*pixels, *(decode(row, "RGB") for row in rows)], strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert run(first, second, out, "--size", 16, "--overwrite") == 0
    assert attributes_of(out)["channel_order"] == b"RGB"
    crop = CenterCrop(16, resize=16)
    with Loader(second, N, crop, mean=None) as before, Loader(out, 2 * N, None, mean=None) as after:
        np.testing.assert_array_equal(np.rint(before.batch(0, 0)[0]), after.batch(0, 0)[0][N:])


# --- what is refused


def test_options_that_do_not_go_together(path, out, capsys):
    for message, *options in (
        ("--quality goes with --encode jpeg and --encode webp only", "--quality", 80),
        ("--quality goes with --encode jpeg and --encode webp only", "--encode", "png", "--quality", 80),
        ("--quality must be from 1 to 100, got 101", "--encode", "jpeg", "--quality", 101),
        ("--channel-order goes with --encode only", "--channel-order", "BGR"),
        ("--encode goes without --compression", "--encode", "png", "--compression", "gzip"),
        ("--encode keep goes without --size", "--encode", "keep", "--size", 8),
        ("--shorter-side and --resize go with --size only", "--shorter-side", 9),
        ("--shorter-side and --resize go with --size only", "--resize", "stretch"),
        ("--shorter-side goes without --resize stretch", "--size", 8, "--resize", "stretch", "--shorter-side", 9),
        ("--size must be PIXELS, such as 256, or HEIGHTxWIDTH, such as 256x320, got '0'", "--size", 0),
        ("got '8x9x3'", "--size", "8x9x3"),
    ):
        check_refused(capsys, out, message, path, out, *options)
    for arguments in ({"form": "png", "quality": 3}, {"form": "jpeg", "quality": 0}):
        with pytest.raises(ValueError, match="quality"):
            Encoding(**arguments)
    with pytest.raises(ValueError, match="go without gzip"):
        rewrite(path, out, encoding=Encoding("png"), gzip_level=4)


def test_images_that_can_not_be_encoded(tmp_path, out, pixels, capsys):
    def refused(message, images, *options, form="png", **attributes):
        check_refused(capsys, out, message, write(tmp_path / "old.h5", images, **attributes), out, "--encode", form, *options)

    rgb = {"channel_order": "RGB"}
    refused("images have 4 channels, and encoded images have one or three: keep them as pixels", pixels[..., [0, 1, 2, 0]])
    refused("the attribute 'channel_order' says 'HSV': encoded images are grey (L) or", pixels, channel_order="HSV")
    refused("the attribute 'channel_order' says 'R' of one channel", pixels[..., 0], channel_order="R")
    refused("says 'RGB', and 'BGR' was asked for", pixels, "--channel-order", "BGR", **rgb)
    refused(
        "sample 2: value 300.0 at row 0, column 0, channel 0",
        np.where(np.arange(N)[:, None, None, None] == 2, 300.0, pixels),
        **rgb,
    )
    refused("sample 0: the images are pixels, which can't be kept as encoded images", pixels, form="keep", **rgb)
    wide = np.zeros((2, 1, 16_384, 1), np.uint8).repeat(3, axis=3)
    refused("sample 0: sides of a WebP have at most 16,383 pixels, this image has 1x16384", wide, form="webp", **rgb)


@pytest.mark.parametrize("options", [["--size", 8], ["--encode", "keep"], ["--encode", "png"]], ids=str)
def test_a_damaged_row_is_named(tmp_path, out, rows, capsys, options):
    damaged = [*rows[:5], rows[5][: len(rows[5]) // 2], *rows[6:]]
    path = write_rows(tmp_path / "a.h5", damaged)
    message = check_refused(capsys, out, "sample 5: the JPEG is damaged or cut short", path, out, *options)
    assert str(path) in message


def test_channels_that_the_file_says_wrongly_are_refused(path, out, capsys):
    with h5py.File(path, "r+") as file:
        file["images"].attrs["channel_order"] = "BGR"
    for options in (["--size", 8], ["--encode", "keep"]):
        check_refused(
            capsys, out, "encoded images are decoded as RGB, the attribute 'channel_order' says 'BGR'", path, out, *options
        )


def test_grey_and_colours_of_two_files_are_not_joined(tmp_path, out, capsys):
    first = write_rows(tmp_path / "a.h5", encoded(3))
    second = write_rows(tmp_path / "b.h5", [by_pillow(photograph()[..., 0], "JPEG")] * 3)
    message = f"images have 1 channels, in {str(first)!r} they have 3"
    check_refused(capsys, out, message, first, second, out, "--encode", "keep")


def test_a_row_that_reads_back_differently_is_an_error(tmp_path, out, pixels, capsys, monkeypatch):
    path = write(tmp_path / "old.h5", pixels, channel_order="RGB")
    flush = rewriting.flush_to_disk

    def damage(temporary, **options):
        flush(temporary, **options)
        with h5py.File(temporary, "r+") as file:
            row = file["images"][7]
            row[-13] ^= 1  # the last pixels of a PNG
            file["images"][7] = row

    monkeypatch.setattr(rewriting, "flush_to_disk", damage)
    message = check_refused(
        capsys, out, "reading back what was written: it differs from what was written", path, out, "--encode", "png"
    )
    assert f"file {str(out)!r}, dataset 'images', sample 7" in message


def test_an_encoder_that_changes_pixels_is_found_out(tmp_path, out, pixels, capsys, monkeypatch):
    encode = encoding.encode
    monkeypatch.setattr(encoding, "encode", lambda image, form, quality: encode(image ^ (form == "png"), form, quality))
    path = write(tmp_path / "old.h5", pixels, channel_order="RGB")
    check_refused(
        capsys, out, "encoded without loss and decoded again, its pixels differ by up to 1", path, out, "--encode", "png"
    )


# --- threads, memory and interruptions


def test_several_threads_encode_and_images_come_in_their_order(tmp_path, out, pixels, monkeypatch):
    monkeypatch.setattr(stream, "_n_threads", lambda: 3)
    encode, threads, gate = encoding.encode, set(), threading.Barrier(3, timeout=60)

    def together(*arguments):
        if threading.get_ident() not in threads:
            threads.add(threading.get_ident())
            gate.wait()
        return encode(*arguments)

    monkeypatch.setattr(encoding, "encode", together)
    path = write(tmp_path / "old.h5", pixels, channel_order="RGB")
    assert run(path, out, "--encode", "png") == 0
    assert len(threads) == 3
    for row, image in zip(rows_of(out), pixels, strict=True):
        np.testing.assert_array_equal(decode(row), image)


def test_few_images_are_under_way_and_none_is_left_when_one_fails(monkeypatch):
    monkeypatch.setattr(stream, "_n_threads", lambda: 3)
    taken, done = [], []

    def work(item):
        if item == 30:
            raise ValueError(item)
        return item

    with stream.new_pool() as pool:
        results = stream._in_turn(pool, work, (taken.append(k) or k for k in range(100)))
        with contextlib.suppress(ValueError):
            for k in results:
                assert len(taken) - len(done) <= 6
                done.append(k)
        assert done == list(range(30))
        assert len(taken) <= 36
        assert pool._work_queue.qsize() == 0


@pytest.mark.parametrize("options", [["--encode", "png"], ["--size", "16"]], ids=" ".join)
def test_an_interrupt_leaves_nothing_behind(path, out, capsys, monkeypatch, options):
    new_images = sys.modules["fastprep.h5.convert.images"].NewImages
    saw = new_images._saw

    def interrupted(self, size):
        saw(self, size)
        if self.had_sizes:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(new_images, "_saw", interrupted)
    assert run(path, out, *options) == 130
    assert capsys.readouterr().err == f"\nfastprep.convert: interrupted; nothing was written to {str(out)!r}\n"
    assert list(out.parent.iterdir()) == []


def test_a_disk_that_fills_up(tmp_path, out, pixels):
    path = write(tmp_path / "old.h5", np.concatenate([pixels] * 6), channel_order="RGB")
    script = (
        "import resource, signal, sys; from fastprep import convert; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); sys.exit(convert.main(sys.argv[1:]))"
    )
    arguments = [sys.executable, "-c", script, str(path), str(out), "--encode", "png"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"fastprep.convert: [Errno 27] File too large: {str(out)!r}\n"
    assert list(out.parent.iterdir()) == []
