"""A batch that the CPU kernels make of a few images, which stay in the second-level cache as images do that were just read."""

import ctypes

import numpy as np

from fastprep._sink import hand_over
from fastprep.pipeline import BufferPool
from fastprep.pipeline.buffers import as_array

N_IMAGES = 8


class KernelBatch:
    """Images for an operation, and room for its results.

    Parameters
    ----------
    spec : CropSpec
    n_out : int
    """

    def __init__(self, spec, n_out):
        self.n_out = n_out
        self._images = np.random.default_rng(0).integers(0, 256, (N_IMAGES, *spec.image_shape), dtype=np.uint8)
        self._offsets = np.arange(N_IMAGES, dtype=np.int64) * self._images[0].nbytes
        self._lease = BufferPool(n_out * spec.crop_bytes, 1).lease()  # which keeps the memory
        self.out = as_array(self._lease, spec.out_shape(n_out), spec.out_dtype)

    def make(self, sink):
        """Make the batch, and return how many images it has."""
        hand_over(self._images.reshape(-1), self._offsets, np.arange(N_IMAGES), sink)
        return self.n_out

    def fill(self):
        """Set all bytes of the results, which is the limit of any kernel; return how many images there are."""
        ctypes.memset(self.out.ctypes.data, 1, self.out.nbytes)
        return self.n_out
