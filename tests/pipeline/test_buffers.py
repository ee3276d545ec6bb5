"""Buffers: aligned, in use as long as anybody looks, never waited for without end, no memory left behind."""

import ctypes
import gc
import threading
import time
import weakref

import numpy as np
import pytest

from fastprep.pipeline import BufferPool, Lease, dlpack_capsule
from fastprep.pipeline.buffers import ALIGNMENT, Block, HostMemory, as_array, capsule_address, capsule_device


def test_buffers_are_aligned_and_used_again():
    pool = BufferPool(1000, depth=2)
    first = pool.lease()
    assert first.address % ALIGNMENT == 0
    assert first.n_bytes == 1000
    address = first.address
    del first
    assert pool.lease().address == address
    assert pool.n_allocated == 1


@pytest.mark.parametrize(
    "look", [lambda lease: as_array(lease, (10, 5), "float32"), lambda lease: dlpack_capsule(lease, (10,), "float32")]
)
def test_an_array_or_capsule_keeps_its_buffer_in_use(look):
    pool = BufferPool(1000, depth=2, patience_s=0)
    lease = pool.lease()
    address, view = lease.address, look(lease)
    del lease
    others = [pool.lease(), pool.lease()]
    assert address not in {other.address for other in others}
    del view
    assert pool.lease().address == address


def test_a_slice_of_an_array_keeps_the_buffer():
    pool = BufferPool(64, depth=1, patience_s=0)
    part = as_array(pool.lease(), (16,), "float32")[3:5].reshape(2, 1).T
    part[...] = 7
    others = [pool.lease() for _ in range(3)]
    for other in others:
        as_array(other, (16,), "float32")[...] = 0
    assert part.tolist() == [[7, 7]]


def test_a_user_who_keeps_everything_gets_memory_and_it_is_freed_again():
    pool = BufferPool(4096, depth=2, patience_s=0.001)
    kept = [as_array(pool.lease(), (1024,), "float32") for _ in range(7)]
    assert len({a.__array_interface__["data"][0] for a in kept}) == 7
    assert pool.n_allocated == 7
    kept.clear()
    pool.lease()
    assert len(pool._blocks) == 2


def test_a_view_outlives_the_pool():
    pool = BufferPool(400, depth=1)
    view = as_array(pool.lease(), (100,), "float32")
    view[...] = np.arange(100)
    pool.close()
    del pool
    gc.collect()
    assert view.tolist() == list(range(100))


def test_capsules_say_where_the_buffer_is_and_refuse_more_than_it_holds():
    lease = BufferPool(400, depth=1).lease()
    assert capsule_address(dlpack_capsule(lease, (10, 10), "float32")) == lease.address
    with pytest.raises(ValueError, match=r"shape \(101,\) of 32-bit numbers, 0 bytes from the start, is larger than the buffer"):
        dlpack_capsule(lease, (101,), "float32")
    assert capsule_address(dlpack_capsule(lease, (18,), "int64", offset=256)) == lease.address + 256
    for offset in (264, -64, 464):
        with pytest.raises(ValueError, match=rf"\(18,\) of 64-bit numbers, {offset} bytes from the start, is larger"):
            dlpack_capsule(lease, (18,), "int64", offset=offset)
    with pytest.raises(ValueError, match="at most 8 dimensions"):
        dlpack_capsule(lease, (1,) * 9, "float32")


def test_numpy_reads_the_memory_a_capsule_lends():
    lease = BufferPool(400, depth=1).lease()
    as_array(lease, (100,), "float32")[...] = np.arange(100)

    class Exporter:
        def __dlpack__(self, **options):
            return dlpack_capsule(lease, (100,), "float32")

        def __dlpack_device__(self):
            return 1, 0

    borrowed = np.from_dlpack(Exporter())
    assert borrowed.__array_interface__["data"][0] == lease.address
    assert borrowed.tolist() == list(range(100))


