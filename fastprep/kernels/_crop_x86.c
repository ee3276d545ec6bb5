/* The x86 versions: loops for particular instruction sets. They run only on processors that have these. */
#include "_crop_x86.h"

#include "_crop.h"

#ifdef FASTPREP_X86
#include <immintrin.h>

#include "_crop_x86_numbers.h"

#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2,f16c")))
#define INLINE TARGET static inline __attribute__((always_inline))
#include "_crop_x86_lines.h"

#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,f16c")))
#define INLINE TARGET static inline __attribute__((always_inline))
#include "_crop_x86_lines.h"

/* ---- Rows of bytes, AVX2 */
/* Walk a row in blocks of n pixels. The last block ends where the row ends, and may write some pixels a second time. */
static inline int64_t next_block(int64_t j, int64_t n, int64_t width)
{
    return j + 2 * n <= width ? j + n : j + n < width ? width - n : width;
}

#define FOR_BLOCKS(N, j, width) for (int64_t j = 0; j < (width); j = next_block(j, N, width))

#define LOAD(address) _mm_loadu_si128((const __m128i *)(address))
#define STORE(address, x) _mm_storeu_si128((__m128i *)(address), x)
#define TARGET __attribute__((target("avx2")))

TARGET static inline int64_t mirror(const uint8_t *source, uint8_t *to, int64_t width, int64_t channels)
{
    if ((channels != 1 && channels != 3 && channels != 4) || width < 16) return 0;
    const __m128i reverse = _mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    if (channels == 1)
        FOR_BLOCKS (16, j, width) STORE(to + j, _mm_shuffle_epi8(LOAD(source + width - 16 - j), reverse));
    else if (channels == 4)
        FOR_BLOCKS (4, j, width) STORE(to + 4 * j, _mm_shuffle_epi32(LOAD(source + 4 * (width - 4 - j)), 0x1B));
    else {  /* five pixels and the byte before them, which lands where the next store will go; at the end there is no such byte */
        const __m128i five = _mm_setr_epi8(13, 14, 15, 10, 11, 12, 7, 8, 9, 4, 5, 6, 1, 2, 3, 0);
        const __m128i last_five = _mm_setr_epi8(12, 13, 14, 9, 10, 11, 6, 7, 8, 3, 4, 5, 0, 1, 2, 15);
        for (int64_t j = 0; j + 5 < width; j += 5)
            STORE(to + 3 * j, _mm_shuffle_epi8(LOAD(source + 3 * (width - 5 - j) - 1), five));
        STORE(to + 3 * (width - 5), _mm_shuffle_epi8(LOAD(source), last_five));
    }
    return width;
}

TARGET int64_t fastprep_mirror_avx2(const uint8_t *source, uint8_t *to, int64_t width, int64_t channels)
{
    return mirror(source, to, width, channels);
}

TARGET int64_t fastprep_short_rows_avx2(const uint8_t *source, int64_t step, uint8_t *to, int64_t n, int64_t width,
                                        int64_t channels, int mirrored)
{
    const int64_t row = width * channels;
    if (mirrored) {
        int64_t done = 0;
        for (int64_t i = 0; i < n; i++, source += step, to += row) done += mirror(source, to, width, channels) != 0;
        return done;
    }
    if (row < 16) return 0;
    for (int64_t i = 0; i < n; i++, source += step, to += row) FOR_BLOCKS (16, j, row) STORE(to + j, LOAD(source + j));
    return n;
}

/* Separate the channels of 32 pixels at a time into 3 planes. `pick` says which bytes of 48 a channel has, of each 16. */
TARGET static void separate_32(const fastprep_row *row, const uint8_t *source, uint8_t *const *to, int mirrored,
                               const __m128i pick[3][3])
{
    const int64_t width = row->width, low = mirrored ? 48 : 0, high = 48 - low; /* of the pixels for each half of a vector */
    uint8_t *const planes[3] = {to[0], to[1], to[2]};
    __m256i picks[3][3];
    for (int p = 0; p < 3; p++)
        for (int k = 0; k < 3; k++) picks[p][k] = _mm256_broadcastsi128_si256(pick[row->channel_at[p]][k]);
    FOR_BLOCKS (32, j, width) {
        const uint8_t *const from = source + 3 * (mirrored ? width - 32 - j : j);
        __m256i x[3];
        for (int k = 0; k < 3; k++)
            x[k] = _mm256_inserti128_si256(_mm256_castsi128_si256(LOAD(from + low + 16 * k)), LOAD(from + high + 16 * k), 1);
        for (int p = 0; p < 3; p++) {
            const __m256i a = _mm256_shuffle_epi8(x[0], picks[p][0]), b = _mm256_shuffle_epi8(x[1], picks[p][1]);
            const __m256i c = _mm256_shuffle_epi8(x[2], picks[p][2]);
            _mm256_storeu_si256((__m256i *)(planes[p] + j), _mm256_or_si256(_mm256_or_si256(a, b), c));
        }
    }
}

