"""A strict stand-in for cupy, without a GPU: what is queued is done as late as CUDA's rules allow, or in any order they allow.

Copies and launches are only noted down. Operations of one stream are done in their order; streams know nothing of each other; an
operation is done at a synchronisation that covers it, or earlier, as a `Schedule` decides. So whatever the caller did not wait
for is, under some schedule, not there yet, and what it used again too early is read too late. A copy reads pinned memory
when it is done, and ordinary memory when it is called. New memory, freed memory and pinned memory that was let go are poison.

An event stands for what its stream held when it was recorded, and a stream that waits for it goes no further until that is
done. While a consumer captures a graph (`Machine.capturing`), a wait for the device, an allocation, a release of memory and any
use of the captured stream or of the default stream is an error, which is noted in `Machine.spoilt`: the capture is lost. These
are the rules of the strictest mode, where other threads count as well; only to wait for an event or a stream is left to threads
that are in relaxed mode.

The rules: CUDA C++ Programming Guide, "Asynchronous Concurrent Execution"; CUDA Runtime API, "API synchronization behavior". The
kernel is the oracle of `reference.py`, on what the device's memory holds when the kernel runs; that the kernels do the same is
shown in `tests/kernels`. Names and arguments are cupy's, and only those that fastprep uses.
"""

import collections
import contextlib
import ctypes
import os
import random
import sys
import threading
import types
from dataclasses import dataclass, field

import numpy as np
import reference
from standard_launches import Standardizing, Statistics
from warp_records import warped, warped_one_by_one

from fastprep.kernels import captures

POISON = 0xA5
NOT_IN_A_CAPTURE = ("Device.synchronize", "malloc", "free", "hostAlloc", "freeHost", "RawModule")
NOT_UNLESS_RELAXED = ("Event.synchronize", "Stream.synchronize")  # by a thread in relaxed mode they may be called
GLOBAL, RELAXED = 0, 2  # modes of a thread


class CUDARuntimeError(RuntimeError):
    """As cupy's: a RuntimeError whose text begins with CUDA's name of the error."""


@dataclass
class Schedule:
    """When queued operations are done that need not wait any longer.

    Attributes
    ----------
    eagerness : float
        0: at the latest moment. Else the chance that, at each call, one more operation of any stream is done.
    readers_first : bool
        Whether a synchronisation of the device does the readers' operations before the others'; else in any order.
    seed : int
    """

    eagerness: float = 0.0
    readers_first: bool = True
    seed: int = 0


@dataclass
class Region:
    """A piece of memory of a device, or pinned memory of the host (device None)."""

    address: int
    content: np.ndarray
    device: int | None


@dataclass(eq=False)
class Queue:
    """Operations of one stream that are not done yet."""

    device: int
    is_reader: bool = False
    pending: collections.deque = field(default_factory=collections.deque)
    n_done: int = 0


@dataclass
class Wait:
    """Operation that is done when another stream has done its first `number` operations."""

    queue: Queue
    number: int


