"""Contents of an HDF5 file of images, in words."""

from __future__ import annotations

from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.columns import n_columns, padded
from fastprep.dataset import class_numbers, read_output
from fastprep.dataset.channels import Channels, pick_channels, picked_metadata
from fastprep.dataset.classes import WrongTextError, label_rows
from fastprep.dataset.label_counts import count_named
from fastprep.dataset.shuffling import mixing_advice, mixing_problem
from fastprep.errors import DataError, MissingDatasetError
from fastprep.h5 import (
    check_image_shape,
    convert_line_of,
    count_unwritten,
    decoded_like,
    describe_unwritten,
    files_beside,
    is_group,
    open_images,
    read_file_names,
    read_metadata,
    read_std,
    size_at,
    way_to_read_directly,
)
from fastprep.sampling.mixing import automatic_window

NO_LABELS = "none"
"""Stands for the name of labels that nobody wants."""
_BAR, _LINE = 40, 79  # columns of the longest bar, and of its line, which fits on a terminal of 80
_COUNTS = " {:>9,} {:>6.1%} "
_MOST_FILES = 8  # other files that are named
_MOST_CLASSES = 60  # if there are more classes, only the largest and the smallest are listed
_BATCH_SIZE = 128  # samples of a batch whose mix of labels is described


class Contents:
    """Open file of images.

    Parameters
    ----------
    path : str
    images, labels : str
        Names of the datasets; the labels may be missing. "none" for images without labels.
    axes : str or None
        Axes of the images, see `fastprep.h5.open_images`.
    shape : tuple of int, or None
        Height, width and channels of an image in a dataset of flat rows.
    channels : str, sequence of int or of str, or None
        Which channels there are, see `fastprep.Loader`.

    Attributes
    ----------
    n : int
        Number of images.
    metadata : fastprep.h5.Metadata
        For the channels that there are.
    labels : ndarray, or None
    no_labels : str
        Why there are none; empty if there are some.
    are_texts : bool
        Whether the labels are texts.
    picked : tuple of int, or None
        Numbers of the channels; None if none were named.

    Raises
    ------
    OSError, DataError
        If the file does not exist, or is not suitable.
    """

    def __init__(
        self,
        path: str,
        images: str = "images",
        labels: str = "labels",
        axes: str | None = None,
        shape: tuple[int, ...] | None = None,
        channels: Channels | None = None,
    ) -> None:
        self.path, self.images, self.label_dataset, self.axes, self.image_shape = path, images, labels, axes, shape
        self.channels = channels
        n_labels = None if labels == NO_LABELS else count_named(labels, path)
        self.reader = open_images(path, images, axes=axes, labels=labels, shape=check_image_shape(shape), n_labels=n_labels)
        self.n = self.reader.index.shape[0]
        metadata = read_metadata(path, images, self.reader.index.shape[3])
        if self.reader.index.rows is not None:
            _, metadata = decoded_like(self.reader.index, self.reader.index, metadata)
        self.picked = pick_channels(channels, metadata.channel_order, self.reader.index.shape[3])
        self.metadata = picked_metadata(metadata, self.picked)
        self.labels: NDArray | None = None
        self.no_labels, self.class_names, self.are_texts = "", self.metadata.class_names, False
        self._other_files: tuple[str, ...] = ()
        try:
            if labels == NO_LABELS:
                self.no_labels = "none are asked for"
            else:
                output, self._other_files = read_output(path, labels, self.n, self.metadata.class_names)
                self.labels, self.class_names, self.are_texts = output.values, output.class_names, output.are_texts
        except (DataError, WrongTextError) as error:
            hint = " (--labels takes another name)" if isinstance(error, MissingDatasetError) else ""
            self.no_labels = f"none that loaders take: {error.problem}{hint}"
        is_elsewhere = self.labels is None or bool(self._other_files)
        self._n_unwritten_labels = 0 if is_elsewhere or is_group(labels) else count_unwritten(path, labels)
        self.names = read_file_names(path, self.n, n_first=1)

    def __enter__(self) -> Contents:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.reader.close()

    @property
    def n_datasets(self) -> int:
        """Number of datasets of one image; 0 for images in one dataset."""
        return len(self.reader.index.members)

    @property
    def is_one_image(self) -> bool:
        """Whether the file has one image, without an axis that counts samples."""
        return self.reader.index.axes.n_axis is None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Images, height, width and channels."""
        return self.reader.index.shape

    def describe(self) -> list[str]:
        """Return lines for people: images, how they are read, mean, channel order, and the number of images in each class."""
        index, metadata = self.reader.index, self.metadata
        n, channels = index.shape[0], index.shape[3]
        std = read_std(self.path, self.images, channels)
        std = std if std is None or self.picked is None else std[list(self.picked)]
        facts = {
            "images": f"{self._what()}, in {self._place()} {self.images!r}",
            **({"axes": f"{index.axes.name}: {index.axes.why}"} if index.axes.why else {}),
            "read": "; ".join(filter(None, (index.layout, way_to_read_directly(index)))),
            **self._elsewhere(),
            "size": f"{size_at(self.path) / 2**20:,.1f} MiB",
            "channels": self._channels(),
            "mean": metadata.mean_problem or ("none" if metadata.mean is None else self.named(metadata.mean)),
            "std": "none" if std is None else self.named(std),
            "file names": f"yes, such as {self.names[0]}" if self.names else "none",
            "labels": self.no_labels,
        }
        if self.labels is not None:
            facts["labels"] = f"{'texts' if self.are_texts else self.labels.dtype} {self.labels.shape}"
        if metadata.notes:
            facts["notes"] = "; ".join(metadata.notes)
        if index.n_unwritten:
            facts["not written"] = describe_unwritten(index.n_unwritten, n, "images", index.rows is not None)
        if self._n_unwritten_labels:
            facts["labels"] += f"; {describe_unwritten(self._n_unwritten_labels, n, 'labels')}"
        facts["shuffling"] = self._shuffling()
        lines = [self.path, *(f"  {name:12} {value}" for name, value in facts.items())]
        counts = self.counts()
        return lines if counts is None else [*lines, "", *_bars(counts)]

    def _channels(self) -> str:
        order = self.metadata.channel_order or "the file does not say in which order"
        if self.picked is None:
            return order
        named = f" ({order})" if self.metadata.channel_order else ""
        return f"{', '.join(map(str, self.picked))} of {self.shape[3]}{named}"

    def _what(self) -> str:
        index = self.reader.index
        n, height, width, channels = index.shape
        if index.rows is None:
            return f"{n:,} of {height}x{width}x{channels}, {index.stored_dtype}"
        n_bytes = index.rows.places.n_bytes
        size = "" if n_bytes is None else f", {n_bytes / 2**20:,.1f} MiB"
        return f"{n:,} encoded, the first of {height}x{width}x{channels}{size}"

    def _place(self) -> str:
        return f"{self.n_datasets:,} dataset{'s' * (self.n_datasets > 1)}" if self.n_datasets else "dataset"

    def _elsewhere(self) -> dict[str, str]:
        """Return which other files the images and labels lie in, if they do, for people."""
        names = [self.images] if self.labels is None or self._other_files else [self.images, self.label_dataset]
        files = [*dict.fromkeys(file for name in names for file in files_beside(self.path, name)), *self._other_files]
        if not files:
            return {}
        more = f", and {len(files) - _MOST_FILES:,} more" if len(files) > _MOST_FILES else ""
        return {"other files": ", ".join(map(repr, files[:_MOST_FILES])) + more}

    def _shuffling(self) -> str:
        """Describe how a loader with the default arguments shuffles the samples, and whether that mixes their labels."""
        size = self.reader.index.images_decoded_at_once
        block_bytes = size * self.reader.index.image_bytes
        if size == 1:
            return "all samples alike"
        starts = np.append(np.arange(0, self.n, size), self.n)
        window = automatic_window(self.labels, starts, block_bytes, _BATCH_SIZE)
        problem = mixing_problem(self.labels, starts, block_bytes, window, _BATCH_SIZE)
        if problem:
            return f"{problem}; {mixing_advice(convert_line_of(self.reader.index))}"
        return f"chunks, then the samples in windows of {window:,}" if window < self.n else "all samples alike, in memory"

    def counts(self) -> list[tuple[str, int]] | None:
        """Return the name and the number of images of each class; None if labels are not classes, as whole numbers or in rows."""
        if self.labels is None:
            return None
        if self.classes is not None:
            values, counts = np.unique(self.classes, return_counts=True)
        elif (rows := label_rows(self.labels)) is not None and rows.any():  # several labels an image
            values, counts = np.arange(rows.shape[1]), np.count_nonzero(rows, axis=0)
        else:
            return None
        if values[0] < 0:
            return None
        given = dict(zip(values.tolist(), counts.tolist(), strict=True))
        # named classes without an image are listed too; labels may be any numbers, so the gaps between them are not
        labels = sorted({*given, *range(len(self.class_names))})
        return [(self.class_of(label), given.get(label, 0)) for label in labels]

    @property
    def classes(self) -> NDArray[np.integer] | None:
        """Number of each image's class; None if labels are not classes."""
        return None if self.labels is None else class_numbers(self.labels)

    def class_of(self, label: int) -> str:
        """Return the name of a class, or its number if it has none."""
        names = self.class_names
        return names[label] if 0 <= label < len(names) else str(label)

    def named(self, values: NDArray[np.float64]) -> str:
        """Return the values of the channels, each with the letter of its channel."""
        order = self.metadata.channel_order or ""
        letters = [f"{letter} " for letter in order] if len(order) == len(values) else [""] * len(values)
        return ", ".join(f"{letter}{value:.4f}" for letter, value in zip(letters, values, strict=True))


def _bars(counts: list[tuple[str, int]]) -> list[str]:
    """Return bars of text for the number of images in each class."""
    left_out = max(0, len(counts) - _MOST_CLASSES)
    if left_out:
        by_count = sorted(counts, key=lambda pair: -pair[1])
        counts = by_count[: _MOST_CLASSES // 2] + by_count[-_MOST_CLASSES // 2 :]
    total, highest = sum(n for _, n in counts), max(1, *(n for _, n in counts), 1)
    width = min(30, max(n_columns(name) for name, _ in counts))
    longest = min(_BAR, _LINE - 2 - width - len(_COUNTS.format(0, 0)))
    lines = []
    for name, n in counts:
        bar = "█" * round(longest * n / highest) or ("▏" if n else "")
        lines.append(f"  {padded(name, width)}{_COUNTS.format(n, n / max(1, total))}{bar}")
    if left_out:
        lines.insert(_MOST_CLASSES // 2, f"  ... {left_out:,} classes between")
    return lines
