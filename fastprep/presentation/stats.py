"""What a loader has read so far: a dict that prints as a table."""

from __future__ import annotations

from typing import Any

from fastprep.system import printable

_MOST_FILES = 8  # that have a line
_UNITS = {
    "batches": "handed out",
    "samples": "handed out",
    "buffers": "allocated",
    "blocks_decoded": "chunks, or rows of chunks",
}


class Stats(dict[str, Any]):
    """A dict of what a loader has read, see `fastprep.loader.Loader.stats`, that prints as a table with units."""

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        lines = []
        for name, value in self.items():
            first, *more = _words_of(name, value)
            lines += [f"{name:{width}}  {first}", *(f"{'':{width}}  {line}" for line in more)]
        return "\n".join(map(printable, lines)) or "{}"


def _words_of(name: str, value: Any) -> list[str]:
    """Return what a table says of an entry, on one line or more."""
    if name == "files" and isinstance(value, list):
        lines = [_words_of_file(facts) for facts in value[:_MOST_FILES]]
        return lines + [f"and {len(value) - _MOST_FILES:,} more"] * (len(value) > _MOST_FILES)
    if name == "corrupt":
        if value is None:
            return ['none read: an image that can\'t be read is an error (on_corrupt="raise")']
        return [f"{counted(value['samples'], 'sample')} left out", *value["problems"]]
    if name == "decoded":
        return ["all on the CPU"] if value is None else [", ".join(f"{n:,} on {place}" for place, n in value.items())]
    if name == "remote":
        return ["no file is remote"] if value is None else [_words_of_remote(value)]
    if name == "workers":
        return [counted(value, "thread")]
    if name == "wait_s":
        return [f"{value:.3f} s for batches"]
    if isinstance(value, int):
        return [f"{value:,} {_UNITS[name]}" if name in _UNITS else f"{value:,}"]
    return [str(value)]


def _words_of_remote(counts: dict[str, int]) -> str:
    sent = f"{counted(counts['requests'], 'request')}, {counts['retries']:,} of them again, {counts['bytes']:,} bytes"
    return f"{sent}; {counted(counts['blocks_read'], 'block')} read, {counts['blocks_fetched']:,} fetched"


def _words_of_file(facts: dict[str, Any]) -> str:
    shape = "x".join(map(str, facts["shape"]))
    own = f"{facts['input']}: " if "input" in facts else ""
    what = f"{own}{facts['file']}: {counted(facts['samples'], 'sample')} of {shape} {facts['dtype']}, {facts['read']}"
    return what + f", {facts['never_written']:,} never written" * bool(facts["never_written"])


def counted(n: int, noun: str, plural: str = "") -> str:
    """Return a number and what is counted, which by default gets an "s"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"
