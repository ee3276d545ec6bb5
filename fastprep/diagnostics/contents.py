"""Contents of an HDF5 file of images, in words and in drawings."""

from __future__ import annotations

import os
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.plots import draw_crops, draw_sheet
from fastprep.dataset.shuffling import mixing_advice, mixing_problem
from fastprep.errors import DataError, InputError, MissingDatasetError
from fastprep.h5 import (
    count_unwritten,
    describe_unwritten,
    files_beside,
    open_images,
    read_file_names,
    read_labels,
    read_metadata,
    read_std,
)
from fastprep.loader import Loader
from fastprep.sampling import hashing
from fastprep.sampling.mixing import automatic_window
from fastprep.transforms import Crop, RandomCrop, TenCrop, check_fits

_BAR = 40  # characters of the longest bar
_MOST_FILES = 8  # other files that are named
_MOST_CLASSES = 60  # if there are more classes, only the largest and the smallest are listed
_N_ROWS, _N_EPOCHS = 5, 9  # images, and random crops of each, that are drawn
_MOST_ORDERED = 2**24  # images of which all are put into a random order to choose some; a file may claim 2**39
_BATCH_SIZE = 128  # samples of a batch whose mix of labels is described
_IMAGES = 10  # stream of random numbers that chooses the images


class Contents:
    """Open file of images.

    Parameters
    ----------
    path : str
    images, labels : str
        Names of the datasets; the labels may be missing.
    axes : {"NHWC", "NHW"} or None
        Axes of the images; None if they are to be judged by the shape.

    Attributes
    ----------
    n : int
        Number of images.
    metadata : fastprep.h5.Metadata
    labels : ndarray, or None

    Raises
    ------
    OSError, DataError
        If the file does not exist, or is not suitable.
    """

    def __init__(self, path: str, images: str = "images", labels: str = "labels", axes: str | None = None) -> None:
        self.path, self.images, self.label_dataset, self.axes = path, images, labels, axes
        self._reader = open_images(path, images, axes=axes, labels=labels)
        self.n = self._reader.index.shape[0]
        self.metadata = read_metadata(path, images)
        self.labels, self._no_labels = None, ""
        try:
            self.labels = read_labels(path, labels, self.n)
        except DataError as error:
            hint = " (--labels takes another name)" if isinstance(error, MissingDatasetError) else ""
            self._no_labels = f"none that loaders take: {error.problem}{hint}"
        self._n_unwritten_labels = 0 if self.labels is None else count_unwritten(path, labels)
        self.names = read_file_names(path, self.n, n_first=1)
        self._factor: float | None = None

    def __enter__(self) -> Contents:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Images, height, width and channels."""
        return self._reader.index.shape

    def describe(self) -> list[str]:
        """Return lines for people: images, how they are read, mean, channel order, and the number of images in each class."""
        index, metadata = self._reader.index, self.metadata
        n, height, width, channels = index.shape
        std = read_std(self.path, self.images)
        facts = {
            "images": f"{n:,} of {height}x{width}x{channels}, {index.stored_dtype}, in dataset {self.images!r}",
            "read": index.layout,
            **self._elsewhere(),
            "size": f"{os.path.getsize(self.path) / 2**20:,.1f} MiB",
            "channels": metadata.channel_order or "the file does not say in which order",
            "mean": metadata.mean_problem or ("none" if metadata.mean is None else self.named(metadata.mean)),
            "std": "none" if std is None else self.named(std),
            "file names": f"yes, such as {self.names[0]}" if self.names else "none",
            "labels": self._no_labels,
        }
        if self.labels is not None:
            facts["labels"] = f"{self.labels.dtype} {self.labels.shape}"
        if metadata.notes:
            facts["notes"] = "; ".join(metadata.notes)
        if index.n_unwritten:
            facts["not written"] = describe_unwritten(index.n_unwritten, n, "images")
        if self._n_unwritten_labels:
            facts["labels"] += f"; {describe_unwritten(self._n_unwritten_labels, n, 'labels')}"
        facts["shuffling"] = self._shuffling()
        lines = [self.path, *(f"  {name:12} {value}" for name, value in facts.items())]
        counts = self.counts()
        return lines if counts is None else [*lines, "", *_bars(counts)]

    def _elsewhere(self) -> dict[str, str]:
        """Return which other files the images and labels lie in, if they do, for people."""
        names = [self.images] if self.labels is None else [self.images, self.label_dataset]
        files = list(dict.fromkeys(file for name in names for file in files_beside(self.path, name)))
        if not files:
            return {}
        more = f", and {len(files) - _MOST_FILES:,} more" if len(files) > _MOST_FILES else ""
        return {"other files": ", ".join(map(repr, files[:_MOST_FILES])) + more}

    def _shuffling(self) -> str:
        """Describe how a loader with the default arguments shuffles the samples, and whether that mixes their labels."""
        size = self._reader.index.images_decoded_at_once
        block_bytes = size * self._reader.index.image_bytes
        if size == 1:
            return "all samples alike"
        starts = np.append(np.arange(0, self.n, size), self.n)
        window = automatic_window(self.labels, starts, block_bytes, _BATCH_SIZE)
        problem = mixing_problem(self.labels, starts, block_bytes, window, _BATCH_SIZE)
        if problem:
            return f"{problem}; {mixing_advice(self.path)}"
        return f"chunks, then the samples in windows of {window:,}" if window < self.n else "all samples alike, in memory"

    def counts(self) -> list[tuple[str, int]] | None:
        """Return the name and the number of images of each class; None if labels are not whole numbers from 0."""
        if self.labels is None or self.labels.dtype.kind not in "iu" or self.labels.size != self.n or self.labels.min() < 0:
            return None
        values, counts = np.unique(self.labels, return_counts=True)
        given = dict(zip(values.tolist(), counts.tolist(), strict=True))
        # named classes without an image are listed too; labels may be any numbers, so the gaps between them are not
        labels = sorted({*given, *range(len(self.metadata.class_names))})
        return [(self.class_of(label), given.get(label, 0)) for label in labels]

    def class_of(self, label: int) -> str:
        """Return the name of a class, or its number if it has none."""
        names = self.metadata.class_names
        return names[label] if 0 <= label < len(names) else str(label)

    def named(self, values: NDArray[np.float64]) -> str:
        """Return the values of the channels, each with the letter of its channel."""
        order = self.metadata.channel_order or ""
        letters = [f"{letter} " for letter in order] if len(order) == len(values) else [""] * len(values)
        return ", ".join(f"{letter}{value:.4f}" for letter, value in zip(letters, values, strict=True))

    def sheet(self, path: str, n: int, seed: int) -> None:
        """Draw random images with their classes.

        Parameters
        ----------
        path : str
            PNG to write.
        n : int
            Number of images, at most.
        seed : int
        """
        samples = self._some(n, seed)
        titles = [self._title(int(sample)) for sample in samples]
        heading = f"{len(samples)} of {self.n:,} images of {os.path.basename(self.path)}{self._order_note()}"
        draw_sheet(self._drawable(self._reader.array(samples)), titles, heading, path)

    def crops(self, path: str, size: int | None, seed: int) -> None:
        """Draw what training sees: random mirrored crops, and the ten crops of an image, as a loader gives them.

        Parameters
        ----------
        path : str
            PNG to write.
        size : int or None
            Height and width of the crops in pixels.
        seed : int

        Raises
        ------
        InputError
            If the crops are larger than the images.
        """
        _, height, width, _ = self._reader.index.shape
        side = size if size is not None else 227 if min(height, width) > 227 else max(1, min(height, width) * 7 // 8)
        try:
            crop, ten = RandomCrop(side, mirror=True), TenCrop(side)
            check_fits(crop.height_width, height, width)
        except ValueError as error:
            raise InputError(f"--size: {error}") from None
        samples = self._some(_N_ROWS, seed)
        crops = self._seen(samples, crop, seed, _N_EPOCHS)
        rows = []
        for k, sample in enumerate(samples):
            whole = self._drawable(self._reader.array(samples[k : k + 1]))
            titles = ["whole", *(f"epoch {epoch + 1}" for epoch in range(_N_EPOCHS))]
            caption = f"{self._title(int(sample))}: a random crop of {side} pixels in each epoch"
            rows.append((caption, [*whole, *crops[k]], titles))
        corners = ["top left", "top right", "bottom right", "bottom left", "centre"]
        (images,) = self._seen(samples[:1], ten, seed, 1)
        titles = [*corners, *(f"{corner}, mirrored" for corner in corners)]
        rows.append((f"{self._title(int(samples[0]))}: its ten crops", list(images), titles))
        mean = "mean added back" if self._has_mean else "no mean to subtract"
        draw_crops(rows, f"{os.path.basename(self.path)} as loaders give it, {mean}{self._order_note()}", path)

    @property
    def _has_mean(self) -> bool:
        return self.metadata.mean is not None

    def _seen(self, samples: NDArray[np.int64], crop: Crop, seed: int, n_epochs: int) -> list[list[NDArray[np.uint8]]]:
        """Return the crops of each sample in each epoch as a loader gives them, with the mean added back."""
        mean = "file" if self._has_mean else None
        seen: list[list[NDArray[np.uint8]]] = []
        options = {
            "images": self.images,
            "axes": self.axes,
            "labels": None,
            "mean": mean,
            "seed": seed,
            "workers": 1,
            "device": "cpu",
        }
        with Loader(self.path, 1, crop, **options) as loader:  # type: ignore[arg-type]
            for sample in samples:
                seen.append([])
                for epoch in range(n_epochs):
                    batch = loader.batch(epoch, int(sample))
                    values = np.asarray(batch[0] if isinstance(batch, tuple) else batch)
                    seen[-1] += list(self._drawable(values if loader.mean is None else values + loader.mean))
        return seen

    def _drawable(self, images: NDArray) -> NDArray[np.uint8]:
        """Return images of any range as uint8, in RGB or grey."""
        order = (self.metadata.channel_order or "").upper()
        n_channels = images.shape[-1]
        if {"R", "G", "B"} <= set(order) and len(order) == n_channels:
            images = images[..., [order.index(letter) for letter in "RGB"]]
        else:
            images = images[..., :3] if n_channels >= 3 else images[..., :1]
        if self._factor is None:  # from the first images that are drawn
            highest = float(images.max())
            self._factor = 255.0 if 0 < highest <= 1 else 255 / highest if highest > 255.5 else 1.0
        return np.clip(np.rint(images * self._factor), 0, 255).astype(np.uint8)

    def _some(self, n: int, seed: int) -> NDArray[np.int64]:
        """Return the numbers of up to `n` random images, in ascending order."""
        key = hashing.key(seed, 0, _IMAGES)
        if self.n <= _MOST_ORDERED:
            order = np.argsort(hashing.draw(key, np.arange(self.n), 2**32), kind="stable")
            return np.sort(order[:n])
        drawn = hashing.draw(key, np.arange(2 * min(n, _MOST_ORDERED // 2)), self.n)  # a few may be drawn twice
        _, firsts = np.unique(drawn, return_index=True)
        return np.sort(drawn[np.sort(firsts)[:n]]).astype(np.int64)

    def _title(self, sample: int) -> str:
        if self.labels is None or self.labels.dtype.kind not in "iu" or self.labels.size != self.n:
            return f"sample {sample}"
        return self.class_of(int(self.labels.reshape(-1)[sample]))

    def _order_note(self) -> str:
        channels = self._reader.index.shape[3]
        return "" if self.metadata.channel_order or channels < 3 else " (order of channels not stored: drawn as RGB)"


def _bars(counts: list[tuple[str, int]]) -> list[str]:
    """Return bars of text for the number of images in each class."""
    left_out = max(0, len(counts) - _MOST_CLASSES)
    if left_out:
        by_count = sorted(counts, key=lambda pair: -pair[1])
        counts = by_count[: _MOST_CLASSES // 2] + by_count[-_MOST_CLASSES // 2 :]
    total, highest = sum(n for _, n in counts), max(1, *(n for _, n in counts), 1)
    name_width = min(30, max(len(name) for name, _ in counts))
    lines = []
    for name, n in counts:
        cut = name if len(name) <= name_width else f"{name[: name_width - 1]}…"
        bar = "█" * round(_BAR * n / highest) or ("▏" if n else "")
        lines.append(f"  {cut:{name_width}} {n:>9,} {n / max(1, total):>6.1%} {bar}")
    if left_out:
        lines.insert(_MOST_CLASSES // 2, f"  ... {left_out:,} classes between")
    return lines
