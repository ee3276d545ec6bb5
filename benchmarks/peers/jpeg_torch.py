"""torch's DataLoader with torchvision's decoder and v2 transforms: as many worker processes as threads, bytes in memory."""

from __future__ import annotations

import boxes
import jpegs
from check import MEANS
from protocol import Options, run


def make(path, options: Options):
    import torch
    from torch.utils.data import DataLoader, Dataset
    from torchvision.io import decode_jpeg
    from torchvision.transforms import v2

    torch.set_num_threads(1)  # of this process; workers have one anyway
    mirror = [v2.RandomHorizontalFlip()] if options.mirror else []
    crop = v2.RandomResizedCrop(boxes.SIZE, boxes.SCALE, boxes.RATIO, antialias=True)
    normalize = v2.Normalize(MEANS.tolist(), [1.0, 1.0, 1.0], inplace=True)
    transform = v2.Compose([crop, *mirror, v2.ToDtype(torch.float32), normalize])
    rows = [torch.from_numpy(row) for row in jpegs.rows(path)]

    class Images(Dataset):
        def __len__(self):
            return len(rows)

        def __getitem__(self, number):
            return transform(decode_jpeg(rows[number])), number

    loader = DataLoader(
        Images(), options.batch, shuffle=True, num_workers=options.threads, persistent_workers=True, prefetch_factor=2
    )
    return lambda: loader


if __name__ == "__main__":
    packages = ["torch", "torchvision"]
    run(make, "torch DataLoader + torchvision", packages=packages, crops=["jpeg"], note="shuffled, worker processes")
