/* Rows of numbers of 2, 4 or 8 bytes, brought into another order by the x86 versions. */
#include "_crop_x86.h"

#ifdef FASTPREP_X86
#include <immintrin.h>

/* Walk a row in blocks of n pixels. The last block ends where the row ends, and may write some pixels a second time. */
static inline int64_t next_block(int64_t j, int64_t n, int64_t width)
{
    return j + 2 * n <= width ? j + n : j + n < width ? width - n : width;
}

#define FOR_BLOCKS(N, j, width) for (int64_t j = 0; j < (width); j = next_block(j, N, width))

/* ---- Channels that lie apart */

void fastprep_plan_weave(int64_t channels, int64_t size, int64_t n_bytes, int mirrored, fastprep_weave *plan)
{
    plan->n_bytes = channels > 4 ? 0 : n_bytes;
    plan->channels = channels, plan->size = size;
    if (!plan->n_bytes) return;
    const int64_t pixels = n_bytes / size;
    for (int64_t k = 0; k < channels * n_bytes; k++) { /* bytes of the result */
        const int64_t number = k / size, channel = number % channels, pixel = number / channels;
        const uint8_t from = (uint8_t)((mirrored ? pixels - 1 - pixel : pixel) * size + k % size);
        if (n_bytes == 64)
            plan->from[k] = (uint8_t)(from + 64 * channel);
        else
            for (int64_t c = 0; c < channels; c++) /* an index with the highest bit gives 0 */
                plan->from[(k / 16 * channels + c) * 16 + k % 16] = c == channel ? from : 0x80;
    }
}

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi")))

/* A permutation of two vectors reads 7 bits of each index. The eighth bit selects between the results of two of them. */
TARGET static void weave_64(const fastprep_weave *plan, const uint8_t *const *rows, uint8_t *to, int64_t width, int mirrored)
{
    const int64_t n = 64 / plan->size;
    FOR_BLOCKS (n, j, width) {
        const int64_t from = (mirrored ? width - n - j : j) * plan->size;
        const __m512i a = _mm512_loadu_si512(rows[0] + from), b = _mm512_loadu_si512(rows[1] + from);
        const __m512i c = _mm512_loadu_si512(rows[2] + from), d = _mm512_loadu_si512(rows[3] + from);
        for (int64_t k = 0; k < plan->channels; k++) {
            const __m512i index = _mm512_loadu_si512(plan->from + 64 * k);
            const __m512i low = _mm512_permutex2var_epi8(a, index, b), high = _mm512_permutex2var_epi8(c, index, d);
            _mm512_storeu_si512(to + (j * plan->channels) * plan->size + 64 * k,
                                _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high));
        }
    }
}

#undef TARGET
#define TARGET __attribute__((target("avx2")))
#define LOAD(address) _mm_loadu_si128((const __m128i *)(address))
#define STORE(address, x) _mm_storeu_si128((__m128i *)(address), x)

TARGET static inline __attribute__((always_inline)) void weave_16(const fastprep_weave *plan, const uint8_t *const *rows, uint8_t *to,
                                                                  int64_t width, int mirrored, const int64_t channels)
{
    const int64_t n = 16 / plan->size;
    FOR_BLOCKS (n, j, width) {
        const int64_t from = (mirrored ? width - n - j : j) * plan->size;
        __m128i x[4];
        for (int64_t c = 0; c < channels; c++) x[c] = LOAD(rows[c] + from);
        for (int64_t k = 0; k < channels; k++) {
            const uint8_t *const table = plan->from + 16 * channels * k;
            __m128i all = _mm_shuffle_epi8(x[0], LOAD(table));
            for (int64_t c = 1; c < channels; c++) all = _mm_or_si128(all, _mm_shuffle_epi8(x[c], LOAD(table + 16 * c)));
            STORE(to + j * channels * plan->size + 16 * k, all);
        }
    }
}

TARGET static void weave_avx2(const fastprep_weave *plan, const uint8_t *const *rows, uint8_t *to, int64_t width, int mirrored)
{
    switch (plan->channels) {
    case 2: weave_16(plan, rows, to, width, mirrored, 2); break;
    case 3: weave_16(plan, rows, to, width, mirrored, 3); break;
    default: weave_16(plan, rows, to, width, mirrored, 4);
    }
}

int64_t fastprep_weave_rows(const fastprep_weave *plan, const uint8_t *source, const int64_t *channel_at, uint8_t *to, int64_t width,
                            int mirrored)
{
    if (!plan->n_bytes || width < plan->n_bytes / plan->size) return 0;
    const uint8_t *rows[4];
    for (int64_t c = 0; c < 4; c++) rows[c] = source + channel_at[c < plan->channels ? c : 0] * plan->size;
    (plan->n_bytes == 64 ? weave_64 : weave_avx2)(plan, rows, to, width, mirrored);
    return width;
}

/* ---- Columns before rows */

/* Transpose a square of vectors: each pass takes every vector of the first half and its partner of the second half to two
 * neighbours, which doubles the length of the runs. */
#define DEFINE_SQUARE(BITS, N)                                                                                          \
    TARGET static inline void square_of_##BITS(const char *source, int64_t step, char *to, int64_t to_step)             \
    {                                                                                                                   \
        __m128i a[N], b[N];                                                                                             \
        for (int k = 0; k < N; k++) a[k] = LOAD(source + k * step);                                                     \
        for (int pass = 1; pass < N; pass *= 2) {                                                                       \
            for (int k = 0; k < N / 2; k++) {                                                                           \
                b[2 * k] = _mm_unpacklo_epi##BITS(a[k], a[k + N / 2]);                                                  \
                b[2 * k + 1] = _mm_unpackhi_epi##BITS(a[k], a[k + N / 2]);                                              \
            }                                                                                                           \
            for (int k = 0; k < N; k++) a[k] = b[k];                                                                    \
        }                                                                                                               \
        for (int k = 0; k < N; k++) STORE(to + k * to_step, a[k]);                                                      \
    }

DEFINE_SQUARE(16, 8)
DEFINE_SQUARE(32, 4)
DEFINE_SQUARE(64, 2)

/* Fetch what the next band has in 8 columns: hardware prefetchers do not follow columns. */
static inline void prefetch_next(const char *columns, int64_t step, int64_t n)
{
    for (int k = 0; k < 8; k++, columns += step)
        for (int64_t at = 2 * n - 1; at >= n; at -= 64) __builtin_prefetch(columns + at);
}

TARGET void fastprep_transpose_numbers(const char *source, int64_t step, char *to, int64_t to_step, int64_t n, int64_t width, int size)
{
    step *= size, to_step *= size;
    FOR_BLOCKS (8, j, width) { /* a line of a column has numbers for several t, which follow while it is in the cache */
        const char *const columns = source + j * step;
        char *const at = to + j * size;
        FOR_BLOCKS (8, t, n)
            for (int64_t down = 0; down < 8 * size; down += 16)
                for (int64_t right = 0; right < 8; right += 16 / size) {
                    const char *const from = columns + t * size + right * step + down;
                    char *const square = at + (t * size + down) / size * to_step + right * size;
                    if (size == 2)
                        square_of_16(from, step, square, to_step);
                    else if (size == 4)
                        square_of_32(from, step, square, to_step);
                    else
                        square_of_64(from, step, square, to_step);
                }
        prefetch_next(columns, step, n * size);
    }
}
#endif
