"""Grain: images from a memory map, shuffled, cropped by numpy in a random map, batched; in threads, not in processes.

Each crop is made by the same numpy code as in the contender by hand, into memory of its own, for Grain stacks them to
batches. Batching before the reading threads, so that they do it, gave 5 to 10 % more than after them; reading without threads
gave half.
"""

from __future__ import annotations

import numpy as np
from check import SIZE
from patches import Patches, mapped
from protocol import Options, run


def make(path, options: Options):
    import grain

    images = mapped(path)

    def crop(number, generator):
        # a scratch of its own for each call: Grain maps in several threads
        patches = Patches(*images.shape[1:3], options.mirror, options.ten)
        patches.generator = generator
        shape = (10, SIZE, SIZE, 3) if options.ten else (SIZE, SIZE, 3)
        x = np.empty((1, *shape), np.float32)
        patches.fill(x, [images[number]])
        return x[0], number

    epochs = iter(range(1 << 30))

    def epoch():
        seed = next(epochs)
        dataset = grain.MapDataset.range(len(images)).shuffle(seed).seed(seed).random_map(crop).batch(options.batch)
        return dataset.to_iter_dataset(grain.ReadOptions(num_threads=options.threads, prefetch_buffer_size=options.threads + 1))

    return epoch


if __name__ == "__main__":
    run(make, "Grain threads + numpy", packages=["grain", "numpy"], note="shuffled, memory map")
