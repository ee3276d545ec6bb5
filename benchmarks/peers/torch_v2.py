"""torch's DataLoader with torchvision's v2 transforms: as many worker processes as threads, kept over epochs, shuffled.

Images come from a memory map, which workers share and no lock guards, and are first turned to torch's order, (3, 256, 256):
as strided views everything after takes twice as long. Crop and mirror work on uint8, so that ToDtype and Normalize (in place)
only see the crop; of ten crops it is the other way round. Random-resized crops, antialiased, are the exception: resizing of uint8
is made for torch's "channels last", which the file's order is.  Batches come as (n, 3, height, width).
"""

from __future__ import annotations

import boxes
from check import MEANS, SIZE
from patches import mapped
from protocol import CROPS, Options, run


def make(path, options: Options):
    import torch
    from torch.utils.data import DataLoader, Dataset
    from torchvision.transforms import v2

    torch.set_num_threads(1)  # of this process; workers have one anyway
    to_float = [v2.ToDtype(torch.float32), v2.Normalize(MEANS.tolist(), [1.0, 1.0, 1.0], inplace=True)]
    if options.ten:
        transform = v2.Compose([*to_float, v2.TenCrop(SIZE), torch.stack])
    else:
        mirror = [v2.RandomHorizontalFlip()] if options.mirror else []
        cut = (
            v2.RandomResizedCrop(boxes.SIZE, boxes.SCALE, boxes.RATIO, antialias=True) if options.resized else v2.RandomCrop(SIZE)
        )
        transform = v2.Compose([cut, *mirror, *to_float])
    images = mapped(path)

    class Images(Dataset):
        def __len__(self):
            return len(images)

        def __getitem__(self, number):
            image = torch.tensor(images[number]).permute(2, 0, 1)
            return transform(image if options.resized else image.contiguous()), number

    loader = DataLoader(
        Images(), options.batch, shuffle=True, num_workers=options.threads, persistent_workers=True, prefetch_factor=2
    )
    return lambda: loader


if __name__ == "__main__":
    run(
        make,
        "torch DataLoader + torchvision v2",
        packages=["torch", "torchvision"],
        crops=CROPS,
        note="shuffled, worker processes",
    )
