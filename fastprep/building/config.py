"""The configuration of a build."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from fastprep.building.memory import DEFAULT_MIB, MIB
from fastprep.building.split import check_shares
from fastprep.cli.help import flowing
from fastprep.errors import InputError
from fastprep.system import check_creatable, check_local

WORK = ".fastprep-build"
_SHARES = (0.8, 0.1, 0.1)
DEFAULT_SIDE = 256
"""Height and width of images that are stored as pixels, unless --size says another."""
RESULT_BYTES = 32
"""Bytes that a pixel of the result takes at most: resized, as an array, and squared for the standard deviation."""


@flowing
@dataclass(frozen=True)
class FolderOptions:
    """The images, and the folder for the files."""

    images: Annotated[Positional[str], arg(metavar="IMAGES")]
    """Folder of images: JPEG, PNG, WebP, BMP, TIFF, GIF (the first image) or PNM."""
    out: Annotated[Positional[str], arg(metavar="OUT")]
    """Folder for the files; created if it does not exist."""
    overwrite: bool = False
    """Replace the files of an earlier build; files of these names that no build wrote are never replaced."""
    quiet: bool = False
    """Show no progress, on a terminal either."""


@flowing
@dataclass(frozen=True)
class ClassOptions:
    """Classes of the images, if they are not the sub-folders of IMAGES."""

    pattern: Annotated[str | None, arg(metavar="PATTERN")] = None
    """Classes from file names: with "{class}.{}.jpg", dog.123.jpg is a dog; {} is anything. With a /, it matches the path."""
    csv: Annotated[str | None, arg(metavar="FILE")] = None
    """Classes from a list: a column of paths below IMAGES, with or without ending, and a column of classes."""
    file_column: Annotated[str | None, arg(metavar="NAME|NUMBER")] = None
    """With --csv: column of the files. Default: the one named file, if another is named label, else the first."""
    label_column: Annotated[str | None, arg(metavar="NAME|NUMBER")] = None
    """With --csv: column of the classes. Default: the one named label, if another is named file, else the second."""
    labels: Literal["none"] | None = None
    """none: IMAGES has no classes, as a folder of test images. All images go into test.h5 in the order of their names, without
    labels and without a mean, which is that of training."""


@flowing
@dataclass(frozen=True)
class SplitOptions:
    """The parts for training, validation and test."""

    split: Annotated[tuple[float, float, float], arg(metavar="TRAIN VAL TEST")] = _SHARES
    """Shares of the images of each class; a share of 0 makes no file."""
    split_folders: bool = False
    """IMAGES is split already into folders train, val (or validation) and test, with the classes inside."""
    seed: int = 42
    """Seed of the split, and of the order in the files."""


@flowing
@dataclass(frozen=True)
class ImageOptions:
    """What the images become."""

    size: Annotated[int | None, arg(metavar="PIXELS")] = None
    """Height and width of the images in the files. Default: 256; with --encoded, each image keeps its own size."""
    resize: Literal["crop", "pad", "stretch"] = "crop"
    """How an image becomes a square: crop keeps the middle of the longer side, pad adds black at both ends of the shorter one,
    stretch changes the proportions."""
    channels: Literal["rgb", "grey"] = "rgb"
    """Channels to store: red, green and blue, or brightness."""
    encoded: bool = False
    """Store encoded images, which take less space and are decoded in every epoch: the bytes of each image file as they are, or,
    with --size, resized and encoded as JPEG. Every file is decoded once here, and left out if it can't be."""
    quality: Annotated[int | None, arg(metavar="1..100")] = None
    """With --encoded and --size: quality of the JPEGs. Default: 90."""
    compression: Literal["none", "gzip"] = "none"
    """none loads fastest. gzip stores each image as a chunk of its own; noisy photographs hardly shrink."""
    gzip_level: Literal[1, 2, 3, 4, 5, 6, 7, 8, 9] = 4
    """With --compression gzip: 1 is quick, 9 is small."""


