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
    rows = 10 if options.ten else 1

    def epoch():
        for x, numbers in loader:
            yield x, numbers[::rows]

    return epoch, remark(loader)


def remark(loader):
    """Return a sentence about Python's lock, of which a worker should need little."""
    from fastprep.diagnostics.lock_share import has_global_lock, preparing, share_of_lock

    if not has_global_lock():
        return ""
    return f"a worker holds Python's lock for {share_of_lock(preparing(loader))} of its processor time"


if __name__ == "__main__":
    run(make, "fastprep, {variant}", packages=["fastprep"], variants=("pread", "mmap"), crops=CROPS, note="shuffled")
