"""The window of a shuffled order where images share chunks, and a warning if it does not mix the labels."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from fastprep.dataset.agreement import convert_line
from fastprep.dataset.dataset import Dataset
from fastprep.sampling.mixing import FEW_BLOCKS, GOOD_SHARE, WINDOW_SAMPLES, automatic_window, largest_block, measure_mix
from fastprep.sampling.order import epoch_stream
from fastprep.sampling.weighted import BlockDraws, WeightedDraws

_log = logging.getLogger(__name__)

_LARGER_WINDOW = "pass a larger shuffle_window, or shuffle_window=0, which fetches nearly every image by itself"


def choose_window(
    dataset: Dataset, shuffle_window: int | None, batch_size: int, draws: WeightedDraws | None = None, seed: int = 0
) -> int:
    """Return how many samples a loader shuffles together, and log a warning if that does not mix the labels.

    Parameters
    ----------
    dataset : Dataset
    shuffle_window : int or None
        Argument of the loader; None for an automatic window, see `fastprep.sampling.mixing.automatic_window`.
    batch_size : int
    draws : WeightedDraws or None
        Draws with replacement; those of the first epoch are judged.
    seed : int
        Seed of the draws.

    Returns
    -------
    int
        0 for all samples.
    """
    starts, order, labels = dataset.block_starts, dataset.block_order, dataset.first_labels
    if starts is None or shuffle_window == 0:
        return WINDOW_SAMPLES if shuffle_window is None else shuffle_window
    sizes = {"counted": largest_block(starts), "decoded": dataset.block_images}
    if draws is not None:
        starts, _, order = BlockDraws(draws, starts, order, 1).by_block(epoch_stream(seed, 0))
    labels = labels if labels is None or order is None else labels[order]
    if shuffle_window is None:
        shuffle_window = automatic_window(labels, starts, dataset.block_bytes, batch_size, **sizes)
    problem = mixing_problem(labels, starts, dataset.block_bytes, shuffle_window, batch_size, **sizes)
    if problem and dataset.image_files.are_fetched:
        _log.warning("%s: %s; %s", dataset.paths[0], problem.replace("decoded together", "fetched together"), _LARGER_WINDOW)
    elif problem:
        file = dataset.paths[0]
        more = f" and {len(dataset.paths) - 1} more" if len(dataset.paths) > 1 else ""
        _log.warning("%s%s: %s; %s", file, more, problem, mixing_advice(convert_line(dataset)))
    return shuffle_window


def mixing_problem(
    labels: NDArray | None,
    starts: NDArray[np.int64],
    block_bytes: int,
    shuffle_window: int,
    batch_size: int,
    *,
    counted: int | None = None,
    decoded: int | None = None,
) -> str | None:
    """Say in words why a shuffled order does not mix the labels; None if it does.

    Parameters
    ----------
    labels : ndarray, shape (N, ...), or None
    starts : ndarray of int64, shape (n_blocks + 1,)
        First sample of each block that is decoded as a whole, then N.
    block_bytes : int
        Size of the largest block, decoded.
    shuffle_window : int
        Samples that are shuffled together; not 0.
    batch_size : int
    counted, decoded : int or None
        See `fastprep.sampling.mixing.automatic_window`.

    Returns
    -------
    str or None
    """
    n_blocks, largest = len(starts) - 1, counted or largest_block(starts)
    blocks = -(-shuffle_window // largest)
    if blocks >= n_blocks:
        return None
    mix = measure_mix(labels, starts, blocks, batch_size)
    mixes_badly = mix is not None and mix.share < GOOD_SHARE
    if not mixes_badly and blocks > FEW_BLOCKS:
        return None
    size = f"{decoded or largest:,} images are decoded together, which takes {block_bytes / 2**20:,.1f} MiB"
    window = f"{size}, and only {blocks:,} of {n_blocks:,} such blocks are shuffled together"
    if mix is None:
        return f"shuffle=True may mix the samples badly: {window}"
    numbers = f"{mix.in_window:.1f} different labels, and {mix.in_full_shuffle:.1f} if all samples were shuffled alike"
    batch = f"a batch of {mix.batch_size} has {numbers}"
    if mixes_badly:
        return f"shuffle=True does not mix the labels: {batch}. {window}"
    return f"shuffle=True mixes the samples little, but the labels are mixed in the file: {batch}. {window}"


def mixing_advice(line: str) -> str:
    """Return the ways out of a window that does not mix; `line`: the command that writes the images anew, if there is one."""
    convert = f"`{line}` stores each image by itself, so that all samples can be shuffled alike; or " if line else ""
    window = (
        "pass a larger shuffle_window, which takes more memory, or shuffle_window=0, which decodes a chunk for nearly every image"
    )
    return f"{convert}{window}"
