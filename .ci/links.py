"""Checks that links inside a folder of HTML lead somewhere, and that nothing is loaded from the net: python links.py FOLDER."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
_NOT_LOADED = {"canonical", "next", "prev", "index", "search"}  # relations of <link> that browsers only take note of


class Page(HTMLParser):
    """The anchors and links of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors = {"", "top"}
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a tag's anchor and address."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag in _LOADS and _LOADS[tag] in values and values.get("rel") not in _NOT_LOADED:
            self.loads.append(values[_LOADS[tag]])


def problems(folder: Path) -> list[str]:
    """Name the links that lead nowhere, and what would come from the net."""
    pages = {path.resolve(): Page(path) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(folder.resolve())
        for address in page.links + page.loads:
            url = urlsplit(address)
            if url.scheme or url.netloc:
                if address in page.loads and url.scheme != "data":
                    found.append(f"{name}: loads {address}")
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not target.is_file():
                found.append(f"{name}: no file {address}")
            elif target in pages and unquote(url.fragment) not in pages[target].anchors:
                found.append(f"{name}: no anchor {address}")
    for style in folder.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        found += [f"{style.name}: loads from the net" for start in ("url(http", "url(//", '@import "http') if start in text]
    return found


if __name__ == "__main__":
    problems_found = problems(Path(sys.argv[1]))
    sys.exit("\n".join(problems_found) if problems_found else None)
