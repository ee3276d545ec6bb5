"""Bytes of images for a build: what encodes and decodes them has to be there."""

from importlib import metadata

import pytest
from encoded_images import by_pillow, photograph

from fastprep import build


@pytest.fixture
def images(tmp_path):
    for k, name in enumerate("ab"):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        (folder / "plain.png").write_bytes(by_pillow(photograph(30 + k), "PNG"))
    return tmp_path / "images"


def test_without_simplejpeg_a_line_says_what_to_install(images, tmp_path, capsys, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert build.main([str(images), str(tmp_path / "out"), "--encoded"]) == 2
    assert "simplejpeg, which is not installed: pip install 'fastprep[jpeg]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
