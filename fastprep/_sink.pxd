from libc.stdint cimport int64_t

# Takes one image, H x W x C numbers without gaps, that belongs in `slot` of the batch. Called without the GIL; `pixels`
# is valid during the call only. Returns 0, or another number to stop the reader.
ctypedef int (*image_sink)(void *context, int64_t slot, const void *pixels) noexcept nogil

# Says which bytes of the image for `slot` will be looked at. Called without the GIL. Others need not be read.
ctypedef void (*image_need)(void *context, int64_t slot, int64_t *first, int64_t *n_bytes) noexcept nogil


cdef class Sink:
    cdef image_sink take
    cdef image_need need    # NULL: all of it
    cdef void *context
