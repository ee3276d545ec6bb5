"""What commands write: no text out of a file or from the network is obeyed by a terminal, and no stream ends a command."""

import ast
import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

import fastprep
from fastprep import build, convert, doctor, evaluate, show
from fastprep.cli import plots
from fastprep.cli.command import Command
from fastprep.cli.output import Screen, safe_output, write_line, write_message
from fastprep.cli.progress import StatusLine, shown_progress
from fastprep.errors import InputError
from fastprep.evaluation.report import Evaluated, write_report
from fastprep.h5 import write_images
from fastprep.system import printable

PACKAGE = Path(fastprep.__file__).parent
HOSTILE = {
    "\x1b[2J\x1b]0;title\x07": r"\x1b[2J\x1b]0;title\x07",
    "\x1b[31mred\x1b[0m": r"\x1b[31mred\x1b[0m",
    "a\nfastprep.show: all is well": r"a\nfastprep.show: all is well",
    "over\rwritten": r"over\rwritten",
    "tab\tand\x08\x7f\x00": r"tab\tand\x08\x7f\x00",
    "\x9b2J": r"\x9b2J",
    "\x85\u2028\u2029": r"\x85\u2028\u2029",
    "\u202egnp.exe": r"\u202egnp.exe",
    "\u2066x\u2069\u200f": r"\u2066x\u2069\u200f",
    os.fsdecode(b"caf\xe9"): r"caf\xe9",
    "\ud800": r"\ud800",
}
NAMES = [*HOSTILE, "[red]", "[/]", "$x", "Käfer 甲虫 👩‍🔬", r"back\slash"]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    def install():
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, Terminal())
        monkeypatch.setenv("TERM", "xterm")

    return install


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_would_obey_becomes_an_escape(text, capsys):
    assert printable(f"ä {text}") == f"ä {HOSTILE[text]}"
    write_line(text, "next")
    write_message(text)
    assert capsys.readouterr() == (f"{HOSTILE[text]}\nnext\n", f"{HOSTILE[text]}\n")


@pytest.mark.parametrize("text", ["", "[red]", "[/]", "Käfer 甲虫 👩‍🔬", r"back\slash", "a  b"])
def test_any_other_text_stays_as_it_is(text, capsys):
    write_line(text)
    assert capsys.readouterr().out == f"{text}\n"


def test_a_bar_of_another_library_begins_a_line_each_time_it_goes_back_to_the_start(capsys):
    with safe_output():
        for text in ("\r 1/3", "\b\b\b\b\r 2/3", "\b\b\b\b\r\x1b[1m 3/3\x1b[0m\n", "a\rb\b\r"):
            sys.stdout.write(text)
    assert capsys.readouterr().out == "\n 1/3\n 2/3\n\x1b[1m 3/3\x1b[0m\na\\rb\\x08\\r"


def test_only_one_module_prints():
    """Nothing in the package prints past `cli/output.py`; all that a command says goes through there."""
    printing = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert printing == set()


def test_what_other_libraries_print_in_a_command_keeps_colours_and_line_breaks_only(capsys):
    def function():
        print("\x1b[31mred\x1b[0m\n\x1b[2J")
        sys.stderr.writelines(["a\n", "\x07\n"])

    assert Command("fastprep.x").run(function) == 0
    assert capsys.readouterr() == ("\x1b[31mred\x1b[0m\n\\x1b[2J\n", "a\n\\x07\n")


@pytest.mark.parametrize("text", HOSTILE)
def test_errors_are_one_printable_line(text, capsys):
    def function():
        raise InputError(f"no class {text}!")

    assert Command("fastprep.x").run(function) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fastprep.x: no class ")
    assert printable(line) == line


@pytest.mark.parametrize("name", NAMES)
def test_the_line_of_progress_and_the_bars_show_any_name(name, terminal):
    terminal()
    with safe_output():
        line = StatusLine()
        line.show(f"class {name}")
        line.keep(f"class {name}")
        line.leave()
        with shown_progress() as progress:
            progress(f"class {name}", 1, 2)
    for written in (sys.stdout.getvalue(), sys.stderr.getvalue()):
        assert f"class {printable(name)}" in written
        assert "\x1b[2J" not in written
        assert "\x07" not in written


