"""torch's DataLoader with torchvision's v2 transforms: as many worker processes as threads, kept over epochs, shuffled.

Images come from a memory map, which workers share and no lock guards, and are first turned to torch's order, (3, 256, 256):
as strided views everything after takes twice as long. Crop and mirror work on uint8, so that ToDtype and Normalize (in place)
only see the crop; of ten crops it is the other way round. Batches come as (n, 3, 227, 227).
"""

from __future__ import annotations

from check import MEANS, SIZE
from patches import mapped
from protocol import Options, run


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
        transform = v2.Compose([v2.RandomCrop(SIZE), *mirror, *to_float])
    images = mapped(path)

    class Images(Dataset):
        def __len__(self):
            return len(images)

        def __getitem__(self, number):
            return transform(torch.tensor(images[number]).permute(2, 0, 1).contiguous()), number

    loader = DataLoader(
        Images(), options.batch, shuffle=True, num_workers=options.threads, persistent_workers=True, prefetch_factor=2
    )
    return lambda: loader


if __name__ == "__main__":
    run(make, "torch DataLoader + torchvision v2", packages=["torch", "torchvision"], note="shuffled, worker processes")
