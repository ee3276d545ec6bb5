"""Temporary names: nobody can foresee them, nothing that was planted is followed, and only fastprep's own are cleared away."""

import os
import secrets

import pytest

from fastprep.system import half_written, whole_file, whole_folder

pytestmark = pytest.mark.quick


@pytest.fixture
def known(monkeypatch):
    """As if somebody had guessed the random part of the names."""
    monkeypatch.setattr(secrets, "token_hex", lambda n: "0123456789abcdef")
    return "fastprep-0123456789abcdef.part"


def write(path, **options):
    with whole_file(path, **options) as temporary, open(temporary, "w") as file:
        file.write("new")


def test_names_differ_every_time(tmp_path):
    names = []
    for _ in range(2):
        with whole_file(tmp_path / "x.keras") as temporary, whole_folder(tmp_path / "folder") as folder:
            names += [temporary, folder]
            assert os.path.getsize(temporary) == 0
            assert str(os.getpid()) not in os.path.basename(temporary).split(".")
        os.rename(tmp_path / "folder", tmp_path / f"folder{len(names)}")
    assert len(set(names)) == 4


def test_a_link_that_was_planted_is_not_followed(tmp_path, known):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for plant in (os.symlink, os.link):
        plant(victim, tmp_path / f".x.{known}.keras")
        with pytest.raises(FileExistsError, match=r"x\.keras"):
            write(tmp_path / "x.keras")
        assert victim.read_text() == "precious"
        os.unlink(tmp_path / f".x.{known}.keras")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "theirs").touch()
    os.symlink(tmp_path / "elsewhere", tmp_path / f".folder.{known}")
    with pytest.raises(FileExistsError, match="folder"), whole_folder(tmp_path / "folder"):
        pass
    assert (tmp_path / "elsewhere" / "theirs").exists()
    assert not (tmp_path / "folder").exists()


def test_a_link_in_the_place_of_the_file_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "x").symlink_to("victim")
    write(tmp_path / "x")
    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / "x").read_text() == "new"
    assert not (tmp_path / "x").is_symlink()


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_appears_meanwhile_stays(tmp_path, monkeypatch, has_links):
    def no_links(*_):
        raise PermissionError("a file system without hard links")

    if not has_links:
        monkeypatch.setattr(os, "link", no_links)
    write(tmp_path / "x", replace=False)
    assert os.listdir(tmp_path) == ["x"]
    (tmp_path / "x").write_text("theirs")
    with pytest.raises(FileExistsError, match="exists already; it is only replaced when asked to"):
        write(tmp_path / "x", replace=False)
    assert (tmp_path / "x").read_text() == "theirs"
    assert os.listdir(tmp_path) == ["x"]


def test_long_names(tmp_path):
    for name in ("x" * 250 + ".png", "ö" * 120 + ".png"):
        write(tmp_path / name)
        assert (tmp_path / name).read_text() == "new"


def test_a_folder_that_is_replaced_gives_its_other_files_to_the_new_one(tmp_path):
    with whole_folder(tmp_path / "folder") as temporary:
        (temporary / "ours").write_text("old")
    (tmp_path / "folder" / "notes").write_text("theirs")
    (tmp_path / "folder" / "deep").mkdir()
    with whole_folder(tmp_path / "folder", replace=["ours"]) as temporary:
        (temporary / "other").write_text("new")
    assert sorted(os.listdir(tmp_path / "folder")) == ["deep", "notes", "other"]
    assert os.listdir(tmp_path) == ["folder"]
    with pytest.raises(FileExistsError), whole_folder(tmp_path / "folder"):
        pass
    assert os.listdir(tmp_path) == ["folder"]


def test_an_error_while_folders_are_exchanged_loses_neither(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "ours").write_text("old")
    rename = os.rename

    def fail(source, target, **more):
        if os.path.basename(target) == "folder" and ".old." not in os.path.basename(source):
            raise OSError(5, "Input/output error")
        rename(source, target, **more)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="Input/output"), whole_folder(tmp_path / "folder", replace=["ours"]):
        pass
    assert (tmp_path / "folder" / "ours").read_text() == "old"
    assert os.listdir(tmp_path) == ["folder"]


def test_only_own_half_written_files_are_found(tmp_path):
    ours = []
    for name in ("last.keras", "history.csv", "a\nb", "plain"):
        with whole_file(tmp_path / name) as temporary:
            ours.append(os.path.basename(temporary))
    own = [*ours, f"{ours[0]}.weights.h5"]
    for name in own:
        (tmp_path / name).touch()
    for name in (".notes.part", ".last.12.part.keras", ".x.fastprep-123.part.csv", "x.fastprep-0123456789abcdef.part"):
        (tmp_path / name).touch()
    (tmp_path / ".folder.fastprep-0123456789abcdef.part").mkdir()
    (tmp_path / ".link.fastprep-0123456789abcdef.part.csv").symlink_to("plain")
    assert sorted(path.name for path in half_written(tmp_path)) == sorted(own)
    assert list(half_written(tmp_path / "nowhere")) == []
