"""An epoch of many ranks, simulated: every sample once, and what the order costs each rank in time and memory.

    python benchmarks/scale.py --samples 100_000_000 --files 1000 --ranks 256 --batch-size 64

No image is read: the loaders' own sampling says which samples each step of each rank would read. Files of chunks with several
images are simulated with --chunk; then chunks are shuffled, and samples inside windows of them.
"""

from __future__ import annotations

import argparse
import itertools
import time
import tracemalloc
from dataclasses import dataclass

import numpy as np

from fastprep.sampling import Sampler


@dataclass(frozen=True)
class Order:
    """What the order of an epoch costs one rank.

    Attributes
    ----------
    first_s, step_s : float
        Until the first step's samples are known, beginning with nothing; of a later step, on average.
    peak_bytes : int
        Memory that the order took at most, the table of files and chunks included.
    """

    first_s: float
    step_s: float
    peak_bytes: int


def block_starts(n_samples: int, n_files: int, chunk: int) -> np.ndarray | None:
    """Return the first sample of each chunk, and the end, of files as long as each other; None if every image is read alone."""
    if chunk == 1:
        return None
    ends = np.linspace(0, n_samples, n_files + 1).astype(np.int64)
    starts = [np.arange(first, stop, chunk) for first, stop in itertools.pairwise(ends)]
    return np.concatenate([*starts, ends[-1:]])


def sampling(arguments: argparse.Namespace, rank: int, blocks: np.ndarray | None) -> Sampler:
    """Return what a loader of that rank has."""
    shard = (rank, arguments.ranks)
    return Sampler(arguments.samples, arguments.batch_size, True, arguments.seed, shard, arguments.drop_remainder, 2048, blocks)


def cost(arguments: argparse.Namespace, n_steps: int = 200) -> Order:
    """Measure the order of the last rank, as if it were alone in its process."""
    tracemalloc.start()
    blocks = block_starts(arguments.samples, arguments.files, arguments.chunk)
    mine = sampling(arguments, arguments.ranks - 1, blocks)
    mine.samples(1, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()  # which slows everything down
    began = time.perf_counter()
    mine = sampling(arguments, arguments.ranks - 1, block_starts(arguments.samples, arguments.files, arguments.chunk))
    mine.samples(1, 0)
    first_s = time.perf_counter() - began
    steps = np.linspace(0, len(mine) - 1, n_steps).astype(int)
    began = time.perf_counter()
    for step in steps:
        mine.samples(1, int(step))
    return Order(first_s, (time.perf_counter() - began) / n_steps, peak)


def count(arguments: argparse.Namespace, epoch: int = 0) -> tuple[np.ndarray, list[int]]:
    """Go through every step of every rank.

    Returns
    -------
    times : ndarray of uint8, shape (n_samples,)
        How often each sample came.
    n_steps : list of int
        Of each rank.
    """
    times = np.zeros(arguments.samples, np.uint8)
    blocks, n_steps = block_starts(arguments.samples, arguments.files, arguments.chunk), []
    shared = sampling(arguments, 0, blocks).windows
    for rank in range(arguments.ranks):
        mine = sampling(arguments, rank, blocks)
        if shared is not None:
            mine.__dict__["windows"] = shared  # the ranks of a simulation need not each shuffle the chunks
        for step in range(len(mine)):
            samples = mine.samples(epoch, step)
            times[samples] += 1
            if len(np.unique(samples)) != len(samples):
                raise AssertionError(f"rank {rank}, step {step} has a sample twice")
        n_steps.append(len(mine))
    return times, n_steps


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_281_167, help="of the whole dataset; ImageNet has 1,281,167")
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=128, help="of each rank")
    parser.add_argument("--chunk", type=int, default=1, help="images of a compressed chunk")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--drop-remainder", action="store_true")
    return parser.parse_args(words)


def report(arguments: argparse.Namespace) -> list[str]:
    """Simulate, and say what came out."""
    order = cost(arguments)
    began = time.perf_counter()
    times, n_steps = count(arguments)
    seconds = time.perf_counter() - began
    found = np.bincount(times, minlength=3)
    return [
        f"{arguments.samples:,} samples in {arguments.files:,} files, {arguments.ranks} ranks, batches of {arguments.batch_size}",
        f"every rank has {min(n_steps):,} to {max(n_steps):,} steps; simulated {sum(n_steps):,} steps in {seconds:,.0f} s",
        f"samples that came once: {found[1]:,}; never: {found[0]:,}; more than once: {int(found[2:].sum()):,}",
        f"one rank: first batch known after {order.first_s * 1e3:.3g} ms, each later one in {order.step_s * 1e6:,.0f} us, "
        f"order in {order.peak_bytes / 1e6:,.3g} MB at most",
    ]


if __name__ == "__main__":
    print("\n".join(report(parse())))
