/* The x86 versions of the loops over bytes in other orders. */
#include "_crop_x86.h"

#ifdef FASTPREP_X86
#include <immintrin.h>

/* Walk a row in blocks of n pixels. The last block ends where the row ends, and may write some pixels a second time. */
static inline int64_t next_block(int64_t j, int64_t n, int64_t width)
{
    return j + 2 * n <= width ? j + n : j + n < width ? width - n : width;
}

#define FOR_BLOCKS(N, j, width) for (int64_t j = 0; j < (width); j = next_block(j, N, width))
#define LOAD(address) _mm_loadu_si128((const __m128i *)(address))
#define STORE(address, x) _mm_storeu_si128((__m128i *)(address), x)
#define TARGET __attribute__((target("avx2")))

/* ---- Some of the channels */

void fastprep_plan_picks(int64_t width, int64_t step, const int64_t *channel_at, int64_t channels, int64_t size, int64_t n_bytes,
                         int mirrored, fastprep_picks *plan)
{
    int64_t lowest = channel_at[0], highest = channel_at[0];
    for (int64_t c = 1; c < channels; c++) {
        lowest = channel_at[c] < lowest ? channel_at[c] : lowest;
        highest = channel_at[c] > highest ? channel_at[c] : highest;
    }
    const int64_t span = (highest - lowest + 1) * size;
    plan->n_bytes = 0;
    plan->step = step * size, plan->size = channels * size;
    if (span > n_bytes || plan->size > n_bytes) return;
    plan->pixels = (n_bytes - span) / plan->step + 1;
    if (plan->pixels * plan->size > n_bytes) plan->pixels = n_bytes / plan->size;
    if (plan->pixels > width) return;
    plan->n_bytes = n_bytes;
    plan->lowest = lowest * size;
    plan->span = (plan->pixels - 1) * plan->step + span;
    for (int64_t k = 0; k < plan->pixels; k++) {
        const int64_t pixel = mirrored ? plan->pixels - 1 - k : k;
        for (int64_t c = 0; c < channels; c++)
            for (int64_t b = 0; b < size; b++)
                plan->from[k * plan->size + c * size + b] = (uint8_t)(pixel * plan->step + (channel_at[c] - lowest) * size + b);
    }
}

TARGET static void pick_avx2(int64_t width, const fastprep_picks *plan, const uint8_t *source, uint8_t *to, int mirrored,
                             int64_t first, int64_t last)
{
    const __m128i from = LOAD(plan->from);
    const int64_t n = plan->pixels, step = plan->step;
    source += plan->lowest + (mirrored ? (width - n) * step : 0);
    for (int64_t j = first; j < last; j += n)
        STORE(to + j * plan->size, _mm_shuffle_epi8(LOAD(source + (mirrored ? -j : j) * step), from));
}

void fastprep_pick_avx2(int64_t width, const fastprep_picks *plans, int64_t n_planes, const uint8_t *source, uint8_t *const *to,
                        int mirrored, int64_t *first, int64_t *last)
{
    const int64_t step = plans[0].step, end = width * step;
    const int64_t n = plans[0].pixels; /* the same for all planes, which have one channel each if they are several */
    int64_t low = 0, high = width;     /* blocks of all planes keep inside these */
    for (int64_t p = 0; p < n_planes; p++) {
        if (end < plans[p].lowest + 16) return;
        /* the last pixel that a load may start with: it has 16 bytes, all before the end of the row */
        const int64_t last_start = (end - plans[p].lowest - 16) / step;
        if (mirrored && width - n - last_start > low) low = width - n - last_start;
        if (!mirrored && last_start + n < high) high = last_start + n;
    }
    if (high - low < n) return;
    *first = low;
    *last = low + (high - low) / n * n;
    for (int64_t p = 0; p < n_planes; p++) pick_avx2(width, plans + p, source, to[p], mirrored, *first, *last);
}

/* ---- Channels that lie apart */

