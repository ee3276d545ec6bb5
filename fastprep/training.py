"""One training run: AlexNet on the pictures of HDF5 files, into a folder whose files are whole at any moment.

The folder: config.json, history.csv, curves.png, last.keras and best.keras.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from tyro.conf import arg

from fastprep.atomic import whole_file
from fastprep.errors import InputError
from fastprep.interrupt import stop_soon

if TYPE_CHECKING:
    import keras

    from fastprep.feed import Loader

INTERRUPTED = "fastprep.train: interrupted; what the run folder holds is whole"


@dataclass(frozen=True)
class Config:
    """Train AlexNet on pictures in HDF5 files: --train FILE --val FILE, or --demo."""

    train: Annotated[str | None, arg(metavar="FILE")] = None
    """Training file, or a glob pattern of files."""
    val: Annotated[str | None, arg(metavar="FILE")] = None
    """Validation file."""
    images: Annotated[str, arg(metavar="NAME")] = "images"
    """Dataset of pictures in the files."""
    labels: Annotated[str, arg(metavar="NAME")] = "labels"
    """Dataset of labels in the files: one integer, from 0, for each picture."""
    demo: bool = False
    """Train on 2,624 photographs of solar cells from the package elpv-dataset, and test. Its own defaults: --demo --help."""
    full: bool = False
    """With --demo: pictures of 256 and crops of 227 instead of the quick sizes. About an hour without a GPU."""
    out: Annotated[str | None, arg(metavar="FOLDER")] = None
    """Run folder to make. Default: runs/DATE-TIME."""
    epochs: int = 75
    """Passes over the training file."""
    batch_size: int = 128
    """Pictures a step."""
    lr: float = 1e-3
    """Learning rate of Adam."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Keep the learning rate; or let it rise during the first epoch, then fall to 0 along half a cosine."""
    crop: int = 227
    """Side of the patches in pixels: random ones for training, the centre for validation."""
    mirror: bool = True
    """Mirror half of the training patches left-right."""
    flip: bool = False
    """Flip half of the training patches top-bottom."""
    mean: Annotated[str, arg(metavar="file|compute|none|JSON")] = "file"
    """What is subtracted: `file` (stored in the training file), `compute`, `none`, or the path of a JSON with R, G and B."""
    seed: int = 42
    """Of weights, dropout, order and patches."""
    workers: Annotated[int | None, arg(metavar="INT")] = None
    """Threads that prepare batches. Default: one for each processor, eight at most."""


@dataclass(frozen=True)
class Result:
    """What came out of a run.

    Attributes
    ----------
    folder : Path
    best_epoch : int
        From 1; the one whose model is best.keras.
    best_accuracy : float
        Its accuracy on the validation file, 0..1.
    mean : ndarray of float32, or None
        What was subtracted from the pictures.
    """

    folder: Path
    best_epoch: int
    best_accuracy: float
    mean: NDArray[np.float32] | None


def run(config: Config) -> Result:
    """Train as configured.

    Parameters
    ----------
    config : Config

    Returns
    -------
    Result

    Raises
    ------
    InputError
        If a file or an argument is not what it should be.
    """
    from fastprep.h5 import DataError

    with contextlib.ExitStack() as stack:
        with input_errors(DataError, ValueError, OSError):
            train, val = open_loaders(config)
            stack.callback(train.close)
            stack.callback(val.close)
            n_classes = count_classes(train, val)
            model = build_model(config, train, n_classes)
            folder = make_folder(config)
        print(_describe(config, train, val, n_classes, folder), flush=True)
        with input_errors(DataError, OSError), stop_soon(folder, INTERRUPTED):
            return _fit(config, model, train, val, folder)


def check(config: Config) -> None:
    """Check what neither the loaders nor the network check.

    Raises
    ------
    InputError
        If an argument breaks its rule, or does nothing.
    """
    if config.epochs < 1:
        raise InputError(f"--epochs must be at least 1, got {config.epochs}")
    if config.crop < 1:
        raise InputError(f"--crop must be at least 1, got {config.crop}")
    if not (np.isfinite(config.lr) and config.lr > 0):
        raise InputError(f"--lr must be above 0, got {config.lr}")
    if config.full and not config.demo:
        raise InputError("--full goes with --demo only")


