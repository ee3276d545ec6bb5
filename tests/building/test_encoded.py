"""Builds of encoded images: the bytes of the files, every file accounted for, and the pixels that a loader makes of them."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from encoded_images import by_pillow, photograph, sixteen_bits, with_orientation
from optional_libraries import needs
from PIL import Image, ImageOps

import fastprep
from fastprep import build
from fastprep.building import decode as decoding
from fastprep.building import encode, forms
from fastprep.building.decode import UnreadableError, read_image
from fastprep.building.memory import MIB
from fastprep.encoded import decode, read_header
from fastprep.h5 import open_images

pytestmark = needs("simplejpeg")

SPLITS = ("train", "val", "test")


def files_of_every_kind():
    """Return files by name, with images of different sizes."""
    photographs = [photograph(30 + k, 50 - k) for k in range(16)]
    return {
        "a/baseline.jpg": by_pillow(photographs[0], "JPEG", quality=85),
        "a/progressive.jpg": by_pillow(photographs[1], "JPEG", progressive=True),
        "a/ink.jpg": by_pillow(photographs[2], "JPEG", "CMYK"),
        "a/turned.jpg": by_pillow(photographs[3], "JPEG", **with_orientation(6)),
        "a/grey.jpeg": by_pillow(photographs[4], "JPEG", "L"),
        "a/bytes after.jpg": by_pillow(photographs[5], "JPEG") + b"more",
        "a/plain.png": by_pillow(photographs[6], "PNG"),
        "a/in fact a jpeg.png": by_pillow(photographs[7], "JPEG"),
        "b/grey.png": by_pillow(photographs[8], "PNG", "L"),
        "b/palette.png": by_pillow(Image.fromarray(photographs[9]).quantize(16), "PNG"),
        "b/transparent.png": by_pillow(np.dstack([photographs[10], photographs[10][..., :1]]), "PNG"),
        "b/turned.png": by_pillow(photographs[11], "PNG", **with_orientation(8)),
        "b/lossy.webp": by_pillow(photographs[12], "WEBP"),
        "b/tiff.tif": by_pillow(photographs[13], "TIFF", compression="tiff_lzw", **with_orientation(5)),
        "b/gif.gif": by_pillow(photographs[14], "GIF"),
        "b/bitmap.bmp": by_pillow(photographs[15], "BMP"),
    }


def bad_files():
    """Return files by name, with the beginning of the reason why they are not used."""
    jpeg, png = by_pillow(photograph(), "JPEG"), by_pillow(photograph(), "PNG")
    return {
        "a/cut.jpg": (jpeg[:-100], "unreadable", "the JPEG is damaged or cut short"),
        "a/cut.png": (png[: len(png) // 2], "unreadable", "the PNG is damaged or cut short"),
        "a/empty.jpg": (b"", "unreadable", "the file is empty"),
        "a/text.jpg": (b"hello", "unreadable", "not an encoded image of a known kind"),
        "b/map.ppm": (by_pillow(photograph(), "PPM"), "unreadable", "not an encoded image of a known kind"),
        "b/deep.png": (
            by_pillow(Image.fromarray(sixteen_bits(photograph())[..., 0]), "PNG"),
            "unreadable",
            "the PNG has 16 bits a channel, and encoded images have 8: convert it to 8 bits, or give --size",
        ),
        "b/notes.txt": (b"hello", "skipped", "not an image, by the ending of its name"),
        "b/.hidden.jpg": (jpeg, "skipped", "hidden"),
        "loose.jpg": (jpeg, "skipped", "in no folder of a class"),
    }


def write(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def files():
    return files_of_every_kind()


@pytest.fixture
def images(tmp_path, files):
    return write(tmp_path / "images", files)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def run(images, out, *options):
    return build.main([str(images), str(out), "--encoded", "--split", "0.6", "0.2", "0.2", *map(str, options)])


def report(out):
    with open(out / "report.csv", newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def contents(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


def names_of(path):
    with h5py.File(path) as file:
        return [name.decode() for name in file["file_names"][()]]


def rows_of(path):
    with h5py.File(path) as file:
        return [row.tobytes() for row in file["images"]]


def by_name(out):
    """Return the row of each image of all splits."""
    rows = {}
    for split in SPLITS:
        rows.update(zip(names_of(out / f"{split}.h5"), rows_of(out / f"{split}.h5"), strict=True))
    return rows


def moments(images):
    """Return the mean and the covariance of the channels of all pixels of all images."""
    pixels = np.concatenate([image.reshape(-1, image.shape[-1]) for image in images]).astype(np.float64)
    return pixels.mean(axis=0), np.atleast_2d(np.cov(pixels.T, bias=True))


# --- files as they are


def test_the_bytes_of_every_file_are_unchanged_and_other_programs_read_them(images, files, out):
    assert run(images, out) == 0
    assert by_name(out) == files
    with h5py.File(out / "train.h5") as file:
        assert file["images"].dtype == h5py.vlen_dtype(np.uint8)
        for row, name in zip(file["images"], file["file_names"], strict=True):
            with Image.open(io.BytesIO(row)) as ours, Image.open(images / name.decode()) as theirs:
                np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize(("channels", "mode"), [("rgb", "RGB"), ("grey", "L")])
def test_the_files_hold_what_is_known_of_the_images(images, files, out, channels, mode):
    assert run(images, out, "--channels", channels, "--seed", 3) == 0
    assert sorted(contents(out)) == ["mean.json", "report.csv", "sizes.png", "test.h5", "train.h5", "val.h5"]
    mean, covariance = moments([decode(files[name], mode) for name in names_of(out / "train.h5")])
    for split in SPLITS:
        names = names_of(out / f"{split}.h5")
        with h5py.File(out / f"{split}.h5") as file:
            attributes = file["images"].attrs
            assert [("a", "b")[label] for label in file["labels"]] == [name[0] for name in names]
            assert [name.decode() for name in attributes["class_names"]] == ["a", "b"]
            assert attributes["channel_order"].decode() == mode
            assert file.attrs["split"].decode() == split
            settings = json.loads(file.attrs["settings"])
            assert (settings["size"], settings["encoded"]) == (None, "files as they are")
            assert "simplejpeg" in file.attrs["software"].decode()
            np.testing.assert_allclose(attributes["mean"], mean, rtol=1e-13)
            np.testing.assert_allclose(attributes["covariance"], covariance, rtol=1e-10)
            np.testing.assert_allclose(attributes["std"], np.sqrt(covariance.diagonal()), rtol=1e-10)
            stored = dict(zip(mode, attributes["mean"], strict=True))
    assert json.loads((out / "mean.json").read_text()) == stored
    np.testing.assert_allclose(fastprep.image_mean(out / "train.h5"), mean, rtol=1e-6)


def test_every_file_of_a_messy_folder_is_accounted_for(images, files, out, capsys):
    bad = bad_files()
    write(images, {name: data for name, (data, _, _) in bad.items()})
    os.link(images / "a" / "baseline.jpg", images / "b" / "second name.jpg")
    assert run(images, out) == 0
    rows = report(out)
    assert rows.keys() == {*files, *bad, "b/second name.jpg"}
    for name, (_, status, why) in bad.items():
        assert rows[name]["status"] == status, name
        assert rows[name]["why"].startswith(why), name
    assert rows["b/second name.jpg"]["why"] == "the same file as a/baseline.jpg"
    for name, data in files.items():
        height, width = read_header(data).upright
        assert (rows[name]["status"], rows[name]["width"], rows[name]["height"]) == ("used", str(width), str(height)), name
    assert by_name(out) == files
    printed, errors = capsys.readouterr()
    assert "26 files and folders: 16 used, 6 unreadable, 4 skipped" in printed
    assert "unreadable: b/deep.png: the PNG has 16 bits" in errors


def test_the_space_is_compared_with_that_of_pixels(images, out, capsys):
    assert run(images, out) == 0
    printed = capsys.readouterr().out
    n_bytes = sum((out / f"{split}.h5").stat().st_size for split in SPLITS)
    n_pixels = 16 * 256 * 256 * 3
    assert f"train.h5: {len(names_of(out / 'train.h5'))} images as their files are, 2 classes" in printed
    assert (
        f"encoded, the images take {n_bytes / 1e6:,.1f} MB, labels and names included; "
        f"as pixels of 256x256 they would take {n_pixels / 1e6:,.1f} MB\n"
    ) in printed


def test_copies_of_an_image_are_found_whatever_their_encoding(images, files, out, capsys):
    lossless = by_pillow(Image.open(io.BytesIO(files["a/plain.png"])), "BMP")
    write(images, {"b/copy.bmp": lossless, "b/copy of grey.jpg": files["a/grey.jpeg"]})
    write(images, {f"b/{side}.png": by_pillow(np.zeros((side, 100 // side, 3), np.uint8), "PNG") for side in (10, 20)})
    assert run(images, out) == 0
    rows = report(out)
    assert rows["b/copy.bmp"]["why"] == "same pixels as a/plain.png"
    assert rows["b/copy of grey.jpg"]["why"] == "same pixels as a/grey.jpeg"
    assert (rows["b/10.png"]["why"], rows["b/20.png"]["why"]) == ("", "")  # as many black pixels, of another shape
    assert "2 images are the same as others" in capsys.readouterr().err


def test_strict_stops_at_a_file_that_can_not_be_decoded(images, out, capsys):
    write(images, {"a/cut.jpg": bad_files()["a/cut.jpg"][0]})
    assert run(images, out, "--strict") == 2
    assert "cut.jpg': the JPEG is damaged or cut short" in capsys.readouterr().err
    assert not (out / "train.h5").exists()


def test_a_folder_without_classes(images, files, out):
    assert build.main([str(images), str(out), "--encoded", "--labels", "none"]) == 0
    assert sorted(contents(out)) == ["report.csv", "sizes.png", "test.h5"]
    assert dict(zip(names_of(out / "test.h5"), rows_of(out / "test.h5"), strict=True)) == files
    with h5py.File(out / "test.h5") as file:
        assert set(file) == {"images", "file_names"}
        assert "mean" not in file["images"].attrs


# --- loaders


@pytest.mark.parametrize(("channels", "mode"), [("rgb", "RGB"), ("grey", "L")])
def test_a_loader_gives_exactly_the_pixels_that_pillow_decodes(images, out, channels, mode):
    """For kinds that Pillow and libjpeg must decode alike; files with ink and with transparency have tests of their own."""
    for name in ("a/ink.jpg", "b/transparent.png"):
        (images / name).unlink()
    assert run(images, out, "--channels", channels) == 0
    for split in SPLITS:
        names = names_of(out / f"{split}.h5")
        reader = open_images(out / f"{split}.h5", "images")
        for name, pixels in zip(names, reader.images(np.arange(len(names))), strict=True):
            with Image.open(images / name) as image:
                upright = ImageOps.exif_transpose(image).convert("RGB") if image.mode != "L" else ImageOps.exif_transpose(image)
            wanted = np.asarray(upright.convert(mode))
            np.testing.assert_array_equal(pixels, wanted.reshape(*wanted.shape[:2], len(mode)), err_msg=name)
        reader.close()


@pytest.mark.parametrize(("channels", "mode"), [("rgb", "RGB"), ("grey", "L")])
def test_a_loader_trains_on_images_of_different_sizes(images, files, out, channels, mode):
    assert run(images, out, "--channels", channels) == 0
    with fastprep.Loader(out / "train.h5", 5, fastprep.CenterCrop(9), mean=None) as train:
        x, y = (np.concatenate(parts) for parts in zip(*train, strict=True))
        assert train.class_names == ("a", "b")
        assert train.channel_order == mode
    for image, label, name in zip(x, y, names_of(out / "train.h5"), strict=True):
        pixels = decode(files[name], mode)
        top, left = ((side - 9) // 2 for side in pixels.shape[:2])
        np.testing.assert_array_equal(image, pixels[top : top + 9, left : left + 9], err_msg=name)
        assert ("a", "b")[label] == name[0]
    with fastprep.Loader(out / "train.h5", 5, fastprep.RandomResizedCrop(12), shuffle=True) as train:
        assert next(iter(train))[0].shape == (5, 12, 12, len(mode))


# --- JPEGs made anew


@pytest.mark.parametrize("options", [(), ("--quality", 60), ("--resize", "pad"), ("--channels", "grey")])
def test_with_a_size_images_are_resized_and_encoded_as_jpeg(images, files, out, options):
    write(images, {"b/deep.png": bad_files()["b/deep.png"][0], "b/map.ppm": bad_files()["b/map.ppm"][0]})
    assert run(images, out, "--size", 24, *options) == 0
    given = dict(zip(options[::2], options[1::2], strict=True))
    mode, quality = "L" if "--channels" in given else "RGB", given.get("--quality", 90)
    rows = by_name(out)
    assert rows.keys() == {*files, "b/deep.png", "b/map.ppm"}
    for name, row in rows.items():
        resized = read_image(images / name, 24, mode, resize=given.get("--resize", "crop")).pixels
        assert row == by_pillow(resized if mode == "RGB" else resized[..., 0], "JPEG", quality=quality), name
    mean, covariance = moments([decode(rows[name], mode) for name in names_of(out / "train.h5")])
    with h5py.File(out / "train.h5") as file:
        np.testing.assert_allclose(file["images"].attrs["mean"], mean, rtol=1e-13)
        np.testing.assert_allclose(file["images"].attrs["covariance"], covariance, rtol=1e-10)
        assert file["images"].attrs["channel_order"].decode() == mode
        assert json.loads(file.attrs["settings"])["encoded"] == f"JPEG of quality {quality}"
    assert report(out)["b/deep.png"]["why"].startswith("16 bits")
    with fastprep.Loader(out / "train.h5", 4, None, mean=None) as train:
        assert train.output_shape == (24, 24, len(mode))
        for (x, _), first in zip(train, range(0, 100, 4), strict=False):
            wanted = [decode(rows[name], mode) for name in names_of(out / "train.h5")[first : first + 4]]
            np.testing.assert_array_equal(x, wanted)


def test_the_size_of_the_source_is_reported_and_the_space_compared_at_the_same_size(images, files, out, capsys):
    assert run(images, out, "--size", 24) == 0
    printed = capsys.readouterr().out
    assert "images of 24x24 as JPEG of quality 90, 2 classes" in printed
    assert f"as pixels of 24x24 they would take {16 * 24 * 24 * 3 / 1e6:.1f} MB" in printed
    height, width = read_header(files["a/turned.jpg"]).upright
    row = report(out)["a/turned.jpg"]
    assert (row["width"], row["height"]) == (str(width), str(height))


# --- options


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--encoded", "--quality", "80"), "--quality goes with --encoded and --size only"),
        (("--size", "20", "--quality", "80"), "--quality goes with --encoded and --size only"),
        (("--encoded", "--size", "20", "--quality", "0"), "--quality must be from 1 to 100, got 0"),
        (("--encoded", "--size", "20", "--quality", "101"), "--quality must be from 1 to 100, got 101"),
        (("--encoded", "--compression", "gzip"), "--encoded goes without --compression"),
        (("--encoded", "--resize", "pad"), "so --resize needs --size"),
        (("--encoded", "--memory", "0"), "--memory must be at least 1; got 0"),
        (("--encoded", "--size", "0"), "--size must be at least 1, got 0"),
    ],
)
def test_options_that_do_not_fit_are_refused(images, out, capsys, options, problem):
    assert build.main([str(images), str(out), *options]) == 2
    printed, errors = capsys.readouterr()
    assert (printed, errors.count("\n")) == ("", 1)
    assert problem in errors
    assert not out.exists()


def test_a_disk_that_is_too_small_for_the_files_is_told_before(images, files, out, capsys, monkeypatch):
    n_bytes = sum(map(len, files.values()))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, n_bytes - 1))
    assert run(images, out) == 2
    assert "needs 0 MB but has 0 MB free" in capsys.readouterr().err
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, n_bytes))
    assert run(images, out) == 0


# --- interruptions


class StopError(BaseException):
    """Ends a build at a place of the test's choice; no `except Exception` catches it."""


