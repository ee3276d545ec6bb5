"""Memory of one thread for the images of one input of a network, on their way to a device."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink
from fastprep.h5 import CopySink
from fastprep.kernels import CropSpec
from fastprep.kernels.device import DeviceMemory, Gpu
from fastprep.kernels.launches import CropKernel
from fastprep.pipeline.decoding import DeviceDecoding
from fastprep.pipeline.device_jpegs import JpegCopySink, JpegDecoder, JpegPackSink
from fastprep.transforms import TransformTable

_JpegSink = TypeVar("_JpegSink", JpegCopySink, JpegPackSink)


class InputStaging:
    """Memory on the host and on the device for the images and the table of a batch, and what the kernel says of its results.

    Parameters
    ----------
    gpu : Gpu
    spec : CropSpec
    kernel : CropKernel
        Executes `spec`.
    stream : cupy stream
        On which everything is queued.
    n_images, n_rows : int
        Largest number of images, and of table rows, in a batch.
    decoding : DeviceDecoding, optional
        That of encoded images which are decoded on the device.
    """

    def __init__(
        self,
        gpu: Gpu,
        spec: CropSpec,
        kernel: CropKernel,
        stream: Any,
        n_images: int,
        n_rows: int,
        decoding: DeviceDecoding | None = None,
    ) -> None:
        self._gpu, self._spec, self._kernel, self._stream = gpu, spec, kernel, stream
        self._image_bytes, n_words = spec.source_bytes, kernel.n_words
        self._images = gpu.pinned(self._memory_bytes(n_images, n_rows))
        table_rows = self._table_rows(n_rows)
        self._table = gpu.pinned(table_rows * n_words * 4).view(np.int32).reshape(table_rows, n_words)
        self._images_on_device = DeviceMemory(gpu, self._images.nbytes)
        self._table_on_device = DeviceMemory(gpu, self._table.nbytes)
        self._work = DeviceMemory(gpu, n_bytes) if (n_bytes := kernel.work_bytes(n_rows)) else None
        self._rows, self._n_rows, self._n_images = self._table[:0], 0, 0
        self._jpegs: JpegDecoder | None = None
        if decoding is not None:
            self._jpegs = JpegDecoder(gpu, stream, spec.n_source_channels, self._images_on_device, decoding)
        if spec.checks_finite:
            self._not_finite = gpu.pinned(n_rows * 4).view(np.uint32)
            self._not_finite_on_device = DeviceMemory(gpu, n_rows * 4)

    def _memory_bytes(self, n_images: int, n_rows: int) -> int:
        """Return how much memory there is for the images of the largest batch."""
        return n_images * self._image_bytes

    def _table_rows(self, n_rows: int) -> int:
        """Return how many rows there is memory for in the table of the largest batch, as the kernel reads it."""
        return n_rows

    def begin(self, table: TransformTable, n_images: int) -> Sink:
        """Check the table of a batch, keep it as the kernel reads it, and return the sink that takes the images.

        Raises
        ------
        ValueError
            If the table leads outside the images, or has other parts than the operation.
        """
        self._n_images = n_images
        self._keep(self._kernel.rows(table, n_images), len(table))
        if self._jpegs is None:
            return CopySink(self._images, self._image_bytes)
        sizes = np.tile(np.array(self._spec.image_shape[:2], np.int64), (n_images, 1))
        return self._decoding(JpegCopySink(self._images, self._image_bytes), np.arange(n_images) * self._image_bytes, sizes)

    def _decoding(self, sink: _JpegSink, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> _JpegSink:
        """Begin a batch of images that are decoded on the device, and return the sink that takes them."""
        assert self._jpegs is not None
        self._jpegs.begin(starts, sizes)
        sink.jpegs = weakref.ref(self._jpegs)
        return sink

    def _keep(self, rows: NDArray[np.int32], n_rows: int) -> None:
        """Keep the table of a batch of so many output images."""
        self._rows, self._n_rows = self._table[: len(rows)], n_rows
        self._rows[:] = rows

    def upload(self) -> None:
        """Queue the copies of images and table."""
        n_bytes = self.images_on_device(self._n_images).nbytes
        for first, end in [(0, n_bytes)] if self._jpegs is None else self._jpegs.not_taken():
            there = self._gpu.array(self._images_on_device, (end - first,), np.dtype(np.uint8), first)
            self._gpu.copy(there, self._images[first:end], self._stream)
        self._gpu.copy(self._table_of_batch(), self._rows, self._stream)

    def launch(self, x: Any) -> Callable[[], None]:
        """Return a function that queues the kernel in the thread's current stream, see `CropKernel.launch`."""
        images, table = self.images_on_device(self._n_images), self._table_of_batch()
        return self._kernel.launch(images, self._rows, table, x, self._cleared_marks(), self._work)

    def images_on_device(self, n_images: int) -> Any:
        """Return the array on the device for a number of images."""
        return self._gpu.array(self._images_on_device, (n_images, *self._spec.source_shape), self._spec.source_dtype)

    def download(self) -> None:
        """Queue the copy of the marks of results that are not finite."""
        if self._spec.checks_finite:
            marks = self._marks(self._n_rows)
            self._gpu.copy_back(self._not_finite[: len(marks)], marks, self._stream)

    def first_not_finite(self) -> int | None:
        """Return the slot of an image with results that are not finite, once the stream was waited for; None if there is none."""
        if not self._spec.checks_finite:
            return None
        wrong = np.flatnonzero(self._not_finite[: self._n_rows])
        return int(self._rows[wrong[0], 0]) if wrong.size else None

    def _table_of_batch(self) -> Any:
        return self._gpu.array(self._table_on_device, self._rows.shape, np.dtype(np.int32))

    def _cleared_marks(self) -> Any:
        """Return an array of zeros on the device, in which the kernel marks rows whose results are not finite."""
        if not self._spec.checks_finite:
            return None
        marks = self._marks(self._n_rows)
        self._gpu.clear(marks, self._stream)
        return marks

    def _marks(self, n_rows: int) -> Any:
        return self._gpu.array(self._not_finite_on_device, (n_rows,), np.dtype(np.uint32))
