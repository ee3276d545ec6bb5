"""Compares what the sources say of the release that they are: python versions.py SOURCE prints the version, or what disagrees."""

import ast
import re
import sys
from pathlib import Path

_HEADING = re.compile(r"^## \[(?P<version>[^]]+)\] - (?P<date>.*)$", re.MULTILINE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")  # one that PyPI and git's tags write alike


def stated_version(source: Path) -> str:
    """Return the version in `_version.py`, which is not imported."""
    tree = ast.parse((source / "fastprep/_version.py").read_text(encoding="utf-8"))
    return next(node.value.value for node in tree.body if isinstance(node, ast.Assign))


def newest_heading(source: Path) -> tuple[str, str]:
    """Return the version and the date, or what is in its place, of the changelog's top heading."""
    found = _HEADING.search((source / "CHANGELOG.md").read_text(encoding="utf-8"))
    return (found["version"], found["date"]) if found else ("none", "none")


def cited(source: Path, key: str) -> str | None:
    """Return a value of `CITATION.cff` that is written on one line, or None."""
    found = re.search(rf"^{key}: *(.+?) *$", (source / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1].strip("\"'") if found else None


def problems(source: Path) -> list[str]:
    """Say which places disagree; a changelog without a date agrees as long as no other place has one."""
    version = stated_version(source)
    heading, date = newest_heading(source)
    found = (
        [] if _VERSION.fullmatch(version) else [f"_version.py says {version}, which is not a version such as 1.2.3 or 1.2.3rc1"]
    )
    places = (("the top heading of CHANGELOG.md", heading), ("CITATION.cff", cited(source, "version")))
    found += [f"_version.py says {version}, {place} {said}" for place, said in places if said != version]
    released, dated = cited(source, "date-released"), _DATE.fullmatch(date)
    if released != (date if dated else None):
        found.append(
            f"the top heading of CHANGELOG.md has the date {date}, date-released of CITATION.cff is {released or 'missing'}"
        )
    return found


def missing_date(source: Path) -> list[str]:
    """Say whether the changelog's top heading still has no date."""
    date = newest_heading(source)[1]
    return (
        []
        if _DATE.fullmatch(date)
        else [f"the top heading of CHANGELOG.md has the date {date!r}; a release has one, as 2026-01-31"]
    )


if __name__ == "__main__":
    found_problems = [*problems(Path(sys.argv[1])), *missing_date(Path(sys.argv[1]))]
    if found_problems:
        sys.exit("\n".join(found_problems))
    print(stated_version(Path(sys.argv[1])))
