"""Classes of images: from their folders, from a pattern of their names, or from a list in a CSV file."""

from __future__ import annotations

import csv
import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from fastprep.building.scan import IMAGE, MISSING, SourceFile, shown
from fastprep.errors import InputError

SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def by_folder(found: Iterable[SourceFile], split_folders: bool = False) -> None:
    """Take the first folder below the root as the class, however deep the image lies in it.

    Parameters
    ----------
    found : iterable of SourceFile
        Files that get labels; those outside any folder are skipped.
    split_folders : bool
        Whether the first folder is the split (train, val or validation, test), and the second the class.

    Raises
    ------
    InputError
        If the folders look like splits although `split_folders` is False, or the other way round.
    """
    images = [file for file in found if file.status == IMAGE]
    tops = {file.name.split("/")[0] for file in images if "/" in file.name}
    as_splits = {top for top in tops if top.lower() in SPLIT_FOLDERS}
    if not split_folders and len(tops) > 1 and as_splits == tops:
        names = ", ".join(sorted(tops))
        raise InputError(f"IMAGES has the folders {names}, which look like a split, not like classes; say --split-folders")
    for file in images:
        first, *rest = file.name.split("/")
        if split_folders:
            if not rest or first not in as_splits:
                file.skip("in no folder of a split (train, val, test)")
                continue
            file.split = SPLIT_FOLDERS[first.lower()]
            first, *rest = rest
        if rest:
            file.label = _text(first)
        else:
            file.skip("in no folder of a class")
            file.split = ""


def without_classes(found: Iterable[SourceFile]) -> None:
    """Take all images for testing, without classes."""
    for file in found:
        if file.status == IMAGE:
            file.split = "test"


