"""A stand-in for nvImageCodec on the stand-in for a GPU: its documented interface, as far as it is used, with the CPU's pixels.

A decode works on a stream of the library's own, which waits for the stream of the call, and for which that stream waits then.
So the pixels are there only for what is queued on that stream, and nothing is done before it has to be. Memory of an image
comes from the library, and not from the machine's `malloc`: what fastprep allocates is counted apart.
"""

import contextlib
import sys
import types
from enum import Enum

import numpy as np
from fake_cupy import Wait

from fastprep.encoded import decode
from fastprep.errors import DecodeError

BackendKind = Enum("BackendKind", "CPU_ONLY GPU_ONLY HYBRID_CPU_GPU HW_GPU_ONLY")
ColorSpec = Enum("ColorSpec", "UNCHANGED SYCC SRGB GRAY")
SampleFormat = Enum("SampleFormat", "I_AUTO_COMPONENTS I_RGB P_RGB I_Y P_Y")


class Codec:
    """The library on a machine; `module` is what is imported.

    Attributes
    ----------
    calls : list of (int, int)
        How many images each call of `decode` was given, and how many of its images were used again.
    refuses : callable
        Tells of which bytes the library gives None.
    """

    def __init__(self, machine, version="0.9.0"):
        self.machine, self.calls, self.refuses = machine, [], lambda data: False
        self.is_ordered = True  # whether the stream of the call waits for the library's
        self.n_images = 0  # that hold memory
        codec = self

        class Backend:
            def __init__(self, backend_kind=BackendKind.GPU_ONLY, load_hint=1.0):
                self.backend_kind = backend_kind

        class DecodeParams:
            def __init__(self, apply_exif_orientation=True, color_spec=ColorSpec.SRGB, allow_any_depth=False, sample_format=None):
                self.apply_exif_orientation, self.color_spec, self.sample_format = (
                    apply_exif_orientation,
                    color_spec,
                    sample_format,
                )

        class CodeStream:
            def __init__(self, data):
                assert isinstance(data, bytes)
                self.data = data

        class Image:
            def __init__(self, device):
                self.device, self.capacity, self.region = device, 0, None

            def hold(self, shape, stream):
                n_bytes = int(np.prod(shape))
                if n_bytes > self.capacity:
                    self.release()
                    self.region, self.capacity = codec.machine.allocate(n_bytes, self.device), n_bytes
                    codec.n_images += 1
                facts = {"shape": shape, "strides": None, "typestr": "|u1", "version": 3, "stream": stream}
                self.__cuda_array_interface__ = {**facts, "data": (self.region.address, False)}

            def release(self):
                if self.region is not None:
                    codec.machine.free(self.region.address)
                    codec.n_images -= 1
                    self.region = None

            def __del__(self):
                self.release()

        class Decoder:
            def __init__(self, device_id=-1, max_num_cpu_threads=0, backends=None, options=""):
                assert backends
                assert all(own.backend_kind is not BackendKind.CPU_ONLY for own in backends)
                assert device_id == codec.machine.current_device
                self.device, self.queue = device_id, codec.machine.queue(device_id)

            def decode(self, sources, *, images=None, params=None, cuda_stream=0):
                assert images is None or len(images) == len(sources)
                assert not params.apply_exif_orientation
                codec.calls.append((len(sources), len(images or [])))
                return codec.decode(self, sources, images or [Image(self.device) for _ in sources], params, cuda_stream)

        self.module = types.SimpleNamespace(
            __version__=version,
            Backend=Backend,
            BackendKind=BackendKind,
            ColorSpec=ColorSpec,
            CodeStream=CodeStream,
            DecodeParams=DecodeParams,
            Decoder=Decoder,
            SampleFormat=SampleFormat,
        )

    def decode(self, decoder, sources, images, params, stream):
        machine, mode = self.machine, "L" if params.color_spec is ColorSpec.GRAY else "RGB"
        assert params.sample_format is (SampleFormat.I_Y if mode == "L" else SampleFormat.I_RGB)
        results = []
        with machine.lock:
            caller = next((queue for queue in machine.queues if id(queue) == stream), machine.null[decoder.device])
            decoder.queue.pending.append(Wait(caller, caller.n_done + len(caller.pending)))
            for source, image in zip(sources, images, strict=True):
                try:
                    pixels = None if self.refuses(source.data) else decode(source.data, mode)
                except DecodeError:
                    pixels = None
                results.append(None if pixels is None else image)
                if pixels is not None:
                    image.hold(pixels.shape, stream)
                    decoder.queue.pending.append(self.writing(image.region.address, pixels.copy(), decoder.device))
            if self.is_ordered or len(sources) == 1:  # as in a trial
                caller.pending.append(Wait(decoder.queue, decoder.queue.n_done + len(decoder.queue.pending)))
        return results

    def writing(self, address, pixels, device):
        def write():
            self.machine.content(address, pixels.shape, np.dtype(np.uint8), device)[...] = pixels

        return write


@contextlib.contextmanager
def installed(machine, **options):
    """Have `from nvidia import nvimgcodec` give a stand-in; yield it."""
    codec, package = Codec(machine, **options), types.ModuleType("nvidia")
    package.nvimgcodec = codec.module
    before = {name: sys.modules.get(name) for name in ("nvidia", "nvidia.nvimgcodec")}
    sys.modules.update({"nvidia": package, "nvidia.nvimgcodec": codec.module})
    try:
        yield codec
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
