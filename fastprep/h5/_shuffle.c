#include "_filters.h"

#include <string.h>

/* Shuffle stores the first bytes of all elements, then the second bytes, and so on; bytes that fill no element stay at the end. */

/* The compiler makes vector code of these, because it knows the size of an element. */
#define UNSHUFFLE(size)                                                                                                  \
    static void unshuffle_##size(const uint8_t *restrict source, int64_t n, uint8_t *restrict out) {                       \
        for (int64_t j = 0; j < n; j++) {                                                                                \
            for (int k = 0; k < size; k++) out[j * size + k] = source[k * n + j];                                        \
        }                                                                                                                \
    }
UNSHUFFLE(2)
UNSHUFFLE(4)
UNSHUFFLE(8)

int64_t fastprep_unshuffle(fastprep_bytes data, int64_t element_bytes, uint8_t *out, int64_t capacity) {
    if (data.n_bytes > capacity) return -1;
    int64_t n = data.n_bytes / element_bytes, whole = n * element_bytes;
    switch (element_bytes) {
        case 1: memcpy(out, data.first, (size_t)whole); break;
        case 2: unshuffle_2(data.first, n, out); break;
        case 4: unshuffle_4(data.first, n, out); break;
        case 8: unshuffle_8(data.first, n, out); break;
        default:
            for (int64_t k = 0; k < element_bytes; k++) {
                for (int64_t j = 0; j < n; j++) out[j * element_bytes + k] = data.first[k * n + j];
            }
    }
    memcpy(out + whole, data.first + whole, (size_t)(data.n_bytes - whole));
    return data.n_bytes;
}

/* Add the halves of a sum until it has 16 bits: the remainder modulo 65535, except that only nothing but zeros gives zero. */
static uint64_t folded(uint64_t sum) {
    while (sum >> 16) sum = (sum & 0xFFFF) + (sum >> 16);
    return sum;
}

enum { WORDS = 256 }; /* as many as 32 bits have room for the weighted sum of: 65535 * (256 * 257 / 2) < 2**32 */

uint32_t fastprep_fletcher32(fastprep_bytes data) {
    const uint8_t *words = data.first;
    int64_t n = data.n_bytes / 2;
    uint64_t first = 0, second = 0; /* the sum of all words, and that of all the sums on the way */
    for (int64_t begin = 0; begin < n; begin += WORDS) {
        uint32_t count = (uint32_t)(n - begin < WORDS ? n - begin : WORDS), sum = 0, weighted = 0;
        for (uint32_t k = 0; k < count; k++) {
            uint32_t word = (uint32_t)words[2 * (begin + k)] << 8 | words[2 * (begin + k) + 1];
            sum += word;
            weighted += (count - k) * word; /* which is in as many of the sums */
        }
        second = folded(second + count * first + weighted);
        first = folded(first + sum);
    }
    if (data.n_bytes % 2) {
        first = folded(first + ((uint64_t)words[data.n_bytes - 1] << 8));
        second = folded(second + first);
    }
    return (uint32_t)(second << 16 | first);
}
