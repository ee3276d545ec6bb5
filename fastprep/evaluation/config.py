"""The configuration of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from fastprep.cli.help import flowing


@flowing
@dataclass(frozen=True)
class TestOptions:
    """What is tested, on which images, and where the results go."""

    runs: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)")]
    """Run folders of fastprep.train, or .keras files."""
    data: Annotated[str | None, arg(metavar="FILE")] = None
    """HDF5 file of images, or a glob pattern of files. Default, with --split: the training file of the first run, with its images
    and labels."""
    split: Literal["all", "train", "val"] = "all"
    """Part of the training file of a run with --val-split or --fold to test with: `val`, which it was not trained on, or `train`.
    Several runs must have the same part."""
    out: Annotated[str | None, arg(metavar="FOLDER")] = None
    """Folder to create. Default: evaluation-FILE in the folder of the first run."""
    overwrite: bool = False
    """Replace the folder if it exists and holds an evaluation, and nothing else."""
    quiet: bool = False
    """Show no progress, on a terminal either."""


@flowing
@dataclass(frozen=True)
class DataOptions:
    """Images and labels in the file, and the mean."""

    images: Annotated[str, arg(metavar="NAME")] = "images"
    """Dataset of images; X/ for a group X of datasets of one image."""
    labels: Annotated[str, arg(metavar="NAME|none")] = "labels"
    """Labels: a dataset of the file, DATASET:FIELD, or FILE:DATASET; integers from 0, whole floats, one-hot rows, texts that
    training knew, or, as in training, rows of several labels. `none` for images without labels, which gives predictions only."""
    labels_per_image: Literal["auto", "one", "several"] = "auto"
    """Whether an image is of one class, or has several labels. `auto`: as the run was trained; for a model from elsewhere,
    several if labels are rows of 0 and 1, and a row has more than one 1."""
    axes: Annotated[str | None, arg(metavar="AXES")] = None
    """Axes of the dataset of images, a letter for each in its order: N, H, W and C. NCHW is channels first, HWC one image a file.
    Default: what the file says, else NHWC or NHW, if the shape makes it plausible."""
    shape: Annotated[str | None, arg(metavar="HxWxC")] = None
    """Height, width and channels of an image, such as 28x28x1, in a dataset of flat rows."""
    channels: Annotated[str | None, arg(metavar="LIST")] = None
    """Channels of the images to use, in this order: numbers from 0, such as 0,1,2, or letters of the file's channel order, as in
    RGB. Default: those of training."""
    mean: Annotated[str, arg(metavar="run|file|compute|none|JSON")] = "run"
    """Mean to subtract: `run` (what training subtracted), `compute` (the mean of the images that a run was trained on; for a
    model from elsewhere, of those of FILE), or another value as for fastprep.train."""


@flowing
@dataclass(frozen=True)
class MethodOptions:
    """How a network is tested."""

    which: Literal["best", "last"] = "best"
    """Model of a run to test."""
    crops: Literal["both", "plain", "ten"] = "both"
    """Crops of each image: plain is the centre; ten are the corners, the centre and their mirror images, averaged."""
    crop: Annotated[int | None, arg(metavar="PIXELS")] = None
    """Side of the crops. Default: that of training."""
    average: Literal["probs", "logits"] = "probs"
    """Quantity that is averaged over crops and over models."""
    compare: bool = False
    """Compare each two RUNs by the images that only one of them has right: McNemar's test, exact and two-sided."""


@flowing
@dataclass(frozen=True)
class NetworkOptions:
    """Code that networks need."""

    model: Annotated[str | None, arg(metavar="MODULE:FUNCTION")] = None
    """Your own function that builds the network of the run, as for fastprep.train; needed for layers of your own. No other module
    is imported, whatever the files name."""
    trust: bool = False
    """Import the modules, and run the code, that the runs name, if their files are your own."""


@flowing
@dataclass(frozen=True)
class MachineOptions:
    """What depends on the machine."""

    batch_size: Annotated[int, arg(metavar="N")] = 64
    """Images in a batch; with ten-crop it has ten times as many crops."""
    workers: Annotated[int | None, arg(metavar="N")] = None
    """Threads that prepare batches."""


@flowing
@dataclass(frozen=True)
class Config(MachineOptions, NetworkOptions, MethodOptions, DataOptions, TestOptions):  # the help text begins with the last one
    """Test trained networks on one file, by centre crop and by ten-crop on the same images.

    Several runs are tested one by one and as an ensemble, whose predictions are averaged. The command writes a folder with a
    summary, the predictions, a confusion matrix and a table by class. With --labels none it only predicts.

    For example::

        python -m fastprep.evaluate runs/20261128-103000 --data test.h5
        python -m fastprep.evaluate runs/20261128-103000 --split val
        python -m fastprep.evaluate runs/a runs/b runs/c --data test.h5 --out ensemble
        python -m fastprep.evaluate runs/20261128-103000 --data new.h5 --labels none
    """
