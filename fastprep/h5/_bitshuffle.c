#include "_filters.h"

#include <string.h>

/* Bitshuffle puts the first bits of the elements of a block side by side, then their second bits, and so on: element 8 * k + i has
   bit j of its byte b as bit i of byte k in row 8 * b + j of n / 8 bytes. Blocks have a multiple of eight elements; the elements at
   the end that do not fill a group of eight stay as they are (bshuf_h5filter.c and bitshuffle.c of
   https://github.com/kiyo-masui/bitshuffle). */

enum { GROUPS = 256, MOST_PLANES = 8, MIN_BLOCK = 128, BLOCK_BYTES = 8192 }; /* the last two are the library's own choice of a block */

/* Turn squares of 8 x 8 bits over: bit i of byte j becomes bit j of byte i (Hacker's Delight, section 7-3). */
static void transpose(uint64_t *squares, int n) {
    for (int k = 0; k < n; k++) {
        uint64_t x = squares[k], t;
        t = (x ^ x >> 7) & 0x00AA00AA00AA00AAu;
        x ^= t ^ t << 7;
        t = (x ^ x >> 14) & 0x0000CCCC0000CCCCu;
        x ^= t ^ t << 14;
        t = (x ^ x >> 28) & 0x00000000F0F0F0F0u;
        x ^= t ^ t << 28;
        squares[k] = x;
    }
}

/* Squares whose byte j is of row j; on the way, the compiler makes vector code of bytes that are put side by side. */
static void gather(const uint8_t *restrict rows, int64_t row_bytes, int n, uint8_t *restrict squares) {
    for (int k = 0; k < n; k++) {
        for (int j = 0; j < 8; j++) squares[8 * k + j] = rows[j * row_bytes + k];
    }
}

/* Turn the order of the bytes round where the least significant one does not come first. */
static void as_little_endian(uint64_t *squares, int n) {
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    for (int k = 0; k < n; k++) squares[k] = __builtin_bswap64(squares[k]);
#else
    (void)squares;
    (void)n;
#endif
}

/* Undo one byte of the elements: rows of bits become a plane of bytes. */
static void ungroup_plane(const uint8_t *rows, int64_t row_bytes, int n, uint64_t *plane) {
    gather(rows, row_bytes, n, (uint8_t *)plane);
    as_little_endian(plane, n);
    transpose(plane, n);
    as_little_endian(plane, n);
}

/* Undo one block of a whole number of groups of eight elements. */
static void ungroup(const uint8_t *restrict source, int64_t element_bytes, int64_t n_elements, uint8_t *restrict out) {
    int64_t n_groups = n_elements / 8;
    uint64_t planes[MOST_PLANES * GROUPS];
    for (int64_t begin = 0; begin < n_groups; begin += GROUPS) {
        int count = (int)(n_groups - begin < GROUPS ? n_groups - begin : GROUPS);
        uint8_t *target = out + 8 * begin * element_bytes;
        for (int64_t b = 0; b < element_bytes; b++) {
            uint64_t *plane = planes + (element_bytes <= MOST_PLANES ? b * count : 0);
            ungroup_plane(source + b * n_elements + begin, n_groups, count, plane);
            if (element_bytes <= MOST_PLANES) continue;
            for (int64_t k = 0; k < 8 * count; k++) target[k * element_bytes + b] = ((const uint8_t *)plane)[k];
        }
        if (element_bytes <= MOST_PLANES) {
            fastprep_bytes shuffled = {(const uint8_t *)planes, 8 * count * element_bytes};
            (void)fastprep_unshuffle(shuffled, element_bytes, target, shuffled.n_bytes);
        }
    }
}

/* Undo blocks of a given number of elements, the last one shorter, and copy what fills no group. */
static int64_t ungroup_all(fastprep_bytes data, int64_t element_bytes, int64_t block, uint8_t *out, int64_t capacity) {
    if (data.n_bytes > capacity || data.n_bytes % element_bytes) return -1;
    if (block == 0) {
        block = BLOCK_BYTES / element_bytes / 8 * 8;
        block = block < MIN_BLOCK ? MIN_BLOCK : block;
    }
    if (block % 8) return -1;
    int64_t n = data.n_bytes / element_bytes, whole = n / 8 * 8;
    for (int64_t first = 0; first < whole; first += block) {
        int64_t count = whole - first < block ? whole - first : block;
        ungroup(data.first + first * element_bytes, element_bytes, count, out + first * element_bytes);
    }
    memcpy(out + whole * element_bytes, data.first + whole * element_bytes, (size_t)((n - whole) * element_bytes));
    return data.n_bytes;
}

int64_t fastprep_unbitshuffle(
    fastprep_contexts *contexts, const fastprep_stage *stage, fastprep_bytes data, uint8_t *out, int64_t capacity
) {
    int64_t element_bytes = stage->values[2], block = stage->n_values > 3 ? stage->values[3] : 0;
    uint32_t compression = stage->n_values > 4 ? stage->values[4] : 0;
    if (!compression) return ungroup_all(data, element_bytes, block, out, capacity);
    if (data.n_bytes < 12) return -1;
    uint64_t claimed = fastprep_big_endian(data.first, 8);
    int64_t block_bytes = (int64_t)fastprep_big_endian(data.first + 8, 4), group = 8 * element_bytes, position = 12, start = 0;
    if (claimed > (uint64_t)capacity || block_bytes == 0 || block_bytes % group) return -1;
    int64_t n_bytes = (int64_t)claimed, whole = n_bytes / group * group;
    uint8_t *unpacked = fastprep_memory(contexts, block_bytes < whole ? block_bytes : whole);
    if (unpacked == NULL) return -1;
    while (start < whole) {
        int64_t length = whole - start < block_bytes ? whole - start : block_bytes;
        if (data.n_bytes - position < 4) return -1;
        int64_t stored = (int64_t)fastprep_big_endian(data.first + position, 4);
        position += 4;
        if (stored > data.n_bytes - position) return -1;
        fastprep_bytes packed = {data.first + position, stored};
        int64_t got = compression == 2 ? fastprep_lz4_block(contexts, packed, unpacked, length)
                                       : fastprep_zstd(contexts, packed, unpacked, length);
        if (got != length) return -1;
        ungroup(unpacked, element_bytes, length / element_bytes, out + start);
        start += length;
        position += stored;
    }
    if (data.n_bytes - position < n_bytes - start) return -1;
    memcpy(out + start, data.first + position, (size_t)(n_bytes - start));
    return n_bytes;
}
