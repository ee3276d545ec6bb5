"""What may be replaced: a file or folder with a mark, that nobody reads and no link leads to."""

import errno
import os

import pytest

from fastprep.errors import NotReplacedError
from fastprep.system import check_creatable, check_replaceable

pytestmark = pytest.mark.quick


def marked(path):
    return (path / "mark" if path.is_dir() else path).read_text() == "ours"


def check(path, **more):
    check_replaceable(path, **{"asked": True, "is_own": marked, **more})


@pytest.fixture
def ours(tmp_path):
    (tmp_path / "ours").write_text("ours")
    return tmp_path / "ours"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mark").write_text("ours")
    return tmp_path / "folder"


def test_what_does_not_exist_and_what_is_ours(tmp_path, ours, folder):
    check(tmp_path / "new")
    check(tmp_path / "ours" / "no folder")
    check(ours)
    check(folder, folder=True)


def test_nothing_unless_asked(ours, tmp_path):
    (tmp_path / "nowhere").symlink_to("gone")
    for path in (ours, tmp_path / "nowhere"):
        with pytest.raises(FileExistsError, match="exists already; it is only replaced when asked to"):
            check(path, asked=False)


def test_nothing_without_the_mark(tmp_path, folder):
    (tmp_path / "theirs").write_text("theirs")
    with pytest.raises(NotReplacedError, match="has no mark of fastprep, and a file that it did not write is not replaced"):
        check(tmp_path / "theirs")
    (folder / "mark").write_text("theirs")
    with pytest.raises(NotReplacedError, match="a folder that it did not write"):
        check(folder, folder=True)


def test_no_link_and_nothing_of_another_kind(tmp_path, ours, folder):
    (tmp_path / "link").symlink_to(ours)
    (tmp_path / "link to folder").symlink_to(folder)
    os.mkfifo(tmp_path / "pipe")
    for path, is_folder, message in (
        (tmp_path / "link", False, "is a link to"),
        (tmp_path / "link to folder", True, "is a link to"),
        (tmp_path / "pipe", False, "is not a regular file"),
        (folder, False, "is not a regular file"),
        (ours, True, "is not a folder"),
        ("/dev/null", False, "is not a regular file"),
    ):
        with pytest.raises(NotReplacedError, match=message):
            check(path, folder=is_folder)


def test_no_file_that_is_read_by_whatever_name(tmp_path, ours):
    os.link(ours, tmp_path / "hard")
    (tmp_path / "soft").symlink_to(ours)
    for name in (ours, tmp_path / "hard", tmp_path / "soft"):
        with pytest.raises(NotReplacedError, match="is read by this command"):
            check(ours, inputs=[tmp_path / "gone", name])


def test_no_folder_that_holds_something_in_use(tmp_path, folder, monkeypatch):
    (folder / "deep").mkdir()
    (folder / "deep" / "model").write_text("x")
    (tmp_path / "soft").symlink_to(folder / "deep" / "model")
    (tmp_path / "outside").write_text("x")
    os.link(tmp_path / "outside", folder / "hard")
    for name, message in (
        (folder / "deep" / "model", "which this command reads"),
        (tmp_path / "soft", "which this command reads"),
        (folder, "which this command reads"),
        (tmp_path / "outside", "holds a hard link"),
    ):
        with pytest.raises(NotReplacedError, match=message):
            check(folder, folder=True, inputs=[name])
    for place in (folder, folder / "deep"):
        monkeypatch.chdir(place)
        with pytest.raises(NotReplacedError, match="is the working folder, or holds it"):
            check(folder, folder=True)
    monkeypatch.chdir(folder)
    with pytest.raises(NotReplacedError, match="is the working folder"):
        check(".", folder=True)


def test_what_goes_away_while_a_folder_is_looked_at_is_not_there(tmp_path, folder, monkeypatch):
    """As processes do in /proc."""
    gone = tmp_path / "ours" / "gone"
    gone.mkdir(parents=True)
    entries = list(os.scandir(gone.parent))
    monkeypatch.setattr("os.scandir", lambda path: entries)
    gone.rmdir()
    (tmp_path / "input").touch()
    check_replaceable(gone.parent, asked=True, is_own=lambda path: True, inputs=[tmp_path / "input"], folder=True)


def test_what_can_not_be_created_is_said_before_the_work(tmp_path, monkeypatch):
    check_creatable(tmp_path / "not" / "yet" / "there")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="/proc/x"):
        check_creatable("/proc/x/y")

    def read_only(path, *more):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(os, "mkdir", read_only)
    with pytest.raises(OSError, match="Read-only file system") as caught:
        check_creatable(tmp_path / "new")
    assert caught.value.filename == str(tmp_path / "new")
