"""Memory of one thread for images of different sizes, on their way to a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink
from fastprep.h5 import PackSink
from fastprep.kernels import WarpSpec
from fastprep.kernels.device import Gpu
from fastprep.kernels.launches import CropKernel
from fastprep.kernels.records import SizedRecord
from fastprep.pipeline.decoding import DeviceDecoding
from fastprep.pipeline.device_jpegs import JpegPackSink
from fastprep.pipeline.staging import InputStaging
from fastprep.transforms import TransformTable

_LEAST_IMAGE_BYTES = 1 << 20
_MOST_STEP = 4  # times a side of the result: longer sides of boxes have more taps than there is room for


class SizedStaging(InputStaging):
    """Memory for images of different sizes, which lie there one behind the other, as `InputStaging` has it for those of one size.

    How large they are is known only when a batch is due, and memory must not be allocated then. So there is room for images of a
    usual size. Images of a batch for which that is too little are cropped on the CPU, and their crops go to the device instead:
    the bits are the same, and crops are small beside such images.

    Parameters
    ----------
    gpu, spec, kernel, stream, n_images, n_rows, decoding
        As in `InputStaging`. `spec` is a `WarpSpec` with `has_sizes`, and its `image_shape` is that of an image.
    """

    _spec: WarpSpec

    def __init__(
        self,
        gpu: Gpu,
        spec: WarpSpec,
        kernel: CropKernel,
        stream: Any,
        n_images: int,
        n_rows: int,
        decoding: DeviceDecoding | None = None,
    ) -> None:
        self._record = SizedRecord(spec)
        super().__init__(gpu, spec, kernel, stream, n_images, n_rows, decoding)
        self._crops: NDArray | None = None  # made on the CPU, in the memory of the images
        self._n_numbers = 0

    def _memory_bytes(self, n_images: int, n_rows: int) -> int:
        """Return how much memory there is for images: twice the first one for each, but no more than what its crops may need.

        Those of a whole batch, made on the CPU, have room there as well.
        """
        results = n_rows * self._spec.crop_bytes
        of_images = n_images * max(2 * self._image_bytes, _LEAST_IMAGE_BYTES)
        return max(min(of_images, max(_MOST_STEP * results, n_images * _LEAST_IMAGE_BYTES)), results)

    def _table_rows(self, n_rows: int) -> int:
        """Return how many rows there is memory for: records, and the taps of boxes of `_MOST_STEP` times the result."""
        if self._spec.geometry != "box":
            return n_rows
        longest = float(_MOST_STEP * min(self._spec.size))
        table = TransformTable(np.zeros((n_rows, 4), np.int32), np.full((n_rows, 4), longest))
        return self._record.n_rows(table)

    def begin(self, table: TransformTable, n_images: int) -> Sink:
        """Check the table of a batch, and return the sink that takes its images; see `InputStaging.begin`."""
        table = self._spec.checked(table, n_images)
        starts, lengths = self._record.images(table)
        item_bytes = np.dtype(self._spec.source_dtype).itemsize
        n_numbers = int((starts + lengths).max())
        if n_numbers * item_bytes > self._images.nbytes or self._record.n_rows(table) > len(self._table):
            crops = self._images[: len(table) * self._spec.crop_bytes].view(self._spec.out_dtype)
            self._crops = crops.reshape(self._spec.out_shape(len(table)))
            if self._jpegs is not None:
                self._jpegs.pass_over(n_images)
            return self._spec.cpu_sink(table, n_images, self._crops)
        self._crops, self._n_numbers = None, n_numbers
        self._keep(self._record.pack(table), len(table))
        assert table.sizes is not None
        sizes = np.zeros((len(starts), 2), np.int64)
        sizes[table.crops[:, 0]] = table.sizes
        if self._jpegs is None:
            return PackSink(self._images, starts * item_bytes, lengths * item_bytes, sizes)
        return self._decoding(JpegPackSink(self._images, starts, lengths, sizes), starts, sizes)  # of uint8

    def upload(self) -> None:
        """Queue the copies, see `InputStaging.upload`."""
        if self._crops is None:
            super().upload()

    def launch(self, x: Any) -> Callable[[], None]:
        """Return a function that queues the kernel, or the copy of crops that are made already; see `InputStaging.launch`."""
        if (crops := self._crops) is None:
            return super().launch(x)
        return lambda: self._gpu.copy(x, crops, self._stream)

    def download(self) -> None:
        """Queue the copy of the marks of results that are not finite."""
        if self._crops is None:
            super().download()

    def first_not_finite(self) -> int | None:
        """Return the slot of an image with results that are not finite; see `InputStaging.first_not_finite`."""
        return super().first_not_finite() if self._crops is None else None  # the CPU kernel has refused them

    def images_on_device(self, n_images: int) -> Any:
        """Return the array on the device for images: all numbers of those of a batch, or of as many as can be."""
        n_numbers = self._n_numbers or self._images.nbytes // np.dtype(self._spec.source_dtype).itemsize
        return self._gpu.array(self._images_on_device, (n_numbers,), self._spec.source_dtype)


def staging_of(
    gpu: Gpu,
    spec: Any,
    kernel: CropKernel,
    stream: Any,
    n_images: int,
    n_rows: int,
    decoding: DeviceDecoding | None = None,
) -> InputStaging:
    """Return memory for the images of an input: of one size, or of different ones."""
    has_sizes = isinstance(spec, WarpSpec) and spec.has_sizes
    return (SizedStaging if has_sizes else InputStaging)(gpu, spec, kernel, stream, n_images, n_rows, decoding)
