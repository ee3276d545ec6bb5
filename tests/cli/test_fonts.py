"""Fonts for names in any script. The fonts of the system are left out, so that each machine has the same ones."""

import logging
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import Image

from fastprep.cli import plots
from fastprep.cli.fonts import begins_from_right, draw_with_fonts, fonts_for
from fastprep.cli.notebook_figure import sheet_figure
from fastprep.cli.plots import CropRow, draw_confusion, draw_crops, draw_curves, draw_sheet, draw_sizes

NOBODYS = "\U00010380"  # Ugaritic


@pytest.fixture
def only_matplotlibs_fonts(monkeypatch):
    own = [entry for entry in font_manager.fontManager.ttflist if matplotlib.get_data_path() in entry.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    return own


@pytest.fixture
def mathematical(only_matplotlibs_fonts):
    """A character that STIX has, which comes with matplotlib, and DejaVu lacks."""
    path = font_manager.findfont("DejaVu Sans")
    stix = next(entry.fname for entry in only_matplotlibs_fonts if entry.name == "STIXGeneral" and entry.style == "normal")
    known, others = FT2Font(path).get_charmap(), FT2Font(stix).get_charmap()
    return next(chr(code) for code in sorted(set(others) - set(known)) if chr(code).isprintable() and code < 0xE000)


def test_fonts_are_looked_for_only_for_what_the_usual_one_lacks(mathematical):
    assert fonts_for("Käfer, $x$ \t\n") == ([], set())
    families, missing = fonts_for(f"Käfer {mathematical}")
    assert len(families) == 1
    assert "STIX" in families[0]
    assert missing == set()


def test_what_no_font_has_is_told(only_matplotlibs_fonts):
    assert fonts_for(f"a{NOBODYS}") == ([], {NOBODYS})


@pytest.mark.parametrize("character", ["\u200d", "\ufe0f", "\u200f", "\u00a0", "\u3000", "\U000e0101"])
def test_characters_without_a_glyph_need_no_font(only_matplotlibs_fonts, character):
    assert fonts_for(character) == ([], set())


def test_a_sheet_has_the_character_and_not_its_box(mathematical, tmp_path, caplog):
    image = np.full((20, 20, 3), 255, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, text in (("one", mathematical * 3), ("box", NOBODYS * 3)):
            draw_sheet([image], [text], "", tmp_path / f"{name}.png")
    one, box = (np.asarray(Image.open(Path(tmp_path, f"{name}.png"))) for name in ("one", "box"))
    assert one.shape == box.shape
    assert (one != box).any()
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert f"no font of this system has {NOBODYS} (U+10380), so drawings have boxes there" in record.getMessage()


NAMES = ["猫", "قطة", "😀", f"{NOBODYS} $x$", "a_b^{"]
IMAGES = [np.zeros((9, 9, 3), np.uint8)] * len(NAMES)
LISTS = {name: [0.5, 0.4] for name in ("loss", "val_loss", "accuracy", "val_accuracy")}


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: draw_sheet(IMAGES, NAMES, NAMES[0], path),
        lambda path: draw_crops([CropRow(name, IMAGES, NAMES) for name in NAMES[:2]], NAMES[1], path),
        lambda path: draw_confusion(np.eye(len(NAMES), dtype=np.int64), NAMES, NAMES[2], path),
        lambda path: draw_curves(LISTS, path),
        lambda path: draw_sizes([(30, 20), (40, 50)], 32, path),
        lambda path: sheet_figure(IMAGES, NAMES, NAMES[3], [()] * 5, [(9, 9)] * 5).savefig(path, bbox_inches="tight"),
    ],
    ids=["sheet", "crops", "confusion", "curves", "sizes", "notebook"],
)
def test_no_drawing_warns_of_characters_that_no_font_has(only_matplotlibs_fonts, tmp_path, draw):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        image.load()


@pytest.mark.parametrize(
    ("text", "turns"),
    [("مربع: a crop", True), ("שלום", True), ("cat قطة", False), ("12 (3) قطة", True), ("猫", False), ("", False)],
)
def test_a_name_from_the_right_does_not_turn_around_the_words_behind_it(text, turns, tmp_path, monkeypatch):
    assert begins_from_right(text) == turns
    drawn = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: drawn.append(figure))
    draw_crops([CropRow(text, IMAGES[:1], [text])], "x", tmp_path / "x.png")
    (part,) = drawn[0].subfigs
    assert part.get_suptitle() == "\u200e" * turns + text


def test_the_number_behind_a_name_stays_at_its_right(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: drawn.append(figure))
    names = ["قطة", "cat قطة", "猫", "شلوم 2"]
    draw_confusion(np.eye(4, dtype=np.int64), names, "x", tmp_path / "x.png")
    shown = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    assert shown == ["\u200eقطة\u200e (1)", "cat قطة\u200e (1)", "猫 (1)", "\u200eشلوم 2\u200e (1)"]


def test_other_warnings_of_matplotlib_are_passed_on():
    with pytest.warns(UserWarning, match="a layout that can't be") as caught:
        draw_with_fonts(None, lambda: warnings.warn("a layout that can't be", stacklevel=1))
    assert len(caught) == 1