def stop_after(monkeypatch, n, name):
    """Let the function of that name fail after n calls."""
    function, calls = getattr(forms, name), []

    def some(*arguments):
        if len(calls) == n:
            raise StopError
        calls.append(arguments)
        return function(*arguments)

    monkeypatch.setattr(forms, name, some)
    return calls


@pytest.mark.parametrize(("options", "name"), [((), "read_encoded"), (("--size", 24), "encode_again")])
def test_an_interrupted_build_leaves_no_file_and_goes_on_to_the_same_bytes(images, out, tmp_path, monkeypatch, options, name):
    assert run(images, tmp_path / "whole", *options) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 5, name)
        with pytest.raises(StopError):
            run(images, out, "--workers", 1, *options)
    assert [path.name for path in out.iterdir()] == [build.WORK]
    calls = stop_after(monkeypatch, 1000, name)
    assert run(images, out, *options) == 0
    assert len(calls) == 11
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("options", [(), ("--size", 24)])
def test_the_same_bytes_with_any_number_of_threads(images, out, tmp_path, options):
    assert run(images, out, "--workers", 1, *options) == 0
    assert run(images, tmp_path / "again", "--workers", 7, *options) == 0
    assert contents(out) == contents(tmp_path / "again")


@pytest.mark.parametrize("options", [(), ("--size", 24)])
def test_an_end_while_files_are_written_leaves_none(images, out, tmp_path, monkeypatch, options):
    assert run(images, tmp_path / "whole", *options) == 0

    def end(*_):
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr("fastprep.building.write.draw_sizes", end)
        with pytest.raises(StopError):
            run(images, out, *options)
    assert [path.name for path in out.iterdir()] == [build.WORK]
    assert run(images, out, *options) == 0
    assert contents(out) == contents(tmp_path / "whole")


