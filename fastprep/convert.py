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
from fastprep.cli.conversion import report
from fastprep.cli.help import flowing
from fastprep.cli.image_options import shape_of, size_of
from fastprep.cli.output import write_line, write_message
from fastprep.cli.progress import shown_progress
from fastprep.command_lines import option_words
from fastprep.dataset import expand_paths, other_labels
from fastprep.errors import InputError, input_errors
from fastprep.h5 import check_axes_name
from fastprep.h5.convert import Encoding, InexactError, OtherFilesError, Rewritten, SizesDifferError, rewrite
from fastprep.kernels.resized import Resized
from fastprep.remote import is_address
from fastprep.system import check_local
from fastprep.transforms import CenterCrop, Resize

_ROUND_HINT = (
    "multiply images that are scaled to 0..1 by 255 first; "
    "--round rounds to the nearest whole number, ties to even, and clips to 0..255"
)
_SIZES_HINT = "--size gives all images one size; --encode writes encoded images, which keep their sizes"
_MOST_NOTES = 20


@flowing
@dataclass(frozen=True)
class FileOptions:
    """The files."""

    source: Annotated[Positional[str], arg(metavar="IN")]
    """Any HDF5 file that fastprep reads, with images of whole numbers from 0 to 255, or encoded ones; or several (IN IN IN OUT),
    or a pattern such as "slices/*.h5"."""
    target: Annotated[Positional[str], arg(metavar="OUT")]
    """File to write. Of more than two names, the last is this one."""
    more: Annotated[Positional[tuple[str, ...]], arg(metavar="...")] = ()
    """Further names."""
    overwrite: bool = False
    """Replace OUT if it exists and fastprep wrote it; never IN, or a file that IN takes contents from."""
    quiet: bool = False
    """Show no progress, on a terminal either."""
    from_other_files: bool = False
    """Copy images that lie in other files, to which IN leads by an external link, a virtual dataset or external storage. Without
    this option they are refused, and the files are named: whoever made IN chose them, and whoever gets OUT can read them."""


@flowing
@dataclass(frozen=True)
class DataOptions:
    """What in the files are images and labels."""

    images: Annotated[str, arg(metavar="NAME")] = "images"
    """Dataset of images, (N, height, width, channels) or (N, height, width). Its name is kept. X/ or a pattern such as "*/image"
    is for images that have a dataset each: they become one, images, and their names become file_names."""
    labels: Annotated[str | None, arg(metavar="NAME|none")] = None
    """Dataset that must have one row for each image; otherwise nothing is written. `none`, or nothing, checks none. Labels that
    have a dataset each (y/ or a pattern) or lie in another file (FILE:NAME) become the dataset labels, or labels_2 if other
    labels have that name: the last line that is printed names it. Others are kept in any case."""
    axes: Annotated[str | None, arg(metavar="AXES")] = None
    """Axes of the dataset of images, a letter for each in its order: N, H, W and C. NCHW is channels first, HWC one image a file.
    Default: what the file says, else NHWC or NHW, if the shape makes it plausible."""
    shape: Annotated[str | None, arg(metavar="HxWxC")] = None
    """Height, width and channels of an image, such as 28x28x1, in a dataset of flat rows."""


@flowing
@dataclass(frozen=True)
class EncodingOptions:
    """Encoded images, which take less space."""

    encode: Literal["jpeg", "png", "webp", "webp-lossless", "keep"] | None = None
    """Store encoded images, of one or three channels. png and webp-lossless keep every pixel; jpeg and webp change pixels, and
    the last line says how much. Images that are of that kind already keep their bytes, unless --size or --quality is given; keep
    is for files of encoded images, all of which keep their bytes. Default: pixels."""
    quality: Annotated[int | None, arg(metavar="1..100")] = None
    """With --encode jpeg or webp: quality. Default: 90."""
    channel_order: Literal["RGB", "BGR"] | None = None
    """With --encode: order of three channels, if the file does not say it. Encoded images are RGB; BGR is reordered, and so are
    mean, std and covariance. Default: RGB."""


@flowing
@dataclass(frozen=True)
class SizeOptions:
    """One size for all images."""

    size: Annotated[str | None, arg(metavar="PIXELS|HxW")] = None
    """Resize all images to one size, 256 or 256x320, as loaders resize them, and round to whole numbers."""
    shorter_side: Annotated[int | None, arg(metavar="PIXELS")] = None
    """With --size: pixels to which the shorter side is resized before the middle is cut out, as by a loader's
    CenterCrop(SIZE, resize=PIXELS). Default: the larger side of --size."""
    resize: Literal["crop", "stretch"] = "crop"
    """With --size: crop resizes the shorter side and keeps the middle; stretch takes the whole image and changes its proportions,
    as Resize((H, W)) of a loader."""


@flowing
@dataclass(frozen=True)
class PixelOptions:
    """How pixels are stored."""

    round: bool = False
    """Round values to the nearest whole number, ties to even, and clip them to 0..255, instead of refusing them."""
    compression: Literal["none", "gzip"] = "none"
    """gzip stores each image as a chunk of its own. It saves disk space for plain images such as drawings and scans; noisy
    photographs hardly shrink. Each epoch then has to decode the images."""
    gzip_level: Literal[1, 2, 3, 4, 5, 6, 7, 8, 9] = 4
    """With --compression gzip: 1 is quick, 9 is small."""


