"""What became of every file: report.csv, and what a person should know."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fastprep.building.decode_cache import Record
from fastprep.building.scan import SKIPPED, UNREADABLE, USED, SourceFile
from fastprep.errors import InputError

_SHOWN = 10  # names in a message; all are in the report


def write_report(path: Path, found: Sequence[SourceFile]) -> None:
    """Write what became of every file.

    Parameters
    ----------
    path : Path
        Of the CSV: file, class, split, status, why, width, height.
    found : sequence of SourceFile
    """
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", "split", "status", "why", "width", "height"])
        for one in sorted(found, key=lambda one: one.name):
            split = one.split if one.status == USED else ""
            writer.writerow([one.shown, one.label, split, one.status, one.why, one.width or "", one.height or ""])


def outcome(found: Sequence[SourceFile]) -> str:
    """Say in a line how many files were used, and why the others were not."""
    counts = Counter(one.status for one in found)
    reasons = Counter(one.why.split(":")[0] for one in found if one.status == SKIPPED)
    most = "; ".join(f"{n:,} {why}" for why, n in reasons.most_common(4))
    skipped = f"{counts[SKIPPED]:,} skipped" + (f" ({most}{'; ...' if len(reasons) > 4 else ''})" if most else "")
    parts = [f"{counts[USED]:,} used", f"{counts[UNREADABLE]:,} unreadable", skipped]
    parts += [f"{n:,} {status}" for status, n in counts.items() if status not in (USED, UNREADABLE, SKIPPED)]
    return f"{len(found):,} files and folders: " + ", ".join(parts)


def check_classes(found: Sequence[SourceFile], names: Sequence[str]) -> None:
    """Check that there is something to tell apart.

    Raises
    ------
    InputError
        If there are no two classes.
    """
    if len(names) < 2:
        only = f"only one class, {names[0]!r}" if names else "no image with a class"
        raise InputError(f"IMAGES has {only}. {outcome(found)}. Classes are sub-folders, or come from --pattern or --csv")


def mark_twins(candidates: Sequence[SourceFile], records: dict[int, Record]) -> tuple[int, int]:
    """Note which images are the same as others, once they are resized.

    Parameters
    ----------
    candidates : sequence of SourceFile
        With splits.
    records : dict of int to Record
        Of number k of `candidates` at k.

    Returns
    -------
    int
        Images that are the same as one before, by name.
    int
        Those of them that are in another split than that one.
    """
    first: dict[str, SourceFile] = {}
    twins = torn = 0
    for place in sorted(records, key=lambda place: candidates[place].name):
        one = candidates[place]
        other = first.setdefault(records[place].digest, one)
        if other is not one:
            twins += 1
            torn += other.split != one.split
            one.why += f"{'; ' if one.why else ''}same pixels as {other.shown}"
    return twins, torn


def notes(found: Sequence[SourceFile], class_names: Sequence[str], twins: tuple[int, int]) -> list[str]:
    """Return what a person should look at, one sentence each.

    Parameters
    ----------
    found : sequence of SourceFile
    class_names : sequence of str
    twins : (int, int)
        From `mark_twins`.

    Returns
    -------
    list of str
    """
    bad = [one for one in found if one.status == UNREADABLE]
    said = [f"unreadable: {one.shown}: {one.why}" for one in bad[:_SHOWN]]
    if len(bad) > _SHOWN:
        said.append(f"unreadable: {len(bad) - _SHOWN:,} more, see report.csv")
    # a folder or a label that gave nothing; with --pattern or --csv only the label counts
    empty = sorted({one.label for one in found if one.label} - set(class_names))
    if empty:
        more = ", ..." if len(empty) > _SHOWN else ""
        said.append(f"no class, as no image of it is used: {', '.join(empty[:_SHOWN])}{more}")
    if wide := sum("16 bits" in one.why for one in found if one.status == USED):
        said.append(f"{wide:,} images have 16 bits and were divided by 256; report.csv has their highest values")
    if twins[0]:
        said.append(f"{twins[0]:,} images are the same as others, {twins[1]:,} of them across splits; report.csv names them")
    return said