def test_bytes_in_the_work_folder_that_have_changed_are_made_again(images, out, tmp_path, monkeypatch):
    assert run(images, tmp_path / "whole", "--size", 24) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 9, "encode_again")
        with pytest.raises(StopError):
            run(images, out, "--size", 24, "--workers", 1)
    with open(out / build.WORK / "pixels", "r+b") as file:
        file.write(b"x")
    calls = stop_after(monkeypatch, 1000, "encode_again")
    assert run(images, out, "--size", 24) == 0
    assert len(calls) == 16 - 9 + 1
    assert contents(out) == contents(tmp_path / "whole")


def test_a_file_that_changes_while_it_is_built_from_is_an_error_that_names_it(images, files, out, capsys, monkeypatch):
    read = forms.read_bytes
    monkeypatch.setattr(forms, "read_bytes", lambda path: read(path) + (b"x" if path.endswith("plain.png") else b""))
    assert run(images, out) == 2
    assert "plain.png': the image has changed since it was decoded" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [build.WORK]
    monkeypatch.setattr(forms, "read_bytes", read)
    assert run(images, out) == 0
    assert by_name(out) == files


def test_a_file_that_is_gone_at_the_end_is_a_fault_of_the_machine(images, out, capsys, monkeypatch):
    monkeypatch.setattr("fastprep.system.machine_faults.WAITS", (0.0,))
    read = forms.read_bytes

    def gone(path):
        if path.endswith("plain.png"):
            (images / "a" / "plain.png").unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(forms, "read_bytes", gone)
    assert run(images, out) == 2
    assert "No such file or directory. The machine is at fault, not the image" in capsys.readouterr().err


