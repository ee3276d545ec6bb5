"""A sink that executes a transform table on the images that it is handed, and blending. Arguments are checked in Python."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memcpy
from posix.stdlib cimport posix_memalign

from fastprep._sink cimport NOT_FINITE, OK, Sink, part_of_image
from fastprep.kernels._cpu cimport (
    FASTPREP_COLUMNS, FASTPREP_ROOM_ALIGNMENT, CropParameters, fastprep_crop, fastprep_crop_span, fastprep_part,
)

from fastprep.kernels._cpu import TARGET_TYPES, VERSIONS

cdef extern from "_warp.h" nogil:
    enum:
        FASTPREP_OF_CROP, FASTPREP_OF_BOX, FASTPREP_OF_MATRIX
        FASTPREP_TRANSPOSED
    ctypedef struct fastprep_warp:
        int geometry, has_colors
        fastprep_crop straight, turned
        const float *fill
        const float *erase_value
    ctypedef struct fastprep_warp_row:
        const int32_t *crop
        const double *box
        const double *matrix
        const float *colors
        const int32_t *erasure
    size_t fastprep_warp_room(const fastprep_warp *warp)
    fastprep_part fastprep_warp_part(const fastprep_warp *warp, const fastprep_warp_row *row)
    bint fastprep_warp_run(
        const fastprep_warp *warp, const fastprep_warp_row *row, const void *pixels, void *target, void *room
    )

cdef extern from "_warp_out.h" nogil:
    void fastprep_erase(const fastprep_crop *crop, const float *value, const int32_t *rectangle, void *target)

cdef extern from "_warp_taps.h" nogil:
    ctypedef struct fastprep_taps:
        int64_t stride
        int32_t *first
        int32_t *count
        float *weights
    int64_t fastprep_most_taps(int64_t n_in, int64_t n_out)
    size_t fastprep_taps_bytes(int64_t n_in, int64_t n_out)
    fastprep_taps fastprep_make_taps(double start, double length, int64_t n_in, int64_t n_out, int reversed, void *memory)

cdef extern from "_blend.h" nogil:
    ctypedef struct fastprep_blend:
        int version, type
        int channels_first
        int64_t height, width, channels
    void fastprep_blend_pair(
        const fastprep_blend *blend, void *one, void *other, const float *weights, const int32_t *rectangles
    )

# By their names in Python; the numbers are those of _warp.h
GEOMETRIES = {"crop": FASTPREP_OF_CROP, "box": FASTPREP_OF_BOX, "matrix": FASTPREP_OF_MATRIX}
FLAGS = {"transposed": FASTPREP_TRANSPOSED}


cdef class WarpParameters:
    """What the kernel does to every image, the same for all batches. Made once from a `WarpSpec`, and shared by its sinks."""

    cdef fastprep_warp warp  # version and stream are each sink's own
    cdef int64_t image_bytes  # of the result
    cdef bint check_finite
    # `warp` points into these
    cdef CropParameters straight
    cdef CropParameters turned
    cdef const float[::1] fill
    cdef const float[::1] erase_value

    def __cinit__(
        self,
        *,
        geometry,
        bint has_colors,
        CropParameters straight not None,
        CropParameters turned not None,
        const float[::1] fill not None,
        const float[::1] erase_value,
    ):
        self.straight, self.turned, self.fill, self.erase_value = straight, turned, fill, erase_value
        self.warp.geometry, self.warp.has_colors = GEOMETRIES[geometry], has_colors
        self.warp.straight, self.warp.turned = straight.crop, turned.crop
        self.warp.fill = &fill[0]
        if erase_value is not None:
            self.warp.erase_value = &erase_value[0]
        self.image_bytes, self.check_finite = straight.crop_bytes, straight.check_finite


cdef struct Batch:
    fastprep_warp warp
    fastprep_warp_row table  # the first row; rows are sorted by slot
    int64_t n_colors         # numbers of a row
    const int64_t *sizes     # height and width of the source of each row; NULL: all have the same
    const int64_t *numbers   # which output each row is
    const int64_t *firsts    # rows of slot s: firsts[s] .. firsts[s + 1]
    uint8_t *target
    int64_t target_bytes     # of one image
    bint check_finite
    void *room               # the kernel's working memory: a sink serves one thread at a time


cdef class WarpSink(Sink):
    """Executes a transform table on the images that it is handed."""

    cdef Batch batch
    # `batch` points into these
    cdef WarpParameters parameters
    cdef const int32_t[:, ::1] crops
    cdef const double[:, ::1] boxes
    cdef const double[:, :, ::1] matrices
    cdef const float[:, :, ::1] colors
    cdef const int32_t[:, ::1] erasures
    cdef const int64_t[:, ::1] sizes_of_rows
    cdef const int64_t[::1] numbers
    cdef const int64_t[::1] firsts
    cdef uint8_t[::1] target

    def __cinit__(
        self,
        WarpParameters parameters not None,
        *,
        version,
        bint stream,
        const int32_t[:, ::1] crops not None,
        const double[:, ::1] boxes,
        const double[:, :, ::1] matrices,
        const float[:, :, ::1] colors,
        const int32_t[:, ::1] erasures,
        const int64_t[:, ::1] sizes,
        const int64_t[::1] numbers not None,
        const int64_t[::1] firsts not None,
        uint8_t[::1] target not None,
    ):
        cdef Batch *batch = &self.batch
        cdef fastprep_warp largest
        self.parameters, self.crops, self.boxes, self.matrices = parameters, crops, boxes, matrices
        self.colors, self.erasures, self.sizes_of_rows, self.numbers = colors, erasures, sizes, numbers
        self.firsts, self.target = firsts, target
        batch.warp = parameters.warp
        batch.warp.straight.version = batch.warp.turned.version = VERSIONS[version]
        batch.warp.straight.stream = batch.warp.turned.stream = stream
        batch.table.crop = &crops[0, 0]
        if boxes is not None:
            batch.table.box = &boxes[0, 0]
        if matrices is not None:
            batch.table.matrix = &matrices[0, 0, 0]
        if colors is not None:
            batch.table.colors = &colors[0, 0, 0]
            batch.n_colors = colors.shape[1] * colors.shape[2]
        if erasures is not None:
            batch.table.erasure = &erasures[0, 0]
        if sizes is not None:
            batch.sizes = &sizes[0, 0]
        batch.numbers = &numbers[0]
        batch.firsts = &firsts[0]
        batch.target = &target[0]
        batch.target_bytes = parameters.image_bytes
        batch.check_finite = parameters.check_finite
        largest = batch.warp
        if sizes is not None:
            set_size(&largest, max(sizes[:, 0]), max(sizes[:, 1]))
        if posix_memalign(&batch.room, FASTPREP_ROOM_ALIGNMENT, fastprep_warp_room(&largest)):
            batch.room = NULL
            raise MemoryError
        self.take = warp_image
        self.need = bytes_of_parts
        self.part = part_of_slot
        self.context = batch

    def __dealloc__(self):
        free(self.batch.room)


cdef void set_size(fastprep_warp *warp, int64_t height, int64_t width) noexcept nogil:
    """Let the source have a size, and channels last."""
    cdef int64_t pixel = warp.straight.source_channels
    warp.straight.height, warp.straight.width = height, width
    warp.straight.row_step, warp.straight.column_step = width * pixel, pixel
    warp.turned.height, warp.turned.width = width, height
    warp.turned.row_step, warp.turned.column_step = pixel, width * pixel
    warp.turned.order = FASTPREP_COLUMNS


cdef fastprep_warp warp_of(const Batch *batch, int64_t k) noexcept nogil:
    cdef fastprep_warp warp = batch.warp
    if batch.sizes != NULL:
        set_size(&warp, batch.sizes[2 * k], batch.sizes[2 * k + 1])
    return warp


cdef fastprep_warp_row row_of(const Batch *batch, int64_t k) noexcept nogil:
    cdef fastprep_warp_row row = batch.table
    row.crop += 4 * k
    if row.box != NULL:
        row.box += 4 * k
    if row.matrix != NULL:
        row.matrix += 6 * k
    if row.colors != NULL:
        row.colors += batch.n_colors * k
    if row.erasure != NULL:
        row.erasure += 4 * k
    return row


cdef int warp_image(void *context, int64_t slot, const void *pixels) noexcept nogil:
    cdef Batch *batch = <Batch *> context
    cdef fastprep_warp_row row
    cdef int64_t k
    cdef bint is_finite = True
    cdef fastprep_warp warp
    if batch.firsts[slot] == batch.firsts[slot + 1]:
        return OK
    warp = warp_of(batch, batch.firsts[slot])  # all rows of a slot have the same source
    for k in range(batch.firsts[slot], batch.firsts[slot + 1]):
        row = row_of(batch, k)
        is_finite &= fastprep_warp_run(&warp, &row, pixels, batch.target + batch.numbers[k] * batch.target_bytes, batch.room)
    return OK if is_finite or not batch.check_finite else NOT_FINITE


cdef part_of_image part_of_slot(void *context, int64_t slot) noexcept nogil:
    """Return the part that all rows of a slot need together."""
    cdef Batch *batch = <Batch *> context
    cdef fastprep_warp warp
    cdef fastprep_part part
    cdef part_of_image whole = part_of_image(0, 0, 0, 0)
    cdef fastprep_warp_row row
    cdef int64_t k
    if batch.firsts[slot] == batch.firsts[slot + 1]:  # nothing is made of this image
        return whole
    warp = warp_of(batch, batch.firsts[slot])
    whole = part_of_image(warp.straight.height, 0, warp.straight.width, 0)
    for k in range(batch.firsts[slot], batch.firsts[slot + 1]):
        row = row_of(batch, k)
        part = fastprep_warp_part(&warp, &row)
        whole.top, whole.bottom = min(whole.top, part.top), max(whole.bottom, part.bottom)
        whole.left, whole.right = min(whole.left, part.left), max(whole.right, part.right)
    return whole


cdef void bytes_of_parts(void *context, int64_t slot, int64_t *first, int64_t *n_bytes) noexcept nogil:
    cdef Batch *batch = <Batch *> context
    cdef part_of_image whole = part_of_slot(context, slot)
    cdef fastprep_part part
    cdef fastprep_warp warp
    first[0] = n_bytes[0] = 0
    if whole.bottom:
        warp = warp_of(batch, batch.firsts[slot])
        part = fastprep_part(whole.top, whole.bottom, whole.left, whole.right)
        fastprep_crop_span(&warp.straight, &part, first, n_bytes)


cdef void erase(const fastprep_crop *crop, const float *value, const int32_t *rectangle, void *target) noexcept nogil:
    fastprep_erase(crop, value, rectangle, target)


def most_taps(int64_t n_in, int64_t n_out):
    """Return how many taps an output pixel has at most, for parts of an axis of `n_in` pixels."""
    return fastprep_most_taps(n_in, n_out)


def put_taps(
    int32_t[:, :] words not None, const double[::1] starts, const double[::1] lengths, const int64_t[::1] sides, int64_t n_out,
    int64_t most,
):
    """Write the taps of parts of axes, one in each row: first pixel and number of pixels of each output pixel, then the weights.

    The words behind the last weight of an output pixel, of `most`, stay as they are.
    """
    cdef fastprep_taps taps
    cdef void *room = NULL
    cdef int32_t *row
    cdef int64_t k, i
    if words.strides[1] != sizeof(int32_t) or words.shape[1] < n_out * (2 + most):
        raise ValueError("words must be rows of numbers side by side, with room for all taps")
    if posix_memalign(&room, 64, fastprep_taps_bytes(max(sides), n_out)):
        raise MemoryError
    with nogil:
        for k in range(starts.shape[0]):
            taps = fastprep_make_taps(starts[k], lengths[k], sides[k], n_out, 0, room)
            row = &words[k, 0]
            for i in range(n_out):
                row[2 * i], row[2 * i + 1] = taps.first[i], taps.count[i]
                memcpy(row + 2 * n_out + i * most, taps.weights + i * taps.stride, taps.count[i] * sizeof(float))
    free(room)


def blend(
    uint8_t[:, ::1] images,
    const float[::1] weights,
    const int32_t[:, ::1] rectangles,
    *,
    version,
    dtype,
    bint channels_first,
    tuple image_shape,
):
    """Blend each image, of which the bytes are a row, with its partner, in place."""
    cdef fastprep_blend to
    cdef float[2] shares
    cdef int32_t[8] parts
    cdef int64_t k, c, other, n = images.shape[0]
    to.version, to.type, to.channels_first = VERSIONS[version], TARGET_TYPES[dtype], channels_first
    to.height, to.width, to.channels = image_shape
    with nogil:
        for k in range(n // 2):
            other = n - 1 - k
            shares[0], shares[1] = weights[k], weights[other]
            for c in range(4):
                parts[c], parts[4 + c] = rectangles[k, c], rectangles[other, c]
            fastprep_blend_pair(&to, &images[k, 0], &images[other, 0], shares, parts)
