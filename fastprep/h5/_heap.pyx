"""Rows of bytes in HDF5's global heap, found and read without the GIL. Arguments are checked in byte_rows.py, not here.

A row is an object of a *collection*: the signature "GCOL", a version, 3 reserved bytes and the collection's size (8 bytes); then
objects, each with a number (2 bytes), a count of references (2), 4 reserved bytes, its size (8), and its bytes, padded to a
multiple of 8. Object 0 is the free space at the end, which has no header where it is shorter than one. A reference to a row is
its length (4 bytes), the address of the collection (8) and the number of the object (4); an empty row has zeros. See the HDF5
File Format Specification, III.E and IV.A.2.d. Nothing of what a file says is used as an offset, or as a size, before it was
compared with what is there.
"""

from enum import IntEnum

from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memset

from fastprep._sink cimport OK
from fastprep.h5._pread cimport fastprep_will_need, read_fully

cdef extern from "pthread.h" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_mutex_destroy(pthread_mutex_t *)

# How a search in a heap failed; `Problem` has one or two numbers for each, which byte_rows.py puts into words
cdef enum heap_status:
    OUTSIDE = -11      # the reference leads out of the file
    NO_HEAP = -12      # there is no collection at its address
    HEAP_SIZE = -13    # the collection can't have its size; the size, and the bytes that are left of the file
    BEYOND = -14       # an object reaches beyond the collection; its number, and its size
    FREE_SPACE = -15   # the free space is not the rest of the collection; its size, and the rest
    TWICE = -16        # two objects have one number; which
    NO_OBJECT = -17    # no object has the number; how many objects there are
    LENGTH = -18       # the object has another length than the reference says; the object's

HeapStatus = IntEnum(
    "HeapStatus",
    {
        "OUTSIDE": OUTSIDE,
        "NO_HEAP": NO_HEAP,
        "HEAP_SIZE": HEAP_SIZE,
        "BEYOND": BEYOND,
        "FREE_SPACE": FREE_SPACE,
        "TWICE": TWICE,
        "NO_OBJECT": NO_OBJECT,
        "LENGTH": LENGTH,
    },
    module=__name__,
)

cdef enum:
    HEADER = 16          # bytes, of a collection and of an object
    BEFORE = 32          # bytes of both, before the first object of a collection
    REFERENCE = 16       # bytes
    WINDOW = 4096        # bytes of a collection that are read together
    READ_AHEAD = 64      # rows
    SLOTS = 4096         # tables that are kept
    MOST_BYTES = 1 << 23  # of them

MARGIN_BEFORE, MARGIN_BEHIND = BEFORE, HEADER + 8


cdef struct Reference:
    uint64_t address
    uint64_t length
    int64_t number


cdef struct Object:
    int64_t offset       # in the file; 0: no object has this number
    int64_t size


cdef struct Table:
    uint64_t address     # of the collection; 0: none
    int64_t n_places     # of `objects`, which are ordered by number
    int64_t n_objects
    Object *objects


cdef struct Problem:
    uint64_t first
    uint64_t second


cdef struct Window:      # a part of the file in memory
    int fd
    int64_t begin        # offset in the file
    int64_t n_bytes
    uint8_t *bytes


cdef inline uint64_t number_in(const uint8_t *bytes, int n_bytes) noexcept nogil:
    """Return an integer of the file, least significant byte first."""
    cdef uint64_t value = 0
    cdef int k
    for k in range(n_bytes - 1, -1, -1):
        value = value << 8 | bytes[k]
    return value


cdef Reference reference_in(const uint8_t *bytes) noexcept nogil:
    cdef Reference found
    found.length = number_in(bytes, 4)
    found.address = number_in(bytes + 4, 8)
    found.number = <int64_t> number_in(bytes + 12, 4)
    return found


