"""A sink that picks the pixels of masks out of the images that it is handed. Arguments are checked in mask_spec.py, not here."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from fastprep._sink cimport OK, Sink

cdef extern from "_mask.h" nogil:
    ctypedef struct fastprep_mask:
        int64_t height, width
        int64_t out_height, out_width
        int64_t channels, item_bytes
        int64_t row_step, column_step, channel_step
        const void *fill
    ctypedef struct fastprep_mask_row:
        const int32_t *crop
        const double *box
    int fastprep_mask_fits(const fastprep_mask *mask, const fastprep_mask_row *row)
    void fastprep_mask_span(const fastprep_mask *mask, const fastprep_mask_row *row, int64_t *first, int64_t *end)
    void fastprep_mask_places(const fastprep_mask *mask, const fastprep_mask_row *row, int64_t *down, int64_t *across)
    void fastprep_mask_pick(
        const fastprep_mask *mask, const void *source, const int64_t *down, const int64_t *across, void *target
    )
    void fastprep_mask_map(
        const fastprep_mask *mask, const void *source, const int64_t *start, const int64_t *right, const int64_t *down,
        void *target
    )


cdef struct Batch:
    fastprep_mask mask
    fastprep_mask_row table  # the first row; rows are sorted by slot
    const int64_t *sizes_of_rows  # height and width of the source; NULL: all have the same
    const int64_t *start     # of each row of a map; NULL for a pick
    const int64_t *right
    const int64_t *down
    const int64_t *numbers   # which output each row is
    const int64_t *firsts    # rows of slot s: firsts[s] .. firsts[s + 1]
    int64_t *places          # room for rows and columns of a pick: a sink serves one thread at a time
    uint8_t *target
    int64_t target_bytes     # of one output


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
        const int32_t[:, ::1] crops,
        const double[:, ::1] boxes,
        const int64_t[:, ::1] sizes,
        const int64_t[:, ::1] start,
        const int64_t[:, ::1] right,
        const int64_t[:, ::1] down,
        const int64_t[::1] numbers,
        const int64_t[::1] firsts,
        int64_t[::1] places,
        uint8_t[::1] target,
    ):
        cdef fastprep_mask *mask = &self.batch.mask
        mask.height, mask.width, mask.channels = sides
        mask.out_height, mask.out_width = size
        mask.row_step, mask.column_step, mask.channel_step = steps
        mask.item_bytes = item_bytes
        mask.fill = &fill[0]
        self.arrays = (fill, crops, boxes, sizes, start, right, down, numbers, firsts, places, target)
        self.batch.table.crop = &crops[0, 0]
        if boxes is not None:
            self.batch.table.box = &boxes[0, 0]
        if sizes is not None:
            self.batch.sizes_of_rows = &sizes[0, 0]
        if start is not None:
            self.batch.start, self.batch.right, self.batch.down = &start[0, 0], &right[0, 0], &down[0, 0]
        self.batch.numbers = &numbers[0]
        self.batch.firsts = &firsts[0]
        self.batch.places = &places[0]
        self.batch.target = &target[0]
        self.batch.target_bytes = mask.out_height * mask.out_width * mask.channels * item_bytes
        self.take = pick_mask
        self.need = bytes_of_masks
        self.context = &self.batch


cdef void set_size(fastprep_mask *mask, int64_t height, int64_t width) noexcept nogil:
    """Let the source have a size, and channels last."""
    mask.height, mask.width = height, width
    mask.row_step, mask.column_step = width * mask.channels, mask.channels


cdef fastprep_mask mask_of(const Batch *batch, int64_t k) noexcept nogil:
    cdef fastprep_mask mask = batch.mask
    if batch.sizes_of_rows != NULL:
        set_size(&mask, batch.sizes_of_rows[2 * k], batch.sizes_of_rows[2 * k + 1])
    return mask


cdef fastprep_mask_row row_of(const fastprep_mask_row *table, int64_t k) noexcept nogil:
    cdef fastprep_mask_row row = table[0]
    row.crop += 4 * k
    if row.box != NULL:
        row.box += 4 * k
    return row


cdef int pick_mask(void *context, int64_t slot, const void *pixels) noexcept nogil:
    cdef Batch *batch = <Batch *> context
    cdef fastprep_mask mask
    cdef fastprep_mask_row row
    cdef int64_t *across = batch.places + batch.mask.out_height
    cdef uint8_t *target
    cdef int64_t k
    if batch.firsts[slot] == batch.firsts[slot + 1]:  # nothing is made of this mask
        return OK
    mask = mask_of(batch, batch.firsts[slot])  # all rows of a slot have the same source
    for k in range(batch.firsts[slot], batch.firsts[slot + 1]):
        target = batch.target + batch.numbers[k] * batch.target_bytes
        if batch.start == NULL:
            row = row_of(&batch.table, k)
            fastprep_mask_places(&mask, &row, batch.places, across)
            fastprep_mask_pick(&mask, pixels, batch.places, across, target)
        else:
            fastprep_mask_map(&mask, pixels, batch.start + 2 * k, batch.right + 2 * k, batch.down + 2 * k, target)
    return OK


cdef void bytes_of_masks(void *context, int64_t slot, int64_t *first, int64_t *n_bytes) noexcept nogil:
    cdef Batch *batch = <Batch *> context
    cdef fastprep_mask mask
    cdef fastprep_mask_row row
    cdef int64_t k, start, end, most, least
    cdef int64_t last = 0
    if batch.firsts[slot] == batch.firsts[slot + 1]:  # nothing is made of this mask
        first[0] = n_bytes[0] = 0
        return
    mask = mask_of(batch, batch.firsts[slot])
    most = least = mask.height * mask.width * mask.channels
    if batch.start != NULL:
        first[0], n_bytes[0] = 0, most * mask.item_bytes
        return
    for k in range(batch.firsts[slot], batch.firsts[slot + 1]):
        row = row_of(&batch.table, k)
        fastprep_mask_span(&mask, &row, &start, &end)
        least, last = min(least, start), max(last, end)
    first[0], n_bytes[0] = least * mask.item_bytes, (last - least) * mask.item_bytes


def stay_inside(
    const int32_t[:, ::1] crops not None, const double[:, ::1] boxes, const int64_t[:, ::1] sizes, tuple sides, tuple size
):
    """Tell whether all rows of a table, crops or boxes, stay in masks of these sides, or of the height and width of each row."""
    cdef fastprep_mask mask
    cdef fastprep_mask_row row, table = fastprep_mask_row(&crops[0, 0], NULL)
    cdef int64_t k
    mask.height, mask.width, mask.channels = sides
    mask.out_height, mask.out_width = size
    mask.row_step = mask.column_step = 0  # steps do not matter
    if boxes is not None:
        table.box = &boxes[0, 0]
    for k in range(crops.shape[0]):
        row = row_of(&table, k)
        if sizes is not None:
            set_size(&mask, sizes[k, 0], sizes[k, 1])
        if not fastprep_mask_fits(&mask, &row):
            return False
    return True
