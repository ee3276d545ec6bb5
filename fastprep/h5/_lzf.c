#include "_filters.h"

#include <string.h>

/* LZF: a byte below 32 is followed by that many bytes and one more, as they are. Any other one is a copy of bytes that were decoded
   before: its upper 3 bits are the length less 2, where 7 has the rest of the length in a byte of its own, and the lower 5 bits
   with one more byte tell how far back the copy begins, less 1. */

enum { LITERALS = 32 }; /* the most in a row */

/* Repeat what lies `distance` bytes back; up to 15 bytes more may be written where there is room for them. */
static void copy_back(uint8_t *target, int64_t distance, int64_t n, int64_t room) {
    const uint8_t *source = target - distance;
    if (distance >= 16 && n + 16 <= room) {
        for (int64_t k = 0; k < n; k += 16) memcpy(target + k, source + k, 16);
    } else if (distance >= 8 && n + 8 <= room) {
        for (int64_t k = 0; k < n; k += 8) memcpy(target + k, source + k, 8);
    } else if (distance == 1) {
        memset(target, *source, (size_t)n);
    } else {
        for (int64_t k = 0; k < n; k++) target[k] = source[k];
    }
}

int64_t fastprep_lzf(fastprep_bytes data, uint8_t *out, int64_t capacity) {
    const uint8_t *from = data.first, *end = data.first + data.n_bytes;
    int64_t done = 0;
    while (from < end) {
        int64_t first = *from++, n;
        if (first < LITERALS) {
            n = first + 1;
            if (n > end - from || n > capacity - done) return -1;
            if (LITERALS <= end - from && LITERALS <= capacity - done) {
                memcpy(out + done, from, LITERALS); /* a length that the compiler knows: two instructions */
            } else {
                memcpy(out + done, from, (size_t)n);
            }
            from += n;
        } else {
            n = (first >> 5) + 2;
            if (n == 9) {
                if (from == end) return -1;
                n += *from++;
            }
            if (from == end) return -1;
            int64_t distance = ((first & 31) << 8 | *from++) + 1;
            if (distance > done || n > capacity - done) return -1;
            copy_back(out + done, distance, n, capacity - done);
        }
        done += n;
    }
    return done;
}
