"""Buffers: aligned, in use as long as anybody looks, never waited for without end, no memory left behind."""

import gc
import threading

import numpy as np
import pytest

from fastprep.buffers import ALIGNMENT, BufferPool, Lease, as_array, capsule_address, dlpack_capsule


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
    with pytest.raises(ValueError, match=r"shape \(101,\) of 32-bit numbers is larger than the buffer of 400 bytes"):
        dlpack_capsule(lease, (101,), "float32")
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
