"""Memory whose references are counted in C, so that TensorFlow may release it on any thread, without the GIL."""

from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New
from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc

cdef extern from *:
    """
    #include <stdint.h>
    #include <stdlib.h>

    #include <sys/mman.h>

    #define FASTPREP_MAX_DIMS 8
    #define HUGE_PAGE ((size_t)2 << 20)

    typedef struct fastprep_block {
        void *data;
        int64_t n_bytes;
        int64_t n_refs;        /* one for the pool, one for each lease, one for each capsule */
        PyObject *owner;       /* object that owns the memory, or NULL if it is from malloc */
        struct fastprep_block *next;
    } fastprep_block;

    static fastprep_block *block_new(int64_t n_bytes, size_t alignment) {
        fastprep_block *block = (fastprep_block *)calloc(1, sizeof(fastprep_block));
        if (!block) return NULL;
        const size_t size = n_bytes > 0 ? (size_t)n_bytes : 1;
        const int is_large = size >= 2 * HUGE_PAGE;
        if (posix_memalign(&block->data, is_large ? HUGE_PAGE : alignment, size)) { free(block); return NULL; }
    #ifdef MADV_HUGEPAGE
        if (is_large) (void)madvise(block->data, size, MADV_HUGEPAGE);  /* the first touch of each page costs a fault */
    #endif
        block->n_bytes = n_bytes;
        block->n_refs = 1;
        return block;
    }
    static fastprep_block *block_around(uintptr_t address, int64_t n_bytes, PyObject *owner) {
        fastprep_block *block = (fastprep_block *)calloc(1, sizeof(fastprep_block));
        if (!block) return NULL;
        block->data = (void *)address;
        block->n_bytes = n_bytes;
        block->n_refs = 1;
        Py_INCREF(owner);
        block->owner = owner;
        return block;
    }

    /* Blocks that are no longer used, and whose owners wait for a thread with the GIL to release them. */
    static fastprep_block *fastprep_released = NULL;

    static int release_owners(void *unused) {
        (void)unused;
        fastprep_block *block = __atomic_exchange_n(&fastprep_released, NULL, __ATOMIC_ACQ_REL);
        while (block) {
            fastprep_block *next = block->next;
            Py_DECREF(block->owner);
            free(block);
            block = next;
        }
        return 0;
    }
    static int64_t block_refs(fastprep_block *block) { return __atomic_load_n(&block->n_refs, __ATOMIC_ACQUIRE); }
    static void block_hold(fastprep_block *block) { __atomic_add_fetch(&block->n_refs, 1, __ATOMIC_ACQ_REL); }
    static void block_release(fastprep_block *block) {
        if (__atomic_sub_fetch(&block->n_refs, 1, __ATOMIC_ACQ_REL) != 0) return;
        if (!block->owner) { free(block->data); free(block); return; }
        fastprep_block *first = __atomic_load_n(&fastprep_released, __ATOMIC_RELAXED);
        do block->next = first;
        while (!__atomic_compare_exchange_n(&fastprep_released, &first, block, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
        /* Python's main thread does it soon. If its queue is full, the next lease or block that is deallocated does it. */
        if (Py_IsInitialized()) (void)Py_AddPendingCall(release_owners, NULL);
    }
    """
    ctypedef struct fastprep_block:
        void *data
        int64_t n_bytes
        PyObject *owner
    int FASTPREP_MAX_DIMS
    fastprep_block *block_new(int64_t n_bytes, size_t alignment) nogil
    fastprep_block *block_around(uintptr_t address, int64_t n_bytes, PyObject *owner)
    int release_owners(void *unused)
    int64_t block_refs(fastprep_block *block) nogil
    void block_hold(fastprep_block *block) nogil
    void block_release(fastprep_block *block) nogil

# DLPack's unversioned structures, from dlpack.h 0.8 (https://dmlc.github.io/dlpack/latest/c_api.html)
cdef struct DLDevice:
    int32_t device_type
    int32_t device_id

cdef struct DLDataType:
    uint8_t code
    uint8_t bits
    uint16_t lanes

cdef struct DLTensor:
    void *data
    DLDevice device
    int32_t ndim
    DLDataType dtype
    int64_t *shape
    int64_t *strides
    uint64_t byte_offset

cdef struct DLManagedTensor:
    DLTensor dl_tensor
    void *manager_ctx
    void (*deleter)(DLManagedTensor *) noexcept nogil

cdef struct Loan:
    DLManagedTensor managed
    fastprep_block *block
    int64_t shape[8]
    int64_t strides[8]

cdef int32_t DL_CPU = 1
cdef int32_t DL_CUDA = 2


cdef void end_loan(DLManagedTensor *managed) noexcept nogil:
    cdef Loan *loan = <Loan *> managed.manager_ctx
    block_release(loan.block)
    free(loan)