def test_overwrite_replaces_an_earlier_build_of_either_form_and_nothing_else(images, files, out, capsys):
    assert run(images, out) == 0
    before = contents(out)
    assert run(images, out) == 2
    assert "only with --overwrite" in capsys.readouterr().err
    assert contents(out) == before
    assert run(images, out, "--overwrite", "--size", 24) == 0
    assert contents(out) != before
    assert build.main([str(images), str(out), "--size", "16", "--overwrite"]) == 0
    with h5py.File(out / "train.h5") as file:
        assert file["images"].shape[1:] == (16, 16, 3)
    assert run(images, out, "--overwrite") == 0
    assert contents(out) == before
    with h5py.File(out / "train.h5", "w") as file:
        file["images"] = np.zeros(3)
    own = (out / "train.h5").read_bytes()
    assert run(images, out, "--overwrite") == 2
    assert (out / "train.h5").read_bytes() == own


# --- memory


def test_an_image_above_the_bound_is_not_decoded(images, out, monkeypatch):
    write(images, {"a/large.png": by_pillow(np.zeros((2000, 2000, 3), np.uint8), "PNG")})
    decoded, of_package = [], encode.decode
    monkeypatch.setattr(encode, "decode", lambda data, mode: decoded.append(len(data)) or of_package(data, mode))
    assert run(images, out, "--memory", 40) == 0
    row = report(out)["a/large.png"]
    assert (row["status"], row["why"][:9]) == ("unreadable", "too large")
    assert "at most 30 MiB may be taken; allow more with --memory" in row["why"]
    assert len(decoded) == 16


