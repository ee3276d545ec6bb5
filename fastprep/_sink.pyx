"""The interface between whatever has images and whatever takes them: a C function and its context.

It lies below the reader and the kernels, so that neither of the two knows the other.
"""

from libc.stdint cimport int64_t, uint8_t

OK = 0
SINK_FAILED = -2


cdef class Sink:
    """The receiver of images, one at a time; see `_sink.pxd` for the contract of its functions."""


def hand_over(const uint8_t[::1] pixels, const int64_t[::1] offsets, const int64_t[::1] slots, Sink sink):
    """Hand images that lie in memory, at `offsets` of `pixels`, to the sink.

    Returns (status, position): the position in `offsets` of the image that failed, or their number.
    """
    cdef int64_t k = 0, status = 0, n = offsets.shape[0]
    with nogil:
        while k < n:
            if sink.take(sink.context, slots[k], &pixels[offsets[k]]) != 0:
                status = -2
                break
            k += 1
    return status, k
