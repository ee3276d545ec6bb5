"""Takes pictures from a reader and puts their crops into the batch. Arguments are checked by spec.py, not here."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc

from fastprep.h5._read cimport Sink

cdef extern from "_crop.h" nogil:
    ctypedef struct fastprep_crop:
        int source_type, target_type, channels_first
        int64_t height, width, channels
        int64_t crop_height, crop_width
        const float *mean
        int64_t mean_stride
        const float *scale
    void fastprep_crop_run(
        const fastprep_crop *crop, const void *pixels, int64_t y, int64_t x, int flags, void *target, float *row
    )

SOURCE_TYPES = {"uint8": 0, "float32": 1, "float64": 2}
TARGET_TYPES = {"float32": 0, "float16": 1, "bfloat16": 2}

cdef struct Batch:
    fastprep_crop crop
    const int32_t *table    # rows sorted by slot
    const int64_t *numbers  # which output each row is
    const int64_t *firsts   # rows of slot s: firsts[s] .. firsts[s + 1]
    uint8_t *target
    int64_t target_bytes    # of one crop
    int64_t row_bytes       # of the source picture
    float *row              # room for one row of a crop: a sink serves one thread at a time


cdef class CropSink(Sink):
    """Executes a crop table on the pictures it is handed."""

    cdef Batch batch
    cdef object keep

    def __cinit__(
        self,
        int source_type,
        int target_type,
        bint channels_first,
        tuple image_shape,
        tuple size,
        const float[:, ::1] mean_rows,
        const float[::1] scale_row,
        const int32_t[:, ::1] table,
        const int64_t[::1] numbers,
        const int64_t[::1] firsts,
        uint8_t[::1] target,
        int64_t target_bytes,
        int64_t image_row_bytes,
    ):
        cdef fastprep_crop *crop = &self.batch.crop
        self.keep = (mean_rows, scale_row, table, numbers, firsts, target)
        crop.source_type, crop.target_type, crop.channels_first = source_type, target_type, channels_first
        crop.height, crop.width, crop.channels = image_shape
        crop.crop_height, crop.crop_width = size
        crop.mean = NULL if mean_rows is None else &mean_rows[0, 0]
        crop.mean_stride = 0 if mean_rows is None or mean_rows.shape[0] == 1 else mean_rows.shape[1]
        crop.scale = NULL if scale_row is None else &scale_row[0]
        self.batch.table = &table[0, 0]
        self.batch.numbers = &numbers[0]
        self.batch.firsts = &firsts[0]
        self.batch.target = &target[0]
        self.batch.target_bytes = target_bytes
        self.batch.row = <float *> malloc(crop.crop_width * crop.channels * sizeof(float))
        if self.batch.row == NULL:
            raise MemoryError
        self.take = crop_image
        self.need = rows_of_crops
        self.batch.row_bytes = image_row_bytes
        self.context = &self.batch

    def __dealloc__(self):
        free(self.batch.row)


cdef int crop_image(void *context, int64_t slot, const void *pixels) noexcept nogil:
    cdef Batch *batch = <Batch *> context
    cdef const int32_t *row
    cdef int64_t k
    for k in range(batch.firsts[slot], batch.firsts[slot + 1]):
        row = batch.table + 4 * k
        fastprep_crop_run(
            &batch.crop, pixels, row[1], row[2], row[3], batch.target + batch.numbers[k] * batch.target_bytes, batch.row
        )
    return 0


cdef void rows_of_crops(void *context, int64_t slot, int64_t *first, int64_t *n_bytes) noexcept nogil:
    cdef Batch *batch = <Batch *> context
    cdef int64_t k, y, top = batch.crop.height, bottom = 0
    for k in range(batch.firsts[slot], batch.firsts[slot + 1]):
        y = batch.table[4 * k + 1]
        top = min(top, y)
        bottom = max(bottom, y + batch.crop.crop_height)
    if bottom <= top:  # no crop of this picture
        first[0] = n_bytes[0] = 0
    else:
        first[0] = top * batch.row_bytes
        n_bytes[0] = (bottom - top) * batch.row_bytes
