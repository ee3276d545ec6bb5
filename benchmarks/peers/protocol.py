"""How a contender is run: prepared, its pixels checked, and then one epoch for every line "go" on its standard input.

Contenders live in environments of their own, for some libraries exclude each other. So each is a process, and speaks in lines
of JSON, which lets `field.py` interleave their rounds. What is here needs numpy and h5py only, for every environment has
them.

A contender is a function `make(path, options)` that returns `epoch`, and `epoch()` iterates over (x, numbers): a batch in
host memory, float32, (n, 227, 227, 3) or (n, 3, 227, 227), or with 224
for random-resized crops, in a buffer that may be used again for a later batch; and which
images of the file these are, which is what the file's labels hold. Of ten crops x has ten rows for each image. `epoch`
may have a method `remark`, which returns a sentence about this job that is printed below the table.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boxes
import check

CROPS = ("random", "ten", "resized")
"""Of images that are pixels in the file. "jpeg" is another job: random-resized crops of JPEG files."""

Epoch = Callable[[], Iterable[tuple[Any, Sequence[int]]]]


class Unsupported(Exception):
    """What is asked for is nothing this contender can do."""


@dataclass(frozen=True)
class Options:
    """What is asked of every contender.

    Attributes
    ----------
    threads : int
        Threads, or worker processes, that prepare batches; `field.py` gives the process as many cores.
    mirror, ten, resized : bool
        Mirror half of the crops; ten crops of each image, or a random-resized one, instead of a random one.
    variant : str
        Which of its ways, for a contender that has several.
    folder : Path
        Empty, for a copy of the file in a format of its own, under the system's folder for temporary files; deleted at the end.
    """

    threads: int = 1
    mirror: bool = False
    ten: bool = False
    batch: int = 128
    variant: str = ""
    folder: Path = Path()
    resized: bool = False

    @property
    def size(self) -> int:
        """Side of what is delivered."""
        return boxes.SIZE if self.resized else check.SIZE


def run(
    make: Callable[[str, Options], Epoch],
    name: str,
    *,
    packages: Sequence[str] = (),
    variants: Sequence[str] = ("",),
    crops: Sequence[str] = ("random", "ten"),
    why_not: str = "",
    note: str = "",
    pixels: bool = True,
    most_off: float = boxes.MOST_OFF_WAVE,
) -> None:
    """Run a contender from the command line.

    Parameters
    ----------
    name, note : str
        For the table; `{variant}` stands for the variant.
    crops, why_not : sequence of str, str
        What it can do, and why not the rest.
    packages : sequence of str
        Distributions whose versions are stated.
    pixels : bool
        Whether it delivers pixels, and they can be checked.
    most_off : float
        How far its filter for random-resized crops may be off, see `boxes`.
    """
    args = _arguments(variants)
    say = _own_stdout()
    who = {"name": name.format(variant=args.variant), "note": note}
    try:
        if args.crops not in crops:
            raise Unsupported(why_not or f"has no {args.crops} crops of its own")
        with tempfile.TemporaryDirectory(prefix="peer-") as folder:
            ten, resized = args.crops == "ten", args.crops in ("resized", "jpeg")
            options = Options(args.threads, args.mirror == "half", ten, args.batch, args.variant, Path(folder), resized)
            began = time.perf_counter()
            epoch = make(args.file, options)
            who["prepare_seconds"] = time.perf_counter() - began
            if pixels and args.crops == "jpeg":
                check.check_loosely(epoch(), args.file)
            elif pixels:
                who["largest_error"] = check.check(epoch(), args.file, options.mirror, options.ten, options.resized, most_off)
            who["remark"] = epoch.remark() if hasattr(epoch, "remark") else ""
            who["version"] = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in packages)
            say({"ready": True, **who})
            for _ in range(args.rounds) if args.rounds else _requests():
                say(_timed(epoch, [Path(args.file), *Path(folder).rglob("*")]))
    except (ImportError, Unsupported) as error:
        say({"ready": False, **who, "reason": f"{error}"})


def _arguments(variants: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", help="HDF5 file; its labels are 0, 1, 2, ...: field.py --write makes one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mirror", choices=["half", "none"], default="none")
    parser.add_argument("--crops", choices=[*CROPS, "jpeg"], default="random")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--variant", choices=variants, default=variants[0])
    parser.add_argument("--rounds", type=int, default=0, help='run so many at once; 0 (default): one for each line "go"')
    return parser.parse_args()


def _requests() -> Iterable[None]:
    for line in sys.stdin:
        if line.strip() != "go":
            raise ValueError(f'standard input must have lines "go", got {line!r}')
        yield


def _own_stdout() -> Callable[[dict[str, Any]], None]:
    """Return a function that prints a line of JSON; whatever else this process prints goes to standard error from now on."""
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return lambda message: print(json.dumps(message), file=stdout, flush=True)


def _timed(epoch: Epoch, files: Iterable[Path]) -> dict[str, float]:
    for path in files:
        warm(path)
    cpu, began = cpu_seconds(), time.perf_counter()
    images = sum(len(numbers) for _, numbers in epoch())
    return {"images": images, "seconds": time.perf_counter() - began, "cpu_seconds": cpu_seconds() - cpu}


def warm(path: str | os.PathLike[str]) -> None:
    """Read a file; on virtual machines pages that were idle for a minute may have left the page cache."""
    if os.path.isfile(path):
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def cpu_seconds() -> float:
    """Return the processor time of this process, of its live children and theirs, and of those that have ended."""
    ended = os.times()
    ticks, pids = 0, _children("self")
    while pids:
        pid = pids.pop()
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # meanwhile
            continue
        ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime of proc(5)
        pids += _children(pid)
    return time.process_time() + ended.children_user + ended.children_system + ticks / os.sysconf("SC_CLK_TCK")


def _children(pid: str) -> list[str]:
    try:
        return [child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # ended, or a kernel that does not list them
        return []
