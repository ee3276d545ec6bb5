"""Input of a run: its files, which are checked before Keras starts, and its loaders."""

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
from fastprep.training.file_checks import check_highest_label, check_labels, check_metadata, join_some, name_file
from fastprep.transforms import CenterCrop, RandomCrop

if TYPE_CHECKING:
    from fastprep.adapters.keras import Loader as KerasLoader


AS_CONFIGURED = "as configured"  # stands for the mean of the configuration, beside None for no mean


@dataclass(frozen=True, eq=False)
class Inputs:
    """Facts about the training and the validation file.

    Attributes
    ----------
    mean : ndarray of float32, or None
        Mean of the training file, which is subtracted from all images.
    counts, val_counts : ndarray of int64, shape (classes,)
        Images of each class.
    class_names : tuple of str
        Empty if the training file names none.
    channel_order : str or None
        Channel order of the training file, such as "RGB".
    input_shape : (int, int, int)
        Height, width and channels of a crop.
    weights : dict of int to float, or None
        Weights of the classes, as configured.
    notes : list of str
        Remarks about what is unusual, but may be intended.
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


def inspect_files(config: Config, mean: NDArray[np.float32] | str | None = AS_CONFIGURED) -> Inputs:
    """Check that both files fit each other and the configuration. Keras is not needed.

    Parameters
    ----------
    config : Config
    mean : ndarray of float32, None, or `AS_CONFIGURED`
        Mean that a resumed run subtracts, whatever the training file stores by now.

    Returns
    -------
    Inputs

    Raises
    ------
    InputError
        If they do not fit.
    """
    with input_errors(DataError, ValueError, OSError):
        crop = _side_of_crops(config) if config.crop is None else config.crop
        train, val = _open(config, Loader, crop, _mean(config) if isinstance(mean, str) else mean, device="cpu")
        with train, val:
            labels, val_labels = check_labels(train), check_labels(val)
            n_classes = _count_classes(config, train, labels)
            check_highest_label(val_labels, n_classes, name_file(val), "classes of training")
            check_metadata(val, train.class_names, train.channel_order, train.output_shape[2])
            counts, val_counts = (np.bincount(values, minlength=n_classes) for values in (labels, val_labels))
            return Inputs(
                train.mean,
                counts,
                val_counts,
                train.class_names,
                train.channel_order,
                train.output_shape,
                class_weights(config.class_weight, counts, train.class_names),
                _notes(config, train, val),
            )


def open_loaders(config: Config, inputs: Inputs, shard: tuple[int, int] = (0, 1)) -> tuple[KerasLoader, KerasLoader]:
    """Return the loaders of the training and the validation file, for Keras.

    Parameters
    ----------
    config : Config
    inputs : Inputs
    shard : (int, int)
        (rank, world). All ranks train the same number of steps, and together they validate every image once, or each of them all
        images if there are fewer of these than ranks.

    Returns
    -------
    (Loader, Loader)

    Raises
    ------
    InputError
        If there are too few images for the ranks, or a file has changed since `inspect_files`.
    """
    import fastprep

    n_train, n_step = int(inputs.counts.sum()), config.batch_size * shard[1]
    if shard[1] > 1 and n_train < n_step:
        problem = f"{n_train} images do not fill a batch of {config.batch_size} on each of {shard[1]} ranks"
        raise InputError(f"--train: {problem}; say a smaller --batch-size, or start fewer ranks")
    with input_errors(DataError, ValueError, OSError):
        one_hot = {"num_classes": inputs.classes} if config.label_smoothing else {}  # Keras smooths one-hot labels only
        train_only = {"class_weight": inputs.weights, "drop_remainder": shard[1] > 1, "shard": shard}
        # an evaluation needs a batch on each rank; where there are fewer images, all ranks take all of them: the same means
        val_only = {"shard": shard if inputs.val_counts.sum() >= shard[1] else (0, 1)}
        return _open(config, fastprep.Loader, inputs.input_shape[0], inputs.mean, train_only, val_only, **one_hot)


def class_weights(wanted: str, counts: NDArray[np.int64], names: tuple[str, ...]) -> dict[int, float] | None:
    """Return the weight of each class.

    Parameters
    ----------
    wanted : str
        "none", "balanced", or weights by name or number, such as "cat:1,dog:2.5".
    counts : ndarray of int64, shape (classes,)
        Images of each class.
    names : tuple of str
        Names of the classes; empty if they have none.

    Returns
    -------
    dict of int to float, or None
        None for "none". Classes without images are left out.

    Raises
    ------
    InputError
        If `wanted` has another form, or a weight is not finite or negative.
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
            rule = "--class-weight must be none, balanced, or CLASS:WEIGHT, separated by commas"
            raise InputError(f"{rule}; classes are {join_some(names) or f'0..{len(counts) - 1}'}; got {part!r}") from None
        if label not in present:
            raise InputError(f"--class-weight: the training file has no images of class {name.strip()!r}")
        if not (np.isfinite(weight) and weight >= 0):
            raise InputError(f"--class-weight must be finite and not negative, got {part!r}")
        weights[label] = weight
    return weights


