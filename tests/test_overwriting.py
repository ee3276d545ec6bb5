"""--overwrite of convert and show, and overwrite of write_images: only what fastprep wrote, and nothing that is read."""

import os

import h5py
import numpy as np
import pytest
from matplotlib.figure import Figure

from fastprep import convert, show
from fastprep.errors import NotReplacedError
from fastprep.h5 import source_files, write_images, writer_of


def refused(capsys, command, message, *words):
    assert command.main([*map(str, words), "--overwrite"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1, errors
    assert message in errors


@pytest.fixture
def written(make_file, tmp_path):
    """A file of fastprep, and the source of another."""
    path, _, _ = make_file(name="source.h5")
    assert convert.main([str(path), str(tmp_path / "written.h5")]) == 0
    return tmp_path / "written.h5"


def test_a_mark_says_who_wrote_a_file_and_is_neither_attribute_nor_dataset(written, make_file, tmp_path, rng):
    images = rng.integers(0, 256, (3, 5, 6, 3), dtype=np.uint8)
    write_images(tmp_path / "api.h5", images, [0, 1, 2])
    assert (writer_of(written), writer_of(tmp_path / "api.h5")) == ("convert", "write_images")
    assert writer_of(make_file()[0]) is None
    with h5py.File(tmp_path / "api.h5") as ours, h5py.File(tmp_path / "copy.h5", "w") as copy:
        assert list(ours.attrs) == []
        assert sorted(ours) == ["images", "labels"]
        ours.copy("images", copy)
        ours.copy("labels", copy)
    assert writer_of(tmp_path / "copy.h5") is None  # made by hand, from parts of ours
    for content in (b"", b"x" * 100, b"written by fastprep.build 0.1.0\0", b"\x89HDF\r\n\x1a\n"):
        (tmp_path / "x").write_bytes(content)
        assert writer_of(tmp_path / "x") is None
    assert writer_of(tmp_path / "nowhere") is None


def test_the_mark_is_found_however_much_a_converted_file_holds(make_file, tmp_path):
    path, _, _ = make_file()
    with h5py.File(path, "r+") as file:
        for k in range(300):
            file.attrs[f"text {k}"] = "x" * 500
            file.create_group(f"group {k}")
    assert convert.main([str(path), str(tmp_path / "new.h5")]) == 0
    assert writer_of(tmp_path / "new.h5") == "convert"


def test_files_of_builds_before_the_mark_are_known(make_file):
    path, _, _ = make_file()
    with h5py.File(path, "r+") as file:
        for name, text in (("settings", "{}"), ("software", "fastprep 0.1.0, Pillow 11.3.0, recipe 1"), ("split", "val")):
            file.attrs.create(name, text.encode(), dtype=h5py.string_dtype("utf-8", len(text)))
    assert writer_of(path) == "build"
    with h5py.File(path, "r+") as file:
        file.attrs["software"] = np.bytes_("mine")
    assert writer_of(path) is None


def test_convert_replaces_its_own_and_no_other_file(written, make_file, tmp_path, capsys):
    theirs, _, _ = make_file(name="theirs.h5")
    before = theirs.read_bytes()
    refused(capsys, convert, "has no mark of fastprep", tmp_path / "source.h5", theirs)
    assert theirs.read_bytes() == before
    (tmp_path / "link.h5").symlink_to(written)
    refused(capsys, convert, "is a link to", tmp_path / "source.h5", tmp_path / "link.h5")
    assert convert.main([str(theirs), str(written), "--overwrite"]) == 0


def virtual(path, source):
    with h5py.File(path, "w", libver="latest") as file:
        layout = h5py.VirtualLayout((23, 12, 14, 3), "u1")
        layout[:] = h5py.VirtualSource(source, "images", (23, 12, 14, 3))
        file.create_virtual_dataset("images", layout)


def test_convert_never_replaces_what_its_source_takes_contents_from(written, tmp_path, capsys):
    """Though fastprep wrote it: by a virtual dataset, a virtual dataset of that, an external link, and a hard link."""
    before = written.read_bytes()
    virtual(tmp_path / "virtual.h5", "written.h5")
    virtual(tmp_path / "twice.h5", "virtual.h5")
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file.create_group("deep")["images"] = h5py.ExternalLink("written.h5", "images")
    os.link(written, tmp_path / "hard.h5")
    for source, name, target in (
        ("virtual.h5", "images", written),
        ("twice.h5", "images", written),
        ("linked.h5", "deep/images", written),
        ("virtual.h5", "images", tmp_path / "hard.h5"),
    ):
        words = (tmp_path / source, target, "--images", name)
        assert convert.main([*map(str, words), "--overwrite"]) == 2
        assert "read" in capsys.readouterr().err
        assert written.read_bytes() == before


def test_all_files_behind_a_file(written, tmp_path, monkeypatch):
    virtual(tmp_path / "virtual.h5", "written.h5")
    (tmp_path / "raw").write_bytes(bytes(100))
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["link"] = h5py.ExternalLink("virtual.h5", "images")
        file["circle"] = h5py.ExternalLink("all.h5", "/")
        file["gone"] = h5py.ExternalLink("gone.h5", "/")
        file["loop"] = file["/"]
        file.create_dataset("raw", (100,), "u1", external=[("raw", 0, 100)])
        file.create_group(b"\xff name that is not UTF-8")
    monkeypatch.chdir("/")
    found = {os.path.realpath(path) for path in source_files(tmp_path / "all.h5")}
    assert {str(tmp_path / name) for name in ("all.h5", "virtual.h5", "written.h5", "raw", "gone.h5")} <= found


def test_numbered_sources_of_a_virtual_dataset_without_limits(written, tmp_path):
    os.rename(written, tmp_path / "part0.h5")
    with h5py.File(tmp_path / "all.h5", "w", libver="latest") as file:
        space = h5py.h5s.create_simple((1, 12, 14, 3), (h5py.h5s.UNLIMITED, 12, 14, 3))
        space.select_hyperslab((0, 0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1, 1), (23, 1, 1, 1), (23, 12, 14, 3))
        source = h5py.h5s.create_simple((23, 12, 14, 3))
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_virtual(space, b"part%b.h5", b"images", source)
        h5py.h5d.create(file.id, b"images", h5py.h5t.NATIVE_UINT8, space, plist)
    assert str(tmp_path / "part0.h5") in list(source_files(tmp_path / "all.h5"))


def test_show_replaces_drawings_of_its_own_and_no_other_file(written, tmp_path, capsys):
    before = written.read_bytes()
    refused(capsys, show, "is read by this command", written, "--sheet", written)
    refused(capsys, show, "is read by this command", written, "--crops", written)
    figure = Figure()
    figure.savefig(tmp_path / "mine.png")
    (tmp_path / "notes.txt").write_text("mine")
    for name in ("mine.png", "notes.txt", "source.h5"):
        theirs = (tmp_path / name).read_bytes()
        refused(capsys, show, "has no mark of fastprep", written, "--sheet", tmp_path / name)
        assert (tmp_path / name).read_bytes() == theirs
    refused(capsys, show, "name the same file", written, "--sheet", tmp_path / "x.png", "--crops", tmp_path / "." / "x.png")
    sheet = (str(written), "--n", "2", "--sheet", str(tmp_path / "sheet.png"))
    assert show.main([*sheet]) == 0
    first = (tmp_path / "sheet.png").read_bytes()
    assert show.main([*sheet, "--seed", "7", "--overwrite"]) == 0
    assert (tmp_path / "sheet.png").read_bytes() != first
    assert written.read_bytes() == before


def test_write_images_replaces_files_of_fastprep_only(written, make_file, tmp_path, rng):
    images = rng.integers(0, 256, (3, 5, 6, 3), dtype=np.uint8)
    theirs, _, _ = make_file()
    (tmp_path / "link.h5").symlink_to(written)
    for path, message in ((theirs, "has no mark of fastprep"), (tmp_path / "link.h5", "is a link")):
        before = path.read_bytes()
        with pytest.raises(NotReplacedError, match=message):
            write_images(path, images, [0, 1, 2], overwrite=True)
        assert path.read_bytes() == before
    write_images(written, images, [0, 1, 2], overwrite=True)
    assert writer_of(written) == "write_images"


@pytest.mark.parametrize("overwrite", [True, False])
def test_what_appears_while_a_file_is_written_stays(tmp_path, rng, make_file, monkeypatch, capsys, overwrite):
    def images():
        for k in range(3):
            if k == 2:
                (tmp_path / "x.h5").write_text("theirs")
            yield rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)

    with pytest.raises(NotReplacedError if overwrite else FileExistsError):
        write_images(tmp_path / "x.h5", images(), [0, 1, 2], overwrite=overwrite)
    assert (tmp_path / "x.h5").read_text() == "theirs"
    path, _, _ = make_file()

    def verify(*_):
        (tmp_path / "y.h5").write_text("theirs")

    monkeypatch.setattr("fastprep.h5.convert.new_dataset.verify_images", verify)
    assert convert.main([str(path), str(tmp_path / "y.h5"), *(["--overwrite"] if overwrite else [])]) == 2
    assert (tmp_path / "y.h5").read_text() == "theirs"
    assert sorted(os.listdir(tmp_path)) == ["images.h5", "x.h5", "y.h5"]
