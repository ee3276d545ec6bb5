"""Libraries start where no folder for temporary files can be written to, or one line says that they can't."""

import importlib
import os
import runpy
import subprocess
import sys
import tempfile
import types

import pytest
from optional_libraries import needs

from fastprep.cli.keras_startup import start_keras
from fastprep.cli.matplotlib_startup import start_matplotlib
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
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(InputError, match=r"TensorFlow needs a folder for temporary files: .*; set TMPDIR to one"):
        start_keras()


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
import fastprep
from fastprep.cli.keras_startup import start_keras
from fastprep.errors import InputError
try:
    start_keras()
except InputError as error:
    print(error)
for name in ("predict", "EpochSync"):
    try:
        getattr(fastprep, name)
    except ModuleNotFoundError as error:
        print(error)
print(fastprep.Loader.__module__)
"""
WAY_OUT = "install 'fastprep[tensorflow]', 'fastprep[jax]' or 'fastprep[torch]'"


@pytest.mark.parametrize(
    ("module", "asked", "problem"),
    [
        ("keras", None, f"Keras is not installed: {WAY_OUT}"),
        *(
            pytest.param(name, asked, f"Keras is to run on {name}, which is not installed ({said}): ", marks=needs("keras"))
            for name, asked, said in [
                ("tensorflow", None, "KERAS_BACKEND is not set"),
                ("jax", "jax", "KERAS_BACKEND is jax"),
                ("torch", "torch", "KERAS_BACKEND is torch"),
            ]
        ),
    ],
)
def test_what_is_not_installed_is_one_line_with_the_way_out(module, asked, problem, tmp_path):
    environment = {name: os.environ[name] for name in os.environ if name != "KERAS_BACKEND"}
    environment |= {"KERAS_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"KERAS_BACKEND": asked} if asked else {}
    command = [sys.executable, "-c", WITHOUT, module]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(problem)
    assert WAY_OUT in lines[0]
    assert lines[1:] == [
        f"fastprep.predict needs Keras. {lines[0]}",
        f"fastprep.EpochSync needs Keras. {lines[0]}",
        "fastprep.loader",
    ]


@pytest.mark.parametrize("backend", ["numpy", "openvino", "no-such"])
def test_a_backend_that_can_not_train_is_one_line(backend, monkeypatch):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(InputError, match=f"KERAS_BACKEND must be tensorflow, jax or torch, got '{backend}'"):
        start_keras()


def test_quiet_imports_keras_and_computes_nothing(monkeypatch):
    asked = []
    monkeypatch.setattr("fastprep.cli.keras_startup.start_keras", lambda **options: asked.append(options))
    runpy.run_module("fastprep.quiet")
    assert asked == [{"first_operation": False}]


@pytest.mark.parametrize("asked", ["tensorflow", "no-such"])
def test_quiet_leaves_it_to_keras_to_say_what_is_missing(asked, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setenv("KERAS_BACKEND", asked)
    runpy.run_module("fastprep.quiet")
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("keras")


def test_quiet_leaves_a_keras_that_is_imported_as_it_is(monkeypatch):
    keras = types.SimpleNamespace(backend=types.SimpleNamespace(backend=lambda: "jax"))
    monkeypatch.setitem(sys.modules, "keras", keras)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    runpy.run_module("fastprep.quiet")
    assert sys.modules["keras"] is keras
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
