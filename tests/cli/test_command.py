"""The runner of the commands: exit statuses and last lines; and the list of commands."""

import importlib
import logging
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

import fastprep
from fastprep.__main__ import COMMANDS, main
from fastprep.cli.command import Command, overwrite_hint
from fastprep.errors import DataError, InputError, RankError


def raising(error):
    def function():
        raise error

    return function


@pytest.mark.parametrize(("status", "expected"), [(None, 0), (0, 0), (1, 1), (7, 7)])
def test_the_status_is_that_of_the_function(status, expected, capsys):
    assert Command("fastprep.x").run(lambda: status) == expected
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("--n must be\nat least 1"), 2, "--n must be at least 1"),
        (DataError("not an HDF5 file", "x.h5"), 2, "file 'x.h5': not an HDF5 file"),
        (FileNotFoundError(2, "No such file or directory", "x.h5"), 2, "[Errno 2] No such file or directory: 'x.h5'"),
        (FileExistsError("'x.h5' exists already"), 2, "'x.h5' exists already (--overwrite)"),
        (RankError("rank 1 ended"), 1, "rank 1 ended"),
        (InputError("no run in 'n  x'"), 2, "no run in 'n  x'"),
        (FileNotFoundError(2, "No such file or directory", "a  b.h5"), 2, "[Errno 2] No such file or directory: 'a  b.h5'"),
    ],
)
def test_an_error_of_the_users_is_one_line_and_a_status(error, status, line, capsys):
    command = Command("fastprep.x", errors=(InputError, DataError, OSError, RankError), hint=overwrite_hint)
    assert command.run(raising(error)) == status
    assert capsys.readouterr() == ("", f"fastprep.x: {line}\n")


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        Command("fastprep.x").run(raising(ZeroDivisionError()))


def test_a_warning_of_the_log_comes_once_in_each_command(capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # those of pytest: a program has none where it sets up no logging

    def warn(*texts):
        for text in texts:
            logging.getLogger("fastprep.h5").warning("%s", text)

    for _ in range(2):
        assert Command("fastprep.x").run(lambda: warn("a.h5: odd", "b.h5: odd", "a.h5: odd")) == 0
        assert capsys.readouterr().err == "a.h5: odd\nb.h5: odd\n"


def test_an_interruption_that_c_plus_plus_reports_as_an_error_is_one(capsys):
    """The text is pybind11's, seen where Ctrl-C came while TensorFlow traced a step."""
    mismatch = "MISMATCH of original and normalized active exception types"
    text = (
        f"pybind11::error_already_set: {mismatch}: ORIGINAL InvalidArgumentError REPLACED BY KeyboardInterrupt: <EMPTY MESSAGE>"
    )
    command = Command("fastprep.x", interrupted=lambda: "interrupted; nothing was written")
    assert command.run(raising(RuntimeError(text))) == 130
    assert capsys.readouterr() == ("", "\nfastprep.x: interrupted; nothing was written\n")
    with pytest.raises(RuntimeError, match="REPLACED BY ValueError"):
        command.run(raising(RuntimeError(text.replace("KeyboardInterrupt", "ValueError"))))


def test_an_interruption_says_what_is_left(capsys):
    assert Command("fastprep.x").run(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "\nfastprep.x: interrupted\n"
    assert Command("fastprep.x", interrupted=lambda: "interrupted; half is done").run(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "\nfastprep.x: interrupted; half is done\n"
    interrupt = KeyboardInterrupt(signal.SIGTERM)
    interrupt.add_note("fastprep.x: saved")
    assert Command("fastprep.x").run(raising(interrupt)) == 143
    assert capsys.readouterr().err == "\nfastprep.x: saved\n"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_interrupt_a_command(number, status, capsys, hangups):
    before = signal.getsignal(signal.SIGTERM)

    def function():
        os.kill(os.getpid(), number)
        time.sleep(60)

    assert Command("fastprep.x").run(function) == status
    assert capsys.readouterr().err == "\nfastprep.x: interrupted\n"
    assert signal.getsignal(signal.SIGTERM) == before


# --- the list of commands


def test_the_list_has_every_command_and_its_summary(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    for name in COMMANDS:
        (line,) = (line for line in printed.splitlines() if line.startswith(f"  {name} "))
        assert len(line) > 30
        assert line.endswith(tuple("abcdefghijklmnopqrstuvwxyz0123456789"))
    assert max(len(line) for line in printed.splitlines()) <= 80
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == printed


def test_every_module_with_a_command_is_listed():
    modules = Path(fastprep.__file__).parent.glob("*.py")
    with_main = {path.stem for path in modules if "def main(" in path.read_text()}
    assert with_main - {"__main__"} == set(COMMANDS)


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fastprep {fastprep.__version__}\n"


def test_an_unknown_command_is_one_line_with_the_nearest_name(capsys):
    assert main(["trian", "--demo"]) == 2
    line = "fastprep: there is no command 'trian'; did you mean 'train'? `fastprep --help` lists the commands\n"
    assert capsys.readouterr() == ("", line)
    assert main(["xyz"]) == 2
    assert capsys.readouterr().err == "fastprep: there is no command 'xyz'; `fastprep --help` lists the commands\n"


def test_the_words_behind_the_name_are_the_commands(tmp_path, capsys):
    assert main(["show", str(tmp_path / "none.h5")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastprep.show: ")
    assert "none.h5" in error


@pytest.mark.parametrize("name", ["build", "convert", "show", "evaluate", "doctor", "train"])
def test_the_help_has_the_same_name_however_the_command_is_called(name, capsys):
    module = importlib.import_module(f"fastprep.{name}")
    printed = []
    for call in (lambda: main([name, "--help"]), lambda: module.main(["--help"])):
        with pytest.raises(SystemExit) as ended:
            call()
        assert ended.value.code == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert printed[0].startswith(f"usage: python -m fastprep.{name} ")


def test_the_console_script_is_the_list_of_commands():
    project = Path(__file__).parents[2] / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["scripts"] == {"fastprep": "fastprep.__main__:main"}


def test_the_list_imports_nothing_heavy():
    script = """
import sys
from fastprep.__main__ import main
main([])
print(sorted({"h5py", "numpy", "keras", "tensorflow", "rich", "tyro"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
    command = [sys.executable, "-m", "fastprep", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"fastprep {fastprep.__version__}\n"
