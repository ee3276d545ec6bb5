"""Launches of the crop kernel and of the warp kernel on a CUDA device."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.kernels.cuda import Plan, plan_of
from fastprep.kernels.cuda_standardizing import Standardizing
from fastprep.kernels.device import DeviceMemory, Gpu
from fastprep.kernels.records import record_of
from fastprep.kernels.spec import CheckedTable, CropSpec
from fastprep.kernels.warp_plan import warp_plan_of
from fastprep.kernels.warp_spec import WarpSpec
from fastprep.transforms import TransformTable


class CropKernel:
    """The crop kernel on one device, with mean and scale in the device's memory. It is compiled at first use.

    Parameters
    ----------
    gpu : Gpu
    spec : CropSpec
    """

    def __init__(self, gpu: Gpu, spec: CropSpec) -> None:
        self.gpu, self.spec = gpu, spec
        self._lock = threading.Lock()
        self._ready: tuple[Any, Any, Any] | None = None

    @property
    def n_words(self) -> int:
        """Length of a row of the table that the kernel reads, in numbers of 32 bits."""
        return 4

    def work_bytes(self, n_rows: int) -> int:
        """Return how much memory on the device a launch needs for itself."""
        return 0

    def rows(self, table: NDArray[np.int32] | TransformTable, n_slots: int) -> NDArray[np.int32]:
        """Check a table, and return it as the kernel reads it.

        Parameters
        ----------
        table : ndarray of int32, shape (n_out, 4), or TransformTable
        n_slots : int
            Number of images in the batch.

        Returns
        -------
        ndarray of int32, shape (n_out, n_words)
            The first number of a row is the source slot.

        Raises
        ------
        ValueError
            If the table leads outside the images, or has other parts than the operation.
        """
        return self.spec.checked_table(table, n_slots)

    def _plan(self, images: Any, rows: NDArray[np.int32], n_out: int) -> Plan:
        return plan_of(self.spec, images, CheckedTable(rows))

    def launch(
        self, images: Any, rows: NDArray[np.int32], rows_on_device: Any, out: Any, not_finite: Any = None, work: Any = None
    ) -> Callable[[], None]:
        """Return a function that queues the launch in the thread's current stream.

        The inputs must not change, and `out` must not be used, until that stream has been synchronised.

        Parameters
        ----------
        images : cupy array, shape (n, H, W, C)
            Of images of different sizes all numbers, shape (n,).
        rows : ndarray of int32, shape (n_out, n_words)
            The table on the host, from `rows`. It is not checked again. For images of different sizes it has further rows.
        rows_on_device : cupy array of int32, shape (n_out, n_words)
            The same table, which the kernel reads.
        out : cupy array of `spec.out_dtype`, shape `spec.out_shape(n_out)`
        not_finite : cupy array of uint32, shape (n_out,), optional
            Needed if `spec.checks_finite`; see `fastprep.kernels.cuda.Plan.arguments`.
        work : DeviceMemory, optional
            ``work_bytes(n_out)``, which must stay, and belong to nobody else, until the stream has been synchronised.

        Returns
        -------
        callable

        Raises
        ------
        ValueError
            If the table has too many rows for one launch, or `out` is not as above.
        """
        launch = self._plan(images, rows, len(out))
        source, _, _, _, target, *checks = launch.arguments(out, not_finite)
        function, mean, scale = self._prepared(launch)
        return lambda: function(launch.grid, launch.block, (source, rows_on_device, mean, scale, target, *checks))

    def prepare(self, images: Any) -> None:
        """Compile the kernel and upload mean and scale, unless that is done, so that no launch has to.

        Parameters
        ----------
        images : cupy array, shape (n, H, W, C)
            At least one image, which is not read.
        """
        self._prepared(self._plan(images, np.zeros((1, self.n_words), np.int32), 1))

    def _prepared(self, launch: Plan) -> tuple[Any, Any, Any]:
        with self._lock:
            if self._ready is None:
                module = self.gpu.cupy.RawModule(code=launch.source, options=launch.options, backend="nvrtc")
                null = np.uint64(0)
                values = (self.spec.mean_values, self.spec.scale_values)
                on_device = [null if value is None else self.gpu.upload(value) for value in values]
                self._ready = (module.get_function(launch.name), *on_device)
            return self._ready


class WarpKernel(CropKernel):
    """The warp kernel on one device, like `CropKernel`.

    Parameters
    ----------
    gpu : Gpu
    spec : WarpSpec
    """

    spec: WarpSpec

    def __init__(self, gpu: Gpu, spec: WarpSpec) -> None:
        super().__init__(gpu, spec)
        self._record = record_of(spec)

    @property
    def n_words(self) -> int:
        """Length of a row of the table that the kernel reads, in numbers of 32 bits."""
        return self._record.places["RECORD"]

    def rows(self, table: NDArray[np.int32] | TransformTable, n_slots: int) -> NDArray[np.int32]:
        """Check a table, and return it as the kernel reads it, see `CropKernel.rows`."""
        table = table if isinstance(table, TransformTable) else TransformTable(table)
        return self._record.pack(self.spec.checked(table, n_slots))

    def _plan(self, images: Any, rows: NDArray[np.int32], n_out: int) -> Plan:
        return warp_plan_of(self.spec, images, rows, n_out if self.spec.has_sizes else None)


class StandardKernel(CropKernel):
    """The kernels that make images, and standardise them, on one device, like `CropKernel`.

    Parameters
    ----------
    gpu : Gpu
    spec : CropSpec
        It standardises.
    """

    def __init__(self, gpu: Gpu, spec: CropSpec) -> None:
        super().__init__(gpu, spec)
        self._made = WarpKernel(gpu, spec) if isinstance(spec, WarpSpec) else CropKernel(gpu, spec)
        self._standardizing = Standardizing(gpu, spec, self._made.n_words)

    @property
    def n_words(self) -> int:
        """Length of a row of the table that the kernel reads, in numbers of 32 bits."""
        return self._made.n_words

    def work_bytes(self, n_rows: int) -> int:
        """Return how much memory on the device a launch needs for itself."""
        return self._standardizing.work_bytes(n_rows)

    def rows(self, table: NDArray[np.int32] | TransformTable, n_slots: int) -> NDArray[np.int32]:
        """Check a table, and return it as the kernel reads it, see `CropKernel.rows`."""
        return self._made.rows(table, n_slots)

    def launch(
        self, images: Any, rows: NDArray[np.int32], rows_on_device: Any, out: Any, not_finite: Any = None, work: Any = None
    ) -> Callable[[], None]:
        """Return a function that queues the launches in the thread's current stream, see `CropKernel.launch`."""
        made = self._standardizing.made_in(work, out)
        first = self._made.launch(images, rows, rows_on_device, made)
        second = self._standardizing.launch(made, rows_on_device, out, not_finite, work)

        def launches() -> None:
            first()
            second()

        return launches

    def prepare(self, images: Any) -> None:
        """Compile the kernels and upload mean and scale, see `CropKernel.prepare`."""
        self._made.prepare(images)
        self._standardizing.prepare()


