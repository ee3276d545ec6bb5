"""Drawings of the images of a file, and of what training sees of them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.overlays import Overlay
from fastprep.cli.plots import CropRow, draw_crops, draw_sheet
from fastprep.diagnostics.contents import Contents
from fastprep.errors import InputError, one_line
from fastprep.loader import Loader
from fastprep.presentation.pixels import BYTES, STANDARDISED, Range, as_bytes, in_rgb, range_of
from fastprep.sampling import hashing
from fastprep.transforms import Boxes, RandomCrop, Resize, Target, TenCrop, check_fits, geometry_of
from fastprep.transforms.box_formats import to_edges

_N_ROWS, _N_EPOCHS = 5, 9  # images, and random crops of each, that are drawn
_MOST_ORDERED = 2**24  # images of which all are put into a random order to choose some; a file may claim 2**39
_TARGET = re.compile(r"(?:--)?labels\['(masks|boxes|points)'\]")  # as errors name it

_IMAGES = 10  # stream of random numbers that chooses the images

Transforms = Callable[[int, Callable[[], int]], Mapping[str, Any]]


def _usual(side: int, channels: Callable[[], int]) -> Mapping[str, Any]:
    return {"crop": RandomCrop(side, mirror=True)}


@contextlib.contextmanager
def _errors_of_options() -> Iterator[None]:
    """Turn errors into those of a command, in which targets are options."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        text = _TARGET.sub(r"--\1", one_line(error)).replace("Mask(..., axes=...)", "--mask-axes")
        text = re.sub(r"Mask\(\.\.\., axes='(\w+)'\)", r"--mask-axes \1", text).replace("--masks: axes of a Mask", "--mask-axes")
        text = text.replace(", or pass check_finite=False to get such masks", "")  # which is no option here
        raise InputError(text) from error


class _Seen(NamedTuple):
    """What a sample becomes in several epochs."""

    images: list[NDArray[np.uint8]]
    overlays: list[Overlay]


