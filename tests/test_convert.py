"""The convert command: equal pixels from every type and layout, everything else kept, and nothing left behind by a failure."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple

import h5py
import numpy as np
import pytest
from conversions import check_refused, run
from terminal import Terminal

from fastprep import image_mean
from fastprep.h5.convert import rewrite
from fastprep.loader import Loader

rewriting = sys.modules["fastprep.h5.convert.rewrite"]
N, IMAGE = 23, (12, 14, 3)
LAYOUTS = {
    "contiguous": {},
    "a chunk each": {"chunks": (1, *IMAGE)},
    "gzip": {"chunks": (5, *IMAGE), "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": (4, *IMAGE), "compression": "lzf"},
    "fletcher32": {"chunks": (1, *IMAGE), "fletcher32": True},
    "split images": {"chunks": (4, 5, 7, 1), "compression": "gzip"},
    "one chunk, growable": {"chunks": (64, *IMAGE), "maxshape": (None, *IMAGE)},
}


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "new.h5"


def spoil(path, change):
    with h5py.File(path, "r+", libver="latest") as file:
        return change(file)


def images_of(path, name="images"):
    with h5py.File(path) as file:
        return file[name][()]


# --- images


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int16", ">u2", "float16", ">f8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_of_any_type_and_layout(make_file, out, layout, dtype):
    path, images, labels = make_file(dtype=dtype, **LAYOUTS[layout])
    assert run(path, out) == 0
    with h5py.File(out) as file:
        assert (file["images"].dtype, file["images"].chunks) == (np.uint8, None)
        np.testing.assert_array_equal(file["images"][()], images)
        np.testing.assert_array_equal(file["labels"][()], labels)
    with Loader(path, 6, None) as before, Loader(out, 6, None) as after:
        assert after.stats()["files"][0]["read"] == "contiguous"
        for (x, y), (x_new, y_new) in zip(before, after, strict=True):
            np.testing.assert_array_equal(x, x_new)
            np.testing.assert_array_equal(y, y_new)
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("layout", [{}, {"chunks": (4, 5, 14)}, {"chunks": (1, 12, 14), "compression": "gzip"}])
def test_images_without_a_channel_axis_get_one(make_file, out, layout):
    path, images, _ = make_file(channels=0, dtype="float32", **layout)
    assert run(path, out) == 0
    np.testing.assert_array_equal(images_of(out), images[..., None])


def test_images_never_written_and_images_in_small_blocks(make_file, out, monkeypatch):
    path, images, _ = make_file(n=50, chunks=(8, 5, 7, 3), compression="gzip", dtype="float64")

    def add_empty(file):
        file.create_dataset("empty", (9, 4, 5, 3), "uint8", chunks=(2, 4, 5, 3), fillvalue=7)

    spoil(path, add_empty)
    for name, wanted in (("images", images), ("empty", np.full((9, 4, 5, 3), 7))):
        for block_bytes in (1, 3000):
            monkeypatch.setattr(sys.modules["fastprep.h5.convert.blocks"], "_BLOCK_BYTES", block_bytes)
            assert run(path, out, "--images", name, "--overwrite") == 0
            np.testing.assert_array_equal(images_of(out, name), wanted)


def test_virtual_images_if_all_their_files_are_there(make_file, out, tmp_path, capsys):
    parts = [make_file(n=n, name=f"part{n}.h5", dtype="float32") for n in (3, 4)]
    layout = h5py.VirtualLayout((7, *IMAGE), "float32")
    layout[:3] = h5py.VirtualSource("part3.h5", "images", (3, *IMAGE))
    layout[3:] = h5py.VirtualSource(tmp_path / "part4.h5", "images", (4, *IMAGE))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
    assert run(tmp_path / "virtual.h5", out, "--from-other-files") == 0
    np.testing.assert_array_equal(images_of(out), np.concatenate([images for _, images, _ in parts]))
    capsys.readouterr()
    out.unlink()
    (tmp_path / "part3.h5").unlink()
    check_refused(capsys, out, "it is virtual, and its file 'part3.h5' is not there", tmp_path / "virtual.h5", out)


def test_gzip_output(make_file, out, capsys):
    path, images, _ = make_file(dtype="float64")
    assert run(path, out, "--compression", "gzip", "--gzip-level", "7") == 0
    assert "one gzip-7 chunk for each image" in capsys.readouterr().out
    with h5py.File(out) as file:
        dataset = file["images"]
        assert (dataset.chunks, dataset.compression, dataset.compression_opts) == ((1, *IMAGE), "gzip", 7)
        np.testing.assert_array_equal(dataset[()], images)
    with Loader(out, N, None, mean=None) as loader:
        assert "chunked, 1 image each, filters gzip" in loader.stats()["files"][0]["read"]
        np.testing.assert_array_equal(loader.batch(0, 0)[0], images)


def test_the_last_line_says_what_was_done(make_file, out, capsys):
    path, _, _ = make_file(dtype="float64", chunks=(5, *IMAGE), compression="gzip")
    assert run(path, out) == 0
    printed, errors = capsys.readouterr()
    assert errors == ""
    assert printed.count("\n") == 1
    assert printed.startswith(f"read 23 images of 12x14x3 float64, chunked, 5 images each, filters gzip; wrote {out}: 0.0 MB,")


# --- what else is in the file


def fill_with_everything(file):
    images = file["images"]
    images.attrs["channel_order"] = "BGR"
    images.attrs["class_names"] = ["cat", "döner"]
    images.attrs.create("big-endian", [1, 2], dtype=">i2")
    images.attrs["empty"] = h5py.Empty("f4")
    images.attrs["record"] = np.array([(1, (2, 3))], dtype=[("a", "i4"), ("b", "f4", (2,))])
    file.attrs["licence"] = "CC BY"
    file.attrs["bytes"] = np.bytes_("abc")
    group = file.create_group("more/deep")
    group.attrs["why"] = True
    group.attrs["mean_image"] = np.arange(256.0 * 256).reshape(256, 256)  # too large for the oldest format of attributes
    group.create_dataset("boxes", data=np.arange(N * 4.0).reshape(N, 4), chunks=(5, 4), compression="gzip").attrs["unit"] = "px"
    file["more/text"] = ["a", "bc"]
    file["more/type"] = np.dtype([("x", "f8")])
    file["more/images too"] = images
    file["more/labels too"] = file["labels"]
    group["up"] = file["more"]
    file["soft"] = h5py.SoftLink("/images")
    file["dangling"] = h5py.SoftLink("/nowhere")
    file["elsewhere"] = h5py.ExternalLink("other.h5", "/images")
    file["gone"] = h5py.ExternalLink("gone.h5", "/images")


def test_everything_else_is_kept(make_file, out):
    path, images, labels = make_file(dtype="float32")
    _, other, _ = make_file(name="other.h5", n=2)
    spoil(path, fill_with_everything)
    assert run(path, out) == 0
    with h5py.File(path) as old, h5py.File(out) as new:
        names = []
        old.visit(names.append)
        got = []
        new.visit(got.append)
        assert set(got) == set(names)
        for name in ("/", "images", "more/deep", "more/deep/boxes"):
            assert set(new[name].attrs) == set(old[name].attrs)
            for key, value in old[name].attrs.items():
                assert old[name].attrs.get_id(key).get_type().equal(new[name].attrs.get_id(key).get_type())
                if not isinstance(value, h5py.Empty):
                    np.testing.assert_array_equal(value, new[name].attrs[key])
        boxes = new["more/deep/boxes"]
        assert (boxes.chunks, boxes.compression) == ((5, 4), "gzip")
        np.testing.assert_array_equal(boxes[()], np.arange(N * 4.0).reshape(N, 4))
        assert new["more/text"].asstr()[()].tolist() == ["a", "bc"]
        assert new["more/type"].dtype == old["more/type"].dtype
        for same in ("more/images too", "soft"):
            assert new[same] == new["images"]
        assert new["more/labels too"] == new["labels"]
        assert new["more/deep/up"] == new["more"]
        np.testing.assert_array_equal(new["labels"][()], labels)
        np.testing.assert_array_equal(new["images"][()], images)
        assert new.get("dangling", getlink=True).path == "/nowhere"
        np.testing.assert_array_equal(new["elsewhere"][()], other)  # from another folder
        assert new.get("gone", getlink=True).filename == "gone.h5"


@pytest.mark.parametrize("name", ["set/train/x", "/set/train/x", "soft", "external"])
def test_images_by_any_name(make_file, out, name):
    path, images, _ = make_file(dtype="float32")
    other, _, _ = make_file(name="other.h5", n=2)

    def rename(file):
        file.create_group("set/train").attrs["a"] = 1
        file.move("images", "set/train/x")
        file["set/y"] = np.arange(3)
        file["soft"] = h5py.SoftLink("/set/train/x")

    spoil(path, rename)
    spoil(other, lambda file: file.__setitem__("external", h5py.ExternalLink("images.h5", "/set/train/x")))
    source = (other, "--from-other-files") if name == "external" else (path,)
    assert run(*source, out, "--images", name) == 0
    with h5py.File(out) as file:
        assert file[name].dtype == np.uint8
        np.testing.assert_array_equal(file[name][()], images)
        if name != "external":
            assert file["set/train/x"] == file[name]
            assert file["set/train"].attrs["a"] == 1
            np.testing.assert_array_equal(file["set/y"][()], np.arange(3))


def test_images_inside_a_group_of_another_file(make_file, out, capsys):
    make_file()
    other, _, _ = make_file(name="other.h5", n=2)
    spoil(other, lambda file: file.__setitem__("there", h5py.ExternalLink("images.h5", "/")))
    check_refused(
        capsys, out, "the images lie in a group of another file", other, out, "--from-other-files", "--images", "there/images"
    )


def test_a_mean_is_kept_or_computed(make_file, out, capsys):
    path, images, _ = make_file(dtype="float32")
    assert run(path, out) == 0
    with h5py.File(path) as old, h5py.File(out) as new:
        np.testing.assert_array_equal(new["images"].attrs["mean"], old["images"].attrs["mean"])
    spoil(path, lambda file: file["images"].attrs.__delitem__("mean"))
    assert run(path, out, "--overwrite") == 0
    with h5py.File(out) as new:
        np.testing.assert_array_equal(new["images"].attrs["mean"], image_mean(out))
        np.testing.assert_allclose(new["images"].attrs["mean"], images.mean(axis=(0, 1, 2), dtype="float64"), rtol=1e-15)
    spoil(path, lambda file: file["images"].__setitem__((0, 0, 0, 0), 0.5))
    assert run(path, out, "--overwrite", "--round") == 0
    with h5py.File(out) as new:
        np.testing.assert_array_equal(new["images"].attrs["mean"], image_mean(out))
    spoil(path, lambda file: file["images"].attrs.__setitem__("mean", [1.0, 2.0, 3.0]))
    assert run(path, out, "--overwrite", "--round") == 0
    with h5py.File(out) as new:
        np.testing.assert_array_equal(new["images"].attrs["mean"], [1, 2, 3])


def test_a_covariance_is_kept(make_file, out, capsys):
    path, _, _ = make_file(dtype="float32")
    spoil(path, lambda file: file["images"].attrs.__setitem__("covariance", 7 * np.eye(3)))
    assert run(path, out) == 0
    with h5py.File(out) as new:
        np.testing.assert_array_equal(new["images"].attrs["covariance"], 7 * np.eye(3))


def test_labels_may_be_missing_unless_they_are_asked_for(make_file, out, capsys):
    path, images, _ = make_file()
    spoil(path, lambda file: file.move("labels", "y"))
    check_refused(capsys, out, "there is no dataset 'labels'", path, out, "--labels", "labels")
    spoil(path, lambda file: file.__setitem__("few", np.arange(5)))
    check_refused(capsys, out, "one label for each of the 23 images, found shape (5,)", path, out, "--labels", "few")
    assert run(path, out) == 0
    assert run(path, out, "--labels", "y", "--overwrite") == 0
    np.testing.assert_array_equal(images_of(out), images)


# --- exactness


@pytest.mark.parametrize("value", [0.5, -1, 256, 1e30, np.nan, np.inf, 254.99999999999997])
@pytest.mark.parametrize("layout", ["contiguous", "gzip", "split images"])
def test_what_uint8_does_not_hold_is_refused_with_its_place(make_file, out, capsys, monkeypatch, layout, value):
    monkeypatch.setattr(sys.modules["fastprep.h5.convert.blocks"], "_BLOCK_BYTES", 3000)  # several parts
    path, _, _ = make_file(dtype="float64", **LAYOUTS[layout])
    spoil(path, lambda file: file["images"].__setitem__((17, 11, 8, 2), value))
    message = check_refused(capsys, out, "--round rounds to the nearest whole number", path, out)
    assert f"file '{path}', dataset 'images', sample 17: value {np.float64(value)} at row 11, column 8, channel 2" in message


@pytest.mark.parametrize(
    ("dtype", "value"), [("int8", -3), ("int16", 256), (">u2", 65535), ("int32", -(2**31)), ("float16", 0.5)]
)
def test_other_types_out_of_range(make_file, out, capsys, dtype, value):
    path, _, _ = make_file(dtype="uint8")

    def change(file):
        images = (file["images"][()] // 2).astype(dtype)
        images[5, 0, 1, 2] = value
        del file["images"]
        file["images"] = images

    spoil(path, change)
    check_refused(capsys, out, "sample 5: value", path, out)


@pytest.mark.parametrize("layout", ["contiguous", "lzf"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rounding_is_to_even_and_clips(make_file, out, dtype, layout):
    path, images, _ = make_file(dtype=dtype, **LAYOUTS[layout])
    cases = [(0.5, 0), (1.5, 2), (2.5, 2), (2.51, 3), (254.5, 254), (255.4, 255), (256, 255), (-0.4, 0), (-7, 0)]
    cases += [(np.inf, 255), (-np.inf, 0)]
    for k, (value, wanted) in enumerate(cases):
        spoil(path, lambda file, k=k, value=value: file["images"].__setitem__((k, 3, 4, 1), value))
        images[k, 3, 4, 1] = wanted
    assert run(path, out, "--round") == 0
    np.testing.assert_array_equal(images_of(out), images)


def test_not_a_number_is_refused_even_when_rounding(make_file, out, capsys):
    path, _, _ = make_file(dtype="float32")
    spoil(path, lambda file: file["images"].__setitem__((22, 0, 0, 0), np.nan))
    message = check_refused(
        capsys, out, "sample 22: value nan at row 0, column 0, channel 0 is not a number", path, out, "--round"
    )
    assert "--round" not in message


# --- what is there, and what fails


def test_overwriting_only_when_asked_to(make_file, out, capsys):
    path, images, _ = make_file()
    out.write_text("precious")
    assert run(path, out) == 2
    assert f"{str(out)!r} exists already; it is only replaced when asked to (--overwrite)" in capsys.readouterr().err
    assert out.read_text() == "precious"
    spoil(path, lambda file: file.__setitem__("floats", np.full((2, 3, 3, 1), 0.5)))
    assert run(path, out, "--overwrite") == 2
    assert "has no mark of fastprep" in capsys.readouterr().err
    assert out.read_text() == "precious"
    out.unlink()
    assert run(path, out) == 0
    before = out.read_bytes()
    assert run(path, out, "--overwrite", "--images", "floats") == 2
    assert out.read_bytes() == before
    assert run(path, out, "--overwrite") == 0
    np.testing.assert_array_equal(images_of(out), images)
    assert run(path, out.parent, "--overwrite") == 2
    assert "is a folder" in capsys.readouterr().err


def test_not_onto_itself(make_file, out, capsys):
    path, _, _ = make_file()
    before = path.read_bytes()
    os.link(path, out)
    (out.parent / "symlink.h5").symlink_to(path)
    linking, _, _ = make_file(name="linking.h5")
    spoil(linking, lambda file: file.__setitem__("external", h5py.ExternalLink("images.h5", "/images")))
    for source, target, name in (
        (path, path, "images"),
        (path, out, "images"),
        (path, out.parent / "symlink.h5", "images"),
        (linking, path, "external"),  # a file that holds images, though another one is named
    ):
        assert run(source, target, "--overwrite", "--images", name) == 2
        assert "a file is not converted in place" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_too_little_space(make_file, out, capsys, monkeypatch):
    path, _, _ = make_file(dtype="float64")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1, 1, np.prod((N, *IMAGE)) - 1))
    check_refused(capsys, out, "MB free", path, out)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1, 1, 1 << 30))
    assert run(path, out.parent / "new" / "folder.h5") == 0


@pytest.mark.parametrize("target", ["/proc/new.h5", "/proc/self/new.h5", "", "folder/"])
def test_no_place_for_a_file_is_said_in_one_line(make_file, capsys, monkeypatch, tmp_path, target):
    monkeypatch.chdir(tmp_path)
    path, _, _ = make_file()
    assert run(path, target) == 2
    line = capsys.readouterr().err
    assert line.startswith("fastprep.convert: ")
    assert line.count("\n") == 1
    assert "MB free" not in line
    assert ("name of a file" in line) == (not target.startswith("/"))


@pytest.mark.parametrize("what", ["images", "gzip", "rest"])
def test_a_disk_that_fills_up(make_file, out, tmp_path, what):
    """The limit on the size of files stands in for a full disk; HDF5 fails in the same places."""
    path, _, _ = make_file(n=300)
    if what == "rest":
        spoil(path, lambda file: file.__setitem__("boxes", np.zeros((300, 1000))))
    options = ["--compression", "gzip"] if what == "gzip" else []
    script = (
        "import resource, signal, sys; from fastprep import convert; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); sys.exit(convert.main(sys.argv[1:]))"
    )
    arguments = [sys.executable, "-c", script, str(path), str(out), *options]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"fastprep.convert: [Errno 27] File too large: {str(out)!r}\n"
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("layout", ["gzip", "fletcher32"])
def test_a_damaged_chunk_leaves_nothing_behind(make_file, out, capsys, layout):
    path, _, _ = make_file(**LAYOUTS[layout])
    with h5py.File(path) as file:
        info = file["images"].id.get_chunk_info(2)
    with open(path, "r+b") as file:
        file.seek(info.byte_offset + 10)
        file.write(b"\xff" * 50)
    sample = info.chunk_offset[0]
    message = check_refused(capsys, out, f"dataset 'images', chunk 2, sample {sample}: ", path, out)
    assert str(path) in message


def test_a_truncated_file_and_no_file(make_file, out, capsys):
    path, _, _ = make_file()
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)
    check_refused(capsys, out, f"file {str(path)!r}: HDF5 can't open it", path, out)
    check_refused(capsys, out, "No such file or directory: 'nowhere.h5'", "nowhere.h5", out)
    path.write_text("text")
    check_refused(capsys, out, "not an HDF5 file", path, out)


def test_a_file_that_reads_back_differently_is_an_error(make_file, out, capsys, monkeypatch):
    path, _, _ = make_file(dtype="float32")
    flush = rewriting.flush_to_disk

    def damage(temporary, **options):
        flush(temporary, **options)
        with h5py.File(temporary, "r+") as file:
            file["images"][13, 2, 3, 1] ^= 1

    monkeypatch.setattr(rewriting, "flush_to_disk", damage)
    message = check_refused(capsys, out, "reading back what was written: it differs from what was written", path, out)
    assert f"file {str(out)!r}, dataset 'images', sample 13" in message
    monkeypatch.setattr(rewriting, "flush_to_disk", lambda temporary, **_: os.truncate(temporary, 5000))
    check_refused(capsys, out, "reading back what was written: ", path, out)


def test_progress_counts_every_image_of_both_passes(make_file, out, monkeypatch):
    monkeypatch.setattr(sys.modules["fastprep.h5.convert.blocks"], "_BLOCK_BYTES", 3000)
    path, _, _ = make_file()
    calls = []
    rewrite(path, out, progress=lambda *call: calls.append(call))
    for stage in ("writing", "checking"):
        done = [k for name, k, total in calls if name == stage and total == N]
        assert done == sorted(set(done))
        assert (done[0], done[-1]) == (0, N)


def test_progress_is_shown_on_a_terminal(make_file, out):
    path, _, _ = make_file()
    with Terminal() as terminal:
        done = subprocess.run(command(path, out), stdout=subprocess.PIPE, stderr=terminal.fd, timeout=120, check=False)
    assert done.returncode == 0
    for text in ("writing", "checking", "23/23"):
        assert text in terminal.shown


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_an_interrupt_leaves_nothing_behind(tmp_path, out, compression, number):
    process = start_long_conversion(tmp_path, out, "--compression", compression)
    try:
        process.send_signal(number)
        printed, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 128 + number, errors
    assert errors == f"\nfastprep.convert: interrupted; nothing was written to {str(out)!r}\n"
    assert printed == ""
    assert list(out.parent.iterdir()) == []


def test_a_signal_that_is_ignored_stays_so(tmp_path, out):
    process = start_long_conversion(tmp_path, out, "--compression", "gzip", before=["nohup"])
    try:
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert list(out.parent.iterdir()) == []


def start_long_conversion(tmp_path, out, *options, before=()):
    """Return a process that has begun to write."""
    with h5py.File(tmp_path / "long.h5", "w") as file:  # never written: small on the disk, and long to convert
        n = 400_000 if "gzip" in options else 20_000
        file.create_dataset("images", (n, 256, 256, 3), "uint8", chunks=(1, 256, 256, 3))
    arguments = [*before, *command(tmp_path / "long.h5", out, *options)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any(out.parent.iterdir()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    return process


def command(*arguments):
    return [sys.executable, "-m", "fastprep.convert", *map(str, arguments)]