def test_a_file_above_the_bound_is_not_read(tmp_path):
    with open(tmp_path / "large.jpg", "wb") as file:
        file.truncate(30 * MIB)
    bounds = encode.EncodedMemory.of(100 * MIB)
    with pytest.raises(UnreadableError, match="too large: the file has 30 MiB, and at most 25 MiB may be taken"):
        encode.read_encoded(tmp_path / "large.jpg", "RGB", bounds)


def test_a_fault_of_reading_is_not_taken_for_damage(tmp_path, monkeypatch):
    write(tmp_path, {"x.jpg": by_pillow(photograph(), "JPEG")})

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "readv", fail)
    with pytest.raises(decoding.OutOfReachError, match="Input/output error"):
        encode.read_encoded(tmp_path / "x.jpg", "RGB", encode.EncodedMemory.of(MIB))


PEAK = """
import sys
from fastprep.building import encode
def kibibytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
needed, of_header = [], encode.bytes_to_decode
encode.bytes_to_decode = lambda *facts: needed.append(of_header(*facts)) or needed[-1]
bounds = encode.EncodedMemory.of(1 << 40)
for path in sys.argv[1:]:
    encode.read_encoded(path, "RGB", bounds)
    for mode in ("RGB", "L"):
        open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew (proc(5))
        before = kibibytes("VmRSS")
        encode.read_encoded(path, mode, bounds)
        print(path, mode, (kibibytes("VmHWM") - before) * 1024, needed[-1])
"""


