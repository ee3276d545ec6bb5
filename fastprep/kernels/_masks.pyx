"""A sink that picks the pixels of masks out of the images that it is handed. Arguments are checked in mask_spec.py, not here."""

from libc.stdint cimport int64_t, uint8_t

from fastprep._sink cimport OK, Sink

cdef extern from "_mask.h" nogil:
    ctypedef struct fastprep_mask:
        int64_t height, width
        int64_t out_height, out_width
        int64_t channels, item_bytes
        int64_t row_step, column_step, channel_step
        const void *fill
    void fastprep_mask_pick(
        const fastprep_mask *mask, const void *source, const int64_t *down, const int64_t *across, void *target
    )
    void fastprep_mask_map(
        const fastprep_mask *mask, const void *source, const int64_t *start, const int64_t *right, const int64_t *down,
        void *target
    )


cdef struct Batch:
    fastprep_mask mask
    const int64_t *down     # for each output in the order of `numbers`; of a pick or of a map
    const int64_t *across   # NULL for a map
    const int64_t *start    # NULL for a pick
    const int64_t *right
    const int64_t *numbers  # which output each row of these is
    const int64_t *firsts   # rows of slot s: firsts[s] .. firsts[s + 1]
    const int64_t *needs    # first byte, and number of bytes, of the mask of each slot
    uint8_t *target
    int64_t target_bytes    # of one output


cdef class MaskSink(Sink):
    """Picks the pixels of the masks that it is handed: by rows and columns, or by the positions of matrices."""

    cdef Batch batch
    cdef object arrays  # `batch` points into them

    def __cinit__(
        self,
        *,
        tuple sides,
        tuple size,
        tuple steps,
        int64_t item_bytes,
        const uint8_t[::1] fill,
        const int64_t[:, ::1] down,
        const int64_t[:, ::1] across,
        const int64_t[:, ::1] start,
        const int64_t[:, ::1] right,
        const int64_t[::1] numbers,
        const int64_t[::1] firsts,
        const int64_t[:, ::1] needs,
        uint8_t[::1] target,
    ):
        cdef fastprep_mask *mask = &self.batch.mask
        mask.height, mask.width, mask.channels = sides
        mask.out_height, mask.out_width = size
        mask.row_step, mask.column_step, mask.channel_step = steps
        mask.item_bytes = item_bytes
        mask.fill = &fill[0]
        self.arrays = (fill, down, across, start, right, numbers, firsts, needs, target)
        self.batch.down = &down[0, 0]
        if across is not None:
            self.batch.across = &across[0, 0]
        if start is not None:
            self.batch.start, self.batch.right = &start[0, 0], &right[0, 0]
        self.batch.numbers = &numbers[0]
        self.batch.firsts = &firsts[0]
        self.batch.needs = &needs[0, 0]
        self.batch.target = &target[0]
        self.batch.target_bytes = mask.out_height * mask.out_width * mask.channels * item_bytes
        self.take = pick_mask
        self.need = bytes_of_masks
        self.context = &self.batch


cdef int pick_mask(void *context, int64_t slot, const void *pixels) noexcept nogil:
    cdef Batch *batch = <Batch *> context
    cdef fastprep_mask *mask = &batch.mask
    cdef uint8_t *target
    cdef int64_t k
    for k in range(batch.firsts[slot], batch.firsts[slot + 1]):
        target = batch.target + batch.numbers[k] * batch.target_bytes
        if batch.start == NULL:
            fastprep_mask_pick(mask, pixels, batch.down + k * mask.out_height, batch.across + k * mask.out_width, target)
        else:
            fastprep_mask_map(mask, pixels, batch.start + 2 * k, batch.right + 2 * k, batch.down + 2 * k, target)
    return OK


cdef void bytes_of_masks(void *context, int64_t slot, int64_t *first, int64_t *n_bytes) noexcept nogil:
    cdef Batch *batch = <Batch *> context
    first[0], n_bytes[0] = batch.needs[2 * slot], batch.needs[2 * slot + 1]
