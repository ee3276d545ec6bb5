"""Reading of filtered chunks without the GIL: bytes, decoding, tiles, sink. Arguments are checked in native.py, not here.

A chunk that can't be decoded here is *refused*, which says nothing more: the caller asks `Pipeline.decode`, whose word counts.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uintptr_t
from libc.string cimport memmove, memset

from fastprep._sink cimport OK, TRUNCATED, Sink
from fastprep.h5._pread cimport fastprep_read_cached, fastprep_will_need, read_fully

cdef extern from "_filters.h" nogil:
    enum:
        FASTPREP_MOST_STAGES
        FASTPREP_MOST_VALUES
    ctypedef struct fastprep_codecs:
        void *lz4_decompress
        void *zstd_new
        void *zstd_free
        void *zstd_decompress
        void *zstd_is_error
        void *deflate_new
        void *deflate_free
        void *deflate_decompress
        void *blosc_validate
        void *blosc_decompress
        void *blosc2_new
        void *blosc2_free
        void *blosc2_decompress
    ctypedef struct fastprep_contexts:
        const fastprep_codecs *codecs
    ctypedef struct fastprep_stage:
        int code
        int n_values
        uint32_t values[40]
    ctypedef struct fastprep_pipeline:
        int n_stages
        fastprep_stage stages[32]
    ctypedef struct fastprep_bytes:
        const uint8_t *first
        int64_t n_bytes
    fastprep_bytes fastprep_undo_filters(
        const fastprep_pipeline *, fastprep_contexts *, uint32_t, fastprep_bytes, int64_t, uint8_t *, uint8_t *, int64_t
    )
    int fastprep_can_undo(const fastprep_codecs *, const fastprep_stage *)
    void fastprep_free_contexts(fastprep_contexts *)
    void fastprep_place_tile(
        const uint8_t *, const int64_t *, const int64_t *, const int64_t *, const int64_t *, int64_t, uint8_t *
    )

cdef extern from "_byte_order.h" nogil:
    void fastprep_swap_bytes(const uint8_t *, uint8_t *, int64_t, int64_t)

cdef enum:
    REFUSED = -30
    READ_AHEAD = 64      # chunks

STATUS_REFUSED = REFUSED


cdef class Codecs:
    """The functions of libraries that decompress.

    Parameters
    ----------
    addresses : dict of str to int
        Of those that are there, by their names in `_filters.h`.
    """

    cdef fastprep_codecs table

    def __init__(self, addresses):
        memset(&self.table, 0, sizeof(self.table))
        self.table.lz4_decompress = address_of(addresses, "lz4_decompress")
        self.table.zstd_new = address_of(addresses, "zstd_new")
        self.table.zstd_free = address_of(addresses, "zstd_free")
        self.table.zstd_decompress = address_of(addresses, "zstd_decompress")
        self.table.zstd_is_error = address_of(addresses, "zstd_is_error")
        self.table.deflate_new = address_of(addresses, "deflate_new")
        self.table.deflate_free = address_of(addresses, "deflate_free")
        self.table.deflate_decompress = address_of(addresses, "deflate_decompress")
        self.table.blosc_validate = address_of(addresses, "blosc_validate")
        self.table.blosc_decompress = address_of(addresses, "blosc_decompress")
        self.table.blosc2_new = address_of(addresses, "blosc2_new")
        self.table.blosc2_free = address_of(addresses, "blosc2_free")
        self.table.blosc2_decompress = address_of(addresses, "blosc2_decompress")

    def can_undo(self, int code, values):
        """Tell whether a filter with these client data can be undone here."""
        cdef fastprep_stage stage
        return len(values) <= FASTPREP_MOST_VALUES and fill_stage(&stage, code, values) and fastprep_can_undo(&self.table, &stage)


cdef void *address_of(addresses, name):
    cdef uintptr_t address = addresses.get(name, 0)
    return <void *> address


cdef bint fill_stage(fastprep_stage *stage, int code, values) except -1:
    memset(stage, 0, sizeof(fastprep_stage))
    stage.code, stage.n_values = code, len(values)
    for k, value in enumerate(values):
        stage.values[k] = value
    return True


cdef class Decoder:
    """What one thread keeps of its decompressors from chunk to chunk. No two threads may use it at a time."""

    cdef readonly Codecs codecs
    cdef fastprep_contexts contexts

    def __init__(self, Codecs codecs not None):
        self.codecs = codecs
        self.contexts.codecs = &codecs.table

    def __dealloc__(self):
        fastprep_free_contexts(&self.contexts)


cdef class ChunkPlan:
    """How the chunks of a dataset become images.

    Parameters
    ----------
    stages : sequence of (int, sequence of int)
        Number and client data of each filter, in the order of writing. `Codecs.can_undo` has to be true of each of them.
    sides, chunk_sides : sequence of int, of length 4
        Of the dataset, and of its chunks: samples, height, width, channels.
    element_bytes : int
        Size of a number.
    slack : int
        By how many bytes the output of a filter may exceed a chunk.
    is_swapped : bool
        Whether the numbers are stored in the other byte order; images have this machine's.
    offsets, sizes : ndarray of int64
    masks : ndarray of uint32
        Those of all chunks.

    Attributes
    ----------
    chunk_bytes : int
        Of a decoded chunk.
    row_bytes : int
        Of the images of a row of chunks.
    n_tiles : int
        How many chunks make a row.
    """

    cdef fastprep_pipeline pipeline
    cdef int64_t sides[4]
    cdef int64_t chunk_sides[4]
    cdef int64_t grid[4]
    cdef int64_t element_bytes, image_bytes, capacity
    cdef readonly int64_t chunk_bytes, row_bytes, n_tiles
    cdef bint is_split, is_swapped
    cdef const int64_t[::1] offsets
    cdef const int64_t[::1] sizes
    cdef const uint32_t[::1] masks

    def __init__(
        self, stages, sides, chunk_sides, int64_t element_bytes, bint is_swapped, int64_t slack,
        const int64_t[::1] offsets, const int64_t[::1] sizes, const uint32_t[::1] masks
    ):
        if len(stages) > FASTPREP_MOST_STAGES:
            raise ValueError(f"there are {len(stages)} filters, at most {FASTPREP_MOST_STAGES} can be")
        self.pipeline.n_stages = len(stages)
        for k, (code, values) in enumerate(stages):
            fill_stage(&self.pipeline.stages[k], code, values)
        self.element_bytes, self.image_bytes, self.chunk_bytes = element_bytes, element_bytes, element_bytes
        if is_swapped and element_bytes not in (2, 4, 8):
            raise ValueError(f"numbers of {element_bytes} bytes can't be swapped")
        self.n_tiles, self.is_split, self.is_swapped = 1, False, is_swapped
        for k in range(4):
            self.sides[k], self.chunk_sides[k] = sides[k], chunk_sides[k]
            self.grid[k] = -(-sides[k] // chunk_sides[k])
            self.chunk_bytes *= chunk_sides[k]
            if k > 0:
                self.image_bytes *= sides[k]
                self.n_tiles *= self.grid[k]
                self.is_split = self.is_split or sides[k] != chunk_sides[k]
        self.row_bytes = self.image_bytes * self.chunk_sides[0]
        self.capacity = self.chunk_bytes + slack
        self.offsets, self.sizes, self.masks = offsets, sizes, masks

    def raw_bytes(self, const int64_t[::1] rows):
        """The largest stored chunk of some rows, in bytes."""
        cdef int64_t k, tile, most = 1
        for k in range(rows.shape[0]):
            for tile in range(self.n_tiles):
                most = max(most, self.sizes[rows[k] * self.n_tiles + tile])
        return most


cdef struct Source:
    int fd
    const uint8_t *mapping   # of the file; NULL: to be read from `fd`
    int64_t n_mapped
    const int64_t *rows      # that are read one after another, the `k`th of `n` now; NULL: only one is
    int64_t k, n
    bint is_cached           # whether all that has been read was in memory, so that nothing was announced to the system


cdef struct Memory:
    uint8_t *raw
    uint8_t *spare
    uint8_t *out
    uint8_t *images          # NULL where a chunk is not split


cdef int64_t read_bytes(ChunkPlan plan, Source *source, uint8_t *target, int64_t n_bytes, int64_t offset) noexcept nogil:
    # announcing is a call to the system for each chunk, and is left out until one is not in memory; as in `_read.read_images`
    cdef int64_t k, got = 0
    if source.is_cached:
        got = fastprep_read_cached(source.fd, target, n_bytes, offset)
        if got == n_bytes:
            return OK
        got = max(got, 0)
        source.is_cached = False
        for k in range(source.k, min(source.n, source.k + READ_AHEAD)):
            announce(plan, source.fd, source.rows[k])
    return read_fully(source.fd, target + got, n_bytes - got, offset + got)


cdef fastprep_bytes stored_bytes(ChunkPlan plan, Source *source, int64_t chunk, uint8_t *raw, int64_t *status) noexcept nogil:
    # the stored chunk, from the mapping or read into `raw`
    cdef fastprep_bytes data
    cdef int64_t offset = plan.offsets[chunk]
    data.first, data.n_bytes = raw, plan.sizes[chunk]
    if data.n_bytes <= 0:
        status[0] = TRUNCATED
    elif source.mapping == NULL:
        status[0] = read_bytes(plan, source, raw, data.n_bytes, offset)
    elif data.n_bytes > source.n_mapped or offset > source.n_mapped - data.n_bytes:
        status[0] = TRUNCATED
    else:
        data.first = source.mapping + offset
    return data


cdef bint skips_all(ChunkPlan plan, int64_t chunk) noexcept nogil:
    cdef uint32_t all_stages = (<uint32_t> 1 << plan.pipeline.n_stages) - 1 if plan.pipeline.n_stages < 32 else 0xFFFFFFFF
    return plan.masks[chunk] & all_stages == all_stages


cdef bint is_an_image(ChunkPlan plan, int64_t row) noexcept nogil:
    # whether the row is a chunk that is stored as the bytes of one image
    return (
        not plan.is_split and plan.chunk_sides[0] == 1 and skips_all(plan, row) and plan.sizes[row] == plan.chunk_bytes
    )


cdef const uint8_t *read_part(
    ChunkPlan plan, Source *source, int64_t row, Sink sink, int64_t slot, Memory memory, int64_t *status
) noexcept nogil:
    # of such an image, what the sink needs
    cdef int64_t first = 0, n_bytes = plan.chunk_bytes
    if sink.need != NULL:
        sink.need(sink.context, slot, &first, &n_bytes)
    status[0] = read_bytes(plan, source, memory.out + first, n_bytes, plan.offsets[row] + first)
    if plan.is_swapped and status[0] == OK:
        fastprep_swap_bytes(memory.out + first, memory.out + first, n_bytes, plan.element_bytes)
    return memory.out


cdef const uint8_t *decode_row(
    ChunkPlan plan, fastprep_contexts *contexts, Source *source, int64_t row, Memory memory, int64_t *status
) noexcept nogil:
    # the images of a row of chunks; for the last row there are fewer than there is room for
    cdef fastprep_bytes data
    cdef int64_t tile, rest, axis, chunk, n_images = min(plan.chunk_sides[0], plan.sides[0] - row * plan.chunk_sides[0])
    cdef int64_t[4] starts, within
    cdef uint8_t *target
    data.first = NULL
    status[0] = OK
    for tile in range(plan.n_tiles):
        chunk = row * plan.n_tiles + tile
        # a chunk that did not get shorter is stored as it was, and is read where it would be decoded to
        target = memory.raw
        if skips_all(plan, chunk) and plan.sizes[chunk] <= plan.capacity:
            target = memory.out
        data = stored_bytes(plan, source, chunk, target, status)
        if status[0] != OK:
            return NULL
        data = fastprep_undo_filters(
            &plan.pipeline, contexts, plan.masks[chunk], data, plan.chunk_bytes, memory.spare, memory.out, plan.capacity
        )
        if data.first == NULL:
            status[0] = REFUSED
            return NULL
        if plan.is_swapped:  # while the chunk is in the caches
            fastprep_swap_bytes(data.first, memory.out, plan.chunk_bytes, plan.element_bytes)
            data.first = memory.out
        if not plan.is_split:
            return data.first
        rest, starts[0], within[0] = tile, 0, n_images
        axis = 3
        while axis > 0:
            starts[axis] = rest % plan.grid[axis] * plan.chunk_sides[axis]
            within[axis] = min(plan.chunk_sides[axis], plan.sides[axis] - starts[axis])
            rest //= plan.grid[axis]
            axis -= 1
        fastprep_place_tile(data.first, plan.sides, plan.chunk_sides, starts, within, plan.element_bytes, memory.images)
    return memory.images


cdef void announce(ChunkPlan plan, int fd, int64_t row) noexcept nogil:
    # the chunks of a row mostly lie one after another
    cdef int64_t chunk
    for chunk in range(row * plan.n_tiles, (row + 1) * plan.n_tiles):
        fastprep_will_need(fd, plan.offsets[chunk], plan.sizes[chunk])


def read_rows(
    ChunkPlan plan not None, Decoder decoder not None, int fd, const uint8_t[::1] mapping, const int64_t[::1] rows,
    const int64_t[::1] begins, const int64_t[::1] within, const int64_t[::1] slots, uint8_t[::1] raw, uint8_t[::1] spare,
    uint8_t[::1] out, uint8_t[::1] images, Sink sink not None
):
    """Read and decode rows of chunks one after another, and hand images of each to the sink.

    Parameters
    ----------
    plan, decoder
    fd : int
    mapping : memoryview of uint8, or None
        The whole file, if it is mapped.
    rows : of int64, shape (n,)
        Rows of chunks.
    begins : of int64, shape (n + 1,)
        Row k has the images begins[k] .. begins[k + 1] - 1 of `within` and `slots`.
    within, slots : of int64
        Which image of its row it is, and its slot.
    raw, spare, out, images : memoryview of uint8
        Memory: `plan.raw_bytes(rows)`, twice `plan.chunk_bytes` and the slack, and `plan.row_bytes` where chunks are split.

    Returns
    -------
    (int, int, int)
        A status: OK, TRUNCATED, STATUS_REFUSED, errno or what the sink returned; the position in `rows` where it ended; and
        which of `slots` the sink failed at, or -1.
    """
    cdef int64_t n = rows.shape[0], k = 0, j, status = OK, failed = -1
    cdef Source source
    cdef Memory memory
    cdef const uint8_t *pixels
    if sink.take == NULL:
        raise TypeError(f"{type(sink).__name__} takes no pixels")
    source.fd, source.mapping, source.n_mapped = fd, NULL, 0
    source.rows, source.k, source.n, source.is_cached = &rows[0], 0, n, True
    if mapping is not None:
        source.mapping, source.n_mapped = &mapping[0], mapping.shape[0]
    memory.raw, memory.spare, memory.out, memory.images = &raw[0], &spare[0], &out[0], &images[0]
    with nogil:
        while k < n and status == OK:
            source.k = k
            if source.mapping == NULL and not source.is_cached and k + READ_AHEAD < n:
                announce(plan, fd, rows[k + READ_AHEAD])
            j = begins[k]
            if source.mapping == NULL and begins[k + 1] == j + 1 and is_an_image(plan, rows[k]):
                pixels = read_part(plan, &source, rows[k], sink, slots[j], memory, &status)
            else:
                pixels = decode_row(plan, &decoder.contexts, &source, rows[k], memory, &status)
            while status == OK and j < begins[k + 1]:
                status = sink.take(sink.context, slots[j], pixels + within[j] * plan.image_bytes)
                if status != OK:
                    failed = j
                j += 1
            if status == OK:
                k += 1
    return status, k, failed


def read_row(
    ChunkPlan plan not None, Decoder decoder not None, int fd, const uint8_t[::1] mapping, int64_t row, uint8_t[::1] raw,
    uint8_t[::1] spare, uint8_t[::1] out, uint8_t[::1] images
):
    """Read and decode one row of chunks into `images`; where chunks are not split, into `out`, or wherever it is copied from.

    `images` has room for `plan.row_bytes`; without splits it may be `out`, of `plan.chunk_bytes` and the slack.
    Returns a status as `read_rows` does.
    """
    cdef int64_t status = OK
    cdef Source source
    cdef Memory memory
    cdef const uint8_t *pixels
    source.fd, source.mapping, source.n_mapped = fd, NULL, 0
    source.rows, source.k, source.n, source.is_cached = NULL, 0, 0, False
    if mapping is not None:
        source.mapping, source.n_mapped = &mapping[0], mapping.shape[0]
    memory.raw, memory.spare, memory.out, memory.images = &raw[0], &spare[0], &out[0], &images[0]
    with nogil:
        pixels = decode_row(plan, &decoder.contexts, &source, row, memory, &status)
        if status == OK and pixels != memory.images:
            memmove(memory.images, pixels, plan.row_bytes)
    return status


def undo_filters(
    ChunkPlan plan not None, Decoder decoder not None, uint32_t skipped, const uint8_t[::1] stored, uint8_t[::1] spare,
    uint8_t[::1] out
):
    """Undo the filters of one chunk that is in memory; return a copy of its bytes, or None if it is refused. For tests."""
    cdef fastprep_bytes data
    if min(spare.shape[0], out.shape[0]) < plan.capacity:
        raise ValueError(f"{plan.capacity} bytes are needed, got {spare.shape[0]} and {out.shape[0]}")
    data.first, data.n_bytes = &stored[0] if stored.shape[0] else NULL, stored.shape[0]
    with nogil:
        data = fastprep_undo_filters(
            &plan.pipeline, &decoder.contexts, skipped, data, plan.chunk_bytes, &spare[0], &out[0], plan.capacity
        )
    return None if data.first == NULL else data.first[:data.n_bytes]
