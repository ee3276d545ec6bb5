"""Figures of batches that a caller holds: of a loader, of tf.data, of a loop of his own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset import map_outputs, outputs_of
from fastprep.dataset.targets import described
from fastprep.kernels.choices import Layout, check_choice
from fastprep.presentation.arrays import on_host
from fastprep.presentation.drawing import SIDE, figure_of
from fastprep.presentation.pixels import in_rgb
from fastprep.presentation.presented import Presented
from fastprep.presentation.rows import rows_of, seen_in
from fastprep.presentation.undo import Normalisation, channels_last, undoing_in_words, undone
from fastprep.sampling import check_integer
from fastprep.transforms import Mask, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_CHANNELS = 4  # of images that are drawn without a doubt about their layout


def show(
    x: Any,
    y: Any = None,
    *,
    loader: Presented | None = None,
    n: int = 16,
    mean: Any = None,
    scale: Any = None,
    layout: Layout | None = None,
    channel_order: Any = None,
    labels: Any = None,
    class_names: Any = None,
) -> Figure:
    """Draw a batch that you hold, with its labels: mean and scale are undone, and masks, boxes and points drawn.

    `Loader.show` draws the batches of a loader by itself; this is for batches that something else has changed since, or has made.

    Parameters
    ----------
    x : array_like or tensor, shape (rows, h, w, C) or (rows, C, h, w), dict of these, or tuple
        Images of numbers, in numpy or on any device of TensorFlow, JAX, torch or cupy. A dict is for several inputs. A tuple is a
        batch, (x, y) or (x, y, weights).
    y : array_like or tensor, tuple or dict of these, or None, default None
        Labels, with an entry for each row of x.
    loader : Loader or None, default None
        Where the batch comes from. What is None below is as this loader has it.
    n : int, default 16
        Number of rows to draw, at most.
    mean : array_like, dict or None, default None
        What was subtracted: a scalar, a value for each channel of x, or an image of shape (h, w, C). For several inputs it may be
        a dict, and so may `scale` and `channel_order`.
    scale : array_like, dict or None, default None
        What was multiplied with after that: a scalar, or a value for each channel of x.
    layout : {"channels_last", "channels_first"} or None, default None
        Shape of x; without a loader "channels_last".
    channel_order : str, dict or None, default None
        Channels of x, such as "BGR". Without a loader the first three are taken for red, green and blue.
    labels : Mask, Boxes, Points, tuple or dict of these and of None, or None, default None
        What of y is drawn over the images, in the structure of y, as in a loader; their sources are not read. Without a loader,
        labels that have the height and width of the images are masks.
    class_names : sequence of str, tuple or dict of such, or None, default None
        Names of the classes.

    Returns
    -------
    matplotlib.figure.Figure
        Notebooks show it; ``figure.savefig("batch.png")`` writes it.

    Raises
    ------
    ValueError
        If an argument is not as above, or the mean of the loader is an image, whose part for each row x does not tell.
    ModuleNotFoundError
        If matplotlib is not installed.

    Examples
    --------
    >>> x, y = next(iter(train))
    >>> fastprep.show(x, y, loader=train)
    >>> fastprep.show(images, numbers, class_names=["cat", "dog"])
    """
    if isinstance(x, tuple) and y is None and len(x) in (2, 3):
        x, y, *_ = x
    check_integer("n", n, 1)
    arrays = {name: _images(name, own) for name, own in (x.items() if isinstance(x, Mapping) else [("", x)])}
    if len(lengths := {len(own) for own in arrays.values()}) != 1:
        raise ValueError(f"x must be images, or inputs with as many rows each, got {sorted(lengths)} rows")
    (n_all,) = lengths
    rows = {name: own[: int(n)] for name, own in arrays.items()}
    y = None if y is None else _labels(y, n_all, int(n))
    done = _normalisations(rows, loader, mean, scale, layout)
    order = _of_each(
        rows, channel_order if channel_order is not None or loader is None else loader.channel_order, "channel_order"
    )
    pixels = {name: in_rgb(_pixels(name, own, done[name]), order[name]) for name, own in rows.items()}
    if len({own.shape[1:3] for own in pixels.values()}) > 1:
        raise ValueError("the inputs in x must have one height and width")
    kinds = None if y is None else _kinds(y, labels, loader, next(iter(pixels.values())).shape[1:3])
    names = class_names if class_names is not None or loader is None else loader.class_names
    untitled = [f"row {row}" for row in range(min(int(n), n_all))]
    drawn = list(rows_of(pixels, y, kinds, _in_structure(names, y), untitled, SIDE))
    spans = {name: own.span(row.images[name] for row in drawn) for name, own in done.items()}
    heading = f"{len(drawn):,} of {n_all:,} rows of a batch; {undoing_in_words(done.values())}"
    return figure_of(seen_in(drawn, spans), heading)


def _images(name: str, images: Any) -> NDArray:
    """Return the images of an input."""
    what = f"x[{name!r}]" if name else "x"
    if isinstance(images, Presented):
        raise ValueError(f"{what} must be images, got a loader, which draws itself: loader.show()")
    if isinstance(images, str | os.PathLike):
        way_out = "open it by fastprep.Loader, whose show() draws batches, or pass it to `python -m fastprep.show`"
        raise ValueError(f"{what} must be images, got the file {os.fspath(images)!r}: {way_out}")
    found = on_host(images)
    if found.dtype.kind not in "biufV" or found.ndim != 4 or 0 in found.shape:
        way_out = "; for one image pass x[None]" if found.ndim == 3 else ""
        rule = f"{what} must be images, numbers of shape (rows, h, w, C) or (rows, C, h, w)"
        raise ValueError(f"{rule}, got {found.dtype} of shape {found.shape}{way_out}")
    return found


def _labels(y: Any, n_all: int, n: int) -> Any:
    """Return the first labels, in the structure of y."""

    def first(values: Any) -> NDArray:
        found = on_host(values)
        if found.shape[:1] != (n_all,):
            raise ValueError(f"y must have an entry for each of the {n_all:,} rows of x, got the shape {found.shape}")
        return found[:n]

    return map_outputs(first, dict(y) if isinstance(y, Mapping) else y)


def _normalisations(
    rows: Mapping[str, NDArray], loader: Presented | None, mean: Any, scale: Any, layout: Layout | None
) -> dict[str, Normalisation]:
    """Return what was done to each input, and check that it fits."""
    if layout is not None:
        check_choice("layout", layout, ("channels_last", "channels_first"))
    means, scales = _of_each(rows, mean, "mean"), _of_each(rows, scale, "scale")
    own = _of_loader(rows, loader)
    return {name: _with(name, images.shape, own.get(name), means[name], scales[name], layout) for name, images in rows.items()}


def _with(
    name: str, shape: tuple[int, ...], own: Normalisation | None, mean: Any, scale: Any, layout: Layout | None
) -> Normalisation:
    """Return what was done to an input, by the loader unless the arguments say it."""
    what = f" of {name!r}" if name else ""
    done = own or Normalisation(None, None, False, "channels_last", False)
    layout = layout or done.layout
    height, width, channels = shape[1:] if layout == "channels_last" else (*shape[2:], shape[1])
    other = shape[1] if layout == "channels_last" else shape[3]
    if channels > _MOST_CHANNELS >= other and own is None:
        better = "channels_first" if layout == "channels_last" else "channels_last"
        raise ValueError(f'x{what} of shape {shape} seems to have its channels elsewhere: pass layout="{better}"')
    if done.has_mean_image and mean is None:
        raise ValueError(
            f"the mean{what} of the loader is an image, and x alone does not tell which part of it belongs to each row: "
            "loader.show(epoch=, step=) draws the batch, or pass a mean= of each channel"
        )
    mean = done.mean if mean is None else _values("mean" + what, mean, channels, (height, width, channels))
    scale = done.scale if scale is None else _values("scale" + what, scale, channels)
    for argument, values in (("mean", mean), ("scale", scale)):
        if values is not None and values.ndim == 1 and len(values) != channels:
            raise ValueError(f"x{what} has {channels} channels, and the {argument} of the loader is of {len(values)}")
    return Normalisation(mean, scale, done.is_standardised, layout, done.is_of_bytes)


def _values(argument: str, given: Any, channels: int, image: tuple[int, int, int] | None = None) -> NDArray[np.float32]:
    """Return numbers of each channel, or an image of them."""
    values = np.asarray(given)
    if values.dtype.kind in "biuf" and values.shape in ((), (1,), (channels,)):
        return np.broadcast_to(values.astype(np.float32), (channels,))
    if values.dtype.kind in "biuf" and image is not None and values.shape == image:
        return values.astype(np.float32)
    rule = f"a scalar or {channels} numbers" + (f", or an image of shape {image}" if image else "")
    raise ValueError(f"{argument} must be {rule}, got {values.dtype} of shape {values.shape}")


def _of_loader(rows: Mapping[str, NDArray], loader: Presented | None) -> dict[str, Normalisation]:
    if loader is None:
        return {}
    if not isinstance(loader, Presented):
        raise ValueError(f"loader must be a fastprep.Loader, got {loader!r}")
    specs = loader._spec if isinstance(loader._spec, dict) else {"": loader._spec}
    if set(specs) != set(rows):
        wanted = f"a dict of the inputs {', '.join(map(repr, specs))}" if isinstance(loader._spec, dict) else "one array"
        raise ValueError(f"x of this loader must be {wanted}, got {'one array' if '' in rows else ', '.join(map(repr, rows))}")
    return {name: Normalisation.of(spec) for name, spec in specs.items()}


def _of_each(rows: Mapping[str, Any], value: Any, argument: str) -> dict[str, Any]:
    """Return what an argument says of each input."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(rows, value)
    if set(value) != set(rows):
        raise ValueError(f"{argument} as a dict must have the names of the inputs in x, got {', '.join(map(repr, value))}")
    return dict(value)


