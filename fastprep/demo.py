"""Demo on real photographs: training, a table that compares with a paper's results, and how fast its file could be read.

The data are the 2,624 electroluminescence photographs of solar cells that the package elpv-dataset ships (licence
CC BY-NC-SA 4.0), with the probability that each cell is defective. S. Deitsch et al., "Automatic classification of
defective photovoltaic module cells in electroluminescence images", Solar Energy 185 (2019) 455-468,
https://doi.org/10.1016/j.solener.2019.02.067, train on three quarters of the cells and test on the remaining quarter.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.output import write_line, write_message
from fastprep.cli.progress import shown_wait
from fastprep.diagnostics import comparison
from fastprep.diagnostics.by_hand import Job
from fastprep.errors import InputError, input_errors
from fastprep.evaluation import metrics
from fastprep.evaluation.significance import interval
from fastprep.sampling import hashing
from fastprep.system import whole_file
from fastprep.training import run as training
from fastprep.training.config import Config
from fastprep.training.distributed.ranks import ALONE, Ranks
from fastprep.training.foreign_code import SMALL
from fastprep.transforms import Crop

FOLDER = Path("fastprep-demo")
CLASSES = ("functional", "defective")
LICENCE = "CC BY-NC-SA 4.0"
SOURCE = "https://github.com/zae-bayern/elpv-dataset"
PAPER = (("SVM, by Deitsch et al. 2019", 0.8244), ("VGG19 of ImageNet, same paper", 0.8842))
TITLES = {"alexnet": "AlexNet", SMALL: "small network"}
WHAT_NEXT = (
    "What next, with images of your own in a folder for each class:",
    "  python -m fastprep.build photos/ data/",
    "  python -m fastprep.show data/train.h5 --crops crops.png",
    "  python -m fastprep.train --train data/train.h5 --val data/val.h5",
)
TEST_SHARE, VAL_SHARE = 0.25, 0.10  # shares of all cells; the paper tests on a quarter


def run(config: Config, ranks: Ranks = ALONE) -> None:
    """Build the files if they do not exist, train, and print the tables of accuracy and of speed."""
    from fastprep.errors import DataError

    began = time.perf_counter()
    if config.crop is None:
        raise InputError("--demo: --crop must be a number of pixels; its images are made for its crops")
    size = image_size(config.crop)
    write_line(f"Photographs of solar cells, {SOURCE},", f"licence {LICENCE}: not for commercial use", flush=True)
    for rank in range(ranks.world):  # in turn, because they may share a disk
        with ranks.together(), input_errors(DataError, ValueError, OSError):
            if (config.train or config.val) and config.resume is None:
                raise InputError("--demo brings its own images: leave --train and --val out")
            if rank == ranks.rank:
                with shown_wait("reading the photographs", config.quiet):
                    files = build(FOLDER / f"cells-{size}", size)
    out = config.out or str(FOLDER / "runs" / time.strftime("%Y%m%d-%H%M%S"))
    config = dataclasses.replace(config, train=str(files["train"]), val=str(files["val"]), out=out)
    result = training.run(config, ranks)
    if not ranks.first:
        return
    with shown_wait("testing", config.quiet):
        scores = test(result.folder / "best.keras", files["test"], config, result.mean)
    with whole_file(result.folder / "test.json") as temporary:
        Path(temporary).write_text(json.dumps([dataclasses.asdict(score) for score in scores], indent=2) + "\n", encoding="utf-8")
    write_line(*table(scores, len(_labels(files["test"]))))
    write_line(f"The network is that of epoch {result.best_epoch} of {config.epochs}, the best by validation.", "", flush=True)
    with shown_wait("measuring how fast batches can be made", config.quiet):
        lines = _speed(files["train"], config)
    write_line(*lines, "", *_made(files, result), "", *WHAT_NEXT, "")
    minutes, seconds = divmod(round(time.perf_counter() - began), 60)
    write_line(f"The demo took {minutes} min {seconds} s.")


def image_size(crop: int) -> int:
    """Return the side of images for a side of crops, in the proportion of 256 to 227."""
    return round(crop * 256 / 227)


def build(folder: Path, size: int) -> dict[str, Path]:
    """Write those of train.h5, val.h5 and test.h5 that do not exist.

    Parameters
    ----------
    folder : Path
    size : int
        Side in pixels to which the photographs of 300x300 pixels are reduced.

    Returns
    -------
    dict of str to Path
        "train", "val" and "test". All three hold the mean of the training images.

    Raises
    ------
    InputError
        If the package with the photographs is missing.
    """
    from fastprep.h5 import write_images

    files = {name: folder / f"{name}.h5" for name in ("train", "val", "test")}
    missing = [name for name, path in files.items() if not path.exists()]
    if not missing:
        return files
    try:
        from elpv_dataset.utils import load_dataset
        from PIL import Image
    except ModuleNotFoundError as error:
        raise InputError(f"the demo needs the package {error.name}: pip install 'fastprep[demo]'") from None
    photographs, probability, kind = load_dataset()
    labels = (probability > 0.5).astype(np.int64)
    images = np.stack([np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.LANCZOS)) for p in photographs])
    images = images[..., None]
    parts = split(labels, kind)
    mean = images[parts["train"]].mean(axis=(0, 1, 2), dtype=np.float64)
    for name in missing:
        write_images(
            files[name],
            images[parts[name]],
            labels[parts[name]],
            mean=mean,
            channel_order="L",
            class_names=CLASSES,
            attributes={"source": SOURCE, "licence": LICENCE},
        )
    return files


def split(labels: NDArray[np.int64], kind: NDArray[np.str_]) -> dict[str, NDArray[np.int64]]:
    """Split the cells into training, validation and test, with equal shares of each label and cell type.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    kind : ndarray of str, shape (N,)
        "mono" or "poly".

    Returns
    -------
    dict of str to ndarray of int64
        Sample numbers in ascending order, each in exactly one part. The same at every call.
    """
    parts: dict[str, list[NDArray[np.int64]]] = {"train": [], "val": [], "test": []}
    for label in np.unique(labels):
        for cell_type in np.unique(kind):
            members = np.flatnonzero((labels == label) & (kind == cell_type))
            shuffled = members[np.argsort(hashing.draw(hashing.key(2019), members, 2**32), kind="stable")]
            n_test, n_val = round(TEST_SHARE * len(members)), round(VAL_SHARE * len(members))
            for name, part in zip(("test", "val", "train"), np.split(shuffled, [n_test, n_test + n_val]), strict=True):
                parts[name].append(part)
    return {name: np.sort(np.concatenate(part)) for name, part in parts.items()}


@dataclass(frozen=True)
class Score:
    """One row of the table.

    Attributes
    ----------
    name : str
    accuracy : float
        Share of all cells that were classified correctly, 0..1.
    found : float or None
        Share of the defective cells that were classified as defective, 0..1; None if unknown.
    """

    name: str
    accuracy: float
    found: float | None


def test(model_file: Path, test_file: Path, config: Config, mean: NDArray[np.float32] | None) -> list[Score]:
    """Score a model on the test cells by centre crop and by ten-crop, together with the majority class.

    Parameters
    ----------
    model_file, test_file : Path
    config : Config
    mean : ndarray of float32, or None
        Mean that training subtracted.

    Returns
    -------
    list of Score
        Scores on the same cells.
    """
    import fastprep
    from fastprep.training import saved_model
    from fastprep.training.network import gives_logits

    model = saved_model.load(model_file, trust=config.trust)  # the run that was resumed may be anybody's
    labels = _labels(test_file)
    scores = [_score("always the majority class", np.full_like(labels, np.bincount(labels).argmax()), labels)]
    side = config.crop
    assert side is not None  # checked by `run`
    crops: dict[str, Crop] = {"centre crop": fastprep.CenterCrop(side), "ten-crop": fastprep.TenCrop(side)}
    title = TITLES.get(config.model, config.model)
    for name, crop in crops.items():
        with fastprep.Loader(test_file, config.batch_size, crop, mean=mean) as loader:
            logits = gives_logits(model, loader.output_shape)
            rows = metrics.predict_crops(model, loader, logits=logits, average="probs")
        scores.append(_score(f"{title}, {name}", rows.argmax(axis=1), labels))
    return scores


def table(scores: list[Score], n_test: int) -> list[str]:
    """Return the table of the scores, with those of the paper."""
    rows = [(score, f"these {n_test}") for score in scores]
    rows += [(Score(name, accuracy, None), "their own") for name, accuracy in PAPER]
    width = max(len(score.name) for score, _ in rows)
    lines = [f"{'':{width}}  accuracy  95% interval  defects found  on cells"]
    for score, where in rows:
        found = ends = "-"
        if score.found is not None:  # one of these cells
            low, high = interval(round(score.accuracy * n_test), n_test)
            found, ends = f"{score.found:.1%}", f"{low:.1%}-{high:.1%}"
        lines.append(f"{score.name:{width}}  {score.accuracy:8.2%}  {ends:>12}  {found:>13}  {where}")
    return ["", *lines, ""]


def _speed(path: Path, config: Config) -> list[str]:
    """Compare the speed of fastprep on the training file with that of loops by hand."""
    import keras

    from fastprep.loader import Loader

    assert config.crop is not None  # checked by `run`
    with Loader(path, 1, None, device="cpu") as loader:
        assert loader.mean is not None  # `build` stores it
        job = Job(str(path), config.batch_size, config.crop, loader.mean)
    return comparison.table(comparison.compare_rates(job, keras.backend.backend() == "tensorflow"), job)


def _made(files: dict[str, Path], result: training.Result) -> list[str]:
    """Return a table of the files of a demo, with their sizes."""
    folder = result.folder
    what = {files["train"]: "training images", files["val"]: "validation images", files["test"]: "test images"}
    what[folder / "best.keras"] = "the network tested"
    what[folder / "last.keras"] = "to resume from"
    what[folder / "report.html"] = "all on one page"
    what[folder / "curves.png"] = "loss and accuracy"
    what[folder / "history.csv"] = "the same, numbers"
    width = max(len(str(path)) for path in what)
    sizes = {path: path.stat().st_size / 1000 for path in what}
    return ["What was made:", *(f"  {path!s:{width}} {sizes[path]:7,.0f} kB  {text}" for path, text in what.items())]


def _score(name: str, predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> Score:
    confusion = metrics.confusion_matrix(labels, predicted, len(CLASSES))
    found = metrics.by_class(confusion)[CLASSES.index("defective")]["recall"]
    return Score(name, float((predicted == labels).mean()), found)


def _labels(path: Path) -> NDArray[np.int64]:
    from fastprep.loader import Loader

    with Loader(path, 1, None, device="cpu") as loader:
        return np.asarray(loader.labels)


if __name__ == "__main__":
    write_message("fastprep.demo: the demo is run by another command: python -m fastprep.train --demo")
    sys.exit(2)
