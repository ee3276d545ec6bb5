"""Fonts for names in any script: those of the system that have the characters which matplotlib's own font lacks."""

from __future__ import annotations

import logging
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LACKS = r"(?s)Glyph .* missing from (font|current font)"
"""Beginning of matplotlib's warning about a character that no font has."""

_BOXES = "last resort"  # fonts with a box for every character


def begins_from_right(text: str) -> bool:
    """Tell whether the first letter of a text is of a script that is written from right to left."""
    strong = (kind for kind in map(unicodedata.bidirectional, text) if kind in ("L", "R", "AL"))
    return next(strong, "L") != "L"


def draw_with_fonts(figure: Figure, draw: Callable[[], None]) -> None:
    """Draw a figure, and once more with other fonts if a character is missing in those that it has.

    What no font has stays a box, of which the log tells.

    Parameters
    ----------
    figure : Figure
    draw : callable
        Draws the figure.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        draw()
    others = [warning for warning in caught if not re.match(LACKS, str(warning.message))]
    for warning in others:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if len(others) == len(caught):
        return
    use_fonts(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", LACKS)
        draw()


def use_fonts(figure: Figure) -> None:
    """Give the texts of a figure the fonts that they need, see `fonts_for`; the log tells what no font has.

    Parameters
    ----------
    figure : Figure
    """
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    families, missing = fonts_for({character for text in texts for character in text.get_text()})
    for text in texts if families else ():
        text.set_fontfamily([*text.get_fontfamily(), *families])
    if missing:
        few = ", ".join(f"{character} (U+{ord(character):04X})" for character in sorted(missing)[:5])
        logging.getLogger(__name__).warning(
            "no font of this system has %s%s, so drawings have boxes there; install one that has, such as one of the Noto fonts",
            few,
            f" and {len(missing) - 5} more characters" if len(missing) > 5 else "",
        )


def fonts_for(characters: Iterable[str]) -> tuple[list[str], set[str]]:
    """Return fonts of the system that have characters which matplotlib's usual font lacks.

    Parameters
    ----------
    characters : iterable of str

    Returns
    -------
    list of str
        Families, as few as needed; each has characters that those before it lack.
    set of str
        Characters that no font has.
    """
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    missing = {character for character in characters if not _is_invisible(character)}
    missing -= _characters_of(findfont(FontProperties()), missing)
    found: list[str] = []
    files = {entry.fname: entry.name for entry in fontManager.ttflist if entry.style == "normal"}
    covered = {path: _characters_of(path, missing) for path in files if missing and _BOXES not in files[path].lower()}
    while missing:
        best = max(covered, key=lambda path: (len(covered[path] & missing), path), default=None)
        if best is None or not covered[best] & missing:
            break
        missing -= covered[best]
        found.append(files[best])
    return found, missing


def _characters_of(path: str, wanted: set[str]) -> set[str]:
    """Return those characters that a font has, if its glyphs can be drawn in any size, which those of bitmap fonts can't."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        known = font.get_charmap() if font.scalable else {}
    except (OSError, RuntimeError, ValueError):  # not for FreeType, or removed since matplotlib listed it
        return set()
    return {character for character in wanted if ord(character) in known}


def _is_invisible(character: str) -> bool:
    """Tell whether a character has no glyph of its own: spaces, joiners, marks of direction and of variants."""
    is_variant = 0xFE00 <= ord(character) <= 0xFE0F or 0xE0100 <= ord(character) <= 0xE01EF
    return is_variant or unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp")