def _pixels(name: str, images: NDArray, done: Normalisation) -> NDArray[np.float32]:
    values = channels_last(images, done.layout)
    return values if done.is_standardised else undone(values, done.scale, done.mean)


def _kinds(y: Any, labels: Any, loader: Presented | None, size: tuple[int, ...]) -> Any:
    """Return what of y is drawn, in the structure of y."""
    if labels is None and loader is not None:
        labels = described(loader._dataset.labels)
    if labels is None:
        return map_outputs(lambda values: Mask("y") if values.shape[1:3] == size else None, y)
    same = isinstance(labels, dict) == isinstance(y, dict) and isinstance(labels, tuple) == isinstance(y, tuple)
    if not same or len(outputs_of(labels)) != len(outputs_of(y)) or (isinstance(y, dict) and set(labels) != set(y)):
        raise ValueError(f"labels must have the structure of y, got {labels!r}")
    return map_outputs(lambda values, kind: kind if isinstance(kind, Target) else None, y, labels)


def _in_structure(names: Any, y: Any) -> Any:
    """Return names of classes in the structure of the labels; those of one output stand for all."""
    if isinstance(y, dict):
        return {name: names.get(name) if isinstance(names, Mapping) else names for name in y}
    if isinstance(y, tuple):
        return names if isinstance(names, tuple) and len(names) == len(y) and not _are_texts(names) else (names,) * len(y)
    return names


def _are_texts(names: Any) -> bool:
    return all(isinstance(name, str) for name in names)
