"""python -m fastprep.show: show what an HDF5 file of images holds, and what training sees."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import shlex
import sys
import types
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from tyro.conf import Positional, arg

from fastprep.cli.command import Command, overwrite_hint, parse_command_line
from fastprep.cli.drawing_mark import is_own_drawing
from fastprep.cli.help import flowing
from fastprep.cli.image_options import channels_of, shape_of
from fastprep.cli.output import write_line
from fastprep.command_lines import option, option_words
from fastprep.dataset import image_mean, mean_and_covariance
from fastprep.diagnostics.contents import NO_LABELS, Contents
from fastprep.diagnostics.drawings import Drawings
from fastprep.diagnostics.load_lines import describe_candidates, loading_lines
from fastprep.errors import InputError, input_errors
from fastprep.h5 import MOST_CHANNELS, Candidate, find_candidates, has_column, is_pattern, seems_network, source_files, store_mean
from fastprep.presentation.given import show
from fastprep.system import check_replaceable, undo_half_made
from fastprep.training.augmentation import blends, given_options, training_transforms
from fastprep.training.options import AugmentationOptions
from fastprep.transforms import Boxes, Mask, Points, Target
from fastprep.transforms.box_formats import FORMATS

_MOST_OF_COVARIANCE = 4  # channels


@flowing
@dataclass(frozen=True)
class FileOptions:
    """The file, and what in it to show."""

    file: Annotated[Positional[str], arg(metavar="FILE")]
    """An HDF5 file of images."""
    images: Annotated[str | None, arg(metavar="NAME")] = None
    """Dataset of images; X/ for a group X of datasets of one image. Default: images, or what seems to be them."""
    labels: Annotated[str | None, arg(metavar="NAME|none")] = None
    """Labels: a dataset, DATASET:FIELD, or FILE:DATASET; `none` for none. Default: labels, or what seems to be those of the
    images found."""
    axes: Annotated[str | None, arg(metavar="AXES")] = None
    """Axes of the dataset of images, a letter for each in its order: N, H, W and C. NCHW is channels first, HWC one image a file.
    Default: what the file says, else NHWC or NHW, if the shape makes it plausible."""
    shape: Annotated[str | None, arg(metavar="HxWxC")] = None
    """Height, width and channels of an image, such as 28x28x1, in a dataset of flat rows."""
    channels: Annotated[str | None, arg(metavar="LIST")] = None
    """Channels of the images to use, in this order: numbers from 0, such as 0,1,2, or letters of the file's channel order, as in
    RGB. Default: all."""
    mean: bool = False
    """Compute the mean of the images, and the covariance of up to four channels, and print them."""
    store: bool = False
    """With --mean: store both in the file, as attributes mean and covariance of the images; nothing else changes. On a full disk
    nothing changes at all. This is for training files, because validation and testing use the mean of training."""
    overwrite: bool = False
    """Replace existing drawings of fastprep, no other files; and with --store an existing mean."""


@flowing
@dataclass(frozen=True)
class DrawingOptions:
    """Drawings of images."""

    sheet: Annotated[str | None, arg(metavar="PNG")] = None
    """Draw random images with the names of their classes."""
    n: Annotated[int, arg(metavar="IMAGES")] = 40
    """With --sheet: number of images."""
    crops: Annotated[str | None, arg(metavar="PNG")] = None
    """Draw what training will see of some images in nine epochs, by the options of training from --augment on, and the ten crops
    of an image, with the mean added back."""
    size: Annotated[int | None, arg(metavar="PIXELS")] = None
    """With --crops: height and width of the crops. Default: 227, or seven eighths of smaller images."""
    standardize: bool = False
    """With --crops: draw the images as training with --standardize sees them, with mean 0 and standard deviation 1. Grey is 0,
    and black and white are two standard deviations away."""
    masks: Annotated[str | None, arg(metavar="NAME")] = None
    """With --crops: draw masks of this dataset over the images, as DATASET or FILE:DATASET. Classes have colours, of which 0 has
    none; floats are a quantity."""
    mask_axes: Annotated[str | None, arg(metavar="AXES")] = None
    """With --masks: axes of that dataset, such as NWH; see --axes."""
    boxes: Annotated[str | None, arg(metavar="NAME")] = None
    """With --crops: draw the boxes of this dataset over the images; see --box-format."""
    box_format: Annotated[str, arg(metavar="FORMAT")] = "xyxy"
    """With --boxes: the four numbers of a box, as in `fastprep.Boxes`: xyxy, yxyx, xywh, center_xywh, or one of these with
    rel_ before it."""
    points: Annotated[str | None, arg(metavar="NAME")] = None
    """With --crops: draw the points of this dataset over the images."""
    seed: int = 42
    """Seed of the images and crops that are drawn."""


@flowing
@dataclass(frozen=True)
class Config(AugmentationOptions, DrawingOptions, FileOptions):
    """Show the contents of an HDF5 file of images: shape, layout, mean, classes.

    Draws contact sheets of the images and of what training will see, and computes the mean of a file that has none.

    For example::

        python -m fastprep.show train.h5
        python -m fastprep.show train.h5 --crops crops.png --augment imagenet
        python -m fastprep.show train.h5 --mean --store
    """


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
    if config.crops is None and (given := given_options(config) + ["--standardize"] * config.standardize):
        raise InputError(f"{', '.join(given)}: goes with --crops, which draws what training will see")
    _targets(config)  # before anything is drawn
    if config.n < 1:
        raise InputError(f"--n must be at least 1, got {config.n}")
    drawings = [path for path in (config.sheet, config.crops) if path is not None]
    if len({os.path.realpath(path) for path in drawings}) < len(drawings):
        raise InputError(f"--sheet and --crops name the same file, {config.crops!r}")
    for path in drawings:
        check_replaceable(path, asked=config.overwrite, is_own=is_own_drawing, inputs=source_files(config.file))
    if config.store:
        undo_half_made(config.file)
    named_labels = config.labels
    config, candidates = _with_names(config)
    with _contents(config) as contents:
        if named_labels not in (None, NO_LABELS) and contents.labels is None:
            raise InputError(f"--labels {named_labels}: {contents.no_labels}")
        if config.mean:
            _mean(config, contents)
        else:
            write_line(*contents.describe(), "", *loading_lines(contents, candidates))
    if drawings:
        _draw(config)


def _targets(config: Config) -> dict[str, Target]:
    """Return what is drawn over the crops."""
    given = {"masks": config.masks, "boxes": config.boxes, "points": config.points}
    named = [option(name) for name, value in given.items() if value is not None]
    if named and config.crops is None:
        raise InputError(f"{', '.join(named)}: goes with --crops, which draws it over what training will see")
    if config.mask_axes is not None and config.masks is None:
        raise InputError("--mask-axes goes with --masks only")
    if config.box_format != "xyxy" and config.boxes is None:
        raise InputError("--box-format goes with --boxes only")
    if config.box_format not in FORMATS:
        raise InputError(f"--box-format must be one of {', '.join(FORMATS)}, got {config.box_format!r}")
    if named and blends(config):
        raise InputError(f"{', '.join(named)}: MixUp and CutMix can't mix them; --mixup 0 --cutmix 0 turns these off")
    targets: dict[str, Target] = {} if config.masks is None else {"masks": Mask(config.masks, axes=config.mask_axes)}
    if config.boxes is not None:
        targets["boxes"] = Boxes(config.boxes, format=config.box_format)
    if config.points is not None:
        targets["points"] = Points(config.points)
    return targets


def _contents(config: Config) -> Contents:
    assert config.images is not None
    assert config.labels is not None
    shape, channels = shape_of(config.shape), channels_of(config.channels)
    with input_errors(ValueError):
        return Contents(config.file, config.images, config.labels, config.axes, shape, channels)


def _with_names(config: Config) -> tuple[Config, list[Candidate]]:
    """Return the configuration with names of datasets, and what in the file seems to be images.

    Where the usual names are missing, or do not suffice, it prints what was found. A mean is of images that are beyond doubt.
    """
    usual = dataclasses.replace(config, images=config.images or "images", labels=config.labels or "labels")
    candidates = find_candidates(config.file)
    is_usual = has_column(config.file, "images")
    best = next((found for found in candidates if found.images == usual.images or not (config.images or is_usual)), None)
    if best is None:
        if not is_usual and config.images is None and seems_network(config.file):
            raise InputError(f"file {config.file!r} holds the weights of a Keras network, not images; --images takes a name")
        return usual, candidates  # an error, if there are no such images, that lists what there is
    if config.images is None and config.shape is None and best.image_shape is None:
        problem = f"nothing in it seems to be images, unless {best.images!r}, {best.words}, are flat ones"
        shape = shlex.join(option_words({"images": best.images, "shape": "HxWxC"}, usual={}))
        problem += f"; then say {shape}, such as 28x28x1"
        last = best.images.rpartition("/")[2]
        for other in [found.images for found in candidates if found.images.rpartition("/")[2] == last][1:2]:
            problem += f"; if it is one image, and {other!r} another: those of different sizes have to be encoded, such as PNGs"
        raise InputError(f"file {config.file!r}: {problem}")
    labels = config.labels or (best.labels if best.labels and not has_column(config.file, "labels") else "labels")
    if config.images is not None or config.mean:
        return dataclasses.replace(usual, images=best.images, labels=labels), candidates
    if not is_usual or best.axes or best.shape or len(candidates) > 1:
        write_line(*describe_candidates(config.file, candidates), "")
    if config.axes is None and config.shape is None and best.image_shape is not None:
        sides = None if best.shape is None else "x".join(map(str, best.shape))
        usual = dataclasses.replace(usual, axes=best.axes, shape=sides)
    return dataclasses.replace(usual, images=best.images, labels=labels), candidates


def _draw(config: Config) -> None:
    with _contents(config) as contents:  # opened anew: a mean may have been stored
        if config.sheet is not None:
            Drawings(contents).sheet(config.sheet, config.n, config.seed)
            write_line(f"wrote {config.sheet}")
        if config.crops is not None:
            transforms = functools.partial(training_transforms, config)
            what = "a random crop" if config.augment == "crop" else f"--augment {config.augment}: a crop"
            what = what if config.policy is None else f"--policy {config.policy}, {what}"
            of_training = Drawings(contents, config.standardize)
            of_training.crops(config.crops, config.size, config.seed, transforms, what, config.resize, _targets(config))
            write_line(f"wrote {config.crops}")


def _mean(config: Config, contents: Contents) -> None:
    assert config.images is not None
    if config.store and config.channels is not None:
        raise InputError("--store keeps the mean of all channels, and loaders take what they need of it: leave --channels out")
    if config.store and contents.n_datasets and (is_pattern(config.images) or not config.images.endswith("/")):
        raise InputError("--store: images of several groups have no place for a mean; train with --mean compute")
    if config.store and contents.metadata.mean is not None and not config.overwrite:  # before a long computation, not after it
        raise FileExistsError(f"file {config.file!r} has a mean already: {contents.named(contents.metadata.mean)}")
    channels = contents.shape[3]
    if config.store and channels > MOST_CHANNELS and (config.axes, config.shape) == (None, None):  # before a long computation
        raise InputError(
            f"--store: the mean would have {channels} numbers, one for each of {channels} channels, which is unlikely: images "
            f"are read as (N, H, W, C), and have the shape {contents.shape}; if that is right, say so with --axes NHWC"
        )
    picked = channels_of(config.channels)
    options: dict[str, Any] = {"axes": config.axes, "shape": shape_of(config.shape), "channels": picked}
    covariance: NDArray[np.float64] | None = None
    if channels <= _MOST_OF_COVARIANCE:
        mean, covariance = mean_and_covariance([config.file], config.images, **options)
    else:
        mean = image_mean([config.file], config.images, **options)
    write_line(f"mean of {contents.n:,} images: {contents.named(mean)}")
    if covariance is not None:
        _describe_covariance(contents, covariance)
    if config.store:
        contents.close()
        store_mean(config.file, config.images, mean, config.overwrite, channels, covariance)
        names = "attribute mean" if covariance is None else "attributes mean and covariance"
        where = f"{names} of {config.images!r} in {config.file}"
        write_line(f"stored as {where}; loaders that have the file open must open it again")


def _describe_covariance(contents: Contents, covariance: NDArray[np.float64]) -> None:
    """Print the principal components of the colours: a standard deviation, and its direction, for each."""
    variances, directions = np.linalg.eigh(covariance)
    for number, k in enumerate(range(len(variances))[::-1], 1):
        direction = directions[:, k] * (1 if directions[:, k].sum() >= 0 else -1)
        std = float(np.sqrt(max(variances[k], 0)))
        write_line(f"principal component {number}: standard deviation {std:.4f} along {contents.named(direction)}")


class _Callable(types.ModuleType):
    """The module as a function, because `fastprep.show` names both; see docs/notes/package-layout.md."""

    __signature__ = inspect.signature(show)

    def __call__(self, *batch: Any, **options: Any) -> Any:
        return show(*batch, **options)


if __name__ == "__main__":
    sys.exit(main())
module = sys.modules[__name__]
module.__class__ = _Callable
module.__doc__ = show.__doc__  # what help() and notebooks tell about it