TARGET static inline __m128i load_avx2(const uint8_t *plane, int64_t width, int64_t j, int mirrored, __m128i order)
{
    return mirrored ? _mm_shuffle_epi8(LOAD(plane + width - 16 - j), order) : LOAD(plane + j);
}

TARGET static inline __m128i three(__m128i a, __m128i b, __m128i c, __m128i from_a, __m128i from_b, __m128i from_c)
{
    return _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(a, from_a), _mm_shuffle_epi8(b, from_b)), _mm_shuffle_epi8(c, from_c));
}

TARGET int64_t fastprep_interleave_avx2(const fastprep_row *row, const uint8_t *source, uint8_t *to, int mirrored)
{
    const int64_t width = row->width, channels = row->channels;
    if (width < 16 || channels < 2 || channels > 4) return 0;
    const uint8_t *p[4];
    for (int64_t c = 0; c < 4; c++) p[c] = source + row->channel_at[c < channels ? c : 0];
    const __m128i order = _mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    /* the first 16 of 48 bytes are from pixels 0..5, the next from 5..10, the last from 10..15 */
    const __m128i a0 = _mm_setr_epi8(0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1, 5);
    const __m128i b0 = _mm_setr_epi8(-1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1);
    const __m128i c0 = _mm_setr_epi8(-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1);
    const __m128i a1 = _mm_setr_epi8(-1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10, -1);
    const __m128i b1 = _mm_setr_epi8(5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10);
    const __m128i c1 = _mm_setr_epi8(-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1);
    const __m128i a2 = _mm_setr_epi8(-1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1, -1);
    const __m128i b2 = _mm_setr_epi8(-1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1);
    const __m128i c2 = _mm_setr_epi8(10, -1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15);
    FOR_BLOCKS (16, j, width) {
        uint8_t *at = to + j * channels;
        const __m128i a = load_avx2(p[0], width, j, mirrored, order), b = load_avx2(p[1], width, j, mirrored, order);
        if (channels == 2) {
            STORE(at, _mm_unpacklo_epi8(a, b));
            STORE(at + 16, _mm_unpackhi_epi8(a, b));
            continue;
        }
        const __m128i c = load_avx2(p[2], width, j, mirrored, order);
        if (channels == 3) {
            STORE(at, three(a, b, c, a0, b0, c0));
            STORE(at + 16, three(a, b, c, a1, b1, c1));
            STORE(at + 32, three(a, b, c, a2, b2, c2));
            continue;
        }
        const __m128i d = load_avx2(p[3], width, j, mirrored, order);
        const __m128i ab_low = _mm_unpacklo_epi8(a, b), ab_high = _mm_unpackhi_epi8(a, b);
        const __m128i cd_low = _mm_unpacklo_epi8(c, d), cd_high = _mm_unpackhi_epi8(c, d);
        STORE(at, _mm_unpacklo_epi16(ab_low, cd_low));
        STORE(at + 16, _mm_unpackhi_epi16(ab_low, cd_low));
        STORE(at + 32, _mm_unpacklo_epi16(ab_high, cd_high));
        STORE(at + 48, _mm_unpackhi_epi16(ab_high, cd_high));
    }
    return width;
}

/* ---- Columns before rows */

/* Transpose 16 x 16 bytes: each of the four passes takes every vector x of the first half and its partner y of the second half to
 * the vectors 2x and 2x + 1, which doubles the length of the runs. */
