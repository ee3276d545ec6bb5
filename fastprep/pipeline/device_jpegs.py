"""JPEGs decoded on a CUDA device by nvImageCodec. No other module imports it.

This is written to nvImageCodec's documented interface: docs/notes/encoded-images.md says what was never seen.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.errors import DeviceUnavailableError
from fastprep.h5 import CopySink, PackSink
from fastprep.kernels.device import DeviceMemory, Gpu
from fastprep.pipeline.decoding import DeviceDecoding

INSTALL = "pip install 'fastprep[gpu-jpeg]'"
_LEAST_VERSION = (0, 9)
_UINT8 = np.dtype(np.uint8)
_END = b"\xff\xd9"  # the marker at the end of a JPEG
_TRIAL = np.full((16, 24, 3), (200, 60, 20), np.uint8)  # of one colour, whose channels can't be mistaken for each other
_MOST_OFF = 6  # levels by which it may come out different


def nvimgcodec() -> Any:
    """Return the module.

    Raises
    ------
    DeviceUnavailableError
        If it is not installed, or too old; the text has the command that installs it.
    """
    try:
        from nvidia import nvimgcodec as module
    except Exception as error:  # not only ImportError: it loads libraries
        problem = " ".join(str(error).split())
        raise DeviceUnavailableError(
            f'decode="device" needs nvImageCodec, which can\'t be imported ({problem}): {INSTALL}, or pass decode="cpu"'
        ) from error
    version = str(module.__version__)
    if tuple(int(part) for part in version.split(".")[:2]) < _LEAST_VERSION:
        least = ".".join(map(str, _LEAST_VERSION))
        raise DeviceUnavailableError(
            f'decode="device" needs nvImageCodec {least} or later, and {version} is installed: {INSTALL}, or pass decode="cpu"'
        )
    return module


class _TakesJpegs:
    """Sink that takes JPEGs as they are stored, too; see `fastprep.h5.TakesJpegs`."""

    jpegs: weakref.ref[JpegDecoder]  # an error that is kept keeps its sink, and must not keep memory of the device

    def take_jpegs(
        self, rows: list[NDArray[np.uint8]], slots: NDArray[np.int64], may_take: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Queue the decoding of JPEGs; see `JpegDecoder.take`."""
        decoder = self.jpegs()
        assert decoder is not None
        return decoder.take(rows, slots, may_take)


class JpegCopySink(_TakesJpegs, CopySink):
    """Sink of images of one size, and of JPEGs."""


class JpegPackSink(_TakesJpegs, PackSink):
    """Sink of images of different sizes, and of JPEGs."""


@dataclass(frozen=True)
class _Pixels:
    """Memory of an image that the library keeps."""

    address: int
    n_bytes: int
    image: Any