def by_pattern(found: Iterable[SourceFile], pattern: str) -> None:
    """Take a part of the file name as the class.

    Parameters
    ----------
    found : iterable of SourceFile
        Files that get labels; those that do not match are skipped.
    pattern : str
        Pattern such as "{class}.{}.jpg": {class} stands for the class, {} for anything, all else for itself, in either case.
        Braces match as little as possible, and never "/". A pattern with "/" is compared with the path below the root, any other
        with the name of the file.

    Raises
    ------
    InputError
        If the pattern does not name the class once.
    """
    expression = compile_pattern(pattern)
    for file in found:
        if file.status != IMAGE:
            continue
        match = expression.fullmatch(file.name if "/" in pattern else posixpath.basename(file.name))
        if match:
            file.label = _text(match["label"])
        else:
            file.skip(f"does not match the pattern {pattern}")


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Translate a pattern (see `by_pattern`) into a regular expression with the group "label"."""
    parts = re.split(r"(\{[^{}]*\})", pattern)
    braces = [part for part in parts if part.startswith("{") and part.endswith("}")]
    unknown = [part for part in braces if part not in ("{}", "{class}")]
    if unknown or braces.count("{class}") != 1 or re.search(r"[{}]", "".join(set(parts) - set(braces))):
        rule = 'must name {class} once, and {} for anything else, like "{class}.{}.jpg"'
        raise InputError(f"--pattern {rule}; got {pattern!r}")
    meaning = {"{class}": "(?P<label>[^/]+?)", "{}": "[^/]*?"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts), re.IGNORECASE | re.DOTALL)


def by_csv(found: list[SourceFile], path: str, file_column: str | None = None, label_column: str | None = None) -> str:
    """Take the classes from a list.

    Parameters
    ----------
    found : list of SourceFile
        Files that get labels. Those that the list does not name are skipped; those that only the list names are added as MISSING.
    path : str
        CSV file, separated by comma, semicolon or tab.
    file_column, label_column : str, optional
        Name in the first row, or number from 1. By default "file" and "label" if the first row has them, else the first two.

    Returns
    -------
    str
        Sentence for people about how the list was read.

    Raises
    ------
    InputError
        If there is no such column, or the list gives an image two classes.
    """
    rows = _read_rows(path)
    known = _by_any_name(file for file in found if file.status == IMAGE)
    names_found = {file.name for file in found}
    columns, has_header = _columns(path, rows[0], file_column, label_column, known)
    given: dict[str, tuple[str, int]] = {}
    for number, row in enumerate(rows[has_header:], 1 + has_header):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) <= max(columns):
            raise InputError(f"--csv: {path!r}, row {number}: {len(row)} columns, of which {max(columns) + 1} are needed")
        name, label = (row[column].strip() for column in columns)
        matches = _matches(name, known)
        if len(matches) > 1:
            names = ", ".join(shown(file.name) for file in matches)
            raise InputError(f"--csv: {path!r}, row {number}: {name!r} may be any of {names}; write the ending")
        if not matches:
            if posixpath.normpath(name) not in names_found:  # a skipped file is in the report already, with the reason
                found.append(SourceFile(name, os.fspath(path), MISSING, f"named in row {number} of the CSV, but not there"))
            continue
        (file,) = matches
        label = _text(label)
        before, where = given.setdefault(file.name, (label, number))
        if before != label:
            raise InputError(f"--csv: {path!r}, row {number}: {name!r} is {label!r}, but {before!r} in row {where}")
        file.label = label
    for file in found:
        if file.status == IMAGE and not file.label:
            file.skip("no label in the CSV" if file.name in given else "not named in the CSV")
    header = f"row 1 is the header: {', '.join(rows[0])}" if has_header else "without a header"
    return f"{path}: {len(rows) - has_header} rows, {header}; files in column {columns[0] + 1}, labels in column {columns[1] + 1}"


def class_names(found: Iterable[SourceFile]) -> list[str]:
    """Return the names of all classes in the order of their labels: numerical if all are whole numbers, else alphabetical."""
    names = sorted({file.label for file in found if file.label})
    return sorted(names, key=int) if all(re.fullmatch(r"\d+", name, re.ASCII) for name in names) else names


def _read_rows(path: str) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=first.count)
            rows = list(csv.reader(file, delimiter=delimiter, strict=True))
    except OSError as error:
        raise InputError(f"--csv: {path!r}: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"--csv: {path!r} is not CSV in UTF-8: {error}") from None
    if not rows:
        raise InputError(f"--csv: {path!r} is empty")
    return rows


def _by_any_name(images: Iterable[SourceFile]) -> dict[str, list[SourceFile]]:
    """Index images by their path below the root, with and without its ending."""
    known: dict[str, list[SourceFile]] = defaultdict(list)
    for file in images:
        known[_text(file.name)].append(file)
        known[_text(posixpath.splitext(file.name)[0])].append(file)
    return known


def _matches(name: str, known: dict[str, list[SourceFile]]) -> list[SourceFile]:
    """Return the images that a list may mean by a name: the one of exactly this name, else those with another ending."""
    plain = _text(posixpath.normpath(name.replace("\\", "/"))) if name else ""
    matches = known.get(plain, [])
    exact = [file for file in matches if _text(file.name) == plain]
    return exact or matches


def _columns(
    path: str, first: list[str], file_column: str | None, label_column: str | None, known: dict[str, list[SourceFile]]
) -> tuple[tuple[int, int], bool]:
    """Return the columns of files and labels, from 0, and whether the first row is a header."""
    header = [cell.strip().lower() for cell in first]
    columns, named = [], False
    for option, value, usual, default in (("file", file_column, "file", 0), ("label", label_column, "label", 1)):
        if value is None:
            columns.append(header.index(usual) if "file" in header and "label" in header else default)
        elif value.isdecimal():
            columns.append(int(value) - 1)
        elif value.lower() in header:
            columns.append(header.index(value.lower()))
            named = True
        else:
            raise InputError(f"--{option}-column: {path!r} has no column {value!r} in its first row: {', '.join(first)}")
        if not 0 <= columns[-1] < len(first):
            raise InputError(f"--{option}-column: {path!r} has {len(first)} columns, there is no column {columns[-1] + 1}")
    if columns[0] == columns[1]:
        raise InputError(f"--csv: {path!r}: files and labels can't both be in column {columns[0] + 1}")
    return (columns[0], columns[1]), named or not _matches(first[columns[0]].strip(), known)


def _text(name: str) -> str:
    """Return a name as composed text, because some systems store ü as u and two dots, and it is still the same class."""
    return unicodedata.normalize("NFC", shown(name))