TARGET static inline void transpose_16(const uint8_t *source, int64_t step, uint8_t *to, int64_t to_step)
{
    __m128i a[16], b[16];
    for (int k = 0; k < 16; k++) a[k] = LOAD(source + k * step);
    for (int k = 0; k < 8; k++) b[2 * k] = _mm_unpacklo_epi8(a[k], a[k + 8]), b[2 * k + 1] = _mm_unpackhi_epi8(a[k], a[k + 8]);
    for (int k = 0; k < 8; k++) a[2 * k] = _mm_unpacklo_epi8(b[k], b[k + 8]), a[2 * k + 1] = _mm_unpackhi_epi8(b[k], b[k + 8]);
    for (int k = 0; k < 8; k++) b[2 * k] = _mm_unpacklo_epi8(a[k], a[k + 8]), b[2 * k + 1] = _mm_unpackhi_epi8(a[k], a[k + 8]);
    for (int k = 0; k < 8; k++) a[2 * k] = _mm_unpacklo_epi8(b[k], b[k + 8]), a[2 * k + 1] = _mm_unpackhi_epi8(b[k], b[k + 8]);
    for (int k = 0; k < 16; k++) STORE(to + k * to_step, a[k]);
}

/* Fetch what the next band has in 16 columns: hardware prefetchers do not follow columns. */
static inline void prefetch_next(const uint8_t *columns, int64_t step, int64_t n)
{
    for (int k = 0; k < 16; k++, columns += step)
        for (int64_t at = 2 * n - 1; at >= n; at -= 64) __builtin_prefetch(columns + at);
}

TARGET void fastprep_transpose_avx2(const uint8_t *source, int64_t step, uint8_t *to, int64_t to_step, int64_t n, int64_t width)
{
    FOR_BLOCKS (16, j, width) { /* a line of a column has bytes for several t, which follow while it is in the cache */
        FOR_BLOCKS (16, t, n) transpose_16(source + j * step + t, step, to + t * to_step + j, to_step);
        prefetch_next(source + j * step, step, n);
    }
}

/* ---- AVX-512 VBMI */
#undef TARGET
#undef LOAD
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi")))
#define LOAD(address) _mm512_loadu_si512(address)

TARGET static void pick_avx512(int64_t width, const fastprep_picks *plan, const uint8_t *source, uint8_t *to, int mirrored)
{
    const __m512i from = LOAD(plan->from);
    const __mmask64 read = ~(__mmask64)0 >> (64 - plan->span), write = ~(__mmask64)0 >> (64 - plan->pixels * plan->size);
    const int64_t n = plan->pixels, step = plan->step;
    source += plan->lowest + (mirrored ? (width - n) * step : 0);
    FOR_BLOCKS (n, j, width) {
        const __m512i pixels = _mm512_maskz_loadu_epi8(read, source + (mirrored ? -j : j) * step);
        _mm512_mask_storeu_epi8(to + j * plan->size, write, _mm512_permutexvar_epi8(from, pixels));
    }
}

void fastprep_pick_avx512(int64_t width, const fastprep_picks *plans, int64_t n, const uint8_t *source, uint8_t *const *to,
                          int mirrored, int64_t *first, int64_t *last)
{
    for (int64_t p = 0; p < n; p++) pick_avx512(width, plans + p, source, to[p], mirrored);
    *first = 0;
    *last = width;
}

/* Each byte of the result: the pixel it is from, 64 for the second or the fourth channel, and 128 for the third or the fourth. A
 * permutation of two vectors reads 7 bits, so that the same table serves both pairs of channels. */
#define FOUR(f, k) f(k), f((k) + 1), f((k) + 2), f((k) + 3)
#define SIXTEEN(f, k) FOUR(f, k), FOUR(f, (k) + 4), FOUR(f, (k) + 8), FOUR(f, (k) + 12)
#define BYTES(f, k) SIXTEEN(f, k), SIXTEEN(f, (k) + 16), SIXTEEN(f, (k) + 32), SIXTEEN(f, (k) + 48)
#define OF_2(k) ((k) / 2 + 64 * ((k) % 2))
#define OF_3(k) ((k) / 3 + 64 * ((k) % 3))
#define OF_4(k) ((k) / 4 + 64 * ((k) % 4))
static const uint8_t of_2[128] = {BYTES(OF_2, 0), BYTES(OF_2, 64)};
static const uint8_t of_3[192] = {BYTES(OF_3, 0), BYTES(OF_3, 64), BYTES(OF_3, 128)};
static const uint8_t of_4[256] = {BYTES(OF_4, 0), BYTES(OF_4, 64), BYTES(OF_4, 128), BYTES(OF_4, 192)};