cdef void drop_capsule(object capsule) noexcept:
    cdef DLManagedTensor *managed
    if PyCapsule_IsValid(capsule, "dltensor"):  # a consumed capsule has been renamed, and its consumer ends the loan
        managed = <DLManagedTensor *> PyCapsule_GetPointer(capsule, "dltensor")
        managed.deleter(managed)
        release_owners(NULL)


cdef class Block:
    """Memory of this process, or, with an owner, memory of a CUDA device that the owner frees when it is deallocated."""

    cdef fastprep_block *block

    def __cinit__(self, int64_t n_bytes, size_t alignment, owner=None):
        cdef uintptr_t address
        if owner is None:
            self.block = block_new(n_bytes, alignment)
        else:
            address = owner.address
            if address % alignment:
                raise ValueError(f"memory at {address:#x} is not aligned to {alignment} bytes")
            if owner.n_bytes < n_bytes:
                raise ValueError(f"memory for {n_bytes} bytes has only {owner.n_bytes}")
            self.block = block_around(address, n_bytes, <PyObject *> owner)
        if self.block == NULL:
            raise MemoryError(f"no memory for a batch of {n_bytes} bytes")

    def __dealloc__(self):
        if self.block != NULL:
            block_release(self.block)
        release_owners(NULL)

    @property
    def is_free(self):
        return block_refs(self.block) == 1

    def lease(self):
        return Lease(self)


cdef class Lease:
    """Right to use a block, which lasts until this object and every capsule made from it are gone."""

    cdef fastprep_block *block

    def __cinit__(self, Block owner not None):
        self.block = owner.block
        block_hold(self.block)

    def __dealloc__(self):
        if self.block != NULL:
            block_release(self.block)
        release_owners(NULL)

    @property
    def address(self):
        return <uintptr_t> self.block.data

    @property
    def n_bytes(self):
        return self.block.n_bytes

    @property
    def is_on_device(self):
        return self.block.owner != NULL

    def __getbuffer__(self, Py_buffer *view, int flags):
        if self.block.owner != NULL:
            raise BufferError("this memory is on a CUDA device; the processor can't read it")
        view.buf = self.block.data
        view.len = self.block.n_bytes
        view.readonly = 0
        view.itemsize = 1
        view.format = NULL
        view.ndim = 1
        view.shape = NULL
        view.strides = NULL
        view.suboffsets = NULL
        view.internal = NULL
        view.obj = self

    def capsule(self, tuple shape, int type_code, int bits, int device_id, int64_t offset=0):
        cdef int ndim = len(shape)
        cdef int64_t n_left = self.block.n_bytes - offset
        cdef int64_t n_items = 1
        cdef int k
        if ndim > FASTPREP_MAX_DIMS:
            raise ValueError(f"at most {FASTPREP_MAX_DIMS} dimensions, got {ndim}")
        for k in range(ndim):
            if shape[k] < 0:
                raise ValueError(f"shape must not be negative, got {shape}")
            n_items = min(n_items * <int64_t> shape[k], self.block.n_bytes + 1)
        if offset < 0 or n_left < 0 or n_items * bits > n_left * 8:
            raise ValueError(
                f"shape {shape} of {bits}-bit numbers, {offset} bytes from the start, is larger than the buffer of "
                f"{self.block.n_bytes} bytes"
            )
        cdef Loan *loan = <Loan *> malloc(sizeof(Loan))
        if loan == NULL:
            raise MemoryError
        loan.block = self.block
        n_items = 1
        for k in range(ndim - 1, -1, -1):
            loan.shape[k] = shape[k]
            loan.strides[k] = n_items
            n_items *= loan.shape[k]
        cdef DLTensor *tensor = &loan.managed.dl_tensor
        tensor.data = <void *> (<uint8_t *> self.block.data + offset)
        tensor.byte_offset = 0  # some consumers leave it out
        tensor.device.device_type = DL_CPU if self.block.owner == NULL else DL_CUDA
        tensor.device.device_id = device_id
        tensor.ndim = ndim
        tensor.dtype.code = type_code
        tensor.dtype.bits = bits
        tensor.dtype.lanes = 1
        tensor.shape = loan.shape
        tensor.strides = loan.strides
        loan.managed.manager_ctx = loan
        loan.managed.deleter = end_loan
        block_hold(self.block)
        try:
            return PyCapsule_New(&loan.managed, "dltensor", drop_capsule)
        except BaseException:
            end_loan(&loan.managed)
            raise


def capsule_address(capsule):
    """Return the address of the first byte of a DLPack capsule that has not been consumed yet."""
    cdef DLManagedTensor *managed = <DLManagedTensor *> PyCapsule_GetPointer(capsule, "dltensor")
    return <uintptr_t> managed.dl_tensor.data + managed.dl_tensor.byte_offset


def capsule_device(capsule):
    """Return (device type, device number) of a DLPack capsule that has not been consumed yet."""
    cdef DLManagedTensor *managed = <DLManagedTensor *> PyCapsule_GetPointer(capsule, "dltensor")
    return managed.dl_tensor.device.device_type, managed.dl_tensor.device.device_id
