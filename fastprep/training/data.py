"""What a run reads: its files checked before TensorFlow is there, and then its loaders."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset import image_mean
from fastprep.dataset.dataset import expand_paths
from fastprep.errors import DataError, InputError, MissingMeanError, input_errors
from fastprep.loader import Loader
from fastprep.training.config import Config
from fastprep.transforms import CenterCrop, RandomCrop

if TYPE_CHECKING:
    from fastprep.adapters.keras import Loader as KerasLoader


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the files hold.

    Attributes
    ----------
    mean : ndarray of float32, or None
        What is subtracted from all images: that of the training file.
    counts, val_counts : ndarray of int64, shape (classes,)
        Images of each class.
    class_names : tuple of str
        Empty if the training file has none.
    channel_order : str or None
    input_shape : (int, int, int)
        Of one crop.
    weights : dict of int to float, or None
        Of the classes, as asked for.
    notes : list of str
        What may be meant so, but is unusual.
    """

    mean: NDArray[np.float32] | None
    counts: NDArray[np.int64]
    val_counts: NDArray[np.int64]
    class_names: tuple[str, ...]
    channel_order: str | None
    input_shape: tuple[int, int, int]
    weights: dict[int, float] | None
    notes: list[str]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.counts)


def look(config: Config, mean: NDArray[np.float32] | str | None = "as configured") -> Inputs:
    """Open both files and check that they fit each other and the configuration. Keras is not needed.

    Parameters
    ----------
    config : Config
    mean : ndarray, or None
        What a run that is resumed subtracts, whatever the training file says by now.

    Raises
    ------
    InputError
        If they do not.
    """
    with input_errors(DataError, ValueError, OSError):
        train, val = _open(config, Loader, _mean(config) if isinstance(mean, str) else mean, device="cpu")
        with train, val:
            for loader in (train, val):
                _check_labels(loader)
            names = train.class_names
            highest, highest_val = (int(np.asarray(loader.labels).max()) for loader in (train, val))
            n_classes = _count_classes(config, train, highest)
            if highest_val >= n_classes:
                raise InputError(f"{_file(val)}: label {highest_val} is not among the {n_classes} classes of training")
            if names and val.class_names and val.class_names != names:
                raise InputError(f"{_file(val)}: class_names are {_few(val.class_names)}, of training {_few(names)}")
            orders = [loader.channel_order for loader in (train, val)]
            if None not in orders and orders[0] != orders[1]:
                raise InputError(f"channel_order is {orders[1]!r} for validation and {orders[0]!r} for training")
            if train.output_shape != val.output_shape:
                raise InputError(
                    f"images have {val.output_shape[2]} channels for validation and {train.output_shape[2]} for training"
                )
            counts, val_counts = (
                np.bincount(np.asarray(loader.labels).reshape(-1), minlength=n_classes) for loader in (train, val)
            )
            weights = class_weights(config.class_weight, counts, names)
            return Inputs(
                train.mean, counts, val_counts, names, orders[0], train.output_shape, weights, _notes(config, train, val)
            )


def open_loaders(config: Config, inputs: Inputs, shard: tuple[int, int] = (0, 1)) -> tuple[KerasLoader, KerasLoader]:
    """Return the loaders of the training and the validation file, for Keras.

    Parameters
    ----------
    config : Config
    inputs : Inputs
    shard : (int, int)
        (rank, world). Of several ranks, all train the same number of steps, and validate every image once.

    Raises
    ------
    InputError
        If a file has changed since `look`.
    """
    import fastprep

    with input_errors(DataError, ValueError, OSError):
        one_hot = {"num_classes": inputs.classes} if config.label_smoothing else {}  # Keras smooths nothing else
        train_only = {"class_weight": inputs.weights, "drop_remainder": shard[1] > 1}
        return _open(config, fastprep.Loader, inputs.mean, train_only=train_only, shard=shard, **one_hot)


