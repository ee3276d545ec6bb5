"""Account of every file of a build: report.csv, and messages for people."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fastprep.building.decode_cache import Record
from fastprep.building.scan import SKIPPED, UNREADABLE, USED, SourceFile
from fastprep.errors import InputError
from fastprep.system import printable

_COLUMNS = ("file", "class", "split", "status", "why", "width", "height")
_SHOWN = 10  # names in a message; all are in the report


def write_report(path: Path, found: Sequence[SourceFile]) -> None:
    """Write report.csv, one row for each file.

    Parameters
    ----------
    path : Path
        CSV file with the columns file, class, split, status, why, width, height.
    found : sequence of SourceFile
    """
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for source_file in sorted(found, key=lambda source_file: source_file.name):
            split = source_file.split if source_file.status == USED else ""
            texts = (source_file.shown, source_file.label, split, source_file.status, source_file.why)
            writer.writerow(
                [*(printable(text, keep="\n\t") for text in texts), source_file.width or "", source_file.height or ""]
            )


def is_report(path: Path) -> bool:
    """Return whether a file begins as a report of `write_report` does."""
    with open(path, "rb") as file:
        return file.readline(200).rstrip(b"\r\n") == ",".join(_COLUMNS).encode()


def outcome(found: Sequence[SourceFile]) -> str:
    """Return a line about how many files were used, and why the others were not."""
    counts = Counter(source_file.status for source_file in found)
    reasons = Counter(source_file.why.split(":")[0] for source_file in found if source_file.status == SKIPPED)
    most = "; ".join(f"{n:,} {why}" for why, n in reasons.most_common(4))
    skipped = f"{counts[SKIPPED]:,} skipped" + (f" ({most}{'; ...' if len(reasons) > 4 else ''})" if most else "")
    parts = [f"{counts[USED]:,} used", f"{counts[UNREADABLE]:,} unreadable", skipped]
    parts += [f"{n:,} {status}" for status, n in counts.items() if status not in (USED, UNREADABLE, SKIPPED)]
    return f"{len(found):,} files and folders: " + ", ".join(parts)


def cut_in_half(found: Sequence[SourceFile]) -> list[str]:
    """Return a line about images of which a square in the middle is less than half; none if there are none."""
    used = [file for file in found if file.status == USED]
    n = sum(max(file.width, file.height) > 2 * min(file.width, file.height) for file in used)
    if not n:
        return []
    return [f"{n:,} of {len(used):,} images lost more than half, because --resize crop keeps the middle; --resize pad keeps all"]


def check_classes(found: Sequence[SourceFile], names: Sequence[str]) -> None:
    """Check that there are classes to tell apart.

    Raises
    ------
    InputError
        If there are fewer than two classes.
    """
    if len(names) < 2:
        only = f"only one class, {names[0]!r}" if names else "no image with a class"
        way_out = "Classes are sub-folders, or come from --pattern or --csv; --labels none is for images without classes"
        raise InputError(f"IMAGES has {only}. {outcome(found)}. {way_out}")


class Twins(NamedTuple):
    """Images that equal another one whose name comes first.

    Attributes
    ----------
    n : int
        Their number.
    n_in_other_splits, n_in_other_classes : int
        How many of them are in another split, or in another class, than that one.
    """

    n: int
    n_in_other_splits: int
    n_in_other_classes: int


def mark_twins(candidates: Sequence[SourceFile], records: dict[int, Record]) -> Twins:
    """Mark images whose resized pixels equal those of another image.

    Parameters
    ----------
    candidates : sequence of SourceFile
        Files with splits.
    records : dict of int to Record
        Records by the index in `candidates`.

    Returns
    -------
    Twins
    """
    first: dict[str, SourceFile] = {}
    n = torn = contrary = 0
    for number in sorted(records, key=lambda number: candidates[number].name):
        source_file = candidates[number]
        other = first.setdefault(records[number].digest, source_file)
        if other is not source_file:
            n += 1
            torn += other.split != source_file.split
            contrary += other.label != source_file.label
            source_file.why += f"{'; ' if source_file.why else ''}same pixels as {other.shown}"
    return Twins(n, torn, contrary)


def notes(found: Sequence[SourceFile], class_names: Sequence[str], twins: Twins) -> list[str]:
    """Return remarks for people, one sentence each.

    Parameters
    ----------
    found : sequence of SourceFile
    class_names : sequence of str
    twins : Twins

    Returns
    -------
    list of str
    """
    bad = [source_file for source_file in found if source_file.status == UNREADABLE]
    messages = [f"unreadable: {source_file.shown}: {source_file.why}" for source_file in bad[:_SHOWN]]
    if len(bad) > _SHOWN:
        messages.append(f"unreadable: {len(bad) - _SHOWN:,} more, see report.csv")
    # folders or labels without a used image; with --pattern or --csv only labels count
    empty = sorted({source_file.label for source_file in found if source_file.label} - set(class_names))
    if empty:
        more = ", ..." if len(empty) > _SHOWN else ""
        messages.append(f"not a class, because none of its images is used: {', '.join(empty[:_SHOWN])}{more}")
    if wide := sum("16 bits" in source_file.why for source_file in found if source_file.status == USED):
        messages.append(f"{wide:,} images have 16 bits and were divided by 256; report.csv has their highest values")
    if twins.n:
        same = "1 image is the same as another" if twins.n == 1 else f"{twins.n:,} images are the same as others"
        where = {"across splits": twins.n_in_other_splits, "in another class": twins.n_in_other_classes}
        parts = [f"{n:,} of them {what}" if twins.n > 1 else what for what, n in where.items() if n]
        messages.append(f"{', '.join([same, *parts])}; report.csv names them")
    return messages
