"""Ours, in shuffled order: variants `pread` (the default) and `mmap` are the loader's `io`."""

from __future__ import annotations

import boxes
from check import MEANS, SIZE
from protocol import CROPS, Options, run


def make(path, options: Options):
    import fastprep
    from fastprep.loader import Loader

    if options.resized:
        crop = fastprep.RandomResizedCrop(boxes.SIZE, boxes.SCALE, boxes.RATIO, mirror=options.mirror)
    else:
        crop = fastprep.TenCrop(SIZE) if options.ten else fastprep.RandomCrop(SIZE, mirror=options.mirror)
    loader = Loader(
        path, options.batch, crop, mean=MEANS, shuffle=True, workers=options.threads, io=options.variant or "pread", device="cpu"
    )
    return Epochs(loader, rows=10 if options.ten else 1)


class Epochs:
    """Epochs of a loader whose labels are the numbers of the images, each with some rows of a batch."""

    def __init__(self, loader, rows=1):
        self.loader, self.rows = loader, rows

    def __call__(self):
        for x, numbers in self.loader:
            yield x, numbers[:: self.rows]

    def remark(self):
        """Return a sentence about Python's lock, of which a worker should need little."""
        from fastprep.diagnostics.lock_share import share_of_worker

        share = share_of_worker(self.loader)
        return "" if share is None else f"a worker holds Python's lock for {share} of its processor time"


if __name__ == "__main__":
    run(make, "fastprep, {variant}", packages=["fastprep"], variants=("pread", "mmap"), crops=CROPS, note="shuffled")