def class_weights(wanted: str, counts: NDArray[np.int64], names: tuple[str, ...]) -> dict[int, float] | None:
    """Return the weight of each class.

    Parameters
    ----------
    wanted : str
        "none", "balanced", or such as "cat:1,dog:2.5", by name or number.
    counts : ndarray of int64, shape (classes,)
    names : tuple of str

    Returns
    -------
    dict of int to float, or None
        None for "none". Classes without images are left out.

    Raises
    ------
    InputError
        If it is none of these.
    """
    present = np.flatnonzero(counts)
    if wanted == "none":
        return None
    if wanted == "balanced":  # the formula of scikit-learn's class_weight="balanced"
        return {int(k): float(counts.sum() / (len(present) * counts[k])) for k in present}
    weights = {}
    for part in wanted.split(","):
        name, _, number = part.rpartition(":")
        label = names.index(name.strip()) if name.strip() in names else name.strip()
        try:
            label, weight = int(label), float(number)
        except ValueError:
            rule = "--class-weight must be none, balanced, or CLASS:WEIGHT, with a comma between two of them"
            raise InputError(f"{rule}; classes are {_few(names) or f'0..{len(counts) - 1}'}; got {part!r}") from None
        if label not in present:
            raise InputError(f"--class-weight: the training file has no images of class {name.strip()!r}")
        if not (np.isfinite(weight) and weight >= 0):
            raise InputError(f"--class-weight must be finite and not negative, got {part!r}")
        weights[label] = weight
    return weights


def no_mean(error: MissingMeanError) -> InputError:
    """Say what to do where no mean is stored."""
    choices = "say --mean compute, none, or the path of a JSON"
    store = f"`python -m fastprep.show {shlex.quote(str(error.file))} --mean --store` stores one"
    return InputError(f"file {error.file!r} has no stored mean: {choices}; {store}")


def _open(config: Config, kind: Any, mean: Any, train_only: dict[str, Any] | None = None, **both: Any) -> tuple[Any, Any]:
    both |= {"images": config.images, "labels": config.labels, "workers": config.workers, "on_corrupt": config.on_corrupt}
    crop = RandomCrop(config.crop, mirror=config.mirror, flip=config.flip)
    try:
        train = kind(
            config.train,
            config.batch_size,
            crop,
            mean=mean,
            shuffle=True,
            seed=config.seed,
            sample_weight=config.sample_weight,
            **(train_only or {}),
            **both,
        )
    except MissingMeanError as error:
        raise no_mean(error) from None
    # images are centred by the mean of the training file, whatever the validation file says of itself
    return train, kind(config.val, config.batch_size, CenterCrop(config.crop), mean=train.mean, **both)


def _mean(config: Config) -> Any:
    if config.mean == "compute":
        return image_mean(config.train, config.images)  # type: ignore[arg-type]
    return None if config.mean == "none" else config.mean


def _check_labels(loader: Loader) -> None:
    labels = loader.labels
    if labels is None or labels.dtype.kind not in "iu" or labels.shape[1:] not in ((), (1,)):
        found = "none" if labels is None else f"{labels.dtype} {labels.shape}"
        raise InputError(f"{_file(loader)}: labels must be one integer for each image, found {found}")
    if labels.min() < 0:
        raise InputError(f"{_file(loader)}: labels must be 0 and up, found {labels.min()}")


def _count_classes(config: Config, train: Loader, highest: int) -> int:
    n_classes = config.classes or max(len(train.class_names), highest + 1)
    if highest >= n_classes:
        raise InputError(f"{_file(train)}: label {highest} is not among the {n_classes} of --classes")
    if n_classes < 2:
        raise InputError(f"{_file(train)}: there must be two classes at least, all labels are 0")
    present = np.unique(np.asarray(train.labels))
    if not train.class_names and config.classes is None and len(present) < n_classes:
        # taken for classes, 7 and 9 would make a network with eight outputs for nothing
        raise InputError(
            f"{_file(train)}: labels are {_few(present.tolist())}; they must be 0..{len(present) - 1} with none left out, unless "
            f"the file has an attribute class_names, or --classes {n_classes} says how many there are"
        )
    return n_classes


def _notes(config: Config, train: Loader, val: Loader) -> list[str]:
    notes = []
    if {*map(str, expand_paths(config.train))} & {*map(str, expand_paths(config.val))}:  # type: ignore[arg-type]
        notes.append("images of training are among those of validation, which then says little")
    elif val.n_samples > train.n_samples:
        notes.append(
            f"there are more images for validation ({val.n_samples}) than for training ({train.n_samples}): "
            "are --train and --val the right way round?"
        )
    return notes


def _file(loader: Loader) -> str:
    return f"file {loader.files[0]!r}"


def _few(values: Any) -> str:
    texts = [str(value) for value in values]
    return ", ".join(texts if len(texts) <= 8 else [*texts[:7], "..."])
