"""The run folder: made where nothing is, and cleared of its own half-written files only."""

import os

import pytest

from fastprep.errors import InputError
from fastprep.training.config import Config
from fastprep.training.run_folder import RunFolder, _link_or_copy


def test_a_folder_that_can_not_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "nowhere").symlink_to("gone")
    for path, message in (
        ("/proc/x", "--out: '/proc/x' can't be made: No such file or directory; name a folder on a disk"),
        (tmp_path / "file" / "run", "can't be made: Not a directory; name a folder on a disk"),
        (tmp_path / "file", "exists already; a run never writes over another"),
        (tmp_path / "nowhere", "exists already; a run never writes over another"),
    ):
        with pytest.raises(InputError) as caught:
            RunFolder(path).create(Config())
        assert message in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "nowhere"]


def test_only_its_own_half_written_files_are_removed(tmp_path):
    own = [".last.fastprep-0123456789abcdef.part.keras", ".history.fastprep-fedcba9876543210.part.csv", ".last.77.part.keras"]
    theirs = [".mine.part", ".data.12.part.h5", ".last.part.keras", "last.12.part.keras"]
    for name in (*own, *theirs):
        (tmp_path / name).write_text("x")
    (tmp_path / ".best.77.part.keras").symlink_to(theirs[0])
    (tmp_path / ".evaluation.fastprep-0123456789abcdef.part").mkdir()
    RunFolder(tmp_path).remove_half_written()
    left = [*theirs, ".best.77.part.keras", ".evaluation.fastprep-0123456789abcdef.part"]
    assert sorted(os.listdir(tmp_path)) == sorted(left)


def test_the_best_model_shares_the_bytes_of_the_last_one(tmp_path):
    (tmp_path / "last").write_text("model")
    (tmp_path / "temporary").touch()  # as `whole_file` makes it
    _link_or_copy(tmp_path / "last", str(tmp_path / "temporary"))
    assert os.path.samefile(tmp_path / "last", tmp_path / "temporary")


def test_a_report_is_of_the_last_save_unless_that_is_younger_or_it_is_missing(tmp_path):
    folder = RunFolder(tmp_path)
    for name in ("last.keras", "report.html"):
        assert not folder.is_reported
        (tmp_path / name).touch()
    assert folder.is_reported
    os.utime(tmp_path / "report.html", (0, 0))  # killed between the two
    assert not folder.is_reported
