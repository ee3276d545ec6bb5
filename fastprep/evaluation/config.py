"""The configuration of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from fastprep.cli.help import flowing


@flowing
@dataclass(frozen=True)
class Config:
    """Test trained networks on one file, by centre crop and by ten-crop on the same images.

    Several runs are tested one by one and as an ensemble, whose predictions are averaged. The command writes a folder with a
    summary, the predictions, a confusion matrix and a table by class.
    """

    runs: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)")]
    """Run folders of fastprep.train, or .keras files."""
    data: Annotated[str, arg(metavar="FILE")]
    """HDF5 file of images, or a glob pattern of files."""
    images: Annotated[str, arg(metavar="NAME")] = "images"
    """Dataset of images."""
    axes: Annotated[Literal["NHWC", "NHW"] | None, arg(metavar="AXES")] = None
    """Axes of the images: NHWC or NHW. Default: whichever fits the rank, if the shape makes it plausible."""
    labels: Annotated[str, arg(metavar="NAME|none")] = "labels"
    """Dataset of labels; `none` for images without labels, which gives predictions only."""
    which: Literal["best", "last"] = "best"
    """Model of a run to test."""
    crops: Literal["both", "plain", "ten"] = "both"
    """Crops of each image: plain is the centre; ten are the corners, the centre and their mirror images, averaged."""
    average: Literal["probs", "logits"] = "probs"
    """Quantity that is averaged over crops and over models."""
    model: Annotated[str | None, arg(metavar="MODULE:FUNCTION")] = None
    """Your own function that builds the network of the run, as for fastprep.train; needed for layers of your own. No other module
    is imported, whatever the files name."""
    trust: bool = False
    """Import the modules, and run the code, that the runs name, if their files are your own."""
    crop: Annotated[int | None, arg(metavar="PIXELS")] = None
    """Side of the crops. Default: that of training."""
    mean: Annotated[str, arg(metavar="run|file|compute|none|JSON")] = "run"
    """Mean to subtract: `run` (the mean that training subtracted), or a value as for fastprep.train."""
    batch_size: Annotated[int, arg(metavar="N")] = 64
    """Images in a batch; with ten-crop it has ten times as many crops."""
    workers: Annotated[int | None, arg(metavar="N")] = None
    """Threads that prepare batches."""
    out: Annotated[str | None, arg(metavar="FOLDER")] = None
    """Folder to create. Default: evaluation-FILE in the folder of the first run."""
    overwrite: bool = False
    """Replace the folder if it exists and holds an evaluation, and nothing else."""