def open_loaders(config: Config) -> tuple[Loader, Loader]:
    """Return the loaders of the training and the validation file.

    Raises
    ------
    InputError, DataError, ValueError, OSError
        If an argument or a file is not what it should be.
    """
    import fastprep
    from fastprep.means import MissingMeanError

    if config.train is None or config.val is None:
        raise InputError("--train FILE and --val FILE are needed, or --demo")
    mean: Any = config.mean
    if config.mean == "none":
        mean = None
    elif config.mean == "compute":
        mean = fastprep.image_mean(config.train, config.images)
    crop = fastprep.RandomCrop(config.crop, mirror=config.mirror, flip=config.flip)
    names: Any = {"images": config.images, "labels": config.labels, "workers": config.workers}
    try:
        train = fastprep.Loader(config.train, config.batch_size, crop, mean=mean, shuffle=True, seed=config.seed, **names)
    except MissingMeanError as error:
        choices = "say --mean compute, none, or the path of a JSON"
        store = f"`python -m fastprep.show {shlex.quote(str(error.file))} --mean --store` stores one"
        raise InputError(f"file {error.file!r} has no stored mean: {choices}; {store}") from None
    # pictures are centred by the mean of the training file, whatever the validation file says of itself
    val = fastprep.Loader(config.val, config.batch_size, fastprep.CenterCrop(config.crop), mean=train.mean, **names)
    return train, val


def count_classes(train: Loader, val: Loader) -> int:
    """Return the number of classes, after a check that labels and channels fit.

    Raises
    ------
    InputError
        If they do not.
    """
    for loader in (train, val):
        labels = loader.labels
        if labels is None or labels.dtype.kind not in "iu" or labels.shape[1:] not in ((), (1,)):
            found = "none" if labels is None else f"{labels.dtype} {labels.shape}"
            raise InputError(f"file {loader.dataset.paths[0]!r}: labels must be one integer for each picture, found {found}")
        if labels.min() < 0:
            raise InputError(f"file {loader.dataset.paths[0]!r}: labels must be 0 and up, found {labels.min()}")
    highest, highest_val = (int(np.asarray(loader.labels).max()) for loader in (train, val))
    n_classes = max(len(train.class_names), highest + 1)
    if n_classes < 2:
        raise InputError(f"file {train.dataset.paths[0]!r}: there must be two classes at least, all labels are 0")
    if highest_val >= n_classes:
        raise InputError(f"file {val.dataset.paths[0]!r}: label {highest_val} is not among the {n_classes} classes of training")
    orders = [loader.dataset.metadata[0].channel_order for loader in (train, val)]
    if None not in orders and orders[0] != orders[1]:
        raise InputError(f"channel_order is {orders[1]!r} for validation and {orders[0]!r} for training")
    if train.output_shape != val.output_shape:
        raise InputError(f"pictures have {val.output_shape[2]} channels for validation and {train.output_shape[2]} for training")
    return n_classes


def build_model(config: Config, train: Loader, n_classes: int) -> keras.Model:
    """Return AlexNet, compiled."""
    import keras

    from fastprep.model import alexnet

    keras.utils.set_random_seed(config.seed)
    model = alexnet(train.output_shape, n_classes)
    rate: Any = config.lr
    if config.schedule == "cosine":
        rise = len(train)
        fall = max(1, (config.epochs - 1) * rise)
        rate = keras.optimizers.schedules.CosineDecay(config.lr / 10, fall, warmup_target=config.lr, warmup_steps=rise)
    model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    return model


def make_folder(config: Config) -> Path:
    """Make the run folder and write the configuration into it.

    Raises
    ------
    InputError
        If there is something of that name.
    """
    folder = Path(config.out) if config.out else Path("runs") / time.strftime("%Y%m%d-%H%M%S")
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise InputError(f"--out: {str(folder)!r} exists already; a run never writes over another") from None
    with whole_file(folder / "config.json") as temporary:
        Path(temporary).write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n", encoding="utf-8")
    return folder


