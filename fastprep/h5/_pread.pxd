"""Reading of a range of bytes, compiled into each module that reads from open files."""

from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint8_t

from fastprep._sink cimport OK, TRUNCATED

cdef extern from "unistd.h" nogil:
    ssize_t pread(int fd, void *buffer, size_t n_bytes, int64_t offset)

cdef extern from *:
    """
    #include <fcntl.h>
    #include <stdint.h>
    #include <sys/types.h>
    #include <sys/uio.h>
    /* Read what is in memory already, and nothing that would have to come from a disk. Returns the number of bytes, which may be
       smaller than asked for, or -1: nothing of it is in memory, or the system can't tell. Not every module asks for it. */
    __attribute__((unused)) static inline ssize_t fastprep_read_cached(int fd, void *buffer, size_t n_bytes, int64_t offset) {
    #ifdef RWF_NOWAIT
        struct iovec part = {buffer, n_bytes};
        return preadv2(fd, &part, 1, (off_t)offset, RWF_NOWAIT);
    #else
        (void)fd; (void)buffer; (void)n_bytes; (void)offset;
        return -1;
    #endif
    }
    /* Tell the system what will be read soon. Systems without posix_fadvise are not told. */
    __attribute__((unused)) static inline void fastprep_will_need(int fd, int64_t offset, int64_t n_bytes) {
    #ifdef POSIX_FADV_WILLNEED
        (void)posix_fadvise(fd, offset, n_bytes, POSIX_FADV_WILLNEED);
    #else
        (void)fd; (void)offset; (void)n_bytes;
    #endif
    }
    """
    void fastprep_will_need(int fd, int64_t offset, int64_t n_bytes) nogil
    ssize_t fastprep_read_cached(int fd, void *buffer, size_t n_bytes, int64_t offset) nogil


cdef inline int64_t read_fully(int fd, uint8_t *buffer, int64_t n_bytes, int64_t offset) noexcept nogil:
    """Return OK, TRUNCATED if the file ends early, or errno."""
    cdef int64_t done = 0
    cdef ssize_t got
    while done < n_bytes:
        got = pread(fd, buffer + done, n_bytes - done, offset + done)
        if got > 0:
            done += got
        elif got == 0:
            return TRUNCATED
        elif errno != EINTR:
            return errno
    return OK