@flowing
@dataclass(frozen=True)
class Config(PixelOptions, SizeOptions, EncodingOptions, DataOptions, FileOptions):  # the help text begins with the last one
    """Rewrite the images of HDF5 files in the layout that loads fastest: contiguous uint8, in one file.

    With --encode, images become JPEG, PNG or WebP, a row of bytes each, which take less space and are decoded in every epoch.
    Everything else in a file is kept, byte for byte: other datasets, groups, links, attributes. Of several files, datasets with
    one row for each image are joined, and attributes that are the same in all of them are kept. What can't be kept is listed.
    The mean of the images is stored if there is none. The new file is checked image by image before it gets its name; until then
    no file of that name exists.

    For example::

        python -m fastprep.convert slow.h5 fast.h5
        python -m fastprep.convert "slices/*.h5" all.h5 --images data
        python -m fastprep.convert fast.h5 small.h5 --encode jpeg
        python -m fastprep.convert jpegs.h5 pixels.h5 --size 256
    """

    @property
    def sources(self) -> list[str]:
        """Files that are converted."""
        names = (self.source, self.target, *self.more)[:-1]
        paths = [path for name in names for path in expand_paths(name, "IN")]
        seen: dict[str, str] = {}
        for path in paths:
            if (real := path if is_address(path) else os.path.realpath(path)) in seen:
                raise InputError(f"IN must name each file once, but {path!r} is {seen[real]!r}, which is there already")
            seen[real] = path
        return paths

    @property
    def out(self) -> str:
        """File to write."""
        return self.more[-1] if self.more else self.target

    @property
    def encoding(self) -> Encoding | None:
        """How images are encoded; None for pixels."""
        return None if self.encode is None else Encoding(self.encode, self.quality)

    @property
    def resized(self) -> Resized | None:
        """What makes images of one size, if that is asked for."""
        if self.size is None:
            return None
        size = size_of(self.size)
        if self.resize == "stretch":
            return Resized(Resize(size))
        return Resized(CenterCrop(size, resize=self.shorter_side or max(size)))


def check(config: Config) -> None:
    """Check options that go together, before a file is opened.

    Raises
    ------
    InputError
        If one breaks its rule, or has no effect.
    """
    with input_errors(ValueError):
        check_axes_name(config.axes)
    check_local(config.out)
    if config.encode is None and config.channel_order is not None:
        raise InputError("--channel-order goes with --encode only")
    if config.quality is not None and config.encode not in ("jpeg", "webp"):
        raise InputError("--quality goes with --encode jpeg and --encode webp only")
    if config.quality is not None and not 1 <= config.quality <= 100:
        raise InputError(f"--quality must be from 1 to 100, got {config.quality}")
    if config.encode is not None and config.compression != "none":
        raise InputError("--encode goes without --compression, because encoded images are compressed already")
    if config.encode == "keep" and config.size is not None:
        raise InputError("--encode keep goes without --size, because images that are resized have to be encoded anew")
    if config.size is None and (config.shorter_side is not None or config.resize != "crop"):
        raise InputError("--shorter-side and --resize go with --size only")
    if config.size is None:
        return
    least = min(size_of(config.size))
    if config.shorter_side is not None and config.resize == "stretch":
        raise InputError("--shorter-side goes without --resize stretch, which takes the whole image")
    if config.shorter_side is not None and config.shorter_side < least:
        raise InputError(f"--shorter-side must be at least {least}, the shorter side of --size, got {config.shorter_side}")


def main(argv: list[str] | None = None) -> int:
    """Run the command, and return its exit status; see `fastprep.cli.command.Command.run`."""
    config = parse(argv)
    command = Command(
        "fastprep.convert",
        hint=lambda error: _hint(error, config),
        interrupted=lambda: f"interrupted; nothing was written to {config.out!r}",
    )
    return command.run(lambda: _run(config))


def _run(config: Config) -> None:
    check(config)
    began, sources = time.perf_counter(), config.sources
    with shown_progress(config.quiet) as progress:
        done = rewrite(
            sources,
            config.out,
            config.images,
            other_labels(None if config.labels == "none" else config.labels, sources),
            axes=config.axes,
            shape=shape_of(config.shape),
            gzip_level=config.gzip_level if config.compression == "gzip" else None,
            rounded=config.round,
            from_other_files=config.from_other_files,
            overwrite=config.overwrite,
            progress=progress,
            encoding=config.encoding,
            resize=config.resized,
            channel_order=config.channel_order,
        )
    for note in (*done.notes[:_MOST_NOTES], *_rest_of(len(done.notes) - _MOST_NOTES)):
        write_message(f"fastprep.convert: {note}")
    layout = "contiguous" if config.compression == "none" else f"one gzip-{config.gzip_level} chunk for each image"
    seconds = time.perf_counter() - began
    write_line(report(config.out, len(sources), done, config.encoding, layout, seconds) + _how_to_load(config, done))


def parse(argv: list[str] | None) -> Config:
    """Read the command line."""
    return parse_command_line(Config, argv, "convert")


def _rest_of(n: int) -> list[str]:
    return [f"... and {n:,} more notes of this kind"] if n > 0 else []


def _hint(error: Exception, config: Config) -> str:
    if isinstance(error, OtherFilesError):
        return "; --from-other-files copies them into OUT"
    if isinstance(error, SizesDifferError):
        return f"; {_SIZES_HINT}"
    return f"; {_ROUND_HINT}" if isinstance(error, InexactError) and not config.round else overwrite_hint(error)


def _how_to_load(config: Config, done: Rewritten) -> str:
    """Return the arguments and options that name the images, and the labels that were asked for; empty if the names are usual."""
    names = {"images": done.images, "labels": done.labels or config.labels}
    given = "".join(f", {name}={value!r}" for name, value in names.items() if value not in (None, name))
    return f"; load it with Loader({config.out!r}, ...{given}), in a command {shlex.join(option_words(names))}" if given else ""


if __name__ == "__main__":
    sys.exit(main())
