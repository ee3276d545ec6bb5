"""python -m fastprep.convert: rewrite the images of an HDF5 file in the layout that loads fastest."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from fastprep.cli.command import Command, overwrite_hint, parse_command_line
from fastprep.cli.help import flowing
from fastprep.cli.output import write_line, write_message
from fastprep.cli.progress import shown_progress
from fastprep.errors import DataError, InputError
from fastprep.h5.convert import InexactError, OtherFilesError, Rewritten, rewrite

_ROUND_HINT = (
    "multiply images that are scaled to 0..1 by 255 first; "
    "--round rounds to the nearest whole number, ties to even, and clips to 0..255"
)
_MOST_NOTES = 20


@flowing
@dataclass(frozen=True)
class Config:
    """Rewrite the images of an HDF5 file in the layout that loads fastest: contiguous uint8.

    Everything else in the file is kept, byte for byte: other datasets, groups, links, attributes. What can't be kept is listed.
    The mean of the images is stored if there is none. The new file is checked image by image before it gets its name; until then
    no file of that name exists.
    """

    source: Annotated[Positional[str], arg(metavar="IN")]
    """Any HDF5 file that fastprep reads, with images of whole numbers from 0 to 255."""
    target: Annotated[Positional[str], arg(metavar="OUT")]
    """File to write."""
    images: Annotated[str, arg(metavar="NAME")] = "images"
    """Dataset of images, (N, height, width, channels) or (N, height, width). Its name is kept."""
    labels: Annotated[str | None, arg(metavar="NAME")] = None
    """Dataset that must have one row for each image; otherwise nothing is written. Labels are kept in any case."""
    axes: Annotated[Literal["NHWC", "NHW"] | None, arg(metavar="AXES")] = None
    """Axes of the images: NHWC or NHW. Default: whichever fits the rank, if the shape makes it plausible."""
    compression: Literal["none", "gzip"] = "none"
    """gzip stores each image as a chunk of its own. It saves disk space for plain images such as drawings and scans; noisy
    photographs hardly shrink. Each epoch then has to decode the images."""
    gzip_level: Literal[1, 2, 3, 4, 5, 6, 7, 8, 9] = 4
    """With --compression gzip: 1 is quick, 9 is small."""
    round: bool = False
    """Round values to the nearest whole number, ties to even, and clip them to 0..255, instead of refusing them."""
    from_other_files: bool = False
    """Copy images that lie in other files, to which IN leads by an external link, a virtual dataset or external storage. Without
    this option they are refused, and the files are named: whoever made IN chose them, and whoever gets OUT can read them."""
    overwrite: bool = False
    """Replace OUT if it exists and fastprep wrote it; never IN, or a file that IN takes contents from."""


def main(argv: list[str] | None = None) -> int:
    """Run the command, and return its exit status; see `fastprep.cli.command.Command.run`."""
    config = parse(argv)
    command = Command(
        "fastprep.convert",
        errors=(InputError, DataError, OSError),
        hint=lambda error: _hint(error, config),
        interrupted=lambda: f"interrupted; nothing was written to {config.target!r}",
    )
    return command.run(lambda: _run(config))


def _run(config: Config) -> None:
    began = time.perf_counter()
    with shown_progress() as progress:
        done = rewrite(
            config.source,
            config.target,
            config.images,
            config.labels,
            axes=config.axes,
            gzip_level=config.gzip_level if config.compression == "gzip" else None,
            rounded=config.round,
            from_other_files=config.from_other_files,
            overwrite=config.overwrite,
            progress=progress,
        )
    for note in (*done.notes[:_MOST_NOTES], *_rest_of(len(done.notes) - _MOST_NOTES)):
        write_message(f"fastprep.convert: {note}")
    write_line(_report(config, done, time.perf_counter() - began))


def parse(argv: list[str] | None) -> Config:
    """Read the command line."""
    return parse_command_line(Config, argv, "convert")


def _rest_of(n: int) -> list[str]:
    return [f"... and {n:,} more notes of this kind"] if n > 0 else []


def _hint(error: Exception, config: Config) -> str:
    if isinstance(error, OtherFilesError):
        return "; --from-other-files copies them into OUT"
    return f"; {_ROUND_HINT}" if isinstance(error, InexactError) and not config.round else overwrite_hint(error)


def _report(config: Config, done: Rewritten, seconds: float) -> str:
    n, height, width, channels = done.source.shape
    n_bytes = os.path.getsize(config.target)
    layout = "contiguous" if config.compression == "none" else f"one gzip-{config.gzip_level} chunk for each image"
    mean = "mean kept" if done.mean is None else "mean " + " ".join(f"{value:.2f}" for value in done.mean)
    read = f"read {n} images of {height}x{width}x{channels} {done.source.stored_dtype}, {done.source.layout}"
    return f"{read}; wrote {config.target}: {n_bytes / 1e6:,.1f} MB, uint8, {layout}, {mean}; {seconds:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
