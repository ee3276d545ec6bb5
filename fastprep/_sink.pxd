from libc.stdint cimport int64_t

# How handing images to a sink ended. Functions that also read files return values of errno, too, which are positive.
cdef enum sink_status:
    OK = 0
    TRUNCATED = -1      # the file ends before the data do
    SINK_FAILED = -2    # the sink refused an image
    NOT_FINITE = -3     # the sink made NaN or infinity of an image

# Takes one image, H x W x C numbers without gaps, for `slot` of the batch. Called without the GIL; `pixels` is valid during
# the call only. Returns OK, or another status to stop the reader.
ctypedef int (*image_sink)(void *context, int64_t slot, const void *pixels) noexcept nogil

# Tells which bytes of the image for `slot` the sink will read; the others need not be there. Called without the GIL.
ctypedef void (*image_need)(void *context, int64_t slot, int64_t *first, int64_t *n_bytes) noexcept nogil

# Rows and columns of an image: top to bottom - 1, and left to right - 1.
ctypedef struct part_of_image:
    int64_t top, bottom, left, right

# Tells which pixels of the image for `slot` the sink will read, with `bottom` 0 if none; the others need not be there. Called
# without the GIL.
ctypedef part_of_image (*image_part)(void *context, int64_t slot) noexcept nogil


cdef class Sink:
    cdef image_sink take
    cdef image_need need    # NULL: every byte
    cdef image_part part    # NULL: every pixel
    cdef void *context
    cdef public object sizes  # None, or height and width of the image that each slot takes: int64, shape (n_slots, 2)
