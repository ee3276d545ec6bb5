"""python -m fastprep.show: show what an HDF5 file of images holds, and what training sees."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from tyro.conf import Positional, arg

from fastprep.cli.command import Command, overwrite_hint, parse_command_line
from fastprep.cli.drawing_mark import is_own_drawing
from fastprep.cli.help import flowing
from fastprep.cli.output import write_line
from fastprep.dataset import image_mean
from fastprep.diagnostics.contents import Contents
from fastprep.errors import InputError
from fastprep.h5 import MOST_CHANNELS, source_files, store_mean
from fastprep.system import check_replaceable, undo_half_made


@flowing
@dataclass(frozen=True)
class Config:
    """Show the contents of an HDF5 file of images: shape, layout, mean, classes.

    Draws contact sheets of the images and of what training will see, and computes the mean of a file that has none.
    """

    file: Annotated[Positional[str], arg(metavar="FILE")]
    """An HDF5 file of images."""
    images: Annotated[str, arg(metavar="NAME")] = "images"
    """Dataset of images."""
    labels: Annotated[str, arg(metavar="NAME")] = "labels"
    """Dataset of labels."""
    axes: Annotated[Literal["NHWC", "NHW"] | None, arg(metavar="AXES")] = None
    """Axes of the images: NHWC or NHW. Default: whichever fits the rank, if the shape makes it plausible."""
    sheet: Annotated[str | None, arg(metavar="PNG")] = None
    """Draw random images with the names of their classes."""
    n: Annotated[int, arg(metavar="IMAGES")] = 40
    """With --sheet: number of images."""
    crops: Annotated[str | None, arg(metavar="PNG")] = None
    """Draw what training will see: random mirrored crops, and the ten crops of an image, with the mean added back."""
    size: Annotated[int | None, arg(metavar="PIXELS")] = None
    """With --crops: height and width of the crops. Default: 227, or seven eighths of smaller images."""
    seed: int = 42
    """Seed of the images and crops that are drawn."""
    mean: bool = False
    """Compute the mean of the images and print it."""
    store: bool = False
    """With --mean: store it in the file, as the attribute mean of the images; nothing else in the file changes. On a full disk
    nothing changes at all. This is for training files, because validation and testing use the mean of training."""
    overwrite: bool = False
    """Replace existing drawings of fastprep, no other files; and with --store an existing mean."""


def main(argv: list[str] | None = None) -> int:
    """Run the command, and return its exit status; see `fastprep.cli.command.Command.run`."""
    config = parse(argv)
    return Command("fastprep.show", hint=overwrite_hint).run(lambda: _run(config))


def parse(argv: list[str] | None) -> Config:
    """Read the command line."""
    return parse_command_line(Config, argv, "show")


def _run(config: Config) -> None:
    if config.store and not config.mean:
        raise InputError("--store goes with --mean only")
    if config.n < 1:
        raise InputError(f"--n must be at least 1, got {config.n}")
    drawings = [path for path in (config.sheet, config.crops) if path is not None]
    if len({os.path.realpath(path) for path in drawings}) < len(drawings):
        raise InputError(f"--sheet and --crops name the same file, {config.crops!r}")
    for path in drawings:
        check_replaceable(path, asked=config.overwrite, is_own=is_own_drawing, inputs=source_files(config.file))
    if config.store:
        undo_half_made(config.file)
    with Contents(config.file, config.images, config.labels, config.axes) as contents:
        if config.mean:
            _mean(config, contents)
        else:
            write_line(*contents.describe())
    if drawings:
        _draw(config)


def _draw(config: Config) -> None:
    with Contents(config.file, config.images, config.labels, config.axes) as contents:  # opened anew: a mean may have been stored
        if config.sheet is not None:
            contents.sheet(config.sheet, config.n, config.seed)
            write_line(f"wrote {config.sheet}")
        if config.crops is not None:
            contents.crops(config.crops, config.size, config.seed)
            write_line(f"wrote {config.crops}")


def _mean(config: Config, contents: Contents) -> None:
    if config.store and contents.metadata.mean is not None and not config.overwrite:  # before a long computation, not after it
        raise FileExistsError(f"file {config.file!r} has a mean already: {contents.named(contents.metadata.mean)}")
    channels = contents.shape[3]
    if config.store and channels > MOST_CHANNELS and config.axes is None:  # before a long computation
        raise InputError(
            f"--store: the mean would have {channels} numbers, one for each of {channels} channels, which is unlikely: images "
            f"are read as (N, H, W, C), and have the shape {contents.shape}; if that is right, say so with --axes NHWC"
        )
    mean: NDArray[np.float64] = image_mean([config.file], config.images, axes=config.axes)
    write_line(f"mean of {contents.n:,} images: {contents.named(mean)}")
    if config.store:
        contents.close()
        store_mean(config.file, config.images, mean, config.overwrite)
        where = f"attribute mean of {config.images!r} in {config.file}"
        write_line(f"stored as {where}; loaders that have the file open must open it again")


if __name__ == "__main__":
    sys.exit(main())
