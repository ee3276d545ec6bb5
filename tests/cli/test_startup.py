"""Libraries start where no folder for temporary files can be written to, or one line says that they can't."""

import os
import subprocess
import sys
import tempfile

import pytest

from fastprep.cli.matplotlib_startup import start_matplotlib
from fastprep.cli.keras_startup import start_keras
from fastprep.errors import InputError

DRAW = """
import os, sys, tempfile
def nowhere():
    raise FileNotFoundError(2, "No usable temporary directory found")
tempfile._get_default_tempdir = nowhere
from fastprep.cli.plots import draw_curves
draw_curves({name: [0.5] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}, sys.argv[1])
print(os.environ.get("MPLCONFIGDIR"))
"""


def nowhere():
    raise FileNotFoundError(2, "No usable temporary directory found")


def test_drawings_need_neither_a_home_nor_a_folder_for_temporary_files(tmp_path):
    environment = {name: os.environ[name] for name in os.environ if not name.startswith(("XDG_", "MPL"))}
    environment["HOME"] = "/proc/x"
    path = tmp_path / "new" / "curves.png"
    command = [sys.executable, "-c", DRAW, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "None\n", "")
    assert [path.name for path in path.parent.iterdir()] == ["curves.png"]


def test_matplotlib_is_left_alone_where_there_is_such_a_folder(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.font_manager", raising=False)
    start_matplotlib(tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_tensorflow_needs_one_and_a_line_says_so(monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(InputError, match=r"TensorFlow needs a folder for temporary files: .*; set TMPDIR to one"):
        start_keras()
