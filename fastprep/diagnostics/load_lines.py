"""The line of Python and the command that load the images of a file, and what else in it seems to be images."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.command_lines import USUAL, command_line, option_words, path_word
from fastprep.dataset import describe_not_classes, label_rows
from fastprep.diagnostics.contents import Contents
from fastprep.errors import DataError
from fastprep.h5 import Candidate, belong_together, find_candidates

_FEWEST = 10  # images of which a share is left for validation
_OTHER_PARTS = ("val", "valid", "validation", "dev", "test", "testing")
_CROP_OF_ANY_SIZE = "fastprep.RandomResizedCrop(224, mirror=True)"


def describe_candidates(file: str, candidates: Sequence[Candidate]) -> list[str]:
    """Return lines for people: what seems to be images, the likeliest first.

    Parameters
    ----------
    file : str
    candidates : sequence of Candidate
        At least one.
    """
    lines = [f"{file}: no names were given; these seem to be images, the likeliest first:"]
    for number, candidate in enumerate(candidates, 1):
        labels = f"labels {candidate.labels!r}" if candidate.labels else "no labels found"
        lines.append(f"  {number}. {candidate.images!r}: {candidate.words}; {labels}")
        if candidate.image_shape is None:
            lines.append("     if these are flat images, --shape HxWxC says their height, width and channels, such as 28x28x1")
        elif candidate.why:
            lines.append(f"     {_guess(candidate)}: {candidate.why}")
    return lines


def _guess(candidate: Candidate) -> str:
    named = [f"shape {'x'.join(map(str, candidate.shape))}"] if candidate.shape else []
    named += [f"axes {candidate.axes}"] if candidate.axes else []
    return f"guessed, {' and '.join(named)}"


def loading_lines(contents: Contents, candidates: Sequence[Candidate]) -> list[str]:
    """Return the line of Python and the commands that load the images which are shown.

    Parameters
    ----------
    contents : Contents
    candidates : sequence of Candidate
        What the file has besides, such as images for validation.
    """
    given = {
        "images": contents.images,
        "labels": None if contents.labels is None else contents.label_dataset,
        "axes": contents.axes,
        "shape": contents.image_shape,
        "channels": contents.channels,
    }
    crop = "None" if contents.reader.index.rows is None else _CROP_OF_ANY_SIZE
    has_mean = contents.metadata.mean is not None
    lines = ["in Python:", f"  {python_line(contents.path, given, has_mean, crop)}"]
    if contents.labels is None and (masks := _masks_of(contents.images, candidates)) is not None:
        described = {**given, "labels": _Expression(f"fastprep.Mask({masks!r})")}
        lines += ["or, if these are its masks:", f"  {python_line(contents.path, described, has_mean, crop)}"]
    if words := option_words(given):
        lines += ["as a command:", f"  {command_line('show', [path_word(contents.path)], words)}"]
    options, problem = _class_options(contents)
    is_held_out = not problem and _has_training_file(contents.path)
    if not is_held_out:
        lines += ["to train:", f"  {problem or _train_command(contents, given, options, candidates)}"]
    if is_held_out or contents.labels is None:
        words = option_words(given if contents.labels is not None else {**given, "labels": "none"})
        what = "to test a run:" if is_held_out else "to predict:"
        lines += [what, f"  {command_line('evaluate', ['RUN', '--data', path_word(contents.path)], words)}"]
    if contents.is_one_image:
        lines.append("All files that have one image each are loaded together by a pattern such as 'folder/*.h5', or as a list.")
    return lines


class _Expression(str):
    """Python that stands in a line as it is."""

    __repr__ = str.__str__


def _masks_of(images: str, candidates: Sequence[Candidate]) -> str | None:
    """Return the name of what seems to be the masks of images: as many pictures of one channel, of the same height and width."""
    own = next((candidate for candidate in candidates if candidate.images == images), None)
    if own is None or own.image_shape is None:
        return None
    wanted = (own.n, *own.image_shape[:2], 1)
    return next((o.images for o in candidates if o is not own and o.image_shape and (o.n, *o.image_shape) == wanted), None)


def python_line(file: str, given: dict[str, Any], has_mean: bool, crop: str = "None") -> str:
    """Return a line of Python that makes a loader of images as they are, or of these crops.

    Parameters
    ----------
    file : str
    given : dict of str to object
        Arguments of the loader; those that are None are left out, but for labels.
    has_mean : bool
        Whether a mean is stored.
    crop : str
        Expression of the crop.
    """
    arguments = [repr(file), "batch_size=32", f"crop={crop}"]
    for name, value in given.items():
        if (value is not None or name == "labels") and value != USUAL.get(name, ""):
            arguments.append(f"{name}={value!r}")
    arguments += [] if has_mean else ["mean=None"]
    return f"loader = fastprep.Loader({', '.join(arguments)})"


def _train_command(contents: Contents, given: dict[str, Any], options: list[str], candidates: Sequence[Candidate]) -> str:
    words = [*option_words(given), *options, *_validation_options(contents, given, candidates)]
    words += [] if contents.metadata.mean is not None else ["--mean", "compute"]
    return command_line("train", ["--train", path_word(contents.path)], words)


def _validation_options(contents: Contents, given: dict[str, Any], candidates: Sequence[Candidate]) -> list[str]:
    """Return the options that say where images for validation are: in the same file, in one next to it, or a share of these."""
    own = next((candidate for candidate in candidates if candidate.images == contents.images), None)
    if own is not None and own.image_shape is not None:
        if (val := _best_validation(own, candidates)) is not None:
            return _differing({"val_images": val.images, "val_labels": val.labels}, given)
        for other in files_of_other_parts(contents.path):
            if (beside := _same_in(other, own)) is not None:
                return ["--val", path_word(other), *_differing({"val_labels": beside.labels}, given)]
    return ["--val-split", "0.2"]


def _differing(wanted: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """Return options for validation that are not what they are for training."""
    return option_words({name: value for name, value in wanted.items() if value != given[name.removeprefix("val_")]})


def _best_validation(own: Candidate, candidates: Sequence[Candidate]) -> Candidate | None:
    if own.labels is None:
        return None
    alike = [
        other
        for other in candidates
        if _kind(other) == _kind(own) and other.labels is not None and belong_together(own.images, other.images)
    ]
    return min(alike, key=lambda other: other.split == "test", default=None)


def files_of_other_parts(path: str, parts: Sequence[str] = _OTHER_PARTS) -> Iterator[str]:
    """Yield the files whose name has "val" or "test", or another of some words, where this one has "train"."""
    folder, name = os.path.split(path)
    for part in parts:
        other = os.path.join(folder, re.sub(r"(?<![a-z])train(ing)?(?![a-z])", part, name, count=1, flags=re.IGNORECASE))
        if other != path and os.path.isfile(other):
            yield other


def _has_training_file(path: str) -> bool:
    """Tell whether a file is one of those beside a training file, by its name."""
    folder, name = os.path.split(path)
    parts = rf"(?<![a-z])({'|'.join(_OTHER_PARTS)})(?![a-z])"
    others = (os.path.join(folder, re.sub(parts, part, name, count=1, flags=re.IGNORECASE)) for part in ("train", "training"))
    return any(other != path and os.path.isfile(other) for other in others)


def _same_in(file: str, own: Candidate) -> Candidate | None:
    """Return the images of another file that have the same name, shape and axes, with labels; encoded ones have any size."""
    try:
        found = find_candidates(file)
    except (OSError, DataError):
        return None
    alike = [other for other in found if other.images == own.images and _kind(other) == _kind(own)]
    return next((other for other in alike if other.labels is not None), None)


def _kind(candidate: Candidate) -> tuple[Any, ...]:
    """Return what images for training and for validation have in common."""
    shape = candidate.image_shape
    return candidate.is_encoded, shape if shape is None or not candidate.is_encoded else shape[2], candidate.axes, candidate.shape


def _options_for_rows(contents: Contents, labels: NDArray) -> tuple[list[str], str]:
    """Return what `_class_options` does, for labels that are not one class for each image."""
    rows, n_names = label_rows(labels), len(contents.class_names)
    if rows is None:
        found = describe_not_classes(labels)
        rule = "the command takes one class for each image, or several as rows of 0 and 1"
        return [], f"{rule}, and the labels are {found}; in Python there is any loss"
    sums = rows.sum(axis=1, dtype=np.int64)
    if n_names not in (0, rows.shape[1]):
        return [], f"the command takes a column of labels for each class, and {rows.shape[1]} columns have {n_names} names"
    if contents.n < _FEWEST or not sums.any():
        return [], _not_enough(f"it has {contents.n} images" if contents.n < _FEWEST else "all labels are 0")
    return [] if sums.max() > 1 else ["--labels-per-image", "several"], ""


def _not_enough(found: str) -> str:
    return f"this file alone does not suffice: {found}"


def _class_options(contents: Contents) -> tuple[list[str], str]:
    """Return the options by which the command trains on the labels; or why it does not."""
    if contents.labels is None:
        return [], "labels are missing: --labels names a dataset, DATASET:FIELD, or FILE:DATASET"
    classes = contents.classes
    if classes is None:
        return _options_for_rows(contents, contents.labels)
    present, n_names = np.unique(classes), len(contents.class_names)
    highest, wanted = int(present[-1]), f"classes from 0{f' to {n_names - 1}' if n_names else ''}"
    if contents.n < _FEWEST or (len(present) == 1 and not n_names):
        return [], _not_enough(f"it has {contents.n} images" if contents.n < _FEWEST else f"all labels are {highest}")
    if present[0] < 0 or (n_names and highest >= n_names):
        return [], f"the command takes {wanted}, and the labels are {present[0]} to {highest}"
    if n_names or len(present) == highest + 1:
        return [], ""
    if highest < 2 * len(present):  # as where classes are counted from 1
        return ["--classes", str(highest + 1)], ""
    return [], f"the command takes {wanted} on, and the labels are {len(present)} different numbers up to {highest}"
