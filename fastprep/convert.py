"""python -m fastprep.convert: rewrite the images of an HDF5 file in the layout that loads fastest."""

from __future__ import annotations

import os
import shlex
import sys
import time
from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from fastprep.cli.command import Command, overwrite_hint, parse_command_line
from fastprep.cli.help import flowing
from fastprep.cli.image_options import shape_of
from fastprep.cli.output import write_line, write_message
from fastprep.cli.progress import shown_progress
from fastprep.command_lines import option_words
from fastprep.dataset import expand_paths, other_labels
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
    """Rewrite the images of HDF5 files in the layout that loads fastest: contiguous uint8, in one file.

    Everything else in a file is kept, byte for byte: other datasets, groups, links, attributes. Of several files, datasets with
    one row for each image are joined, and attributes that are the same in all of them are kept. What can't be kept is listed.
    The mean of the images is stored if there is none. The new file is checked image by image before it gets its name; until then
    no file of that name exists.

    For example::

        python -m fastprep.convert slow.h5 fast.h5
        python -m fastprep.convert "slices/*.h5" all.h5 --images data
    """

    source: Annotated[Positional[str], arg(metavar="IN")]
    """Any HDF5 file that fastprep reads, with images of whole numbers from 0 to 255; or several (IN IN IN OUT), or a pattern such
    as "slices/*.h5"."""
    target: Annotated[Positional[str], arg(metavar="OUT")]
    """File to write. Of more than two names, the last is this one."""
    more: Annotated[Positional[tuple[str, ...]], arg(metavar="...")] = ()
    """Further names."""
    images: Annotated[str, arg(metavar="NAME")] = "images"
    """Dataset of images, (N, height, width, channels) or (N, height, width). Its name is kept. X/ or a pattern such as "*/image"
    is for images that have a dataset each: they become one, images, and their names become file_names."""
    labels: Annotated[str | None, arg(metavar="NAME")] = None
    """Dataset that must have one row for each image; otherwise nothing is written. Labels that have a dataset each (y/ or a
    pattern) or lie in another file (FILE:NAME) become the dataset labels, or labels_2 if other labels have that name: the last
    line that is printed names it. Others are kept in any case."""
    axes: Annotated[str | None, arg(metavar="AXES")] = None
    """Axes of the dataset of images, a letter for each in its order: N, H, W and C. NCHW is channels first, HWC one image a file.
    Default: what the file says, else NHWC or NHW, if the shape makes it plausible."""
    shape: Annotated[str | None, arg(metavar="HxWxC")] = None
    """Height, width and channels of an image, such as 28x28x1, in a dataset of flat rows."""
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
    quiet: bool = False
    """Show no progress, on a terminal either."""

    @property
    def sources(self) -> list[str]:
        """Files that are converted."""
        names = (self.source, self.target, *self.more)[:-1]
        paths = [path for name in names for path in expand_paths(name)]
        seen: dict[str, str] = {}
        for path in paths:
            if (real := os.path.realpath(path)) in seen:
                raise InputError(f"IN must name each file once, but {path!r} is {seen[real]!r}, which is there already")
            seen[real] = path
        return paths

    @property
    def out(self) -> str:
        """File to write."""
        return self.more[-1] if self.more else self.target


def main(argv: list[str] | None = None) -> int:
    """Run the command, and return its exit status; see `fastprep.cli.command.Command.run`."""
    config = parse(argv)
    command = Command(
        "fastprep.convert",
        errors=(InputError, DataError, OSError),
        hint=lambda error: _hint(error, config),
        interrupted=lambda: f"interrupted; nothing was written to {config.out!r}",
    )
    return command.run(lambda: _run(config))


def _run(config: Config) -> None:
    began, sources = time.perf_counter(), config.sources
    with shown_progress(config.quiet) as progress:
        done = rewrite(
            sources,
            config.out,
            config.images,
            other_labels(config.labels, sources),
            axes=config.axes,
            shape=shape_of(config.shape),
            gzip_level=config.gzip_level if config.compression == "gzip" else None,
            rounded=config.round,
            from_other_files=config.from_other_files,
            overwrite=config.overwrite,
            progress=progress,
        )
    for note in (*done.notes[:_MOST_NOTES], *_rest_of(len(done.notes) - _MOST_NOTES)):
        write_message(f"fastprep.convert: {note}")
    write_line(_report(config, len(sources), done, time.perf_counter() - began))


def parse(argv: list[str] | None) -> Config:
    """Read the command line."""
    return parse_command_line(Config, argv, "convert")


def _rest_of(n: int) -> list[str]:
    return [f"... and {n:,} more notes of this kind"] if n > 0 else []


def _hint(error: Exception, config: Config) -> str:
    if isinstance(error, OtherFilesError):
        return "; --from-other-files copies them into OUT"
    return f"; {_ROUND_HINT}" if isinstance(error, InexactError) and not config.round else overwrite_hint(error)


def _report(config: Config, n_files: int, done: Rewritten, seconds: float) -> str:
    n, height, width, channels = done.shape
    n_bytes = os.path.getsize(config.out)
    layout = "contiguous" if config.compression == "none" else f"one gzip-{config.gzip_level} chunk for each image"
    mean = "mean kept" if done.mean is None else "mean " + " ".join(f"{value:.2f}" for value in done.mean)
    files = f" in {n_files:,} files" if n_files > 1 else ""
    read = f"read {n} images of {height}x{width}x{channels}{files} {done.source.stored_dtype}, {done.source.layout}"
    wrote = f"wrote {config.out}: {n_bytes / 1e6:,.1f} MB, uint8, {layout}, {mean}"
    return f"{read}; {wrote}; {seconds:.1f} s{_how_to_load(config, done)}"


def _how_to_load(config: Config, done: Rewritten) -> str:
    """Return the arguments and options that name the images, and the labels that were asked for; empty if the names are usual."""
    names = {"images": done.images, "labels": done.labels or config.labels}
    given = "".join(f", {name}={value!r}" for name, value in names.items() if value not in (None, name))
    return f"; load it with Loader({config.out!r}, ...{given}), in a command {shlex.join(option_words(names))}" if given else ""


if __name__ == "__main__":
    sys.exit(main())
