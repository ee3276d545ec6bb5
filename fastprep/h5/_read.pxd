from libc.stdint cimport int64_t

# Takes one picture, H x W x C numbers without gaps, that belongs in `slot` of the batch. Called without the GIL; `pixels`
# is valid during the call only. Returns 0, or another number to stop the reader.
ctypedef int (*image_sink)(void *context, int64_t slot, const void *pixels) noexcept nogil


cdef class Sink:
    cdef image_sink take
    cdef void *context