class Machine:
    """Some devices, their memory and their streams; `cupy` is the module that drives them."""

    def __init__(self, schedule=None, n_devices=1, device_bytes=1 << 30, host_bytes=1 << 30):
        self.schedule = schedule or Schedule()
        self.n_devices, self.device_bytes, self.host_bytes = n_devices, device_bytes, host_bytes
        self.random = random.Random(self.schedule.seed)
        self.lock = threading.RLock()
        self.process = os.getpid()
        self.regions, self.queues, self.error = {}, [], None
        self.thread = threading.local()
        self.calls = collections.Counter()
        self.contexts = set()  # devices that have one
        self.is_remembered = False  # whether a thread whose context was taken away stays on that device; no text says so
        self.compiler_log, self.architectures = "", (75, 80, 90, 120)  # NVRTC's complaint, if it has one; what it compiles for
        self.l2_bytes = 1 << 14
        self.captured, self.spoilt = None, []  # the stream of which a graph is being captured; the calls that made that fail
        self.before_call = lambda name: None  # for tests: where other threads could do something
        self.readers = [self.queue(number, is_reader=True) for number in range(n_devices)]
        self.null = [self.queue(number) for number in range(n_devices)]
        self.cupy = module(self)

    # --- time

    def call(self, name):
        """Note a call of cupy's, at which anything may be done that is queued."""
        if os.getpid() != self.process:
            raise CUDARuntimeError("cudaErrorInitializationError: initialization error")
        self.before_call(name)
        if name != "getDeviceCount":  # else a context is needed, and made where there is none
            self.set_context(self.current_device)
        with self.lock:
            self.calls[name] += 1
            is_relaxed = getattr(self.thread, "mode", GLOBAL) == RELAXED
            if self.captured is not None and (name in NOT_IN_A_CAPTURE or (name in NOT_UNLESS_RELAXED and not is_relaxed)):
                self.spoil(name)
            while self.random.random() < self.schedule.eagerness:
                waiting = [queue for queue in self.queues if queue.pending]
                if not waiting:
                    break
                self.do_one(self.random.choice(waiting))

    def do_one(self, queue):
        operation = queue.pending[0]
        if isinstance(operation, Wait):
            while operation.queue.n_done < operation.number:
                self.do_one(operation.queue)  # nothing else lets this stream go on
            queue.pending.popleft()
        else:
            queue.pending.popleft()
            try:
                operation()
            except CUDARuntimeError as error:
                self.error = self.error or error
        queue.n_done += 1

    def exchange_mode(self, pointer):
        """Do what the driver's `cuThreadExchangeStreamCaptureMode` does."""
        mode = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_int)).contents
        self.thread.mode, mode.value = mode.value, getattr(self.thread, "mode", GLOBAL)
        return 0

    def spoil(self, name):
        self.spoilt.append(name)
        raise CUDARuntimeError(f"cudaErrorStreamCaptureUnsupported: {name} is not permitted when stream is capturing")

    def touch(self, queue, name):
        """Note that the host uses a stream, which nobody may who is not part of its capture."""
        if self.captured is not None and (queue is self.captured or queue in self.null):
            self.spoil(name)

    @contextlib.contextmanager
    def capturing(self, queue=None):
        """Let a consumer capture what it queues on a stream, by default that of the first device's reads, meanwhile."""
        self.captured = self.readers[0] if queue is None else queue
        try:
            yield
        finally:
            self.captured = None

    def finish(self, queue):
        """Do all of a stream; others may go on meanwhile, or not."""
        with self.lock:
            while queue.pending:
                self.do_one(queue)
            self.raise_error()

    def finish_device(self, number):
        with self.lock:
            while waiting := [queue for queue in self.queues if queue.pending and queue.device == number]:
                readers = [queue for queue in waiting if queue.is_reader]
                self.do_one(self.random.choice(readers if readers and self.schedule.readers_first else waiting))
            self.raise_error()

    def raise_error(self):
        if self.error is not None:  # it stays: nothing works any more on a device where something like this happened
            raise self.error

    def queue(self, device, is_reader=False):
        queue = Queue(device, is_reader)
        self.queues.append(queue)
        return queue

    def read_later(self, x, queue=None):
        """Queue a read of an array, as a consumer does on a stream of its own; return where its contents will be."""
        seen = []
        address, shape, dtype, device = x.data.ptr, x.shape, x.dtype, x.device.id
        with self.lock:  # no reference to x: the host's go when the read is queued
            (queue or self.readers[device]).pending.append(
                lambda: seen.append(self.content(address, shape, dtype, device).copy())
            )
        return seen

    # --- memory

    def allocate(self, n_bytes, device):
        block = np.full(n_bytes + 512, POISON, np.uint8)
        first = -block.ctypes.data % 512
        region = Region(block.ctypes.data + first, block[first : first + n_bytes], device)
        with self.lock:
            self.regions[region.address] = region
        return region

    def free(self, address):
        with self.lock:
            region = self.regions.pop(address, None)
        if region is None:
            raise CUDARuntimeError("cudaErrorInvalidValue: invalid argument")
        region.content[:] = POISON

    def bytes_at(self, address, n_bytes, device):
        """Return memory, if it is there and that large: None is the host's pinned memory."""
        for region in self.regions.values():
            first = address - region.address
            if region.device == device and 0 <= first <= len(region.content) - n_bytes:
                return region.content[first : first + n_bytes]
        return None

    def content(self, address, shape, dtype, device):
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        found = self.bytes_at(address, n_bytes, device)
        if found is None:
            raise CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")
        return found.view(dtype).reshape(shape)

    @property
    def current_device(self):
        return getattr(self.thread, "device", 0)

    @property
    def current_context(self):
        """The number of the device, from 1, or 0 for none."""
        return getattr(self.thread, "context", 0)

    def set_context(self, number):
        if not 0 <= number < self.n_devices:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self.contexts.add(number)
        self.thread.device, self.thread.context = number, number + 1

    def bind(self, context):
        """Make a context current that there is, or none: then the next call makes one, on the current device."""
        self.thread.context = context
        if context:
            self.thread.device = context - 1
        elif not self.is_remembered:
            self.thread.device = 0

    @property
    def current_queue(self):
        return getattr(self.thread, "queue", None) or self.null[self.current_device]