class Drawings:
    """Drawings of a file.

    Parameters
    ----------
    contents : Contents
        Open.
    standardize : bool, default False
        Whether `crops` draws images of mean 0 and standard deviation 1.
    """

    def __init__(self, contents: Contents, standardize: bool = False) -> None:
        self._contents, self._standardize = contents, standardize
        self._range: Range | None = None  # of the first images that are drawn

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
        heading = f"{len(samples)} of {self._contents.n:,} images of {os.path.basename(self._contents.path)}{self._order_note()}"
        draw_sheet(self._whole(samples), titles, heading, path)

    def crops(
        self,
        path: str,
        size: int | None,
        seed: int,
        transforms: Transforms = _usual,
        what: str = "a random crop",
        resize: int | None = None,
        targets: Mapping[str, Target] | None = None,
    ) -> None:
        """Draw what training sees of some images in several epochs, and the ten crops of an image, as a loader gives them.

        Parameters
        ----------
        path : str
            PNG to write.
        size : int or None
            Height and width of the crops in pixels.
        seed : int
        transforms : callable
            Returns the arguments `crop`, `policy`, `color`, `erase` and `blend` of the loader for a side of the crops, and
            a function that returns the number of channels.
        what : str
            What they do to an image, for the captions.
        resize : int or None
            Length to which the shorter side of the images is resized before the ten crops.
        targets : dict of str to Mask, Boxes or Points, optional
            What is drawn over the images, as "masks", "boxes" and "points".

        Raises
        ------
        InputError
            If the crops are larger than the images, or something of the transforms or targets does not go with them.
        """
        _, height, width, _ = self._contents.shape
        shortest = min(height, width) if resize is None else resize
        side = size if size is not None else 227 if shortest > 227 else max(1, shortest * 7 // 8)
        try:
            arguments = transforms(side, lambda: self._n_channels)
            if geometry_of(arguments["crop"], height, width) == "crop":
                check_fits((side, side), height, width)
        except ValueError as error:
            raise InputError(f"--size: {error}") from None
        samples = self._some(_N_ROWS, seed)
        images = self._whole(samples)  # first, because white is that of the images, whatever colours make of them
        with _errors_of_options():
            seen = self._seen(samples, arguments, seed, _N_EPOCHS, targets)
            wholes = self._seen_whole(samples, images, seed, targets) if targets else []
        rows = []
        for k, sample in enumerate(samples):
            titles = ["whole", *(f"epoch {epoch + 1}" for epoch in range(_N_EPOCHS))]
            caption = f"{self._title(int(sample))}: {what} of {side} pixels in each epoch"
            overlays = [*wholes[k].overlays, *seen[k].overlays] if wholes else ()
            rows.append(CropRow(caption, [images[k], *seen[k].images], titles, overlays))
        if side <= shortest:
            rows.append(self._ten_crops(samples[:1], TenCrop(side, resize=resize), seed, targets))
        mean = "mean added back" if self._has_mean else "no mean to subtract"
        mean = "standardised, grey for 0, and black and white two standard deviations away" if self._standardize else mean
        draw_crops(rows, f"{os.path.basename(self._contents.path)} as loaders give it, {mean}{self._order_note()}", path)

    def _ten_crops(self, sample: NDArray[np.int64], ten: TenCrop, seed: int, targets: Mapping[str, Target] | None) -> CropRow:
        """Return the row with the ten crops of a sample."""
        corners = ["top left", "top right", "bottom right", "bottom left", "centre"]
        (seen,) = self._seen(sample, {"crop": ten}, seed, 1, targets)
        titles = [*corners, *(f"{corner}, mirrored" for corner in corners)]
        return CropRow(f"{self._title(int(sample[0]))}: its ten crops", seen.images, titles, seen.overlays)

    @property
    def _has_mean(self) -> bool:
        return self._contents.metadata.mean is not None

    @property
    def _n_channels(self) -> int:
        return self._contents.shape[3] if self._contents.picked is None else len(self._contents.picked)

    def _whole(self, samples: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Return whole images as they are drawn, each in its own size."""
        reader, picked = self._contents.reader, self._contents.picked
        each = iter(reader.array(samples)) if reader.index.rows is None else map(np.copy, reader.images(samples))
        images = [image if picked is None else image[..., list(picked)] for image in each]
        self._choose_range(images)
        return [self._drawable(image) for image in images]

    def _seen_whole(
        self, samples: NDArray[np.int64], images: Sequence[NDArray], seed: int, targets: Mapping[str, Target]
    ) -> list[_Seen]:
        """Return whole images as a loader gives them, one by one where each may have a size of its own."""
        if self._contents.reader.index.rows is None:
            return self._seen(samples, {"crop": None}, seed, 1, targets)
        crops = [{"crop": Resize((image.shape[0], image.shape[1]))} for image in images]
        return [self._seen(samples[k : k + 1], crop, seed, 1, targets)[0] for k, crop in enumerate(crops)]

    def _seen(
        self,
        samples: NDArray[np.int64],
        transforms: Mapping[str, Any],
        seed: int,
        n_epochs: int,
        targets: Mapping[str, Target] | None = None,
    ) -> list[_Seen]:
        """Return what each sample becomes in each epoch of a loader, with the mean added back; blended within these samples."""
        mean = "file" if self._has_mean else None
        contents = self._contents
        seen = [_Seen([], []) for _ in samples]
        options = {
            "images": contents.images,
            # which labels may have helped to find
            "axes": contents.reader.index.axes.name if contents.reader.index.rows is None else None,
            "shape": contents.image_shape,
            "channels": contents.channels,
            "labels": dict(targets) if targets else None,
            "mean": mean,
            "standardize": self._standardize,
            "seed": seed,
            "workers": 1,
            "device": "cpu",
        }
        with Loader(self._contents.path, len(samples), **transforms, **options) as loader:  # type: ignore[arg-type]
            for epoch in range(n_epochs):
                batch = loader._source.make_of(epoch, samples).hand_out()
                x, y = batch if targets else (batch, {})
                values = np.asarray(x)
                with_mean = values if loader.mean is None else values + loader.mean
                images = self._standardized(values) if self._standardize else self._drawable(with_mean)
                overlays = self._overlays(y, targets or {}, images.shape[1:3])
                n_crops = len(images) // len(samples)
                for k, of_sample in enumerate(seen):
                    mine = slice(k * n_crops, (k + 1) * n_crops)
                    of_sample.images.extend(images[mine])
                    of_sample.overlays.extend(overlays[mine] if targets else ())
        return seen

    @staticmethod
    def _overlays(y: Mapping[str, Any], targets: Mapping[str, Target], size: tuple[int, int]) -> list[Overlay]:
        """Return what lies over each row of a batch whose crops have some height and width."""
        drawn = {name: np.asarray(rows) for name, rows in y.items()}
        if isinstance(boxes := targets.get("boxes"), Boxes):
            edges = to_edges(drawn["boxes"][..., :4].astype(np.float64), boxes.format, size)
            drawn["boxes"] = np.concatenate([edges, drawn["boxes"][..., 4:]], axis=-1)
        n = max(map(len, drawn.values()), default=0)
        return [Overlay(**{name: rows[row] for name, rows in drawn.items()}) for row in range(n)]

    def _standardized(self, values: NDArray) -> NDArray[np.uint8]:
        """Return standardised images as uint8, in RGB or grey: 0 in the middle, and two standard deviations on each side."""
        return as_bytes(self._in_rgb(values), STANDARDISED)

    def _drawable(self, images: NDArray) -> NDArray[np.uint8]:
        """Return images of any range as uint8, in RGB or grey."""
        return as_bytes(self._in_rgb(images), self._range or BYTES)

    def _choose_range(self, images: Sequence[NDArray]) -> None:
        """Choose what is black and white, from the first images that are drawn."""
        if self._range is None:
            self._range = range_of([self._in_rgb(image) for image in images])

    def _in_rgb(self, images: NDArray) -> NDArray:
        return in_rgb(images, self._contents.metadata.channel_order)

    def _some(self, n: int, seed: int) -> NDArray[np.int64]:
        """Return the numbers of up to `n` random images, in ascending order."""
        key = hashing.key(seed, 0, _IMAGES)
        if self._contents.n <= _MOST_ORDERED:
            order = np.argsort(hashing.draw(key, np.arange(self._contents.n), 2**32), kind="stable")
            return np.sort(order[:n])
        drawn = hashing.draw(key, np.arange(2 * min(n, _MOST_ORDERED // 2)), self._contents.n)  # a few may be drawn twice
        _, firsts = np.unique(drawn, return_index=True)
        return np.sort(drawn[np.sort(firsts)[:n]]).astype(np.int64)

    def _title(self, sample: int) -> str:
        classes = self._contents.classes
        return f"sample {sample}" if classes is None else self._contents.class_of(int(classes[sample]))

    def _order_note(self) -> str:
        channels = self._n_channels
        return "" if self._contents.metadata.channel_order or channels < 3 else " (order of channels not stored: drawn as RGB)"