cdef class HeapTables:
    """Where the objects of collections are: those that were looked at last, within 8 MiB. Any number of threads may use it."""

    cdef pthread_mutex_t lock
    cdef Table *slots
    cdef int64_t n_bytes, n_walked, hand

    def __cinit__(self):
        pthread_mutex_init(&self.lock, NULL)
        self.slots = <Table *> calloc(SLOTS, sizeof(Table))
        if self.slots == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef int64_t k
        if self.slots != NULL:
            for k in range(SLOTS):
                free(self.slots[k].objects)
            free(self.slots)
        pthread_mutex_destroy(&self.lock)

    @property
    def n_kept(self):
        """Bytes of the tables that are kept."""
        return self.locked(&self.n_bytes)

    @property
    def n_walks(self):
        """Number of collections that were walked through, again and again where their tables were not kept."""
        return self.locked(&self.n_walked)

    cdef int64_t locked(self, const int64_t *number) noexcept nogil:
        cdef int64_t value
        pthread_mutex_lock(&self.lock)
        value = number[0]
        pthread_mutex_unlock(&self.lock)
        return value

    cdef bint look_up(self, const Reference *wanted, Object *found, int64_t *n_objects) noexcept nogil:
        """Tell whether the table of a collection is kept, and copy what it has about an object."""
        cdef Table *slot = &self.slots[slot_of(wanted.address)]
        cdef bint is_kept
        pthread_mutex_lock(&self.lock)
        is_kept = slot.address == wanted.address
        if is_kept:
            copy_object(slot, wanted.number, found)
            n_objects[0] = slot.n_objects
        pthread_mutex_unlock(&self.lock)
        return is_kept

    cdef void keep(self, Table *table) noexcept nogil:
        """Keep a table, or free it. One object is found as fast without a table."""
        cdef Table *slot = &self.slots[slot_of(table.address)]
        cdef int64_t n_bytes = table.n_places * <int64_t> sizeof(Object)
        pthread_mutex_lock(&self.lock)
        self.n_walked += 1
        if table.n_objects > 1:
            self.drop(slot)
            while self.n_bytes + n_bytes > MOST_BYTES:  # one table takes 2 MiB at most
                self.drop(&self.slots[self.hand])
                self.hand = (self.hand + 1) % SLOTS
            slot[0] = table[0]
            self.n_bytes += n_bytes
            table.objects = NULL
        pthread_mutex_unlock(&self.lock)
        free(table.objects)

    cdef void drop(self, Table *slot) noexcept nogil:
        if slot.address:
            self.n_bytes -= slot.n_places * <int64_t> sizeof(Object)
            free(slot.objects)
            memset(slot, 0, sizeof(Table))


cdef inline int64_t slot_of(uint64_t address) noexcept nogil:
    return <int64_t> ((address >> 3) * <uint64_t> 0x9E3779B97F4A7C15 >> 52)  # the highest 12 bits: 0..SLOTS - 1


cdef inline void copy_object(const Table *table, int64_t number, Object *found) noexcept nogil:
    found.offset = found.size = 0
    if 0 < number < table.n_places:
        found[0] = table.objects[number]


cdef int64_t show(Window *window, uint8_t *memory, int64_t offset, int64_t end, const uint8_t **header) noexcept nogil:
    """Point at a header at `offset`, which ends before `end`. What is not in the window is read into `memory`, with more."""
    cdef int64_t status
    if offset < window.begin or offset + HEADER > window.begin + window.n_bytes:
        window.bytes, window.begin, window.n_bytes = memory, offset, min(<int64_t> WINDOW, end - offset)
        status = read_fully(window.fd, memory, window.n_bytes, offset)
        if status != OK:
            return status
    header[0] = window.bytes + (offset - window.begin)
    return OK


cdef int64_t enter(Table *table, int64_t number, int64_t offset, int64_t size, Problem *problem) noexcept nogil:
    """Enter an object into a table, which grows with the numbers in it: they have 16 bits."""
    cdef int64_t n_places
    cdef Object *objects
    if number >= table.n_places:
        n_places = max(2 * table.n_places, number + 1, <int64_t> 16)
        objects = <Object *> realloc(table.objects, n_places * sizeof(Object))
        if objects == NULL:
            return ENOMEM
        memset(objects + table.n_places, 0, (n_places - table.n_places) * sizeof(Object))
        table.objects, table.n_places = objects, n_places
    if table.objects[number].offset:
        problem.first = number
        return TWICE
    table.objects[number].offset, table.objects[number].size = offset, size
    table.n_objects += 1
    return OK