def hostile_file(path):
    """Write a file whose class names, file names and channel order are hostile."""
    n = len(NAMES)
    write_images(path, np.zeros((n, 8, 8, 3), np.uint8), np.arange(n))
    with h5py.File(path, "r+") as file:
        raw = [
            name.encode("utf-8", "surrogatepass" if name == "\ud800" else "surrogateescape").replace(b"\0", b"") for name in NAMES
        ]
        file["images"].attrs["class_names"] = np.array(raw, h5py.special_dtype(vlen=bytes))
        file["file_names"] = np.array(raw, h5py.special_dtype(vlen=bytes))
        file["images"].attrs["channel_order"] = "\x1b[2J"
    return str(path)


def test_show_prints_and_draws_a_file_full_of_hostile_names(tmp_path, capsys):
    path = hostile_file(tmp_path / "a.h5")
    assert show.main([path, "--sheet", str(tmp_path / "sheet.png"), "--crops", str(tmp_path / "crops.png")]) == 0
    out, err = capsys.readouterr()
    assert all(printable(line) == line for line in (out + err).split("\n"))
    assert "[red]" in out
    assert not any(line.startswith("fastprep.show") for line in out.splitlines())


@pytest.mark.parametrize("word", [*HOSTILE, "[red]"])
def test_wrong_words_of_a_command_line_are_told_as_text(word, terminal):
    terminal()
    with pytest.raises(SystemExit) as ended:
        show.main([f"--{word}", "--n", word])
    assert ended.value.code == 2
    written = sys.stdout.getvalue() + sys.stderr.getvalue()
    for bad in ("\x1b[2J", "\x1b]0", "\x07", "\r", "\x9b", "\u202e", "\x00", "\ud800", "\udce9"):
        assert bad not in written
    if word == "[red]":
        assert word in written


def test_a_path_with_control_characters_is_told_as_text(tmp_path, capsys):
    for command in (show.main, evaluate.main):
        assert command([str(tmp_path / "\x1b[2J\n.h5"), *(["--data", "x"] if command is evaluate.main else [])]) == 2
        error = capsys.readouterr().err
        assert "\x1b" not in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("name", NAMES)
def test_drawings_and_tables_show_any_class_name(name, tmp_path):
    assert printable(plots._plain(name)) == plots._plain(name)
    rows = {"centre crop": [np.eye(2)]}
    report = Evaluated(rows, ["m"], "probability", np.array([0, 1]), (name, "other"), [name, "b"])
    write_report(tmp_path, report, {})
    for path in tmp_path.glob("*.csv"):
        text = path.read_text(encoding="utf-8")
        assert printable(text, keep="\r\n\t") == text
    with open(tmp_path / "classes-centre-crop.csv", newline="", encoding="utf-8") as file:
        assert [row["name"] for row in csv.DictReader(file)] == [printable(name, keep="\n\t"), "other"]


# --- streams that can't be written


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_any_encoding_takes_any_text(encoding):
    raw = io.BytesIO()
    stream = Screen(io.TextIOWrapper(raw, encoding, errors="strict"))
    for name in NAMES:
        stream.write(f"{name}\n")
    stream.flush()
    assert len(raw.getvalue().decode(encoding).split("\n")) == len(NAMES) + 2  # one name has a line break


class Broken(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


def test_a_command_goes_on_without_a_reader(monkeypatch, capsys):
    done = []
    monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError(32, "Broken pipe")))
    assert Command("fastprep.x").run(lambda: (write_line("a"), write_line("b", flush=True), done.append(1), 0)[-1]) == 0
    assert done == [1]
    assert capsys.readouterr().err == ""


