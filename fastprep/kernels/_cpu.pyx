"""Takes images from a reader and puts their crops into the batch. Arguments are checked by spec.py, not here."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free
from posix.stdlib cimport posix_memalign

from fastprep._sink cimport Sink

cdef extern from "_crop.h" nogil:
    enum:
        FASTPREP_MIN_PIXELS
    ctypedef struct fastprep_crop:
        int version, source_type, target_type, channels_first
        int stream
        int64_t height, width, channels
        int64_t crop_height, crop_width
        const float *mean
        const float *scale
        int64_t row_pixels
        int mean_is_image, has_scale
    int fastprep_crop_supported(int version)
    size_t fastprep_crop_room(const fastprep_crop *crop)
    void fastprep_crop_run(
        const fastprep_crop *crop, const void *pixels, int64_t y, int64_t x, int flags, void *target, void *room
    )

SOURCE_TYPES = {"uint8": 0, "float32": 1, "float64": 2}
TARGET_TYPES = {"float32": 0, "float16": 1, "bfloat16": 2}
VERSIONS = {"portable": 0, "avx2": 1, "avx512": 2}
MIN_PIXELS = FASTPREP_MIN_PIXELS


def supported_versions():
    """Return the names of the versions of the kernel that this processor can run, the quickest last."""
    return [name for name, version in VERSIONS.items() if fastprep_crop_supported(version)]


cdef struct Batch:
    fastprep_crop crop
    const int32_t *table    # rows sorted by slot
    const int64_t *numbers  # which output each row is
    const int64_t *firsts   # rows of slot s: firsts[s] .. firsts[s + 1]
    uint8_t *target
    int64_t target_bytes    # of one crop
    int64_t row_bytes       # of the source image
    void *room              # of the kernel: a sink serves one thread at a time


cdef class CropSink(Sink):
    """Executes a crop table on the images it is handed."""

    cdef Batch batch
    cdef object keep

    def __cinit__(
        self,
        int version,
        int source_type,
        int target_type,
        bint channels_first,
        bint stream,
        tuple image_shape,
        tuple size,
        const float[:, :, ::1] mean_rows,
        const float[:, ::1] scale_rows,
        bint has_scale,
        const int32_t[:, ::1] table,
        const int64_t[::1] numbers,
        const int64_t[::1] firsts,
        uint8_t[::1] target,
        int64_t target_bytes,
        int64_t image_row_bytes,
    ):
        cdef fastprep_crop *crop = &self.batch.crop
        self.keep = (mean_rows, scale_rows, table, numbers, firsts, target)
        crop.version, crop.source_type, crop.target_type = version, source_type, target_type
        crop.channels_first, crop.stream = channels_first, stream
        crop.height, crop.width, crop.channels = image_shape
        crop.crop_height, crop.crop_width = size
        crop.mean = &mean_rows[0, 0, 0]
        crop.mean_is_image = mean_rows.shape[0] > 1
        crop.scale = &scale_rows[0, 0]
        crop.has_scale = has_scale
        crop.row_pixels = scale_rows.shape[1] // (1 if channels_first else crop.channels)
        self.batch.table = &table[0, 0]
        self.batch.numbers = &numbers[0]
        self.batch.firsts = &firsts[0]
        self.batch.target = &target[0]
        self.batch.target_bytes = target_bytes
        if posix_memalign(&self.batch.room, 64, fastprep_crop_room(crop)):
            self.batch.room = NULL
            raise MemoryError
        self.take = crop_image
        self.need = rows_of_crops
        self.batch.row_bytes = image_row_bytes
        self.context = &self.batch

    def __dealloc__(self):
        free(self.batch.room)


cdef int crop_image(void *context, int64_t slot, const void *pixels) noexcept nogil:
    cdef Batch *batch = <Batch *> context
    cdef const int32_t *row
    cdef int64_t k
    for k in range(batch.firsts[slot], batch.firsts[slot + 1]):
        row = batch.table + 4 * k
        fastprep_crop_run(
            &batch.crop, pixels, row[1], row[2], row[3], batch.target + batch.numbers[k] * batch.target_bytes, batch.room
        )
    return 0


cdef void rows_of_crops(void *context, int64_t slot, int64_t *first, int64_t *n_bytes) noexcept nogil:
    cdef Batch *batch = <Batch *> context
    cdef int64_t k, y, top = batch.crop.height, bottom = 0
    for k in range(batch.firsts[slot], batch.firsts[slot + 1]):
        y = batch.table[4 * k + 1]
        top = min(top, y)
        bottom = max(bottom, y + batch.crop.crop_height)
    if bottom <= top:  # no crop of this image
        first[0] = n_bytes[0] = 0
    else:
        first[0] = top * batch.row_bytes
        n_bytes[0] = (bottom - top) * batch.row_bytes