def module(machine):
    """Return the module `cupy` of a machine."""

    class Device:
        def __init__(self, number):
            if not 0 <= number < machine.n_devices:
                raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
            self.id, self.before = number, []

        def __enter__(self):
            self.before.append(machine.current_device)
            if self.id != machine.current_device:
                machine.set_context(self.id)
            return self

        def __exit__(self, *exception):
            machine.set_context(self.before.pop())

        def synchronize(self):
            machine.call("Device.synchronize")
            machine.finish_device(self.id)

    class Stream:
        def __init__(self, null=False, non_blocking=False):
            assert non_blocking or null, "a blocking stream waits for the null stream: not what is wanted here"
            machine.call("Stream")
            self.queue = machine.null[machine.current_device] if null else machine.queue(machine.current_device)
            self.ptr, self.before = id(self.queue), []

        def __enter__(self):
            self.before.append(getattr(machine.thread, "queue", None))
            machine.thread.queue = self.queue
            return self

        def __exit__(self, *exception):
            machine.thread.queue = self.before.pop()

        def synchronize(self):
            machine.call("Stream.synchronize")
            machine.touch(self.queue, "Stream.synchronize")
            machine.finish(self.queue)

        def wait_event(self, event):
            machine.call("Stream.wait_event")
            with machine.lock:
                machine.touch(self.queue, "Stream.wait_event")
                self.queue.pending.append(Wait(event.queue, event.number))

    class ExternalStream(Stream):
        def __init__(self, ptr, device_id=-1):
            machine.call("ExternalStream")
            self.queue = next(queue for queue in machine.queues if id(queue) == ptr)
            assert device_id == self.queue.device
            self.ptr, self.before = ptr, []

    class Event:
        def __init__(self, block=False, disable_timing=False):
            assert block, "a thread that waits for this event keeps a processor busy"
            assert disable_timing, "nobody asks for the time"
            machine.call("Event")
            self.device, self.queue, self.number = machine.current_device, None, 0

        def record(self, stream):
            machine.call("Event.record")
            with machine.lock:
                assert stream.queue.device == self.device, "the event is another device's"
                machine.touch(stream.queue, "Event.record")
                self.queue, self.number = stream.queue, stream.queue.n_done + len(stream.queue.pending)

        def synchronize(self):
            machine.call("Event.synchronize")
            with machine.lock:
                while self.queue.n_done < self.number:
                    machine.do_one(self.queue)
                machine.raise_error()

    class UnownedMemory:
        def __init__(self, ptr, size, owner, device_id=-1):
            self.ptr, self.size, self.owner, self.device_id = ptr, size, owner, device_id

    class MemoryPointer:
        def __init__(self, mem, offset):
            self.mem, self.ptr = mem, mem.ptr + offset

    class ndarray:
        """What is there of cupy's: no conversion to numpy by itself, as there."""

        def __init__(self, shape, dtype=float, memptr=None):
            self.shape, self.dtype, self.data = tuple(shape), np.dtype(dtype), memptr
            self.ndim, self.size = len(self.shape), int(np.prod(self.shape))
            self.nbytes = self.size * self.dtype.itemsize
            self.flags = types.SimpleNamespace(c_contiguous=True)
            self.device = types.SimpleNamespace(id=memptr.mem.device_id)
            self.__cuda_array_interface__ = {"version": 3}
            assert memptr.ptr - memptr.mem.ptr + self.nbytes <= memptr.mem.size

        def __len__(self):
            return self.shape[0]

        def __array__(self, *arguments, **options):
            raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

        def get(self):
            """Copy to the host: ordered after what the current stream holds, and after nothing else."""
            machine.call("get")
            with machine.lock:
                machine.finish(machine.null[self.device.id])
                return machine.content(self.data.ptr, self.shape, self.dtype, self.device.id).copy()

    def malloc(n_bytes):
        machine.call("malloc")
        with machine.lock:
            used = sum(len(r.content) for r in machine.regions.values() if r.device == machine.current_device)
        if used + n_bytes > machine.device_bytes:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        return machine.allocate(n_bytes, machine.current_device).address

    def free(address):
        machine.call("free")
        machine.free(address)

    def host_alloc(n_bytes, flags):
        machine.call("hostAlloc")
        assert flags == runtime.hostAllocPortable, "only the current device would take it for pinned"
        with machine.lock:
            used = sum(len(region.content) for region in machine.regions.values() if region.device is None)
        if used + n_bytes > machine.host_bytes:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        return machine.allocate(n_bytes, None).address

    def free_host(address):
        machine.call("freeHost")
        machine.free(address)

    def memcpy_async(dst, src, n_bytes, kind, stream):
        machine.call("memcpyAsync")
        with machine.lock:
            queue = next(queue for queue in machine.queues if id(queue) == stream)
            assert queue.device == machine.current_device, "the stream is another device's"
            if kind == runtime.memcpyDeviceToHost:
                target = machine.bytes_at(dst, n_bytes, None)
                assert target is not None, "copies to ordinary memory are not asynchronous"

                def copy_back():
                    target[:] = machine.content(src, (n_bytes,), np.dtype(np.uint8), queue.device)

                queue.pending.append(copy_back)
                return
            on_device = kind == runtime.memcpyDeviceToDevice
            source = machine.bytes_at(src, n_bytes, queue.device if on_device else None)
            if source is None:  # such a copy returns when the source has been read
                assert kind == runtime.memcpyHostToDevice
                source = np.frombuffer(ctypes.string_at(src, n_bytes), np.uint8)

            def copy():
                machine.content(dst, (n_bytes,), np.dtype(np.uint8), queue.device)[:] = source

            queue.pending.append(copy)

    def memset_async(dst, value, n_bytes, stream):
        machine.call("memsetAsync")
        with machine.lock:
            queue = next(queue for queue in machine.queues if id(queue) == stream)
            assert queue.device == machine.current_device, "the stream is another device's"

            def fill():
                machine.content(dst, (n_bytes,), np.dtype(np.uint8), queue.device)[:] = value

            queue.pending.append(fill)

    class RawModule:
        def __init__(self, *, code, options, backend):
            assert backend == "nvrtc"
            machine.call("RawModule")
            (self.function,) = (name for name in KERNELS if f"{name}(" in code)
            self.constants = dict(option[2:].split("=") for option in options if option.startswith("-D"))
            self.device = machine.current_device

        def get_function(self, name):
            assert name == self.function
            return lambda grid, block, arguments: launch(self, grid, block, arguments)

    def launch(compiled, grid, block, arguments):
        machine.call("launch")
        queue, device = machine.current_queue, machine.current_device
        machine.touch(queue, "launch")
        assert device == queue.device == compiled.device, "compiled, or the stream, for another device"
        kernel = KERNELS[compiled.function](compiled.constants, grid, block, arguments)
        with machine.lock:
            queue.pending.append(lambda: kernel.run(machine, device))

    def mem_get_info():
        machine.set_context(machine.current_device)
        return machine.device_bytes // 2, machine.device_bytes

    def get_device_count():
        machine.call("getDeviceCount")
        if machine.n_devices == 0:
            raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
        return machine.n_devices

    runtime = types.SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        memcpyHostToDevice=1,
        memcpyDeviceToHost=2,
        memcpyDeviceToDevice=3,
        memsetAsync=memset_async,
        memcpyAsync=memcpy_async,
        malloc=malloc,
        free=free,
        getDeviceCount=get_device_count,
        driverGetVersion=lambda: 12090,
        hostAlloc=host_alloc,
        freeHost=free_host,
        hostAllocPortable=1,
        getDevice=lambda: machine.current_device,
        setDevice=machine.set_context,  # since CUDA 12
        memGetInfo=mem_get_info,
        getDeviceProperties=lambda number: {
            "name": b"stand-in",
            "major": 9,
            "minor": 0,
            "l2CacheSize": machine.l2_bytes,
        },
    )
    cuda = types.SimpleNamespace(
        runtime=runtime,
        driver=types.SimpleNamespace(ctxGetCurrent=lambda: machine.current_context, ctxSetCurrent=machine.bind),
        nvrtc=nvrtc_of(machine),
        Device=Device,
        Stream=Stream,
        ExternalStream=ExternalStream,
        Event=Event,
        UnownedMemory=UnownedMemory,
        MemoryPointer=MemoryPointer,
        get_current_stream=lambda: Stream(null=True),
    )
    made = types.ModuleType("cupy")
    made.__dict__.update(cuda=cuda, ndarray=ndarray, RawModule=RawModule, __version__="0 (stand-in)")
    return made