/* For each 16 of 48 bytes: those that belong to one of 3 planes. -1 gives 0. */
#define PICK(...) _mm_shuffle_epi8(_mm_setr_epi8(__VA_ARGS__), order)

TARGET int64_t fastprep_separate_avx2(const fastprep_row *row, const uint8_t *source, uint8_t *const *to, int mirrored)
{
    const int64_t width = row->width, step = row->column_step;
    if ((step != 3 && step != 4) || width < 16) return 0;
    const __m128i order = mirrored ? _mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
                                   : _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    if (step == 3) {
        const __m128i pick[3][3] = {
            {PICK(0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
             PICK(-1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14, -1, -1, -1, -1, -1),
             PICK(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1, 4, 7, 10, 13)},
            {PICK(1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
             PICK(-1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1),
             PICK(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14)},
            {PICK(2, 5, 8, 11, 14, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
             PICK(-1, -1, -1, -1, -1, 1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1),
             PICK(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15)},
        };
        if (row->channels == 3 && width >= 32) {
            separate_32(row, source, to, mirrored, pick);
            return width;
        }
        FOR_BLOCKS (16, j, width) {
            const uint8_t *from = source + step * (mirrored ? width - 16 - j : j);
            const __m128i a = LOAD(from), b = LOAD(from + 16), c = LOAD(from + 32);
            for (int64_t p = 0; p < row->channels; p++) {
                const __m128i *from_plane = pick[row->channel_at[p]];
                const __m128i ab = _mm_or_si128(_mm_shuffle_epi8(a, from_plane[0]), _mm_shuffle_epi8(b, from_plane[1]));
                STORE(to[p] + j, _mm_or_si128(ab, _mm_shuffle_epi8(c, from_plane[2])));
            }
        }
    } else {
        const __m128i group = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        FOR_BLOCKS (16, j, width) {
            const uint8_t *from = source + step * (mirrored ? width - 16 - j : j);
            const __m128i a = _mm_shuffle_epi8(LOAD(from), group), b = _mm_shuffle_epi8(LOAD(from + 16), group);
            const __m128i c = _mm_shuffle_epi8(LOAD(from + 32), group), d = _mm_shuffle_epi8(LOAD(from + 48), group);
            const __m128i ab01 = _mm_unpacklo_epi32(a, b), cd01 = _mm_unpacklo_epi32(c, d);
            const __m128i ab23 = _mm_unpackhi_epi32(a, b), cd23 = _mm_unpackhi_epi32(c, d);
            const __m128i planes[4] = {_mm_unpacklo_epi64(ab01, cd01), _mm_unpackhi_epi64(ab01, cd01),
                                       _mm_unpacklo_epi64(ab23, cd23), _mm_unpackhi_epi64(ab23, cd23)};
            for (int64_t p = 0; p < row->channels; p++) STORE(to[p] + j, _mm_shuffle_epi8(planes[row->channel_at[p]], order));
        }
    }
    return width;
}

/* ---- Rows of bytes, AVX-512 VBMI */
#undef TARGET
#undef LOAD
#undef STORE
#define LOAD(address) _mm512_loadu_si512(address)
#define STORE(address, x) _mm512_storeu_si512(address, x)
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi")))

/* The source of each of 64 bytes, in reverse order of pixels */
#define FOUR(f, k) f(k), f((k) + 1), f((k) + 2), f((k) + 3)
#define SIXTEEN(f, k) FOUR(f, k), FOUR(f, (k) + 4), FOUR(f, (k) + 8), FOUR(f, (k) + 12)
#define BYTES(f) {SIXTEEN(f, 0), SIXTEEN(f, 16), SIXTEEN(f, 32), SIXTEEN(f, 48)}
#define MIRRORED_1(k) (63 - (k))
#define MIRRORED_3(k) ((k) == 63 ? 63 : 3 * (20 - (k) / 3) + (k) % 3)
#define MIRRORED_4(k) (4 * (15 - (k) / 4) + (k) % 4)
static const uint8_t ascending[64] = BYTES(+);
static const uint8_t mirrored_1[64] = BYTES(MIRRORED_1), mirrored_3[64] = BYTES(MIRRORED_3), mirrored_4[64] = BYTES(MIRRORED_4);

TARGET int64_t fastprep_mirror_avx512(const uint8_t *source, uint8_t *to, int64_t width, int64_t channels)
{
    if ((channels != 1 && channels != 3 && channels != 4) || width < 64) return 0;
    const __m512i order = LOAD(channels == 1 ? mirrored_1 : channels == 3 ? mirrored_3 : mirrored_4);
    const int64_t n = 64 / channels;
    const __mmask64 whole = channels == 3 ? ~(__mmask64)0 >> 1 : ~(__mmask64)0;
    FOR_BLOCKS (n, j, width) {
        const __m512i pixels = _mm512_maskz_loadu_epi8(whole, source + channels * (width - n - j));
        _mm512_mask_storeu_epi8(to + channels * j, whole, _mm512_permutexvar_epi8(order, pixels));
    }
    return width;
}

/* The source of each of 128 bytes, in reverse order of pixels of 2, 3 or 4 channels: from the first byte of the last pixel on */
#define BACK_2(k) ((k) % 2 - (k) / 2 * 2)
#define BACK_3(k) ((k) % 3 - (k) / 3 * 3)
#define BACK_4(k) ((k) % 4 - (k) / 4 * 4)
#define BYTES_128(f) {SIXTEEN(f, 0), SIXTEEN(f, 16), SIXTEEN(f, 32), SIXTEEN(f, 48), \
                      SIXTEEN(f, 64), SIXTEEN(f, 80), SIXTEEN(f, 96), SIXTEEN(f, 112)}
static const int8_t back[3][128] = {BYTES_128(BACK_2), BYTES_128(BACK_3), BYTES_128(BACK_4)};

/* Say which byte of a row becomes each of 128; after the row it may be any. Return whether there is a table for it. */
TARGET static inline int order_of_row(int64_t row, int64_t channels, int mirrored, __m512i order[2])
{
    if (mirrored && channels > 4) return 0;
    if (mirrored && channels > 1) {
        const __m512i last = _mm512_set1_epi8((char)(row - channels));
        order[0] = _mm512_add_epi8(last, LOAD(back[channels - 2]));
        order[1] = _mm512_add_epi8(last, LOAD(back[channels - 2] + 64));
    } else {
        order[0] = mirrored ? _mm512_sub_epi8(_mm512_set1_epi8((char)(row - 1)), LOAD(ascending)) : LOAD(ascending);
        order[1] = _mm512_add_epi8(order[0], _mm512_set1_epi8(64)); /* modulo 128, where 64 is -64, too */
    }
    return 1;
}

TARGET int64_t fastprep_short_rows_avx512(const uint8_t *source, int64_t step, uint8_t *to, int64_t n, int64_t width,
                                          int64_t channels, int mirrored)
{
    const int64_t row = width * channels;
    __m512i order[2];
    if (row > 128 || !order_of_row(row, channels, mirrored, order)) return 0;
    const __mmask64 all = ~(__mmask64)0, low = row < 64 ? all >> (64 - row) : all, high = row > 64 ? all >> (128 - row) : 0;
    if (row <= 64)
        for (int64_t i = 0; i < n; i++, source += step, to += row)
            STORE(to, _mm512_permutexvar_epi8(order[0], _mm512_maskz_loadu_epi8(low, source)));
    else
        for (int64_t i = 0; i < n; i++, source += step, to += row) {
            const __m512i a = LOAD(source), b = _mm512_maskz_loadu_epi8(high, source + 64);
            STORE(to, _mm512_permutex2var_epi8(a, order[0], b));
            STORE(to + 64, _mm512_permutex2var_epi8(a, order[1], b));
        }
    return n;
}

/* A permutation of two vectors reads 7 bits of each index. The eighth bit selects between the results of two of them. */
TARGET int64_t fastprep_separate_avx512(const fastprep_row *row, const uint8_t *source, uint8_t *const *to, int mirrored)
{
    const int64_t width = row->width, step = row->column_step;
    if ((step != 3 && step != 4) || width < 64) return 0;
    const __m512i order = LOAD(mirrored ? mirrored_1 : ascending);
    const __m512i twice = _mm512_add_epi8(order, order);
    const __m512i from_first = step == 3 ? _mm512_add_epi8(twice, order) : _mm512_add_epi8(twice, twice);
    FOR_BLOCKS (64, j, width) {
        const uint8_t *from = source + step * (mirrored ? width - 64 - j : j);
        const __m512i a = LOAD(from), b = LOAD(from + 64), c = LOAD(from + 128), d = step == 4 ? LOAD(from + 192) : c;
        for (int64_t p = 0; p < row->channels; p++) {
            const __m512i index = _mm512_add_epi8(from_first, _mm512_set1_epi8((char)row->channel_at[p]));
            const __m512i low = _mm512_permutex2var_epi8(a, index, b), high = _mm512_permutex2var_epi8(c, index, d);
            STORE(to[p] + j, _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high));
        }
    }
    return width;
}

void fastprep_fence(void) { _mm_sfence(); }
#endif
