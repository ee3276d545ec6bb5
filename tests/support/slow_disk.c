/* Makes every pread of a process take long, and counts them: preloaded (LD_PRELOAD) in tests of slow disks. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/types.h>
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
