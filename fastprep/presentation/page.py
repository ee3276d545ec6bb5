"""A loader as HTML, for notebooks: facts, classes, and the first images as a training sees them.

Colours are those of the notebook, light or dark: text inherits them, lines are a grey that is visible on both. Everything that a
file's author chose is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fastprep.presentation.facts import Count, facts_of, labels_of, mean_in_words
from fastprep.presentation.preview import Preview
from fastprep.presentation.rows import Seen
from fastprep.reports.markup import Html, text
from fastprep.reports.pictures import data_uri

if TYPE_CHECKING:
    from fastprep.presentation.presented import Presented

_MOST_IMAGES = 12
_SIDE = 72  # pixels of the longer side of an image
_MOST_BYTES = 128 << 20  # decoded for the images; where a chunk is larger none are drawn
_MOST_TEXT = 300  # characters of a line, because a path or a name may have any number
_TITLE = 24  # characters under an image; the rest is in its tooltip

_STYLE = """
.fastprep-loader{font:13px/1.45 system-ui,sans-serif;max-width:60em;overflow-wrap:anywhere}
.fastprep-loader dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.15em .9em;margin:.5em 0}
.fastprep-loader dt{opacity:.75;font-weight:normal;margin:0}
.fastprep-loader dd{margin:0}
.fastprep-loader dd span{display:inline-block;margin-right:1.2em}
.fastprep-loader .images{display:flex;flex-wrap:wrap;gap:.5em;margin:.5em 0}
.fastprep-loader figure{margin:0;width:76px}
.fastprep-loader img{display:block;border:1px solid rgba(128,128,128,.5);max-width:none;margin:0}
.fastprep-loader figcaption{font-size:11px;line-height:1.3;margin:.15em 0 0}
.fastprep-loader .problem{border-left:3px solid rgba(200,80,60,.9);padding-left:.6em;margin:.5em 0}
.fastprep-loader p{margin:.5em 0}
"""


def page_of(loader: Presented) -> str:
    """Return a loader as HTML. It never fails: what can't be read is told on the page."""
    try:
        facts = [*facts_of(loader), *labels_of(loader)]
        rows = "".join(f"<dt>{_text(name)}</dt><dd>{_lines(lines)}</dd>" for name, lines in facts)
        body = f"<strong>fastprep.Loader</strong><dl>{rows}</dl>"
    except Exception as error:
        body = _problem("The loader can't be described", error)
    return f'<div class="fastprep-loader"><style>{_STYLE}</style>{body}{_images(loader)}</div>'


def _images(loader: Presented) -> str:
    """Return the first images of the next batch, or why there are none."""
    try:
        preview = Preview(loader._source, _SIDE, has_targets=False)
        epoch, step = preview.next_place()
        together = preview.numbers(epoch, step, _MOST_IMAGES)
        n_bytes, affordable = 0, []
        for numbers in together:
            n_bytes += preview.decoded_bytes(epoch, numbers)
            if n_bytes > _MOST_BYTES:
                break
            affordable.append(numbers)
        if not affordable:
            size = f"{n_bytes / 2**20:,.0f} MiB"
            return f"<p>Images are not drawn here, because {size} would have to be decoded for them; loader.show() does it.</p>"
        seen = preview.rows_of(epoch, affordable, _MOST_IMAGES)
        what = f"The first images of epoch {epoch}, step {step}, as a training sees them; {mean_in_words(loader)}:"
        return f'<p>{what}</p><div class="images">{"".join(map(_figures, seen))}</div>'
    except Exception as error:
        return _problem("The first images can't be read", error)


def _figures(seen: Seen) -> str:
    """Return a row of x: a picture of each input, and its label."""
    parts = []
    for name, image in seen.images.items():
        title = f"{name}: {seen.title}" if name else seen.title
        short = title if len(title) <= _TITLE else f"{title[: _TITLE - 1]}…"
        height, width, _ = image.shape
        tip = _text(title[:_MOST_TEXT])
        parts.append(
            f'<figure title="{tip}"><img width="{width}" height="{height}" alt="{tip}" src="{data_uri(image, lossless=True)}">'
            f"<figcaption><bdi>{_text(short)}</bdi></figcaption></figure>"
        )
    return "".join(parts)


def _lines(lines: Iterable[str | Count]) -> str:
    """Return texts side by side; names may be written from right to left, and what follows them may not be."""
    return " ".join(
        f"<span><bdi>{_text(line.name)}</bdi> {line.n:,}</span>" if isinstance(line, Count) else f"<span>{_text(line)}</span>"
        for line in lines
    )


def _problem(what: str, error: Exception) -> str:
    return f'<p class="problem">{what}: {_text(f"{type(error).__name__}: {error}")}</p>'


def _text(line: str) -> Html:
    return text(line, _MOST_TEXT)
