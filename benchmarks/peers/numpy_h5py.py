"""By hand, the fastest way we found: whole batches read into one buffer, cropped row by row into another, all used again.

Variant `h5py` reads slices with `read_direct`, in file order, for that is what h5py is fast at. Variant `mmap` takes the
images from a memory map of the contiguous dataset, without h5py, and shuffled, which is free there. With several threads
each makes whole batches. Of random-resized crops OpenCV resizes the part, as `resized.by_cv2` says.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
from patches import Patches, mapped
from protocol import CROPS, Options, run
from resized import ResizedCrops, by_cv2


class Slot:
    """Memory of one batch, and what else its thread needs."""

    def __init__(self, shape, options: Options, patches) -> None:
        self.patches = patches
        self.source = np.zeros((options.batch, *shape[1:]), np.uint8)
        self.target = self.patches.empty(options.batch)


def batches_of(path, options: Options, by_h5py: bool, crops):
    """Return an epoch that fills batches by what `crops(seed)` returns, one for each slot."""
    images = h5py.File(path, "r")["images"] if by_h5py else mapped(path)
    # one in the consumer's hands, one for each thread, and one that is ready
    slots = [Slot(images.shape, options, crops(seed)) for seed in range(1 if options.threads == 1 else options.threads + 2)]
    pool = ThreadPoolExecutor(options.threads)
    generator = np.random.default_rng(0)

    def prepare(slot, numbers):
        target = slot.target[: len(numbers)]
        if by_h5py:
            images.read_direct(slot.source, np.s_[numbers[0] : numbers[-1] + 1], np.s_[: len(numbers)])
            slot.patches.fill(target, slot.source[: len(numbers)])
        else:
            slot.patches.fill(target, (images[number] for number in numbers))
        return target, numbers

    def epoch():
        order = np.arange(len(images)) if by_h5py else generator.permutation(len(images))
        batches = [order[first : first + options.batch].tolist() for first in range(0, len(order), options.batch)]
        if options.threads == 1:
            yield from (prepare(slots[0], numbers) for numbers in batches)
            return
        pending = deque()
        for k, numbers in enumerate(batches):
            pending.append(pool.submit(prepare, slots[k % len(slots)], numbers))
            if len(pending) == len(slots) - 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    return epoch


def make(path, options: Options):
    with h5py.File(path, "r") as file:
        sides = file["images"].shape[1:3]

    def crops(seed):
        if options.resized:
            return ResizedCrops(by_cv2(), options.mirror, seed)
        return Patches(*sides, options.mirror, options.ten, seed)

    return batches_of(path, options, options.variant in ("", "h5py"), crops)


if __name__ == "__main__":
    note = "h5py in file order, mmap shuffled"
    run(make, "numpy + {variant}, buffers reused", packages=["numpy", "h5py"], variants=("h5py", "mmap"), crops=CROPS, note=note)
