"""What `field.py` measured, as a table and as an image: rates as ratios to a memset of the output and to numpy by hand."""

from __future__ import annotations

import os
import statistics
from typing import Any

MEMSET = "memset"
ANCHOR = "numpy_h5py:h5py"
"""Steadier than the memory's limit, so the one to compare runs by."""

OF_JPEGS = "jpeg_bare", "jpeg_by_hand"
"""What rates are compared with where the images are JPEG files: the decoder alone, and what people write."""


def text(document: dict[str, Any]) -> str:
    """Return the tables of a document, the fastest contender first."""
    lines = []
    for table in document["tables"]:
        rates = _rates(table)
        of_jpegs = table["crops"] == "jpeg"
        references, words = (OF_JPEGS, ("decoder", "by hand")) if of_jpegs else ((MEMSET, ANCHOR), ("memset", "numpy"))
        memset, anchor = (statistics.median(rates[key]) if rates.get(key) else None for key in references)
        lines += [
            title(table),
            f"{'':36}{'images/s':>12}{'of ' + words[0]:>11}{'of ' + words[1]:>11}{'spread, of ' + words[0]:>21}{'cores':>7}",
        ]
        names = {entry["key"]: entry["name"] for entry in table["contenders"]}
        for key in sorted(rates, key=lambda key: -statistics.median(rates[key])):
            median = statistics.median(rates[key])
            spread = f"{min(rates[key]) / memset:.3f} - {max(rates[key]) / memset:.3f}" if memset else "-"
            ratios = f"{_ratio(median, memset):>11}{_ratio(median, anchor):>11}{spread:>21}"
            lines.append(f"{names[key]:36}{median:>12,.0f}{ratios}{_cores(table, key):>7.2f}")
        lines += [f"{entry['name']:36}left out: {entry['reason']}" for entry in table["left_out"]]
        lines += [f"{entry['name']}: {remark}" for entry in table["contenders"] if (remark := entry.get("remark"))]
        lines.append("")
    return "\n".join([*lines, *_versions(document), _machine(document), document["command"]])


def title(table: dict[str, Any]) -> str:
    """Say what was asked of the contenders."""
    mirrored = "half mirrored" if table["mirror"] == "half" else "not mirrored"
    crops = {
        "random": f"random crops, {mirrored}",
        "ten": "ten crops of each image",
        "resized": f"random-resized crops, {mirrored}",
        "jpeg": f"random-resized crops of JPEG files, {mirrored}",
    }[table["crops"]]
    cores = f"{table['threads']} core{'s' * (table['threads'] > 1)}"
    return f"{crops}, {cores}: {table['images']:,} images in batches of {table['batch']}"


def plot(document: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Draw a bar for each contender and a panel for each table; thin lines span all rounds."""
    from matplotlib.figure import Figure

    tables = [table for table in document["tables"] if any(entry["key"] == MEMSET for entry in table["contenders"])]
    columns = min(2, len(tables))
    rows = -(-len(tables) // columns)
    bars = max(len(table["contenders"]) for table in tables)
    figure = Figure(figsize=(7.5 * columns, rows * (1.2 + 0.3 * bars)), layout="constrained")
    for table, axes in zip(tables, figure.subplots(rows, columns, squeeze=False).flat, strict=False):
        rates = _rates(table)
        memset = statistics.median(rates[MEMSET])
        keys = sorted(rates, key=lambda key: statistics.median(rates[key]))
        names = {entry["key"]: entry["name"] for entry in table["contenders"]}
        medians = [statistics.median(rates[key]) / memset for key in keys]
        low, high = ([extreme(rates[key]) / memset for key in keys] for extreme in (min, max))
        colors = ["tab:orange" if key.startswith("fastprep") else "0.75" if key == MEMSET else "tab:blue" for key in keys]
        spread = [[m - v for m, v in zip(medians, low, strict=True)], [v - m for m, v in zip(medians, high, strict=True)]]
        axes.barh([names[key] for key in keys], medians, color=colors, xerr=spread, error_kw={"lw": 0.8, "ecolor": "0.3"})
        for place, (median, end) in enumerate(zip(medians, high, strict=True)):
            axes.text(end + 0.01, place, f" {median:.2f}", va="center", fontsize=8)
        axes.set_xlim(0, 1.12 * max(high))
        axes.set_title(title(table), fontsize=9)
        axes.set_xlabel("of a memset of the output", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    for axes in figure.axes[len(tables) :]:
        axes.set_visible(False)
    figure.supxlabel(f"medians of {document['rounds']} rounds; {_machine(document)}", fontsize=8)
    figure.savefig(path, dpi=120)


def _rates(table: dict[str, Any]) -> dict[str, list[float]]:
    """Return images per second of every round, by contender; those that failed before any round are not there."""
    rates = {entry["key"]: [r["images"] / r["seconds"] for r in entry["rounds"]] for entry in table["contenders"]}
    return {key: of_rounds for key, of_rounds in rates.items() if of_rounds}


def _cores(table: dict[str, Any], key: str) -> float:
    (entry,) = (entry for entry in table["contenders"] if entry["key"] == key)
    return statistics.median(r["cpu_seconds"] / r["seconds"] for r in entry["rounds"])


def _ratio(rate: float, reference: float | None) -> str:
    return f"{rate / reference:.3f}" if reference else "-"


def _versions(document: dict[str, Any]) -> list[str]:
    """Return a line for each contender: its versions, what is peculiar, and how long a copy in a format of its own took."""
    lines = {}
    for table in document["tables"]:
        for entry in table["contenders"]:
            what = [entry["version"], entry["note"], f"prepared in {entry['prepare_seconds']:.1f} s"]
            lines.setdefault(entry["key"], f"{entry['name']}: {'; '.join(filter(None, what))}")
    return list(lines.values())


def _machine(document: dict[str, Any]) -> str:
    m = document["machine"]
    memory = f"{m['memory_gib']} GiB"
    return f"{m['cpu']}, {m['cores']} cores, {memory}, Linux {m['kernel']}, Python {m['python']}, {m['date']}"
