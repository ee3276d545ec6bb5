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
    /* Tell the system what will be read soon. Systems without posix_fadvise are not told. */
    static inline void fastprep_will_need(int fd, int64_t offset, int64_t n_bytes) {
    #ifdef POSIX_FADV_WILLNEED
        (void)posix_fadvise(fd, offset, n_bytes, POSIX_FADV_WILLNEED);
    #else
        (void)fd; (void)offset; (void)n_bytes;
    #endif
    }
    """
    void fastprep_will_need(int fd, int64_t offset, int64_t n_bytes) nogil


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