def test_output_that_is_not_whole_is_status_2_and_a_line(monkeypatch, capsys):
    done = []
    monkeypatch.setattr(sys, "stdout", Broken(OSError(28, "No space left on device")))
    assert Command("fastprep.x").run(lambda: (write_line("a"), done.append(1), 0)[-1]) == 2
    assert done == [1]
    line = "fastprep.x: standard output can't be written, and is not whole: No space left on device; all else was done\n"
    assert capsys.readouterr().err == line


def test_without_any_stream_a_command_runs(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    def function():
        write_line("a")
        StatusLine().keep("b")
        with shown_progress() as progress:
            progress("c", 1, 2)
        raise InputError("d")

    assert Command("fastprep.x").run(function) == 2


def run(words, redirect="", **environment):
    """Run a command in a shell, as a user does; return its status and what it wrote."""
    line = f"{sys.executable} -m fastprep {words}{redirect}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], capture_output=True, env={**os.environ, **environment}, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def test_strict_encodings_and_names_that_are_not_utf8_do_not_end_show(tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    path = os.fsdecode(folder + b"/\xff.h5")
    hostile_file(tmp_path / "a.h5")
    os.rename(tmp_path / "a.h5", path)
    script = f"show '{path}'"
    status, out, err = run(script, PYTHONIOENCODING="ascii:strict", LC_ALL="C", PYTHONUTF8="0")
    assert (status, err) == (0, b"")
    assert rb"caf\xe9/\xff.h5" in out
    out.decode("ascii")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_or_a_full_disk_leaves_no_noise_at_the_end(tmp_path, unbuffered):
    path = hostile_file(tmp_path / "a.h5")
    names = {f"show '{path}'": "fastprep.show", "--help": "fastprep", "--version": "fastprep", "show --help": "fastprep.show"}
    for words, name in names.items():
        assert run(words, " | true", PYTHONUNBUFFERED=unbuffered) == (0, b"", b"")
        status, _, err = run(words, " > /dev/full", PYTHONUNBUFFERED=unbuffered)
        assert status == 2
        assert err.decode() == (
            f"{name}: standard output can't be written, and is not whole: No space left on device; all else was done\n"
        )


# --- other things that the system refuses


@pytest.mark.parametrize("out", ["/proc/x", "/proc/self/x"])
def test_a_folder_that_can_not_be_made_is_one_line(out, tmp_path, capsys):
    path = str(tmp_path / "a.h5")
    write_images(path, np.zeros((8, 8, 8, 3), np.uint8), np.arange(8) % 2)
    folder = tmp_path / "photographs"
    for k in range(8):
        image = folder / f"class {k % 2}" / f"{k}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), k, np.uint8)).save(image)
    for command, words in (
        (show, [path, "--sheet", f"{out}.png"]),
        (convert, [path, f"{out}.h5"]),
        (build, [str(folder), out]),
    ):
        assert command.main(words) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"{command.__name__}: ")
        assert "/proc" in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("number", [5, 30])  # EIO, EROFS
def test_any_error_of_the_system_is_one_line_whatever_the_command(number, capsys):
    def function():
        raise OSError(number, os.strerror(number), "a\x1b.h5")

    assert Command("fastprep.x", errors=(InputError,)).run(function) == 2
    assert capsys.readouterr().err == f"fastprep.x: [Errno {number}] {os.strerror(number)}: 'a\\x1b.h5'\n"


def test_without_a_folder_for_temporary_files_a_file_is_shown_and_doctor_says_what_it_needs(tmp_path, monkeypatch, capsys):
    def nowhere():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("tempfile._get_default_tempdir", nowhere)
    monkeypatch.setattr("tempfile.tempdir", None)
    assert show.main([hostile_file(tmp_path / "a.h5"), "--sheet", str(tmp_path / "sheet.png")]) == 0
    capsys.readouterr()
    assert doctor.main([]) == 2
    line = "fastprep.doctor: no folder for a temporary file of noise: set TMPDIR to one that can be written, or name a FILE\n"
    assert capsys.readouterr().err == line
