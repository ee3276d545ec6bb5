"""The interface between a source of images and their receiver: a C function and its context.

It lies below the reader and the kernels, so that neither of the two knows the other.
"""

from enum import IntEnum

from libc.stdint cimport int64_t, uint8_t

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
    cdef int64_t k = 0, status = OK, n = offsets.shape[0]
    if sink.take == NULL:
        raise TypeError(f"{type(sink).__name__} takes no pixels")
    with nogil:
        while k < n:
            status = sink.take(sink.context, slots[k], &pixels[offsets[k]])
            if status != OK:
                break
            k += 1
    return status, k
