"""Reading of ranges of bytes and of plain images from open files, without the GIL. Arguments are checked by the callers."""

import numpy as np

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

from fastprep._sink cimport OK, Sink
from fastprep.h5._pread cimport fastprep_read_cached, fastprep_will_need, read_fully

cdef extern from "_byte_order.h" nogil:
    void fastprep_swap_bytes(const uint8_t *, uint8_t *, int64_t, int64_t)

cdef int64_t READ_AHEAD = 64  # images, or ranges


cdef struct Staging:
    uint8_t *first
    int64_t n_bytes


cdef class CopySink(Sink):
    """Copies each image unchanged into its slot of a staging array."""

    cdef Staging staging
    cdef object keep

    def __cinit__(self, uint8_t[::1] staging, int64_t n_bytes):
        self.keep = staging
        self.staging.first = &staging[0]
        self.staging.n_bytes = n_bytes
        self.take = copy_image
        self.context = &self.staging


cdef int copy_image(void *context, int64_t slot, const void *pixels) noexcept nogil:
    cdef Staging *staging = <Staging *> context
    memcpy(staging.first + slot * staging.n_bytes, pixels, staging.n_bytes)
    return OK


cdef struct Places:
    uint8_t *first
    const int64_t *offsets
    const int64_t *lengths


cdef class PackSink(Sink):
    """Copies each image unchanged to its place in a staging array: images of different sizes, one behind the other.

    Parameters
    ----------
    staging : ndarray of uint8
    offsets, lengths : ndarray of int64, shape (n_slots,)
        First byte, and number of bytes, of the image of each slot. They lie in `staging`.
    sizes : ndarray of int64, shape (n_slots, 2)
        Height and width of the image that each slot takes.
    """

    cdef Places places
    cdef object keep

    def __cinit__(
        self, uint8_t[::1] staging, const int64_t[::1] offsets, const int64_t[::1] lengths, const int64_t[:, ::1] sizes
    ):
        cdef int64_t k
        if not offsets.shape[0] == lengths.shape[0] == sizes.shape[0]:
            raise ValueError("offsets, lengths and sizes must be of the same slots")
        for k in range(offsets.shape[0]):
            if not 0 <= lengths[k] <= staging.shape[0] or not 0 <= offsets[k] <= staging.shape[0] - lengths[k]:
                raise ValueError(f"the image of slot {k} must lie in the {staging.shape[0]} bytes that there are")
        self.keep = staging, offsets, lengths
        self.places.first = &staging[0]
        self.places.offsets, self.places.lengths = &offsets[0], &lengths[0]
        self.take = pack_image
        self.context = &self.places
        self.sizes = np.asarray(sizes)


cdef int pack_image(void *context, int64_t slot, const void *pixels) noexcept nogil:
    cdef Places *places = <Places *> context
    memcpy(places.first + places.offsets[slot], pixels, places.lengths[slot])
    return OK


def lie_in(const int64_t[::1] numbers not None, int64_t stop):
    """Tell whether all numbers lie in 0..stop-1."""
    cdef int64_t k
    cdef bint are_all = True
    for k in range(numbers.shape[0]):
        are_all &= 0 <= numbers[k] < stop
    return are_all


def read_bytes(int fd, int64_t offset, uint8_t[::1] buffer):
    """Fill `buffer` with the bytes at `offset` of the file; return OK, TRUNCATED or errno."""
    cdef int64_t status
    with nogil:
        status = read_fully(fd, &buffer[0], buffer.shape[0], offset)
    return status


cdef void announce(int fd, const int64_t *offsets, int64_t k, int64_t n_bytes) noexcept nogil:
    # the system reads ahead by itself where an image follows on the one before it
    if k == 0 or offsets[k] != offsets[k - 1] + n_bytes:
        fastprep_will_need(fd, offsets[k], n_bytes)


def read_images(
    int fd, const int64_t[::1] offsets, const int64_t[::1] slots, uint8_t[::1] scratch, Sink sink, int64_t swapped_bytes=0
):
    """Read images that are stored as the sink takes them, one after another into `scratch`, and hand each to the sink.

    Each has as many bytes as `scratch`, of which only those are read that the sink needs; these are whole numbers. If they are in
    the other byte order, `swapped_bytes` is the size of a number, 2, 4 or 8, and the sink gets them in this machine's.
    Returns (status, position): OK, TRUNCATED, errno or what the sink returned, and the position in `offsets` of the image that
    failed, or their number.
    """
    cdef int64_t k = 0, status = OK, n = offsets.shape[0]
    cdef int64_t first = 0, n_bytes = scratch.shape[0], got, ahead
    # Announcing is a call to the system for each image, which costs a third of reading a small one that is in memory. So the
    # batch is read as if all of it was, up to the first image that is not.
    cdef bint is_cached = True
    if sink.take == NULL:
        raise TypeError(f"{type(sink).__name__} takes no pixels")
    if swapped_bytes not in (0, 2, 4, 8):
        raise ValueError(f"numbers of {swapped_bytes} bytes can't be swapped")
    with nogil:
        while k < n:
            if sink.need != NULL:
                sink.need(sink.context, slots[k], &first, &n_bytes)
            got = fastprep_read_cached(fd, &scratch[first], n_bytes, offsets[k] + first) if is_cached else 0
            if got < n_bytes:
                if is_cached:
                    is_cached, got = False, max(got, 0)
                    for ahead in range(k, min(n, k + READ_AHEAD)):
                        announce(fd, &offsets[0], ahead, scratch.shape[0])
                if k + READ_AHEAD < n:
                    announce(fd, &offsets[0], k + READ_AHEAD, scratch.shape[0])
                status = read_fully(fd, &scratch[first + got], n_bytes - got, offsets[k] + first + got)
            if status == OK and swapped_bytes:
                fastprep_swap_bytes(&scratch[first], &scratch[first], n_bytes, swapped_bytes)
            if status == OK:
                status = sink.take(sink.context, slots[k], &scratch[0])
            if status != OK:
                break
            k += 1
    return status, k


def read_ranges(
    int fd, const int64_t[::1] offsets, const int64_t[::1] sizes, uint8_t[::1] out, const int64_t[::1] positions
):
    """Read ranges of bytes, each to its position in `out`.

    Returns (status, k): OK, TRUNCATED or errno, and the number of the range that failed, or that of all.
    """
    cdef int64_t k = 0, status = OK, n = offsets.shape[0]
    with nogil:
        for k in range(min(n, READ_AHEAD)):
            announce_range(fd, &offsets[0], &sizes[0], k)
        k = 0
        while k < n:
            if k + READ_AHEAD < n:
                announce_range(fd, &offsets[0], &sizes[0], k + READ_AHEAD)
            if sizes[k] > 0:
                status = read_fully(fd, &out[positions[k]], sizes[k], offsets[k])
                if status != OK:
                    break
            k += 1
    return status, k


cdef void announce_range(int fd, const int64_t *offsets, const int64_t *sizes, int64_t k) noexcept nogil:
    if k == 0 or offsets[k] != offsets[k - 1] + sizes[k - 1]:
        fastprep_will_need(fd, offsets[k], sizes[k])