@flowing
@dataclass(frozen=True)
class DecodingOptions:
    """How image files are read."""

    workers: Annotated[int | None, arg(metavar="N")] = None
    """Threads that decode. Default: one for each processor."""
    memory: Annotated[int, arg(metavar="MIB")] = DEFAULT_MIB
    """MiB that images may take while they are decoded, all threads together. One that needs more by itself, going by its header,
    is not decoded; the report says so."""
    strict: bool = False
    """Stop at an image that can't be read, instead of leaving it out."""


@flowing
@dataclass(frozen=True)
class Config(DecodingOptions, ImageOptions, SplitOptions, ClassOptions, FolderOptions):  # the help text begins with the last one
    """Turn a folder of images into train.h5, val.h5 and test.h5, with the mean of the training images inside.

    Classes are the sub-folders of IMAGES, or come from --pattern or --csv. Each image is turned upright by its EXIF, put on
    white where it is transparent, resized so that its shorter side has --size pixels, and cut to the square in its middle (or
    as --resize says). OUT also gets mean.json, report.csv, which accounts for every file, and sizes.png, which shows the sizes of
    the source images. Run the same command again to continue an interrupted build.

    For example::

        python -m fastprep.build photographs/ files/
        python -m fastprep.build train/ files/ --pattern "{class}.{}.jpg"
        python -m fastprep.build photographs/ files/ --csv labels.csv
        python -m fastprep.build photographs/ files/ --encoded
    """

    @property
    def side(self) -> int | None:
        """Height and width of the images in the files; None if each keeps its own, because its file is kept."""
        return None if self.encoded and self.size is None else self.size or DEFAULT_SIDE


def check(config: Config) -> None:
    """Check the options before a file is opened.

    Raises
    ------
    InputError
        If an option breaks its rule, or has no effect.
    """
    check_local(config.out)
    check_shares(config.split)
    if config.size is not None and config.size < 1:
        raise InputError(f"--size must be at least 1, got {config.size}")
    _check_encoded(config)
    if config.workers is not None and config.workers < 1:
        raise InputError(f"--workers must be at least 1, got {config.workers}")
    needed = -(-RESULT_BYTES * (config.side or 1) ** 2 // MIB)
    if config.memory < needed:
        problem = f"--memory must be at least {needed:,}, the MiB that an image of --size {config.side} takes"
        raise InputError(f"{problem if config.side else '--memory must be at least 1'}; got {config.memory}")
    if sum((config.csv is not None, config.pattern is not None, config.split_folders)) > 1:
        raise InputError("one of --csv, --pattern and --split-folders at a time")
    if config.labels == "none" and (config.csv is not None or config.pattern is not None or config.split_folders):
        raise InputError("--labels none goes without --csv, --pattern and --split-folders, which say what the classes are")
    if config.labels == "none" and config.split != _SHARES:
        raise InputError("--labels none goes without --split, because all images are for testing")
    if config.csv is None and (config.file_column or config.label_column):
        raise InputError("--file-column and --label-column go with --csv only")
    if os.path.exists(config.out) and not os.path.isdir(config.out):
        raise InputError(f"OUT: {config.out!r} is a file; the name of a folder is needed")
    try:
        check_creatable(os.path.join(config.out, WORK))
    except OSError as error:
        raise InputError(f"OUT: nothing can be written to {config.out!r}: {error.strerror}; choose another folder") from None


def _check_encoded(config: Config) -> None:
    if config.quality is not None:
        if not 1 <= config.quality <= 100:
            raise InputError(f"--quality must be from 1 to 100, got {config.quality}")
        if not config.encoded or config.size is None:
            raise InputError("--quality goes with --encoded and --size only, which make JPEGs anew")
    if not config.encoded:
        return
    if config.compression != "none":
        raise InputError("--encoded goes without --compression, because encoded images are compressed already")
    if config.size is None and config.resize != "crop":
        raise InputError("--encoded keeps images as they are, so --resize needs --size")