def test_many_threads_never_share_a_buffer():
    pool = BufferPool(8, depth=3, patience_s=0.0005)
    wrong = []

    def work(number):
        for _ in range(300):
            view = as_array(pool.lease(), (2,), "float32")
            view[...] = number
            if (view != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_no_memory_is_a_clear_error():
    with pytest.raises(MemoryError, match="no memory for a batch of"):
        BufferPool(1 << 60, depth=1).lease()


def test_a_lease_without_a_block_cannot_be_made():
    for bad in ((), (None,), (3,)):
        with pytest.raises(TypeError):
            Lease(*bad)


# --- memory of somebody else's, as that of a CUDA device


class Owner:
    """Stands for a device's memory."""

    def __init__(self, n_bytes=4096):
        self.content = np.zeros(n_bytes + ALIGNMENT, np.uint8)
        self.address = self.content.ctypes.data + -self.content.ctypes.data % ALIGNMENT
        self.n_bytes = n_bytes


class Foreign:
    """A `Memory` of such, which notes what is asked of it."""

    def __init__(self):
        self.owners, self.waits, self.is_kept = [], [], False

    def allocate(self, n_bytes):
        owner = Owner(n_bytes)
        self.owners.append(weakref.ref(owner))
        return Block(n_bytes, ALIGNMENT, owner)

    @property
    def fence(self):
        return self

    def wait(self, stream=None):
        self.waits.append(threading.get_ident())


def test_a_buffer_that_was_handed_over_is_waited_for_once_and_no_other():
    memory = Foreign()
    pool = BufferPool(64, depth=2, patience_s=0, memory=memory)
    first, second = pool.lease(), pool.lease()
    del second
    second = pool.lease()
    assert memory.waits == []  # nobody got it
    second.hand_over()
    del second
    pool.lease()
    pool.lease()
    assert memory.waits == [threading.get_ident()]
    assert first.is_on_device


def test_the_writers_stream_waits_for_each_fence_that_a_consumer_gave_last():
    class Noted:
        def __init__(self, name):
            self.name = name

        def wait(self, stream=None):
            waits.append((self.name, stream))

    memory, waits = Foreign(), []
    pool = BufferPool(64, depth=1, memory=memory)
    lease = pool.lease()
    lease.hand_over()
    capsule = dlpack_capsule(lease, (4,), "float32", 0, [Noted("a"), Noted("b")])
    del lease, capsule
    pool.lease("a stream")
    assert waits == [("a", "a stream"), ("b", "a stream")]
    assert memory.waits == []


def test_a_fence_that_failed_is_waited_for_again():
    def fail(stream=None):
        raise RuntimeError("lost")

    memory = Foreign()
    pool = BufferPool(64, depth=1, memory=memory)
    pool.lease().hand_over()
    memory.wait, wait = fail, memory.wait
    with pytest.raises(RuntimeError, match="lost"):
        pool.lease()
    memory.wait = wait
    pool.lease()
    assert len(memory.waits) == 1


def test_kept_buffers_are_allocated_before_and_beyond_the_depth_only_for_who_waits():
    memory, waits = Foreign(), False
    memory.is_kept = True
    pool = BufferPool(64, depth=2, patience_s=0, memory=memory, is_awaited=lambda: waits)
    pool.reserve()
    pool.reserve()
    assert pool.n_allocated == 2
    leases, thread = [pool.lease(), pool.lease()], None
    thread = threading.Thread(target=lambda: leases.append(pool.lease()))
    thread.start()
    thread.join(0.05)
    assert pool.n_allocated == 2
    assert thread.is_alive()
    waits = True
    thread.join(60)
    assert pool.n_allocated == 3
    leases.clear()
    pool.lease()
    assert sum(owner() is not None for owner in memory.owners) == 3  # none is freed before the end
    pool.close()
    assert not any(owner() for owner in memory.owners)


def test_other_threads_lease_while_one_waits_for_the_device():
    memory, pool = Foreign(), None
    waiting, go_on = threading.Event(), threading.Event()
    memory.wait = lambda stream: waiting.set() or go_on.wait(60)
    pool = BufferPool(64, depth=2, memory=memory)
    pool.lease().hand_over()
    thread = threading.Thread(target=pool.lease)
    thread.start()
    assert waiting.wait(60)
    assert pool.lease().address
    go_on.set()
    thread.join()


def test_the_processor_is_kept_from_memory_of_a_device():
    lease = BufferPool(64, depth=1, memory=Foreign()).lease()
    with pytest.raises(BufferError, match="this memory is on a CUDA device"):
        memoryview(lease)


def test_a_capsule_names_the_device_and_its_kind():
    lease = BufferPool(400, depth=1, memory=Foreign()).lease()
    capsule = dlpack_capsule(lease, (10, 10), "float32", 3)
    assert capsule_device(capsule) == (2, 3)  # kDLCUDA
    assert capsule_address(capsule) == lease.address
    assert capsule_device(dlpack_capsule(BufferPool(400, depth=1).lease(), (100,), "float32")) == (1, 0)


def test_foreign_memory_that_does_not_do_is_refused():
    owner = Owner()
    with pytest.raises(ValueError, match="memory for 4097 bytes has only 4096"):
        Block(4097, ALIGNMENT, owner)
    owner.address += 16
    with pytest.raises(ValueError, match="is not aligned to 64 bytes"):
        Block(64, ALIGNMENT, owner)


def test_foreign_memory_goes_with_whoever_lets_go_last():
    memory = Foreign()
    pool = BufferPool(64, depth=1, memory=memory)
    lease = pool.lease()
    (owner,) = memory.owners
    pool.close()
    assert owner() is not None
    capsule = dlpack_capsule(lease, (8,), "float32")
    del lease
    assert owner() is not None
    del capsule
    assert owner() is None


_USED = b"used_dltensor"  # a capsule keeps no copy of its name


class ManagedTensor(ctypes.Structure):
    """DLManagedTensor: DLTensor takes 48 bytes."""

    _fields_ = (
        ("tensor", ctypes.c_uint8 * 48),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    )


def consumed(capsule):
    """Take a capsule over as a consumer does; return the addresses of its deleter and of what that wants."""
    python = ctypes.PyDLL(None)
    python.PyCapsule_GetPointer.restype = ctypes.c_void_p
    python.PyCapsule_GetPointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
    python.PyCapsule_SetName.argtypes = (ctypes.py_object, ctypes.c_char_p)
    address = python.PyCapsule_GetPointer(capsule, b"dltensor")
    assert python.PyCapsule_SetName(capsule, _USED) == 0
    return ctypes.cast(ManagedTensor.from_address(address).deleter, ctypes.c_void_p), ctypes.c_void_p(address)


def test_a_deleter_on_a_thread_without_the_gil_frees_foreign_memory_soon():
    """As TensorFlow calls it, after everybody else has let go; Python frees the owner when it gets round to it."""
    memory = Foreign()
    pool = BufferPool(64, depth=1, memory=memory)
    lease = pool.lease()
    capsule = dlpack_capsule(lease, (8,), "float32")
    deleter, address = consumed(capsule)
    pool.close()
    del lease, capsule
    (owner,) = memory.owners
    assert owner() is not None
    libc, number = ctypes.CDLL(None), ctypes.c_ulong()
    assert libc.pthread_create(ctypes.byref(number), None, deleter, address) == 0
    libc.pthread_join(number, None)  # ctypes lets go of the GIL meanwhile
    deadline = time.monotonic() + 30
    while owner() is not None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert owner() is None


@pytest.mark.parametrize("kind", [HostMemory, Foreign])
def test_many_threads_without_the_gil_give_the_same_buffers_back(kind):
    """All at once, while others lease: no reference is lost or counted twice."""
    memory = kind()
    pool = BufferPool(64, depth=3, memory=memory)
    leases = [pool.lease() for _ in range(3)]
    libc, numbers = ctypes.CDLL(None), [ctypes.c_ulong() for _ in range(60)]
    loans = [consumed(dlpack_capsule(leases[k % 3], (8,), "float32")) for k in range(len(numbers))]
    del leases
    spare = BufferPool(64, depth=1, patience_s=0)
    for number, (deleter, address) in zip(numbers, loans, strict=True):
        assert libc.pthread_create(ctypes.byref(number), None, deleter, address) == 0
        spare.lease()
    for number in numbers:
        libc.pthread_join(number, None)
    assert all(block.is_free for block in pool._blocks)
    again = [pool.lease() for _ in range(3)]
    assert pool.n_allocated == 3
    pool.close()
    last = [consumed(dlpack_capsule(lease, (8,), "float32")) for lease in again]
    del again
    for number, (deleter, address) in zip(numbers, last, strict=False):
        assert libc.pthread_create(ctypes.byref(number), None, deleter, address) == 0
    for number in numbers[:3]:
        libc.pthread_join(number, None)
    left, deadline = getattr(memory, "owners", []), time.monotonic() + 30
    while any(owner() for owner in left) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not any(owner() for owner in left)
