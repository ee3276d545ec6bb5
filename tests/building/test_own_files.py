"""--overwrite of a build, and its work folder: only what a build made is replaced or removed, and no link is followed."""

import errno
import fcntl
import json
import os

import h5py
import numpy as np
import pytest
from image_folder import write_image_folder
from PIL import Image

from fastprep import build, convert
from fastprep.building import staging, write
from fastprep.building.write import NAMES
from fastprep.errors import InputError
from fastprep.h5 import writer_of

SIZE = 8


@pytest.fixture
def images(tmp_path):
    return write_image_folder(tmp_path / "images")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def elsewhere(tmp_path):
    """A folder with something that must stay."""
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    for name in ("precious", "pixels", "key", "journal", "deep/precious"):
        (tmp_path / "elsewhere" / name).write_text("precious")
    yield tmp_path / "elsewhere"
    for name in ("precious", "pixels", "key", "journal", "deep/precious"):
        assert (tmp_path / "elsewhere" / name).read_text() == "precious"


def run(images, out, *options):
    return build.main([str(images), str(out), "--size", str(SIZE), *map(str, options)])


def check_refused(capsys, message, *arguments):
    capsys.readouterr()
    assert run(*arguments) == 2
    *notes, error = capsys.readouterr().err.splitlines()
    assert message in error
    assert all("row 1 is the header" in note for note in notes)


