"""The interface between a source of images and their receiver: a C function and its context.

It lies below the reader and the kernels, so that neither of the two knows the other.
"""

from enum import IntEnum

from libc.stdint cimport int64_t, uint8_t

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


cdef class Sink:
    """A receiver of images, one at a time; `_sink.pxd` has the contract of its functions."""


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
