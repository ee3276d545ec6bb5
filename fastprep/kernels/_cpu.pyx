"""A sink that cuts the crops of a table out of the images that it is handed. Arguments are checked in spec.py, not here."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free
from posix.stdlib cimport posix_memalign

from fastprep._sink cimport NOT_FINITE, OK, Sink

# By their names in Python; the numbers are those of _crop.h
SOURCE_TYPES = {
    "uint8": FASTPREP_UINT8,
    "uint16": FASTPREP_UINT16,
    "int16": FASTPREP_INT16,
    "float32": FASTPREP_FLOAT32,
    "float64": FASTPREP_FLOAT64,
}
TARGET_TYPES = {"float32": FASTPREP_TO_FLOAT32, "float16": FASTPREP_TO_FLOAT16, "bfloat16": FASTPREP_TO_BFLOAT16}
VERSIONS = {"portable": FASTPREP_PORTABLE, "avx2": FASTPREP_AVX2, "avx512": FASTPREP_AVX512}
FLAGS = {"mirrored": FASTPREP_MIRRORED, "flipped": FASTPREP_FLIPPED}
MORE_PIXELS = FASTPREP_MORE_PIXELS


def supported_versions():
    """Return the names of the versions of the kernel that this processor can run, the fastest last."""
    return [name for name, version in VERSIONS.items() if fastprep_crop_supported(version)]


def stream_bytes():
    """Return from how many bytes of a batch on it is written around the caches of this processor."""
    return fastprep_stream_bytes()


cdef class CropParameters:
    """What the kernel does to every crop, the same for all batches. Made once from a `CropSpec`, and shared by its sinks."""

    def __cinit__(
        self,
        *,
        source_dtype,
        dtype,
        bint channels_first,
        tuple image_shape,
        tuple size,
        const float[:, :, ::1] mean_rows,
        const float[:, ::1] scale_rows,
        bint has_scale,
        tuple steps,
        int64_t source_channels,
        const int64_t[::1] channel_at,
        int64_t crop_bytes,
        bint check_finite,
    ):
        cdef fastprep_crop *crop = &self.crop
        self.arrays = (mean_rows, scale_rows, channel_at)
        crop.source_type, crop.target_type = SOURCE_TYPES[source_dtype], TARGET_TYPES[dtype]
        crop.channels_first = channels_first
        crop.height, crop.width, crop.channels = image_shape
        crop.crop_height, crop.crop_width = size
        crop.mean = &mean_rows[0, 0, 0]
        crop.mean_is_image = mean_rows.shape[0] > 1
        crop.scale = &scale_rows[0, 0]
        crop.has_scale = has_scale
        crop.row_pixels = scale_rows.shape[1] // (1 if channels_first else crop.channels)
        crop.row_step, crop.column_step = steps
        crop.source_channels = source_channels
        crop.channel_at = &channel_at[0]
        crop.order = self.order_of_source()
        self.crop_bytes, self.check_finite = crop_bytes, check_finite

    cdef int order_of_source(self):
        cdef fastprep_crop *crop = &self.crop
        cdef int64_t c
        if crop.row_step < crop.column_step:
            return FASTPREP_COLUMNS
        if crop.column_step == 1 and crop.source_channels > 1:
            return FASTPREP_PLANES
        if crop.channels != crop.source_channels:
            return FASTPREP_PICKED_PIXELS
        for c in range(crop.channels):
            if crop.channel_at[c] != c:
                return FASTPREP_PICKED_PIXELS
        return FASTPREP_PIXELS


cdef struct Batch:
    fastprep_crop crop
    const int32_t *table    # rows sorted by slot
    const int64_t *numbers  # which output each row is
    const int64_t *firsts   # rows of slot s: firsts[s] .. firsts[s + 1]
    uint8_t *target
    int64_t target_bytes    # of one crop
    bint check_finite
    void *room              # the kernel's working memory: a sink serves one thread at a time


cdef class CropSink(Sink):
    """Executes a crop table on the images that it is handed."""

    cdef Batch batch
    # `batch` points into these
    cdef CropParameters parameters
    cdef const int32_t[:, ::1] table
    cdef const int64_t[::1] numbers
    cdef const int64_t[::1] firsts
    cdef uint8_t[::1] target

    def __cinit__(
        self,
        CropParameters parameters not None,
        *,
        version,
        bint stream,
        const int32_t[:, ::1] table,
        const int64_t[::1] numbers,
        const int64_t[::1] firsts,
        uint8_t[::1] target,
    ):
        self.parameters, self.table, self.numbers, self.firsts, self.target = parameters, table, numbers, firsts, target
        self.batch.crop = parameters.crop
        self.batch.crop.version, self.batch.crop.stream = VERSIONS[version], stream
        self.batch.table = &table[0, 0]
        self.batch.numbers = &numbers[0]
        self.batch.firsts = &firsts[0]
        self.batch.target = &target[0]
        self.batch.target_bytes = parameters.crop_bytes
        self.batch.check_finite = parameters.check_finite
        if posix_memalign(&self.batch.room, FASTPREP_ROOM_ALIGNMENT, fastprep_crop_room(&self.batch.crop)):
            self.batch.room = NULL
            raise MemoryError
        self.take = crop_image
        self.need = bytes_of_crops
        self.context = &self.batch

    def __dealloc__(self):
        free(self.batch.room)


cdef int crop_image(void *context, int64_t slot, const void *pixels) noexcept nogil:
    cdef Batch *batch = <Batch *> context
    cdef const int32_t *row
    cdef int64_t k
    cdef bint is_finite = True
    for k in range(batch.firsts[slot], batch.firsts[slot + 1]):
        row = batch.table + 4 * k
        is_finite &= fastprep_crop_run(
            &batch.crop, NULL, pixels, row[1], row[2], row[3], batch.target + batch.numbers[k] * batch.target_bytes, batch.room
        )
    return OK if is_finite or not batch.check_finite else NOT_FINITE


cdef void bytes_of_crops(void *context, int64_t slot, int64_t *first, int64_t *n_bytes) noexcept nogil:
    cdef Batch *batch = <Batch *> context
    cdef fastprep_crop *crop = &batch.crop
    cdef fastprep_part part = fastprep_part(crop.height, 0, crop.width, 0)
    cdef const int32_t *row
    cdef int64_t k
    for k in range(batch.firsts[slot], batch.firsts[slot + 1]):
        row = batch.table + 4 * k
        part.top, part.bottom = min(part.top, row[1]), max(part.bottom, row[1] + crop.crop_height)
        part.left, part.right = min(part.left, row[2]), max(part.right, row[2] + crop.crop_width)
    if part.bottom <= part.top:  # no crop of this image
        first[0] = n_bytes[0] = 0
    else:
        fastprep_crop_span(crop, &part, first, n_bytes)
