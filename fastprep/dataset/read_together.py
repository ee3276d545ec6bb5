"""What is read for each sample: its image for each input of a network, and its masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastprep import remote
from fastprep.dataset.corrupt import Sinks
from fastprep.dataset.image_files import ImageFiles
from fastprep.dataset.masks import MaskValues
from fastprep.remote import RemoteFile


class ReadTogether:
    """Images and masks that are read together, by the numbers of the samples in the files.

    Attributes
    ----------
    parts : sequence of ImageFiles or MaskValues
        Images of each input, then masks.
    """

    parts: Sequence[ImageFiles | MaskValues]

    def read_parts(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sinks: Sinks, may_be_damaged: bool) -> None:
        """Hand each part of the samples to its sink; see `ImageFiles.read`."""
        for part, sink in zip(self.parts, sinks, strict=True):
            part.read(samples, slots, sink, may_be_damaged)

    @property
    def files(self) -> list[ImageFiles]:
        """Parts that are in files."""
        files = [part if isinstance(part, ImageFiles) else part.files for part in self.parts]
        return [part for part in files if part is not None]

    @property
    def _in_blocks(self) -> list[ImageFiles]:
        """Parts of which several samples are decoded together, those in the largest blocks first; the order follows these."""
        return sorted((files for files in self.files if files.block_images > 1), key=lambda files: -files.block_images)

    @property
    def block_starts(self) -> NDArray[np.int64] | None:
        """First sample of each block of images that are decoded together, then n_samples; None if each image is read alone."""
        return next((files.block_starts for files in self._in_blocks), None)

    @property
    def block_order(self) -> NDArray[np.int64] | None:
        """Samples in the order to which `block_starts` refers; None if that is their own order."""
        return None

    @property
    def block_images(self) -> int:
        """Number of samples in the largest block, as it is decoded."""
        return next((files.block_images for files in self._in_blocks), 1)

    @property
    def block_bytes(self) -> int:
        """Size of the largest such block, decoded, with those of all that is read with it."""
        most = self.block_images
        of_blocks = sum(files.block_bytes * -(-most // files.block_images) for files in self._in_blocks)
        return of_blocks or self.files[0].block_bytes

    @property
    def n_blocks_decoded(self) -> int:
        """Number of times that a block was decoded so far."""
        return sum(files.cache.n_made for files in self.files)

    def keep(self, n_blocks: int) -> None:
        """Keep up to `n_blocks` decoded blocks of all files together in memory, and the blocks that are read with them."""
        most = self.block_images
        for files in self._in_blocks:  # blocks that do not begin where the largest ones do reach over their ends
            files.keep(n_blocks if files.block_images == most else n_blocks * (most // files.block_images + 2))

    def fetch(self, samples: NDArray[np.int64]) -> None:
        """Decode the blocks that hold samples, so that they are in memory; see `keep`."""
        for files in self._in_blocks:
            files.fetch(samples)

    @property
    def remote_files(self) -> list[RemoteFile]:
        """Files of stores that samples are in, each once."""
        found = [remote.find(reader.index.holder) for files in self.files for reader in files.readers]
        return list({file.name: file for file in found if file is not None}.values())

    def complete(self, samples: NDArray[np.int64]) -> None:
        """Complete the indexes of the remote files that samples are in. Errors come when they are read."""
        for files in self.files:
            files.complete(samples)

    def ask_for(self, samples: NDArray[np.int64]) -> None:
        """Have the bytes of samples in remote files fetched, and do not wait for them. Errors come when they are read."""
        for files in self.files:
            files.ask_for(samples)

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for part in self.parts:
            part.close()