def test_the_memory_that_is_counted_is_enough(tmp_path):
    """Measured in a process of its own, for what takes most: turned, transparent, with canvases or coefficients."""
    turned, pixels = with_orientation(6), photograph(1500, 2000)
    transparent = np.dstack([pixels, pixels[..., :1]])
    write(
        tmp_path,
        {
            "baseline.jpg": by_pillow(pixels, "JPEG", **turned),
            "progressive.jpg": by_pillow(pixels, "JPEG", progressive=True, subsampling=0, **turned),
            "ink.jpg": by_pillow(pixels, "JPEG", "CMYK", **turned),
            "ink in scans.jpg": by_pillow(pixels, "JPEG", "CMYK", progressive=True, subsampling=0),
            "grey.jpg": by_pillow(pixels, "JPEG", "L", progressive=True),
            "transparent.png": by_pillow(transparent, "PNG", **turned),
            "transparent.webp": by_pillow(transparent, "WEBP", lossless=True, method=0, **turned),
            "lzw.tif": by_pillow(transparent, "TIFF", compression="tiff_lzw", **turned),
            "palette.gif": by_pillow(pixels[..., 0], "GIF", transparency=0),
            "bitmap.bmp": by_pillow(pixels, "BMP"),
        },
    )
    paths = sorted(path for path in tmp_path.iterdir())
    # freed memory goes back to the system at once, so that no image is decoded into what another one left
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", PEAK, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        path, mode, peak, needed = line.rsplit(" ", 3)
        assert int(peak) > 2 * 1500 * 2000, (path, mode)  # something was measured
        assert int(peak) <= int(needed) + 6 * MIB, (path, mode)  # strips for the sums, the file, and the interpreter