class JpegDecoder:
    """Decoder of one thread, and the images of one input that it decodes for a batch.

    The library decodes into memory that it manages itself, and keeps: its images are used again, the largest for the largest.
    A copy on the device brings pixels to their places. All of it is queued on the thread's stream.

    Parameters
    ----------
    gpu : Gpu
    stream : cupy stream
    n_channels : int
        1 or 3.
    target : DeviceMemory
        Memory for the images of a batch.
    decoding : DeviceDecoding
        Where decoded images are counted.

    Raises
    ------
    DeviceUnavailableError
        If the library can't be used, or does not decode a JPEG of one colour to this colour.
    """

    def __init__(self, gpu: Gpu, stream: Any, n_channels: int, target: DeviceMemory, decoding: DeviceDecoding) -> None:
        self._gpu, self._stream, self._n_channels, self._target, self._decoding = gpu, stream, n_channels, target, decoding
        self._idle: list[Any] = []  # images of the library
        self._in_use: list[Any] = []
        self._kept: list[Any] = []  # what must stay until the stream was waited for
        self._codec = nvimgcodec()
        kinds = self._codec.BackendKind
        # none of the library's decoders on the CPU: what those do with damaged images is not what `decode` does
        backends = [self._codec.Backend(kind) for kind in (kinds.HW_GPU_ONLY, kinds.GPU_ONLY, kinds.HYBRID_CPU_GPU)]
        self._decoder = self._codec.Decoder(
            device_id=gpu.number, max_num_cpu_threads=1, backends=backends, options=":fancy_upsampling=1"
        )
        spec, samples = self._codec.ColorSpec, self._codec.SampleFormat
        self._params = self._codec.DecodeParams(
            apply_exif_orientation=False,
            color_spec=spec.SRGB if n_channels == 3 else spec.GRAY,
            sample_format=samples.I_RGB if n_channels == 3 else samples.I_Y,
        )
        self._check()
        self.begin(np.zeros(0, np.int64), np.zeros((0, 2), np.int64))

    def begin(self, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        """Begin a batch. The stream has done all of the one before.

        Parameters
        ----------
        starts : ndarray of int64, shape (n_slots,)
            First byte of the image of each slot in the memory for images.
        sizes : ndarray of int64, shape (n_slots, 2)
            Height and width of each.
        """
        self._idle = sorted([*self._idle, *self._in_use], key=lambda image: image.capacity)
        if sum(image.capacity for image in self._idle) > 2 * self._target.n_bytes:  # of other batches, with larger images
            self._idle = []
        self._in_use, self._kept = [], []
        self._starts, self._sizes = starts, sizes
        self._is_taken = np.zeros(len(starts), bool)

    def pass_over(self, n_images: int) -> None:
        """Count the images of a batch that are decoded on the CPU altogether."""
        self._decoding.count(0, n_images)

    def take(self, rows: list[NDArray[np.uint8]], slots: NDArray[np.int64], may_take: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Queue the decoding of JPEGs in one call, and copies of their pixels; see `fastprep.h5.TakesJpegs`.

        JPEGs whose end is missing are left to the decoder on the CPU, which finds out whether they are whole.
        """
        self._is_taken[slots] = False  # another image may have come in the place of a damaged one
        found = [(k, rows[k].tobytes().rstrip(b"\0")) for k in np.flatnonzero(may_take).tolist()]
        whole = [(k, data) for k, data in found if data.endswith(_END)]
        whole.sort(key=lambda pair: -int(self._sizes[slots[pair[0]]].prod()))
        for (k, _), image in zip(whole, self._decoded([data for _, data in whole]), strict=True):
            if image is not None:
                self._is_taken[slots[k]] = self._copy(image, int(slots[k]))
        return self._is_taken[slots]

    def not_taken(self) -> Iterator[tuple[int, int]]:
        """Yield first byte and end of each run of images that came as pixels, and count how many were decoded where."""
        n_taken = int(self._is_taken.sum())
        self._decoding.count(n_taken, len(self._is_taken) - n_taken)
        edges = np.flatnonzero(np.diff(self._is_taken, prepend=True, append=True))
        for first, stop in edges.reshape(-1, 2).tolist():
            yield int(self._starts[first]), int(self._starts[stop - 1] + self._sizes[stop - 1].prod() * self._n_channels)

    def _decoded(self, encoded: list[bytes]) -> list[Any]:
        """Queue the decoding of JPEGs, the largest first; return the library's images, None for those that it can't decode."""
        if not encoded:
            return []
        streams = [self._codec.CodeStream(data) for data in encoded]
        again = [self._idle.pop() for _ in range(min(len(self._idle), len(streams)))]
        self._kept += [encoded, streams, again]
        images, options = [], {"params": self._params, "cuda_stream": self._stream.ptr}
        if again:
            images += self._decoder.decode(streams[: len(again)], images=again, **options)
        if len(again) < len(streams):
            images += self._decoder.decode(streams[len(again) :], **options)
        self._in_use += [image for image in images if image is not None]
        return images

    def _copy(self, image: Any, slot: int) -> bool:
        """Queue the copy of decoded pixels to their place; return False if they are not those that the header tells."""
        shape = (*self._sizes[slot].tolist(), self._n_channels)
        if (pixels := self._pixels(image, shape)) is None:
            return False
        self._gpu.copy_on_device(self._gpu.array(self._target, shape, _UINT8, int(self._starts[slot])), pixels, self._stream)
        return True

    def _pixels(self, image: Any, shape: tuple[int, ...]) -> Any:
        """Return an array over the pixels of an image, by the CUDA array interface; None if it has another shape."""
        facts = image.__cuda_array_interface__
        strides = facts.get("strides")
        is_dense = strides is None or tuple(strides) == (shape[1] * shape[2], shape[2], 1)
        if tuple(facts["shape"]) != shape or facts["typestr"] != "|u1" or not is_dense:
            return None
        if facts.get("stream") not in (None, self._stream.ptr):  # else the copy could come before the pixels
            raise RuntimeError(
                'nvImageCodec has decoded on another stream than that of the call; pass decode="cpu", and report this'
            )
        n_bytes = int(np.prod(shape))
        return self._gpu.array(_Pixels(facts["data"][0], n_bytes, image), shape, _UINT8)

    def _check(self) -> None:
        """Decode a JPEG of one colour, and compare."""
        from fastprep.encoded.encode import encode  # with Pillow, which batches of pixels do without

        pixels = np.ascontiguousarray(_TRIAL[..., : self._n_channels])
        (image,) = self._decoded([encode(pixels, "jpeg", 95)])
        self._stream.synchronize()  # the image may be let go of below
        who = f"nvImageCodec {self._codec.__version__} on {self._gpu}"
        advice = f'install it with nvJPEG, {INSTALL}, or pass decode="cpu"'
        if image is None:
            raise DeviceUnavailableError(f"{who} decodes no JPEG, and standard error has its reason; {advice}")
        if (there := self._pixels(image, pixels.shape)) is None:
            found = image.__cuda_array_interface__
            shown = f"{found['shape']} of {found['typestr']} with the strides {found.get('strides')}"
            raise DeviceUnavailableError(f"{who} gives an array {shown} for a JPEG of {pixels.shape} pixels; {advice}")
        got = self._gpu.pinned(pixels.nbytes)
        self._gpu.copy_back(got, there, self._stream)
        self._stream.synchronize()
        off = int(np.abs(got.reshape(pixels.shape).astype(int) - pixels).max())
        if off > _MOST_OFF:
            raise DeviceUnavailableError(f"{who} decodes a JPEG of one colour to another, {off} levels away; {advice}")

    def __del__(self) -> None:
        held = self.__dict__.pop("_decoder", None), [self.__dict__.pop(name, None) for name in ("_idle", "_in_use", "_kept")]
        if self._gpu.is_of_this_process and not sys.is_finalizing():
            with self._gpu.current():
                del held
        else:  # the library must not touch a device that is not ours in a forked process: nobody lets go of its objects
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))
