"""The interface between a source of images and their receiver: a C function and its context.

It lies below the reader and the kernels, so that neither of the two knows the other.
"""

from enum import IntEnum

from libc.stdint cimport int64_t, uint8_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef extern from *:
    """
    #include <stdint.h>
    /* Let bytes come into the caches. */
    static inline void fastprep_prefetch(const void *bytes, int64_t n) {
    #ifdef __GNUC__
        for (int64_t k = 0; k < n; k += 64) __builtin_prefetch((const char *)bytes + k);
    #else
        (void)bytes; (void)n;
    #endif
    }
    """
    void fastprep_prefetch(const void *bytes, int64_t n) nogil

cdef int64_t MOST_PREFETCHED = 4096  # bytes: a page, at the end of which the processor's own look ahead begins anew

Status = IntEnum(
    "Status", {"OK": OK, "TRUNCATED": TRUNCATED, "SINK_FAILED": SINK_FAILED, "NOT_FINITE": NOT_FINITE}, module=__name__
)


cdef struct Timed:
    image_sink take
    image_need need
    image_part part
    void *context
    int64_t *times
    int64_t n, most


cdef class Sink:
    """A receiver of images, one at a time; `_sink.pxd` has the contract of its functions."""


cdef int take_timed(void *context, int64_t slot, const void *pixels) noexcept nogil:
    cdef Timed *timed = <Timed *> context
    cdef int64_t began = monotonic_ns()
    cdef int status = timed.take(timed.context, slot, pixels)
    if timed.n < timed.most:
        timed.times[2 * timed.n], timed.times[2 * timed.n + 1] = began, monotonic_ns()
        timed.n += 1
    return status


cdef void need_of_timed(void *context, int64_t slot, int64_t *first, int64_t *n_bytes) noexcept nogil:
    (<Timed *> context).need((<Timed *> context).context, slot, first, n_bytes)


cdef part_of_image part_of_timed(void *context, int64_t slot) noexcept nogil:
    return (<Timed *> context).part((<Timed *> context).context, slot)


cdef inline int64_t monotonic_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t> now.tv_sec * 1000000000 + now.tv_nsec


cdef class TimedSink(Sink):
    """A sink that hands all images on to another one, and notes when that one has each: what a profile sees of a kernel.

    `times` takes the begin and the end of each call in nanoseconds, as `time.perf_counter_ns` counts them, as many as it has
    rows; `n_timed` tells how many there are. Only one thread may hand images to it.
    """

    cdef Timed timed
    cdef object keep

    def __cinit__(self, Sink sink, int64_t[:, ::1] times):
        if sink.take == NULL:
            raise TypeError(f"{type(sink).__name__} takes no pixels")
        if times.shape[1] != 2:
            raise ValueError(f"times must have two columns, got {times.shape[1]}")
        self.keep = sink, times
        self.timed.take, self.timed.need, self.timed.part = sink.take, sink.need, sink.part
        self.timed.context = sink.context
        if times.shape[0]:
            self.timed.times = &times[0, 0]
        self.timed.n, self.timed.most = 0, times.shape[0]
        self.take = take_timed
        if sink.need != NULL:
            self.need = need_of_timed
        if sink.part != NULL:
            self.part = part_of_timed
        self.context = &self.timed
        self.sizes = sink.sizes

    @property
    def n_timed(self):
        """Number of calls whose times are known."""
        return self.timed.n


def hand_over(const uint8_t[::1] pixels, const int64_t[::1] offsets, const int64_t[::1] slots, Sink sink):
    """Hand images that lie in memory, at `offsets` of `pixels`, to the sink.

    Returns (status, position): OK or what the sink returned, and the position in `offsets` of the image that failed, or their
    number.
    """
    cdef int64_t k = 0, status = OK, n = offsets.shape[0], first = 0, n_bytes = 0
    if sink.take == NULL:
        raise TypeError(f"{type(sink).__name__} takes no pixels")
    with nogil:
        while k < n:
            if k + 1 < n and sink.need != NULL:  # images of a shuffled order lie where no processor expects the next one
                sink.need(sink.context, slots[k + 1], &first, &n_bytes)
                fastprep_prefetch(&pixels[offsets[k + 1]] + first, min(n_bytes, MOST_PREFETCHED))
            status = sink.take(sink.context, slots[k], &pixels[offsets[k]])
            if status != OK:
                break
            k += 1
    return status, k
