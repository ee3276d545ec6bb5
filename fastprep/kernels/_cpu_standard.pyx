"""A sink that standardises the images that another sink makes. Arguments are checked in spec.py and warp_spec.py, not here."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from fastprep._sink cimport NOT_FINITE, OK, Sink, image_need, image_sink
from fastprep.kernels._cpu cimport CropParameters, fastprep_crop
from fastprep.kernels._cpu_warp cimport erase

from fastprep.kernels._cpu import VERSIONS

cdef extern from "_standard.h" nogil:
    ctypedef struct fastprep_standard:
        int version, type
        int stream
        int64_t n
    bint fastprep_standardize(const fastprep_standard *standard, const float *image, void *target)


cdef struct Batch:
    fastprep_standard standard
    fastprep_crop crop         # says what the results are like, to whoever erases
    image_sink make            # makes output image k of a source image, where `image` is, as a sink for slot k
    image_need need
    void *context
    const float *image
    const float *erase_value   # NULL: nothing is erased
    const int32_t *erasures    # of each row of the table; rows are sorted by slot
    const int64_t *numbers     # which output each row is
    const int64_t *firsts      # rows of slot s: firsts[s] .. firsts[s + 1]
    uint8_t *target
    int64_t target_bytes       # of one image
    bint check_finite


cdef class StandardSink(Sink):
    """Standardises each output image, and erases a rectangle of it."""

    cdef Batch batch
    # `batch` points into these
    cdef CropParameters parameters
    cdef Sink made
    cdef const float[::1] image
    cdef const float[::1] erase_value
    cdef const int32_t[:, ::1] erasures
    cdef const int64_t[::1] numbers
    cdef const int64_t[::1] firsts
    cdef uint8_t[::1] target

    def __cinit__(
        self,
        CropParameters parameters not None,
        Sink made not None,
        const float[::1] image not None,
        *,
        version,
        bint stream,
        const float[::1] erase_value,
        const int32_t[:, ::1] erasures,
        const int64_t[::1] numbers not None,
        const int64_t[::1] firsts not None,
        uint8_t[::1] target not None,
    ):
        cdef Batch *batch = &self.batch
        self.parameters, self.made, self.image, self.erase_value, self.erasures = parameters, made, image, erase_value, erasures
        self.numbers, self.firsts, self.target = numbers, firsts, target
        batch.crop = parameters.crop
        batch.crop.version = batch.standard.version = VERSIONS[version]
        batch.standard.type, batch.standard.stream, batch.standard.n = batch.crop.target_type, stream, image.shape[0]
        batch.make, batch.need, batch.context = made.take, made.need, made.context
        batch.image = &image[0]
        if erase_value is not None:
            batch.erase_value, batch.erasures = &erase_value[0], &erasures[0, 0]
        batch.numbers = &numbers[0]
        batch.firsts = &firsts[0]
        batch.target = &target[0]
        batch.target_bytes = parameters.crop_bytes
        batch.check_finite = parameters.check_finite
        self.take = standardize_images
        self.need = bytes_of_images
        self.context = batch


cdef int standardize_images(void *context, int64_t slot, const void *pixels) noexcept nogil:
    cdef Batch *batch = <Batch *> context
    cdef uint8_t *target
    cdef int64_t k
    cdef int status
    cdef bint is_finite = True
    for k in range(batch.firsts[slot], batch.firsts[slot + 1]):
        status = batch.make(batch.context, k, pixels)
        if status != OK:
            return status
        target = batch.target + batch.numbers[k] * batch.target_bytes
        is_finite &= fastprep_standardize(&batch.standard, batch.image, target)
        if batch.erase_value != NULL:
            erase(&batch.crop, batch.erase_value, batch.erasures + 4 * k, target)
    return OK if is_finite or not batch.check_finite else NOT_FINITE


cdef void bytes_of_images(void *context, int64_t slot, int64_t *first, int64_t *n_bytes) noexcept nogil:
    cdef Batch *batch = <Batch *> context
    cdef int64_t k, begin, n, end = 0
    first[0] = 0
    for k in range(batch.firsts[slot], batch.firsts[slot + 1]):
        batch.need(batch.context, k, &begin, &n)
        first[0] = min(first[0], begin) if end else begin
        end = max(end, begin + n)
    n_bytes[0] = end - first[0]
