"""A report as a file: whole, marked, replaced only if it is fastprep's, and small whatever it tells of."""

import os

import pytest
from full_disk import run_on_small_disk

from fastprep.reports.markup import element
from fastprep.reports.page import Section, is_replaceable, page, write_page

SECTIONS = [Section("One", element("p", "x")), Section("Two", element("p"))]


def test_a_page_loads_nothing_and_runs_nothing():
    made = page("A < B", element("p", "about"), SECTIONS)
    assert "default-src &#x27;none&#x27;" in made
    assert "<title>A &lt; B</title>" in made
    assert made.index("Content-Security-Policy") < made.index("<title>")
    assert "prefers-color-scheme:dark" in made
    assert '<a href="#part-0">One</a>' in made


def test_only_a_report_of_fastprep_is_replaced(tmp_path):
    own, theirs, link = tmp_path / "own.html", tmp_path / "theirs.html", tmp_path / "link.html"
    write_page(own, page("x", element("p"), SECTIONS))
    theirs.write_text("<!DOCTYPE html>\n<html><head><title>mine</title>")
    link.symlink_to(own)
    assert [is_replaceable(path) for path in (own, theirs, link, tmp_path, tmp_path / "none")] == [
        True,
        False,
        False,
        False,
        True,
    ]


def test_a_full_disk_leaves_the_report_that_was_there(tmp_path):
    script = """
from fastprep.reports.page import write_page
write_page(disk + "/report.html", "old")
try:
    write_page(disk + "/report.html", "x" * (1 << 20))
except OSError as error:
    print(error.errno, error.filename, *listing("."), open(disk + "/report.html").read(), file=sys.stderr)
"""
    done = run_on_small_disk(tmp_path / "disk", "200k", script)
    assert done.stderr == f"28 {tmp_path}/disk/report.html report.html old\n"


def test_an_error_while_writing_leaves_nothing_half_written(tmp_path):
    write_page(tmp_path / "report.html", "old")
    with pytest.raises(UnicodeEncodeError):
        write_page(tmp_path / "report.html", "\ud800")
    assert os.listdir(tmp_path) == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "old"
