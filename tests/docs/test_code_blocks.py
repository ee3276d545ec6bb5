"""The documentation's pages: Python blocks run, commands have the options that are named, links and file names lead somewhere."""

import importlib
import re
import shlex

import numpy as np
import pytest
from pages import ROOT, anchors, blocks, links, run

import fastprep
from fastprep.h5 import write_images

DOCS = ROOT / "docs"
if not DOCS.is_dir():
    pytest.skip("this copy of the tests has no documentation beside it", allow_module_level=True)

GUIDE = sorted((DOCS / "guide").glob("*.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md")),
    *sorted(DOCS.glob("*.md")),
    *GUIDE,
]
PACKAGE = [*ROOT.joinpath("fastprep").rglob("*"), *ROOT.joinpath("model").rglob("*")]


def names_of(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


RUN_HERE = [page for page in GUIDE if blocks(page, "python") and page.stem != "known-files"]  # test_public_files.py has its files


@pytest.mark.parametrize("page", RUN_HERE, ids=lambda page: page.stem)
def test_python_blocks_run_one_after_the_other(page, tmp_path, monkeypatch, rng, capsys):
    """On other backends than TensorFlow those are left out that import it; they are the last ones of their pages."""
    keras = pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    for name in ("train", "val", "test"):
        write_images(f"{name}.h5", rng.integers(0, 256, (16, 256, 256, 3), dtype=np.uint8), np.arange(16) % 2)
    parts = blocks(page, "python")
    if keras.backend.backend() != "tensorflow":
        parts = [(line, text) for line, text in parts if "import tensorflow" not in text]
    run(page, parts, {"__name__": page.stem})


def commands_of(page):
    """Yield the name and the options of each fastprep command in a page's shell blocks."""
    for _, text in blocks(page, "sh"):
        for line in text.replace("\\\n", "").splitlines():
            if found := re.search(r"python -m fastprep\.(\w+)(.*)", line):
                words = shlex.split(found[2], comments=True)
                yield found[1], [word for word in words if word.startswith("--")]


def test_commands_have_the_options_that_shell_blocks_give_them(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    wanted = [command for page in PAGES for command in commands_of(page)]
    assert {name for name, _ in wanted} == {"build", "convert", "evaluate", "show", "train"}
    for name in sorted({name for name, _ in wanted}):
        with pytest.raises(SystemExit):
            importlib.import_module(f"fastprep.{name}").main(["--help"])
        options = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
        for _, used in (command for command in wanted if command[0] == name):
            assert set(used) <= options


@pytest.mark.parametrize("page", PAGES, ids=names_of(PAGES))
def test_links_lead_to_files_and_headings(page):
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_the_page_on_faults_names_test_files_that_exist():
    rows = re.findall(r"^\|.*\| ([^|]*) \|$", (DOCS / "guide" / "faults.md").read_text(), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([\w/]+\.py)`", row)]
    assert len(named) > 20
    assert all(list((ROOT / "tests").rglob(name)) for name in named), named


def test_the_page_on_architecture_names_folders_and_files_that_exist():
    page = DOCS / "architecture.md"
    tree = next(text for _, text in blocks(page, "") if text.startswith("fastprep/\n"))
    folders = {name for line in tree.splitlines() for name in re.findall(r"^ +(\w+)/", line)}
    there = {path.name for path in PACKAGE if path.is_dir() and (path / "__init__.py").exists()}
    assert folders == there
    commands = set(re.findall(r"(\w+)\.py  ", next(line for line in tree.splitlines() if "build.py" in line)))
    assert commands == {"build", "convert", "doctor", "evaluate", "show", "train"}
    named = set(re.findall(r"`(\w+/[\w/*]+\.\w+)`", page.read_text())) - {"tests/test_package.py", "tests/reference.py"}
    assert len(named) > 10
    for name in named:
        assert list(ROOT.joinpath("fastprep").glob(name)), name


def test_the_pages_speak_of_public_names_only():
    for page in PAGES:
        for name in re.findall(r"`fastprep\.([A-Za-z]\w*)[`(]", page.read_text()):
            assert name in {*fastprep.__all__, "build", "convert", "doctor", "evaluate", "show", "train"}, name
