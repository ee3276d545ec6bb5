/* Makes every pread of a process take long, and counts them: preloaded (LD_PRELOAD) in tests of slow disks. Nothing is in memory
   already: whoever asks for that alone is told so. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

long slow_us = 0;
long n_preads = 0;

#define SLOW(name)                                                                    \
    ssize_t name(int fd, void *buffer, size_t n_bytes, off_t offset) {                \
        static ssize_t (*original)(int, void *, size_t, off_t);                       \
        if (!original) original = (ssize_t (*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, #name); \
        if (slow_us) {                                                                \
            __atomic_add_fetch(&n_preads, 1, __ATOMIC_RELAXED);                       \
            usleep((useconds_t)slow_us);                                              \
        }                                                                             \
        return original(fd, buffer, n_bytes, offset);                                 \
    }

SLOW(pread)
SLOW(pread64)

#define NOT_CACHED(name)                                                                       \
    ssize_t name(int fd, const struct iovec *parts, int n_parts, off_t offset, int flags) {    \
        static ssize_t (*original)(int, const struct iovec *, int, off_t, int);                \
        if (!original)                                                                         \
            original = (ssize_t (*)(int, const struct iovec *, int, off_t, int))dlsym(RTLD_NEXT, #name); \
        if (slow_us) {                                                                         \
            errno = EAGAIN;                                                                    \
            return -1;                                                                         \
        }                                                                                      \
        return original(fd, parts, n_parts, offset, flags);                                    \
    }

NOT_CACHED(preadv2)
NOT_CACHED(preadv64v2)