TARGET int64_t fastprep_interleave_avx512(const fastprep_row *row, const uint8_t *source, uint8_t *to, int mirrored)
{
    const int64_t width = row->width, channels = row->channels;
    if (width < 64 || channels < 2 || channels > 4) return 0;
    const uint8_t *table = channels == 2 ? of_2 : channels == 3 ? of_3 : of_4, *p[4];
    for (int64_t c = 0; c < 4; c++) p[c] = source + row->channel_at[c < channels ? c : channels - 1];
    const __m512i turn = _mm512_set1_epi8(mirrored ? 63 : 0); /* pixels of a vector from right to left */
    FOR_BLOCKS (64, j, width) {
        const int64_t from = mirrored ? width - 64 - j : j;
        const __m512i a = LOAD(p[0] + from), b = LOAD(p[1] + from), c = LOAD(p[2] + from), d = LOAD(p[3] + from);
        for (int64_t k = 0; k < channels; k++) {
            const __m512i index = _mm512_xor_si512(LOAD(table + 64 * k), turn);
            const __m512i low = _mm512_permutex2var_epi8(a, index, b), high = _mm512_permutex2var_epi8(c, index, d);
            _mm512_storeu_si512(to + j * channels + 64 * k, _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high));
        }
    }
    return width;
}

/* Where each byte of four rows of 16 columns is: in four vectors, of which each has the 16 bytes of four columns. The vectors are
 * permuted in pairs, by the same table for both. */
#define TURNED(k) ((k) % 8 / 4 * 64 + (k) % 4 * 16 + (k) / 16)
static const uint8_t turned[64] = {BYTES(TURNED, 0)};

#define LOAD_16(address) _mm_loadu_si128((const __m128i *)(address))

TARGET static inline __m512i four_columns(const uint8_t *source, int64_t step)
{
    __m512i x = _mm512_castsi128_si512(LOAD_16(source));
    x = _mm512_inserti32x4(x, LOAD_16(source + step), 1);
    x = _mm512_inserti32x4(x, LOAD_16(source + 2 * step), 2);
    return _mm512_inserti32x4(x, LOAD_16(source + 3 * step), 3);
}

TARGET static inline void transpose_16_avx512(const uint8_t *source, int64_t step, uint8_t *to, int64_t to_step)
{
    const __m512i a = four_columns(source, step), b = four_columns(source + 4 * step, step);
    const __m512i c = four_columns(source + 8 * step, step), d = four_columns(source + 12 * step, step);
    __m512i from = LOAD(turned);
    for (int g = 0; g < 4; g++, to += 4 * to_step, from = _mm512_add_epi8(from, _mm512_set1_epi8(4))) {
        const __m512i left = _mm512_permutex2var_epi8(a, from, b), right = _mm512_permutex2var_epi8(c, from, d);
        const __m512i rows = _mm512_mask_blend_epi8(0xFF00FF00FF00FF00, left, right);
        STORE(to, _mm512_castsi512_si128(rows));
        STORE(to + to_step, _mm512_extracti32x4_epi32(rows, 1));
        STORE(to + 2 * to_step, _mm512_extracti32x4_epi32(rows, 2));
        STORE(to + 3 * to_step, _mm512_extracti32x4_epi32(rows, 3));
    }
}

TARGET void fastprep_transpose_avx512(const uint8_t *source, int64_t step, uint8_t *to, int64_t to_step, int64_t n, int64_t width)
{
    FOR_BLOCKS (16, j, width) {
        FOR_BLOCKS (16, t, n) transpose_16_avx512(source + j * step + t, step, to + t * to_step + j, to_step);
        prefetch_next(source + j * step, step, n);
    }
}
#endif
