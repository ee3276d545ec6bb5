"""What the headers of encoded images tell, kept from the first time that each is read."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from fastprep.system import begin_in_children


class KnownHeaders:
    """Sizes of images, and which are JPEGs out of the ordinary. Any number of threads may use it at once.

    A lock is what keeps a thread from seeing half of what another one enters: a height without its width.

    Parameters
    ----------
    n_images : int
    """

    def __init__(self, n_images: int) -> None:
        self._sizes = np.zeros((n_images, 2), np.int32)  # 0 until a header was read
        self._is_plain, self._is_common = np.zeros(n_images, bool), np.zeros(n_images, bool)
        begin_in_children(self)

    def begin(self) -> None:
        """Make the lock anew, which does not survive a fork."""
        self._lock = threading.Lock()

    def size(self, sample: int) -> tuple[int, int]:
        """Return height and width of an image; zeros if its header was not read."""
        with self._lock:
            height, width = self._sizes[sample].tolist()
        return height, width

    def of(self, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return what is known of images.

        Parameters
        ----------
        samples : ndarray of int64, shape (n,)

        Returns
        -------
        sizes : ndarray of int64, shape (n, 2)
            Height and width; zeros where no header was read.
        is_plain, is_common : ndarray of bool, shape (n,)
            What `fastprep.encoded.is_plain` and `is_common` say; False where no header was read.
        """
        with self._lock:
            return self._sizes[samples].astype(np.int64), self._is_plain[samples], self._is_common[samples]

    def enter(self, sample: int, size: tuple[int, int], is_plain: bool, is_common: bool) -> None:
        """Keep what the header of an image tells."""
        with self._lock:
            self._sizes[sample] = size
            self._is_plain[sample], self._is_common[sample] = is_plain, is_common