def kernel_for(gpu: Gpu, spec: CropSpec) -> CropKernel:
    """Return the kernel that executes an operation, or the kernels."""
    if spec.standardize:
        return StandardKernel(gpu, spec)
    return WarpKernel(gpu, spec) if isinstance(spec, WarpSpec) else CropKernel(gpu, spec)


def make_on(gpu: Gpu, spec: CropSpec, images: Any, table: NDArray[np.int32] | TransformTable, out: Any = None) -> Any:
    """Execute a crop table, or a transform table, on a device, in the thread's current stream, and wait for the result.

    Parameters
    ----------
    gpu : Gpu
    spec : CropSpec
        A `WarpSpec` for a transform table.
    images : numpy or cupy array, shape (n, *spec.source_shape), C-contiguous
    table : ndarray of int32, shape (n_out, 4), or TransformTable
        It is checked here.
    out : cupy array, optional

    Returns
    -------
    cupy array
        `out`, if it was given.

    Raises
    ------
    ValueError
        If the table leads outside the images, if `images` or `out` is not on the device and C-contiguous, or if `out` has the
        wrong shape or type.
    """
    cupy = gpu.cupy
    for name, array in (("images", images), ("out", out)):
        if isinstance(array, cupy.ndarray) and (array.device.id != gpu.number or not array.flags.c_contiguous):
            raise ValueError(f"{name} must be C-contiguous and on {gpu}, found it on cuda:{array.device.id}")
    if out is not None and not isinstance(out, cupy.ndarray):
        raise ValueError(f"out must be a cupy array on {gpu}, got {type(out).__name__}")
    with gpu.current():
        source = gpu.upload(images) if isinstance(images, np.ndarray) else images
        kernel = kernel_for(gpu, spec)
        rows = kernel.rows(table, len(images))
        if out is None:
            out = gpu.array(DeviceMemory(gpu, len(rows) * spec.crop_bytes), spec.out_shape(len(rows)), spec.out_dtype)
        work = DeviceMemory(gpu, n_bytes) if (n_bytes := kernel.work_bytes(len(rows))) else None
        kernel.launch(source, rows, gpu.upload(rows), out, work=work)()
        cupy.cuda.get_current_stream().synchronize()
    return out