def no_mean(error: MissingMeanError) -> InputError:
    """Return the error for a file without a stored mean, with the ways out."""
    choices = "say --mean compute, none, or the path of a JSON"
    store = f"`python -m fastprep.show {shlex.quote(str(error.file))} --mean --store` stores one"
    return InputError(f"file {error.file!r} has no stored mean: {choices}; {store}")


def _side_of_crops(config: Config) -> int:
    """Return the side of crops that suits the files, in the tutorial's proportion of 227 pixels of 256."""
    sides = []
    for files in (config.train, config.val):
        assert files is not None
        first = expand_paths(files)[:1]  # the others have images of the same size, or are refused later
        with Loader(first, 1, None, mean=None, labels=None, device="cpu", workers=1, **_images(config)) as loader:
            sides.append(min(loader.output_shape[:2]))
    train, val = sides
    return min(max(1, round(train * 227 / 256)), val)


def _images(config: Config) -> dict[str, Any]:
    return {"images": config.images, "axes": config.axes}


def _open(
    config: Config,
    kind: Any,
    crop: int,
    mean: Any,
    train_only: dict[str, Any] | None = None,
    val_only: dict[str, Any] | None = None,
    **both: Any,
) -> tuple[Any, Any]:
    both |= {**_images(config), "labels": config.labels, "workers": config.workers, "on_corrupt": config.on_corrupt}
    try:
        train = kind(
            config.train,
            config.batch_size,
            RandomCrop(crop, mirror=config.mirror, flip=config.flip),
            mean=mean,
            shuffle=True,
            shuffle_window=config.shuffle_window,
            seed=config.seed,
            sample_weight=config.sample_weight,
            **(train_only or {}),
            **both,
        )
    except MissingMeanError as error:
        raise no_mean(error) from None
    # images are centred by the mean of the training file, whatever mean the validation file stores
    return train, kind(config.val, config.batch_size, CenterCrop(crop), mean=train.mean, **(val_only or {}), **both)


def _mean(config: Config) -> Any:
    if config.mean == "compute":
        return image_mean(config.train, **_images(config))  # type: ignore[arg-type]
    return None if config.mean == "none" else config.mean


def _count_classes(config: Config, train: Loader, labels: NDArray[np.integer]) -> int:
    file, n_classes = name_file(train), config.classes or max(len(train.class_names), int(labels.max()) + 1)
    check_highest_label(labels, n_classes, file, "of --classes")
    n_names, highest = len(train.class_names), int(labels.max())
    if config.classes is None and 0 < n_names <= highest:
        problem = f"label {highest} is outside class_names, which has {n_names}: {join_some(train.class_names)}"
        raise InputError(f"{file}: {problem}; mend labels or names, or say --classes {n_classes} if these classes have no names")
    present = np.unique(labels)
    if n_classes < 2 or (len(present) == 1 and not train.class_names and config.classes is None):
        raise InputError(f"{file}: there must be two classes at least, all labels are {present[0]}")
    if not train.class_names and config.classes is None and len(present) < n_classes:
        # labels 7 and 9, taken literally, would make a network with ten outputs of which eight are never used
        raise InputError(
            f"{file}: labels are {join_some(present.tolist())}; they must be 0..{len(present) - 1} with none left out, unless "
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
