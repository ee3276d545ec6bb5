"""MosaicML Streaming: a local copy in MDS shards, neither compressed nor hashed, shuffled, in torch's DataLoader.

Crops are numpy's, as by hand, one image at a time; the DataLoader has as many worker processes as threads, kept over
epochs.
"""

from __future__ import annotations

import numpy as np
from check import SIZE
from patches import Patches, mapped
from protocol import Options, run


def make(path, options: Options):
    from streaming import MDSWriter, StreamingDataset
    from torch.utils.data import DataLoader

    images = mapped(path)
    columns = {"image": f"ndarray:uint8:{','.join(map(str, images.shape[1:]))}", "number": "int"}
    copy = str(options.folder / "mds")
    with MDSWriter(out=copy, columns=columns) as writer:
        for number in range(len(images)):
            writer.write({"image": np.array(images[number]), "number": number})
    patches = Patches(*images.shape[1:3], options.mirror, options.ten)
    shape = (10, SIZE, SIZE, 3) if options.ten else (SIZE, SIZE, 3)

    class Images(StreamingDataset):
        def __getitem__(self, at):
            sample = super().__getitem__(at)
            x = np.empty((1, *shape), np.float32)
            patches.fill(x, [sample["image"]])
            return x[0], sample["number"]

    dataset = Images(local=copy, batch_size=options.batch, shuffle=True, num_canonical_nodes=1)
    loader = DataLoader(dataset, options.batch, num_workers=options.threads, persistent_workers=True, prefetch_factor=2)
    return lambda: loader


if __name__ == "__main__":
    note = "shuffled, own MDS shards, worker processes"
    run(make, "MosaicML Streaming + numpy", packages=["mosaicml-streaming", "torch", "numpy"], note=note)