def nvrtc_of(machine):
    """Return what `cupy.cuda.nvrtc` does for a trial: compiles for the architectures it knows, if it has all its parts."""
    logs = {}

    def compile_program(program, options):
        (option,) = options
        if machine.compiler_log:
            logs[program] = machine.compiler_log
        elif int(option.removeprefix("--gpu-architecture=sm_")) not in machine.architectures:
            logs[program] = "nvrtc: error: invalid value for --gpu-architecture (-arch)\n"
        if logs[program]:
            raise RuntimeError("NVRTC_ERROR_COMPILATION (6)")

    def create_program(source, name, headers, include_names):
        assert not headers
        assert not include_names
        program = max(logs, default=0) + 1
        logs[program] = ""
        return program

    return types.SimpleNamespace(
        getVersion=lambda: (12, 9),
        getSupportedArchs=lambda: tuple(machine.architectures),
        createProgram=create_program,
        compileProgram=compile_program,
        getProgramLog=lambda program: logs[program],
        destroyProgram=lambda program: logs.pop(program),
    )


class Kernel:
    """One launch: what it was given, and, when it runs, the oracle on what is in memory then."""

    def __init__(self, constants, grid, block, arguments):
        number = {name: int(value) for name, value in constants.items() if value.isdigit()}
        self.constants = constants
        images, table, mean, scale, out, *checks = arguments
        assert len(checks) == number.get("CHECK_FINITE", 0)
        tiles = -(-number["CROP_HEIGHT"] // number["TILE_ROWS"]) * -(-number["CROP_WIDTH"] // number["TILE_COLUMNS"])
        assert (grid, block) == ((len(out) * tiles,), (number["THREADS"],))
        assert len(table) == len(out) or (len(table) > len(out) and "TAPS_AT" in number)
        assert images.dtype.name == constants["SOURCE"]
        self.set_source(number, images.shape)
        assert table.dtype == np.int32
        assert table.shape[1] == number.get("RECORD", 4)
        assert number["MEAN"] == {0: 0, 1: 1, 3: 2}[mean.ndim]
        assert number["SCALE"] == scale.ndim
        # Null pointers are numpy scalars. No reference is kept to the arrays: CUDA keeps none
        self.arrays = [None if isinstance(a, np.generic) else (a.data.ptr, a.shape, a.dtype) for a in arguments]
        self.size = (number["CROP_HEIGHT"], number["CROP_WIDTH"])
        self.target = constants["TARGET"]
        self.layout = "channels_first" if number["CHANNELS_FIRST"] else "channels_last"

    def set_source(self, number, shape):
        """Check the shape of the images, and keep where the numbers of one are."""
        sides = number["HEIGHT"], number["WIDTH"], number["CHANNELS"]
        self.places = _places(self.constants, sides) if "ROW_STEP" in number else np.arange(np.prod(sides)).reshape(sides)
        n_channels = number.get("SOURCE_CHANNELS", number["CHANNELS"])
        assert sorted(shape[1:]) == sorted((*sides[:2], n_channels))
        assert "ROW_STEP" in number or shape[1:] == sides

    def run(self, machine, device):
        arrays = [None if array is None else machine.content(*array, device) for array in self.arrays]
        images, table, mean, scale, out, *checks = arrays
        try:
            out[...] = self.result(images, table, mean, scale)
            for not_finite in checks:
                not_finite[~np.isfinite(out.astype(np.float32)).reshape(len(out), -1).all(axis=1)] = 1
        except (ValueError, IndexError) as error:  # the table leads outside the images
            raise CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered") from error

    def result(self, images, table, mean, scale):
        return reference.crop(self.in_order(images), table, self.size, mean, scale, self.target, self.layout)

    def in_order(self, images):
        return images.reshape(len(images), -1)[:, self.places]


class Warping(Kernel):
    """One launch of the warp kernel."""

    def set_source(self, number, shape):
        if "IMAGE_AT" not in number:
            super().set_source(number, shape)
        else:
            assert len(shape) == 1
            assert not {"HEIGHT", "WIDTH", "ROW_STEP", "COLUMN_STEP"} & number.keys()

    def result(self, images, table, mean, scale):
        if "IMAGE_AT" in self.constants:
            n_out = self.arrays[4][1][0]
            return warped_one_by_one(self.constants, images, table, n_out, mean, scale)
        return warped(self.constants, self.in_order(images), table, mean, scale)


class Blending:
    """One launch of the blend kernel, like `Kernel`."""

    def __init__(self, constants, grid, block, arguments):
        x, shares, rectangles, n = arguments
        parts = -(-int(np.prod(x.shape[1:])) // int(constants["PART"]))
        assert (grid, block) == ((n // 2 * parts,), (int(constants["THREADS"]),))
        assert x.dtype == reference.DTYPES[constants["TARGET"]]
        assert (shares.dtype, rectangles.dtype, n.dtype) == (np.float32, np.int32, np.int32)
        assert len(x) == len(shares) == len(rectangles) == n
        self.is_channels_first = constants["CHANNELS_FIRST"] == "1"
        sides = [x.shape[k] for k in ((2, 3, 1) if self.is_channels_first else (1, 2, 3))]
        assert sides == [int(constants[name]) for name in ("HEIGHT", "WIDTH", "CHANNELS")]
        self.arrays = [(a.data.ptr, a.shape, a.dtype) for a in (x, shares, rectangles)]

    def run(self, machine, device):
        x, shares, rectangles = (machine.content(*array, device) for array in self.arrays)
        images = x.transpose(0, 2, 3, 1) if self.is_channels_first else x
        with np.errstate(all="ignore"):
            images[...] = reference.blend(images, shares, rectangles)


KERNELS = {"fastprep_crop": Kernel, "fastprep_warp": Warping, "fastprep_blend": Blending}
KERNELS |= {"fastprep_statistics": Statistics, "fastprep_standardize": Standardizing}


def _places(constants, sides):
    """Return where in a source image each number of the image (H, W, C) is, by the constants of the kernel."""
    row, column, channel = (int(constants[name]) for name in ("ROW_STEP", "COLUMN_STEP", "CHANNEL_STEP"))
    y, x, c = np.indices(sides)
    picked = np.array([int(part) for part in constants["PICKED"].split(",")]) if "PICKED" in constants else np.arange(sides[2])
    return y * row + x * column + picked[c] * channel


@contextlib.contextmanager
def installed(schedule=None, **options):
    """Have `import cupy` give a stand-in; yield its machine."""
    machine = Machine(schedule, **options)
    before, driver = sys.modules.get("cupy"), captures._exchange
    sys.modules["cupy"] = machine.cupy
    captures._exchange = lambda: machine.exchange_mode
    try:
        yield machine
    finally:
        captures._exchange = driver
        if before is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = before