def contents(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


# --- the files


def replaced_by_hand(path):
    """Put something in the place of a file that a build wrote: it looks alike, but somebody else made it."""
    path.unlink()
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["images"], file["labels"] = np.zeros((3, SIZE, SIZE, 3), "u1"), [0, 1, 0]
    elif path.name == "mean.json":
        path.write_text('{"R": 124.96061, "G": 115.97504, "B": 106.13306}')
    elif path.name == "report.csv":
        path.write_text("file,note\na.png,mine\n")
    else:
        Image.new("RGB", (5, 5)).save(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_no_build_wrote_stays(images, out, capsys, name):
    assert run(images, out) == 0
    replaced_by_hand(out / name)
    before = contents(out)
    check_refused(capsys, f"{str(out / name)!r} has no mark of fastprep", images, out, "--overwrite")
    check_refused(capsys, f"{str(out / name)!r} has no mark of fastprep", images, out, "--overwrite", "--split", 1, 0, 0)
    assert contents(out) == before


def test_so_does_a_file_that_fastprep_converted(images, out, capsys):
    assert run(images, out) == 0
    (out / "val.h5").unlink()
    assert convert.main([str(out / "test.h5"), str(out / "val.h5")]) == 0
    check_refused(capsys, "val.h5' has no mark of fastprep", images, out, "--overwrite")


def test_a_link_stays_and_so_does_what_it_leads_to(images, out, elsewhere, capsys):
    assert run(images, out) == 0
    (out / "train.h5").rename(elsewhere / "train.h5")
    (out / "train.h5").symlink_to(elsewhere / "train.h5")
    check_refused(capsys, "train.h5' is a link to", images, out, "--overwrite")
    assert (out / "train.h5").is_symlink()


def test_no_file_that_the_build_reads_is_replaced(images, out, capsys):
    """The list of labels is a report of a build, and an image the drawing of one."""
    assert run(images, out) == 0
    words = ("--csv", out / "report.csv", "--file-column", "file", "--label-column", "class")
    check_refused(capsys, "report.csv' is read by this command", images, out, *words, "--overwrite")
    os.link(out / "sizes.png", images / "a" / "drawing.png")
    check_refused(capsys, "sizes.png' is read by this command (it is the same file as", images, out, "--overwrite")


def test_files_of_a_version_without_marks_are_replaced(images, out, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr("fastprep.h5.write.mark", lambda file, writer: None)
        patch.setattr("fastprep.cli.plots.drawing_mark", lambda: "Matplotlib version 3.10.0, https://matplotlib.org/")
        assert run(images, out) == 0
        drawing = (out / "sizes.png").read_bytes()
    assert writer_of(out / "train.h5") == "build"
    assert run(images, out, "--overwrite") == 0
    (out / "sizes.png").write_bytes(drawing)  # beside marked files, it is somebody else's
    check_refused(capsys, "sizes.png' has no mark of fastprep", images, out, "--overwrite")


def test_a_mean_that_show_stored_again_is_still_that_of_the_build(images, out):
    assert run(images, out) == 0
    values = json.loads((out / "mean.json").read_text())
    (out / "mean.json").write_text(json.dumps({key: value * (1 + 1e-14) for key, value in values.items()}))
    assert run(images, out, "--overwrite") == 0


def test_what_appears_during_the_build_stays_and_the_build_goes_on_when_it_is_gone(images, out, capsys, monkeypatch):
    assemble = write.assemble

    def slowly(*arguments, **options):
        made = assemble(*arguments, **options)
        (out / "val.h5").write_text("theirs")
        return made

    with monkeypatch.context() as patch:
        patch.setattr(write, "assemble", slowly)
        check_refused(capsys, "holds val.h5 already", images, out)
        assert contents(out) == {"val.h5": b"theirs"}
        check_refused(capsys, "val.h5' has no mark of fastprep", images, out, "--overwrite")
    (out / "val.h5").unlink()
    assert run(images, out) == 0
    assert "now have their names" in capsys.readouterr().out
    assert sorted(contents(out)) == sorted(NAMES)


# --- the work folder


def test_a_work_folder_that_is_a_link_is_not_emptied(images, out, elsewhere, capsys):
    out.mkdir()
    (out / build.WORK).symlink_to(elsewhere)
    check_refused(capsys, "is not a folder that fastprep.build made, but a link to", images, out)
    assert (out / build.WORK).is_symlink()
    assert sorted(path.name for path in elsewhere.iterdir()) == ["deep", "journal", "key", "pixels", "precious"]


@pytest.mark.parametrize("kind", [os.symlink, os.link])
@pytest.mark.parametrize("name", ["lock", "key", "pixels", "journal"])
def test_links_in_it_are_neither_truncated_nor_written_to(images, out, elsewhere, capsys, name, kind):
    work = out / build.WORK
    with staging.locked(work):
        pass
    (work / name).unlink(missing_ok=True)
    kind(elsewhere / "precious", work / name)
    check_refused(capsys, f"{str(work / name)!r} is not a file that fastprep.build made", images, out)


@pytest.mark.parametrize("kind", [os.symlink, os.link])
def test_nor_are_they_if_they_appear_after_the_check(tmp_path, elsewhere, kind):
    kind(elsewhere / "precious", tmp_path / "pixels")
    with pytest.raises(InputError, match=r"is not a file that fastprep.build made"):
        staging.open_own(tmp_path / "pixels", os.O_RDWR)


@pytest.mark.parametrize("name", ["finishing", "finished"])
def test_a_folder_in_it_that_is_a_link_is_not_emptied(images, out, elsewhere, capsys, name):
    work = out / build.WORK
    with staging.locked(work):
        pass
    (work / name).symlink_to(elsewhere)
    check_refused(capsys, f"{str(work / name)!r} is not a folder that fastprep.build made", images, out)


def test_a_folder_of_that_name_that_no_build_made_stays(images, out, capsys):
    work = out / build.WORK
    work.mkdir(parents=True)
    (work / "pixels").write_text("precious")
    check_refused(capsys, "was not made by fastprep.build", images, out)
    (work / "lock").write_text("of another program")
    check_refused(capsys, "was not made by fastprep.build", images, out)
    assert (work / "pixels").read_text() == "precious"
    (work / "lock").write_text("")  # as older versions left it
    assert run(images, out) == 0


def test_files_in_it_that_no_build_made_stay(images, out):
    with staging.locked(out / build.WORK):
        (out / build.WORK / "notes").write_text("mine")
    assert run(images, out) == 0
    assert os.listdir(out / build.WORK) == ["notes"]
    assert sorted(contents(out)) == sorted(NAMES)


def test_contents_that_are_not_a_builds_count_as_unfinished(tmp_path):
    (tmp_path / "finished").mkdir()
    for text in ("3", "[]", "{}", '{"key": 1, "names": "x"}', '{"key": 1, "names": ["../x"]}', "[" * 100_000):
        (tmp_path / "finished" / "contents.json").write_text(text)
        assert not staging.is_finished(tmp_path, 1)


def test_a_drive_without_locks(images, out, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert run(images, out) == 0
