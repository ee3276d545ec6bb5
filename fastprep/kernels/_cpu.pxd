from libc.stdint cimport int64_t

cdef extern from "_crop.h" nogil:
    enum:
        FASTPREP_UINT8, FASTPREP_UINT16, FASTPREP_INT16, FASTPREP_FLOAT32, FASTPREP_FLOAT64
        FASTPREP_TO_FLOAT32, FASTPREP_TO_FLOAT16, FASTPREP_TO_BFLOAT16
        FASTPREP_MIRRORED, FASTPREP_FLIPPED
        FASTPREP_PORTABLE, FASTPREP_AVX2, FASTPREP_AVX512
        FASTPREP_MORE_PIXELS, FASTPREP_ROOM_ALIGNMENT
        FASTPREP_PIXELS, FASTPREP_PICKED_PIXELS, FASTPREP_PLANES, FASTPREP_COLUMNS
    ctypedef struct fastprep_crop:
        int version, source_type, target_type, channels_first
        int stream
        int64_t height, width, channels
        int64_t crop_height, crop_width
        const float *mean
        const float *scale
        int64_t row_pixels
        int mean_is_image, has_scale
        int order
        int64_t row_step, column_step
        const int64_t *channel_at
        int64_t source_channels
    ctypedef struct fastprep_part:
        int64_t top, bottom, left, right
    int fastprep_crop_supported(int version)
    int64_t fastprep_stream_bytes()
    size_t fastprep_crop_room(const fastprep_crop *crop)
    void fastprep_crop_span(const fastprep_crop *crop, const fastprep_part *part, int64_t *first, int64_t *n_bytes)
    bint fastprep_crop_run(
        const fastprep_crop *crop,
        const float *colors,
        const void *pixels,
        int64_t y,
        int64_t x,
        int flags,
        void *target,
        void *room,
    )


cdef class CropParameters:
    cdef fastprep_crop crop  # version and stream are each sink's own
    cdef int64_t crop_bytes
    cdef bint check_finite
    cdef object arrays       # `crop` points into them
    cdef int order_of_source(self)