cdef int64_t walk(Window *window, uint64_t address, int64_t file_bytes, Table *table, Problem *problem) noexcept nogil:
    """List the objects of a collection.

    Each step leads at least a header further, and no two objects have the same of 65,535 numbers, so the steps are bounded.
    """
    cdef uint8_t memory[WINDOW]
    cdef const uint8_t *header = NULL
    cdef int64_t offset = <int64_t> address, end, rest, status, number
    cdef uint64_t size
    status = show(window, &memory[0], offset, file_bytes, &header)
    if status != OK:
        return status
    if memcmp(header, b"GCOL\x01", 5) != 0:
        return NO_HEAP
    size = number_in(header + 8, 8)
    if size < HEADER or size > <uint64_t> (file_bytes - offset):
        problem.first, problem.second = size, file_bytes - offset
        return HEAP_SIZE
    end = offset + <int64_t> size
    offset += HEADER
    while end - offset >= HEADER:
        status = show(window, &memory[0], offset, end, &header)
        if status != OK:
            return status
        number, size = <int64_t> number_in(header, 2), number_in(header + 8, 8)
        if number == 0:
            if size != <uint64_t> (end - offset):  # HDF5 would go on behind it, or for ever
                problem.first, problem.second = size, end - offset
                return FREE_SPACE
            return OK
        offset += HEADER
        rest = end - offset
        if size > <uint64_t> rest:
            problem.first, problem.second = number, size
            return BEYOND
        status = enter(table, number, offset, <int64_t> size, problem)
        if status != OK:
            return status
        offset += min((<int64_t> size + 7) & ~<int64_t> 7, rest)
    return OK


cdef int64_t read_row(
    int fd, int64_t file_bytes, HeapTables tables, const Reference *wanted, uint8_t *out, Problem *problem
) noexcept nogil:
    """Find a row and read its bytes to `out`, around which there are MARGIN_BEFORE and MARGIN_BEHIND bytes of memory.

    The first object of a collection has its bytes behind two headers. So one call of the system reads them, the headers, and the
    one that follows. Where that shows that the object is another one, it is read in its place.
    """
    cdef Table table
    cdef Window window
    cdef Object found
    cdef int64_t status = OK, n_objects = 0, n_ready = 0
    if wanted.address < HEADER or file_bytes < BEFORE or wanted.address > <uint64_t> (file_bytes - BEFORE):
        return OUTSIDE
    if not tables.look_up(wanted, &found, &n_objects):
        memset(&table, 0, sizeof(Table))
        memset(&window, 0, sizeof(Window))
        table.address, window.fd = wanted.address, fd
        if wanted.number == 1 and wanted.length > WINDOW:
            window.begin, window.bytes = wanted.address, out - BEFORE
            window.n_bytes = min(BEFORE + ((<int64_t> wanted.length + 7) & ~<int64_t> 7) + HEADER, file_bytes - window.begin)
            n_ready = window.n_bytes - BEFORE
            status = read_fully(fd, window.bytes, window.n_bytes, window.begin)
        if status == OK:
            status = walk(&window, wanted.address, file_bytes, &table, problem)
        if status != OK:
            free(table.objects)
            return status
        copy_object(&table, wanted.number, &found)
        n_objects = table.n_objects
        tables.keep(&table)
    if found.offset == 0:
        problem.first = n_objects
        return NO_OBJECT
    if <uint64_t> found.size != wanted.length:
        problem.first = found.size
        return LENGTH
    if found.offset == <int64_t> wanted.address + BEFORE and found.size <= n_ready:
        return OK
    return read_fully(fd, out, found.size, found.offset)


cdef void announce(int fd, const Reference *wanted, int64_t file_bytes) noexcept nogil:
    if wanted.length and wanted.address < <uint64_t> file_bytes:
        fastprep_will_need(fd, wanted.address, wanted.length + WINDOW)


def read_rows(
    int fd,
    int64_t file_bytes,
    HeapTables tables,
    const uint8_t[::1] references,
    const int64_t[::1] samples,
    uint8_t[::1] out,
    const int64_t[::1] starts,
):
    """Read rows, each to its start in `out`, with the margins around it that `MARGIN_BEFORE` and `MARGIN_BEHIND` tell.

    `references` are those of all samples, as the file has them. Returns (status, position, first, second): OK, TRUNCATED, errno
    or a `HeapStatus`, the position in `samples` of the row that failed, or their number, and the numbers that the status has.
    """
    cdef int64_t k = 0, n = samples.shape[0], status = OK
    cdef Reference wanted
    cdef Problem problem
    problem.first = problem.second = 0
    with nogil:
        for k in range(min(n, <int64_t> READ_AHEAD)):
            wanted = reference_in(&references[samples[k] * REFERENCE])
            announce(fd, &wanted, file_bytes)
        k = 0
        while k < n:
            if k + READ_AHEAD < n:
                wanted = reference_in(&references[samples[k + READ_AHEAD] * REFERENCE])
                announce(fd, &wanted, file_bytes)
            wanted = reference_in(&references[samples[k] * REFERENCE])
            if wanted.length or wanted.address:
                status = read_row(fd, file_bytes, tables, &wanted, &out[starts[k]], &problem)
                if status != OK:
                    break
            k += 1
    return status, k, problem.first, problem.second
