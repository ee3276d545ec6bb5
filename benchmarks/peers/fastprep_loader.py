"""Ours, in shuffled order: variants `pread` (the default) and `mmap` are the loader's `io`."""

from __future__ import annotations

from check import MEANS, SIZE
from protocol import Options, run


def make(path, options: Options):
    import fastprep
    from fastprep.loader import Loader

    crop = fastprep.TenCrop(SIZE) if options.ten else fastprep.RandomCrop(SIZE, mirror=options.mirror)
    loader = Loader(
        path, options.batch, crop, mean=MEANS, shuffle=True, workers=options.threads, io=options.variant or "pread", device="cpu"
    )
    rows = 10 if options.ten else 1

    def epoch():
        for x, numbers in loader:
            yield x, numbers[::rows]

    return epoch


if __name__ == "__main__":
    run(make, "fastprep, {variant}", packages=["fastprep"], variants=("pread", "mmap"), note="shuffled")
