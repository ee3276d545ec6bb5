"""DALI without a GPU: external source, then crop, mirror, mean and conversion in one operator.

Variant `h5py` reads slices with `read_direct` into buffers used in turn, in file order; variant `mmap` hands single images
of a memory map over, shuffled, without a copy. Ten crops are each image ten times with ten places, which DALI does in one
operator, too. Random-resized crops are antialiased, and their mirroring and mean are a second operator. A pass ends with the
source, and the next one starts with an empty queue, as with the other contenders.
"""

from __future__ import annotations

from collections import deque

import boxes
import h5py
import numpy as np
from check import MEANS, SIZE
from patches import mapped
from protocol import CROPS, Options, run

AHEAD = 2


class Source:
    """Images, numbers, and, for ten crops, places and flags of a batch at each call."""

    def __init__(self, path: str, options: Options) -> None:
        self.by_h5py = options.variant in ("", "h5py")
        self.images = h5py.File(path, "r")["images"] if self.by_h5py else mapped(path)
        self.options = options
        self.generator = np.random.default_rng(0)
        self.buffers = [np.zeros((options.batch, *self.images.shape[1:]), np.uint8) for _ in range(2 * AHEAD + 3)]
        self.turn = 0
        self.handed_over = deque(maxlen=len(self.buffers))  # DALI reads them later, and does not keep them
        self.restart()

    def restart(self) -> None:
        n, batch = len(self.images), self.options.batch
        order = np.arange(n) if self.by_h5py else self.generator.permutation(n)
        self.batches = iter([order[first : first + batch] for first in range(0, n, batch)])

    def __call__(self):
        self.handed_over.append(self.batch())
        return self.handed_over[-1]

    def batch(self):
        numbers = next(self.batches)
        if self.by_h5py:
            self.turn = (self.turn + 1) % len(self.buffers)
            images = self.buffers[self.turn][: len(numbers)]
            self.images.read_direct(images, np.s_[numbers[0] : numbers[-1] + 1])
        else:
            images = [self.images[number] for number in numbers.tolist()]
        if not self.options.ten:
            return images, numbers
        corners = np.array([(0, 0), (0, 1), (1, 1), (1, 0), (0.5, 0.5)] * 2, np.float32)
        sides = np.array(self.images.shape[1:3]) - SIZE
        y, x = np.tile(np.floor(corners * sides) / sides, (len(numbers), 1)).astype(np.float32).T.copy()
        mirrored = np.tile(np.repeat(np.array([0, 1], np.int32), 5), len(numbers))
        return [p for p in images for _ in range(10)], np.repeat(numbers, 10), y, x, mirrored


def make(path, options: Options):
    from nvidia.dali import fn, pipeline_def, types

    source = Source(path, options)
    rows = 10 if options.ten else 1

    @pipeline_def(batch_size=options.batch * rows, num_threads=options.threads, device_id=None, prefetch_queue_depth=AHEAD)
    def pipeline():
        images, numbers, *places = fn.external_source(source, num_outputs=5 if options.ten else 2, no_copy=True)
        if options.ten:
            y, x, mirror = places
        else:
            y, x = fn.random.uniform(range=[0, 1]), fn.random.uniform(range=[0, 1])
            mirror = fn.random.coin_flip() if options.mirror else 0
        images = fn.reshape(images, layout="HWC")
        if options.resized:
            limits = {"random_area": boxes.SCALE, "random_aspect_ratio": boxes.RATIO, "num_attempts": boxes.TRIES}
            images = fn.random_resized_crop(images, size=(boxes.SIZE, boxes.SIZE), **limits, antialias=True)
            places = {}
        else:
            places = {"crop": (SIZE, SIZE), "crop_pos_y": y, "crop_pos_x": x}
        crops = fn.crop_mirror_normalize(
            images,
            **places,
            mirror=mirror,
            mean=MEANS.tolist(),
            dtype=types.FLOAT,
            output_layout="HWC",
        )
        return crops, numbers

    pipe = pipeline()
    pipe.build()

    def epoch():
        while True:
            try:
                crops, numbers = pipe.run()
            except StopIteration:
                break
            yield crops.as_tensor(), np.asarray(numbers.as_tensor()).ravel()[::rows]
        source.restart()
        pipe.reset()

    return epoch


if __name__ == "__main__":
    note = "h5py in file order, mmap shuffled"
    run(make, "DALI on the CPU, {variant}", packages=["nvidia-dali-cuda120"], variants=("h5py", "mmap"), crops=CROPS, note=note)
