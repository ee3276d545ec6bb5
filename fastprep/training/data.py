"""Input of a run: its files, which are checked before Keras starts, and its loaders."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.image_options import channels_of, shape_of
from fastprep.command_lines import command_line, path_word
from fastprep.dataset import image_mean
from fastprep.dataset.paths import expand_paths
from fastprep.errors import DataError, InputError, MissingDatasetError, MissingMeanError, input_errors
from fastprep.h5 import has_encoded_images
from fastprep.loader import Loader
from fastprep.remote import is_address
from fastprep.training.augmentation import blends, plain_crop, training_transforms
from fastprep.training.class_weights import class_weights
from fastprep.training.config import Config
from fastprep.training.file_checks import (
    check_highest_label,
    check_labels,
    check_metadata,
    has_class_numbers,
    join_some,
    name_file,
)
from fastprep.training.several_labels import check_rows, count_rows, counts_of, hint_at_several, notes_on_labels, settled
from fastprep.training.val_split import NOT_DIVIDED, Parts, divide

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
    labels, val_labels : ndarray of int, shape (N,), or None
        Classes of the images where the labels have another form: texts, floats, one-hot rows. None for labels as they are.
    parts : Parts
        Samples of the training file that are for training, and those for validation, if it is divided.
    n_images : (int, int)
        Number of images for training, and for validation.
    several : bool
        Whether images have several labels; counts are then those of images with each label.
    """

    mean: NDArray[np.float32] | None
    counts: NDArray[np.int64]
    val_counts: NDArray[np.int64]
    class_names: tuple[str, ...]
    channel_order: str | None
    input_shape: tuple[int, int, int]
    weights: dict[int, float] | None
    notes: list[str]
    labels: NDArray[np.integer] | None = None
    val_labels: NDArray[np.integer] | None = None
    parts: Parts = NOT_DIVIDED
    n_images: tuple[int, int] = (0, 0)
    several: bool = False

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
        config, parts = divide(config)
        mean = _mean(config, parts) if isinstance(mean, str) else mean
        train_only = {"indices": parts.train, "blend": None}  # labels are one-hot once their number is known
        train, val = _open(config, Loader, crop, mean, train_only, {"indices": parts.val}, device="cpu")
        with train, val:
            config = config if config.divides else settled(config, train)
            count = _count_several if config.several else _count_one
            counts, val_counts, labels = count(config, train, val)
            check_metadata(val, train.class_names, train.channel_order, train.output_shape[2])
            return Inputs(
                train.mean,
                counts,
                val_counts,
                train.class_names,
                train.channel_order,
                train.output_shape,
                class_weights(config.class_weight, counts, train.class_names),
                _notes(config, train, val, counts, val_counts),
                **labels,
                parts=parts,
                n_images=(train.n_samples, val.n_samples),
                several=config.several,
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

    (n_train, n_val), n_step = inputs.n_images, config.batch_size * shard[1]
    if shard[1] > 1 and n_train < n_step:
        problem = f"{n_train} images do not fill a batch of {config.batch_size} on each of {shard[1]} ranks"
        raise InputError(f"--train: {problem}; say a smaller --batch-size, or start fewer ranks")
    with input_errors(DataError, ValueError, OSError):
        # Keras smooths one-hot labels only
        one_hot = {"num_classes": inputs.classes} if config.label_smoothing or inputs.several or blends(config) else {}
        train_only: dict[str, Any] = {"class_weight": inputs.weights, "drop_remainder": shard[1] > 1, "shard": shard}
        # an evaluation needs a batch on each rank; where there are fewer images, all ranks take all of them: the same means
        val_only: dict[str, Any] = {"shard": shard if n_val >= shard[1] else (0, 1)}
        train_only["indices"], val_only["indices"] = inputs.parts
        train_only |= {} if inputs.labels is None else {"labels": inputs.labels}
        val_only |= {} if inputs.val_labels is None else {"labels": inputs.val_labels}
        return _open(config, fastprep.Loader, inputs.input_shape[0], inputs.mean, train_only, val_only, **one_hot)


def no_mean(error: MissingMeanError) -> InputError:
    """Return the error for a file without a stored mean, with the ways out."""
    problem = f"file {error.file!r} has no stored mean: say --mean compute, none, or the path of a JSON"
    if is_address(error.file):  # which nothing is written to
        return InputError(problem)
    return InputError(f"{problem}; `{command_line('show', [path_word(str(error.file))], ['--mean', '--store'])}` stores one")


def _shape_of_images(files: str | None, images: dict[str, Any]) -> tuple[int, int, int]:
    """Return height, width and channels of the images of the first file; others have the same size, or are refused later."""
    assert files is not None
    with Loader(expand_paths(files)[:1], 1, None, mean=None, labels=None, device="cpu", workers=1, **images) as loader:
        return loader.output_shape


def with_resizing(config: Config) -> Config:
    """Return a configuration that says how encoded images, which may have any size, are resized before they are cropped.

    Raises
    ------
    InputError
        If there are no such images.
    """
    if config.resize is not None:
        return config
    with input_errors(DataError, ValueError, OSError):
        assert config.train is not None
        assert config.val_files is not None
        are_encoded = has_encoded_images(expand_paths(config.train)[0], config.images)
        with _options_of_validation():
            are_encoded |= has_encoded_images(expand_paths(config.val_files)[0], config.val_images or config.images)
        if not are_encoded:
            return config
    return dataclasses.replace(config, resize=round((config.crop or 227) * 256 / 227))


def _side_of_crops(config: Config) -> int:
    """Return the side of crops that suits the images, in the tutorial's proportion of 227 pixels of 256."""
    if config.resize is not None:
        return max(1, round(config.resize * 227 / 256))
    train = _shape_of_images(config.train, images_of(config))
    with _options_of_validation():
        val = _shape_of_images(config.val_files, _val_images(config))
    return min(max(1, round(min(train[:2]) * 227 / 256)), *val[:2])


def images_of(config: Config) -> dict[str, Any]:
    """Return the arguments of a loader that say which images there are, and how they lie in a file."""
    shape, channels = shape_of(config.shape), channels_of(config.channels)
    return {"images": config.images, "axes": config.axes, "shape": shape, "channels": channels}


def _val_images(config: Config) -> dict[str, Any]:
    return {**images_of(config), "images": config.val_images or config.images}


def _open(
    config: Config,
    kind: Any,
    crop: int,
    mean: Any,
    train_only: dict[str, Any] | None = None,
    val_only: dict[str, Any] | None = None,
    **both: Any,
) -> tuple[Any, Any]:
    both |= {"workers": config.workers, "on_corrupt": config.on_corrupt, "standardize": config.standardize}
    transforms = training_transforms(config, crop, lambda: _shape_of_images(config.train, images_of(config))[2])
    train_only = {**images_of(config), "labels": config.labels, **transforms, **(train_only or {})}
    val_only = {**_val_images(config), "labels": config.val_labels or config.labels, **(val_only or {})}
    try:
        train = kind(
            config.train,
            config.batch_size,
            mean=mean,
            shuffle=True,
            shuffle_window=config.shuffle_window,
            seed=config.seed,
            sample_weight=config.sample_weight,
            sampling=None if config.sampling == "none" else config.sampling,
            **train_only,
            **both,
        )
    except MissingMeanError as error:
        raise no_mean(error) from None
    # images are centred by the mean of the training file, whatever mean the validation file stores
    with _options_of_validation():
        return train, kind(config.val_files, config.batch_size, plain_crop(config, crop), mean=train.mean, **val_only, **both)


@contextlib.contextmanager
def _options_of_validation() -> Iterator[None]:
    """Let an error about a dataset that is missing name the option for that of the validation file."""
    try:
        yield
    except MissingDatasetError as error:
        error.argument = f"val_{error.argument}" if error.argument in ("images", "labels") else error.argument
        raise


def _of_files(loader: Loader, labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the labels of a loader's samples as those of all samples of its files; 0 for those of no interest."""
    if loader.indices is None:
        return labels
    values = np.zeros(loader._dataset.n_in_files, labels.dtype)
    values[loader.indices] = labels
    return values


def _mean(config: Config, parts: Parts) -> Any:
    if config.mean == "compute":
        return image_mean(config.train, indices=parts.train, **images_of(config))  # type: ignore[arg-type]
    return None if config.mean == "none" else config.mean


def _count_one(
    config: Config, train: Loader, val: Loader
) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, NDArray[np.integer] | None]]:
    """Return the images of each class in both files, and the fields of `Inputs` with their classes."""
    labels, val_labels = check_labels(train), check_labels(val, hint_at_several(val), train.class_names)
    n_classes = _count_classes(config, train, labels)
    check_highest_label(val_labels, n_classes, name_file(val), "classes of training")
    counts, val_counts = (np.bincount(values, minlength=n_classes) for values in (labels, val_labels))
    pairs = (("labels", train, labels), ("val_labels", val, val_labels))
    return counts, val_counts, {name: None if has_class_numbers(file) else _of_files(file, k) for name, file, k in pairs}


def _count_several(config: Config, train: Loader, val: Loader) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, None]]:
    """Return the images with each label in both files; loaders take the rows as they are stored."""
    counts = count_rows(config, train)
    return counts, counts_of(check_rows(val, len(counts))), {}


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


def _notes(config: Config, train: Loader, val: Loader, *counts: NDArray[np.int64]) -> list[str]:
    notes = []
    if config.several:
        for loader, of_labels, word in zip((train, val), counts, ("training", "validation"), strict=True):
            notes += notes_on_labels(of_labels, loader.n_samples, word, train.class_names)
    are_same = (config.val_images or config.images) == config.images and not config.divides
    if are_same and {*map(str, expand_paths(config.train))} & {*map(str, expand_paths(config.val_files))}:  # type: ignore[arg-type]
        notes.append("images of training are among those of validation, which then says little")
    elif val.n_samples > train.n_samples:
        notes.append(
            f"there are more images for validation ({val.n_samples}) than for training ({train.n_samples}): "
            "are --train and --val the right way round?"
        )
    return notes