def _fit(config: Config, model: keras.Model, train: Loader, val: Loader, folder: Path) -> Result:
    import keras

    from fastprep.feed import EpochSync

    models, began = _save_models(folder), time.perf_counter()
    callbacks = [EpochSync(train), keras.callbacks.CSVLogger(folder / "history.csv"), models, _draw_curves(folder)]
    verbose = 1 if sys.stdout.isatty() else 2
    model.fit(train, validation_data=val, epochs=config.epochs, callbacks=callbacks, verbose=verbose)
    seconds = time.perf_counter() - began
    waited = train.stats()["wait_s"] + val.stats()["wait_s"]
    print(f"{config.epochs} epochs in {seconds:.0f} s, of which {waited / seconds:.1%} waiting for pictures")
    return Result(folder, models.best_epoch, models.best_accuracy, train.mean)


def _save_models(folder: Path) -> Any:
    """Return a callback that saves the last model and the best, by validation accuracy, then by validation loss."""
    import keras

    class SaveModels(keras.callbacks.Callback):
        # keras.callbacks.ModelCheckpoint writes in place: interrupted, it leaves half a model and no other
        best_epoch, best_accuracy, best_loss = 0, -1.0, np.inf

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            with whole_file(folder / "last.keras") as temporary:
                self.model.save(temporary)
            accuracy, loss = logs["val_accuracy"], logs["val_loss"]
            if (accuracy, -loss) > (self.best_accuracy, -self.best_loss):
                with whole_file(folder / "best.keras") as temporary:
                    _link_or_copy(folder / "last.keras", temporary)
                self.best_epoch, self.best_accuracy, self.best_loss = epoch + 1, accuracy, loss

    return SaveModels()


def draw_curves(history: dict[str, list[float]], path: Path) -> None:
    """Draw loss and accuracy over the epochs.

    Parameters
    ----------
    history : dict of str to list of float
        Lists loss, accuracy, val_loss and val_accuracy, one value for each epoch.
    path : Path
        Of the PNG.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, name, title in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("Loss", "Accuracy"), strict=True):
        for prefix, label in (("", "training, random patches"), ("val_", "validation, centre")):
            values = history[prefix + name]
            axes.plot(range(1, len(values) + 1), values, marker="o", markersize=3, label=label)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.legend()
        if name == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        else:
            axes.set_yscale("log")  # the first epochs, before batch normalisation has its averages, may be off by hundreds
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_curves(folder: Path) -> Any:
    """Return a callback that draws the curves after every epoch."""
    import keras

    history: dict[str, list[float]] = {}

    def draw(epoch: int, logs: Any) -> None:
        for name, value in logs.items():
            history.setdefault(name, []).append(float(value))
        draw_curves(history, folder / "curves.png")

    return keras.callbacks.LambdaCallback(on_epoch_end=draw)


def _link_or_copy(source: Path, target: str) -> None:
    try:
        os.link(source, target)  # the next last.keras takes the name, not the place, of this one
    except OSError:
        shutil.copyfile(source, target)


def _describe(config: Config, train: Loader, val: Loader, n_classes: int, folder: Path) -> str:
    lines = [f"run folder {folder}"]
    for word, loader in (("training", train), ("validation", val)):
        height, width, channels = loader.spec.image_shape
        how = loader.stats()["files"][0]["read"]
        lines.append(f"{word}: {loader.n_samples} pictures of {height}x{width}x{channels}, {how}")
    names = f" ({', '.join(train.class_names)})" if train.class_names else ""
    steps = f"Adam {config.lr:g} {config.schedule}, batch {config.batch_size}"
    lines.append(f"AlexNet, {n_classes} classes{names}, crops of {config.crop}, {steps}")
    return "\n".join(lines)


@contextlib.contextmanager
def input_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors that tell of a file or an argument into one line."""
    try:
        yield
    except kinds as error:
        raise InputError(" ".join(str(error).split())) from error
