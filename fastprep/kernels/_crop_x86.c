/* The x86 versions: loops for particular instruction sets. They run only on processors that have these. */
#include "_crop_x86.h"

#include "_crop.h"

#ifdef FASTPREP_X86
#include <immintrin.h>

/* No NaN with a payload occurs here, because the source is bytes, and mean and scale are finite. So rounding to bfloat16 is
 * integer arithmetic without special cases: infinity and the processor's default NaN are not changed by it. */

/* ---- AVX2 */
#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2,f16c")))
#define INLINE TARGET static inline __attribute__((always_inline))

typedef struct { __m256 low, high; } floats16_avx2;

INLINE floats16_avx2 from_bytes_avx2(const uint8_t *bytes)
{
    __m128i all = _mm_loadu_si128((const __m128i *)bytes);
    return (floats16_avx2){_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(all)),
                           _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(all, all)))};
}

INLINE floats16_avx2 subtract_avx2(floats16_avx2 x, const float *y)
{
    return (floats16_avx2){_mm256_sub_ps(x.low, _mm256_load_ps(y)), _mm256_sub_ps(x.high, _mm256_load_ps(y + 8))};
}

INLINE floats16_avx2 multiply_avx2(floats16_avx2 x, const float *y)
{
    return (floats16_avx2){_mm256_mul_ps(x.low, _mm256_load_ps(y)), _mm256_mul_ps(x.high, _mm256_load_ps(y + 8))};
}

INLINE void store_avx2(void *target, __m256i x, int stream)
{
    if (stream)
        _mm256_stream_si256(target, x);
    else
        _mm256_store_si256(target, x);
}

INLINE void put_float32_avx2(char *target, floats16_avx2 x, floats16_avx2 y, int stream)
{
    store_avx2(target, _mm256_castps_si256(x.low), stream);
    store_avx2(target + 32, _mm256_castps_si256(x.high), stream);
    store_avx2(target + 64, _mm256_castps_si256(y.low), stream);
    store_avx2(target + 96, _mm256_castps_si256(y.high), stream);
}

INLINE __m256i to_float16_avx2(floats16_avx2 x)
{
    __m128i low = _mm256_cvtps_ph(x.low, _MM_FROUND_TO_NEAREST_INT), high = _mm256_cvtps_ph(x.high, _MM_FROUND_TO_NEAREST_INT);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

INLINE void put_float16_avx2(char *target, floats16_avx2 x, floats16_avx2 y, int stream)
{
    store_avx2(target, to_float16_avx2(x), stream);
    store_avx2(target + 32, to_float16_avx2(y), stream);
}

/* The upper half of each number is the bfloat16; the lower half is left over. */
INLINE __m256i rounded_avx2(__m256 x)
{
    __m256i bits = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    return _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
}

INLINE __m256i to_bfloat16_avx2(floats16_avx2 x)
{
    __m256i halves = _mm256_packus_epi32(_mm256_srli_epi32(rounded_avx2(x.low), 16), _mm256_srli_epi32(rounded_avx2(x.high), 16));
    return _mm256_permute4x64_epi64(halves, 0xD8);  /* packus works within lanes of 128 bits */
}

INLINE void put_bfloat16_avx2(char *target, floats16_avx2 x, floats16_avx2 y, int stream)
{
    store_avx2(target, to_bfloat16_avx2(x), stream);
    store_avx2(target + 32, to_bfloat16_avx2(y), stream);
}

#include "_crop_x86_lines.h"

/* ---- AVX-512 */
#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,f16c")))
#define INLINE TARGET static inline __attribute__((always_inline))

typedef __m512 floats16_avx512;

INLINE __m512 from_bytes_avx512(const uint8_t *bytes)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)bytes)));
}

INLINE __m512 subtract_avx512(__m512 x, const float *y) { return _mm512_sub_ps(x, _mm512_load_ps(y)); }

INLINE __m512 multiply_avx512(__m512 x, const float *y) { return _mm512_mul_ps(x, _mm512_load_ps(y)); }

INLINE void store_avx512(void *target, __m512i x, int stream)
{
    if (stream)
        _mm512_stream_si512(target, x);
    else
        _mm512_store_si512(target, x);
}

INLINE void put_float32_avx512(char *target, __m512 x, __m512 y, int stream)
{
    store_avx512(target, _mm512_castps_si512(x), stream);
    store_avx512(target + 64, _mm512_castps_si512(y), stream);
}

INLINE void put_float16_avx512(char *target, __m512 x, __m512 y, int stream)
{
    __m256i low = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT), high = _mm512_cvtps_ph(y, _MM_FROUND_TO_NEAREST_INT);
    store_avx512(target, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1), stream);
}

/* vcvtneps2bf16 would do this in one instruction, but treats subnormal numbers as zero. */
INLINE __m512i rounded_avx512(__m512 x)
{
    __m512i bits = _mm512_castps_si512(x), rounded = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF));
    return _mm512_mask_add_epi32(rounded, _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000)), rounded, _mm512_set1_epi32(1));
}

INLINE void put_bfloat16_avx512(char *target, __m512 x, __m512 y, int stream)
{
    const __m512i upper_halves = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33,  //
                                                  31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    store_avx512(target, _mm512_permutex2var_epi16(rounded_avx512(x), upper_halves, rounded_avx512(y)), stream);
}

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

TARGET static void mirror_avx2(const uint8_t *source, uint8_t *to, int64_t width, int64_t channels)
{
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
}

/* For each 16 of 48 bytes: those that belong to one of 3 planes. -1 gives 0. */
#define PICK(...) _mm_shuffle_epi8(_mm_setr_epi8(__VA_ARGS__), order)

TARGET static void planes_avx2(const uint8_t *source, uint8_t *const *to, int64_t width, int64_t channels, int mirrored)
{
    const __m128i order = mirrored ? _mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
                                   : _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    if (channels == 3) {
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
        FOR_BLOCKS (16, j, width) {
            const uint8_t *from = source + 3 * (mirrored ? width - 16 - j : j);
            const __m128i a = LOAD(from), b = LOAD(from + 16), c = LOAD(from + 32);
            for (int p = 0; p < 3; p++) {
                const __m128i ab = _mm_or_si128(_mm_shuffle_epi8(a, pick[p][0]), _mm_shuffle_epi8(b, pick[p][1]));
                STORE(to[p] + j, _mm_or_si128(ab, _mm_shuffle_epi8(c, pick[p][2])));
            }
        }
    } else {
        const __m128i group = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        FOR_BLOCKS (16, j, width) {
            const uint8_t *from = source + 4 * (mirrored ? width - 16 - j : j);
            const __m128i a = _mm_shuffle_epi8(LOAD(from), group), b = _mm_shuffle_epi8(LOAD(from + 16), group);
            const __m128i c = _mm_shuffle_epi8(LOAD(from + 32), group), d = _mm_shuffle_epi8(LOAD(from + 48), group);
            const __m128i ab01 = _mm_unpacklo_epi32(a, b), cd01 = _mm_unpacklo_epi32(c, d);
            const __m128i ab23 = _mm_unpackhi_epi32(a, b), cd23 = _mm_unpackhi_epi32(c, d);
            STORE(to[0] + j, _mm_shuffle_epi8(_mm_unpacklo_epi64(ab01, cd01), order));
            STORE(to[1] + j, _mm_shuffle_epi8(_mm_unpackhi_epi64(ab01, cd01), order));
            STORE(to[2] + j, _mm_shuffle_epi8(_mm_unpacklo_epi64(ab23, cd23), order));
            STORE(to[3] + j, _mm_shuffle_epi8(_mm_unpackhi_epi64(ab23, cd23), order));
        }
    }
}

int64_t fastprep_arrange_avx2(const uint8_t *source, uint8_t *const *to, int64_t width, int64_t channels, int mirrored, int apart)
{
    if ((channels != 1 && channels != 3 && channels != 4) || width < 16) return 0;
    if (apart)
        planes_avx2(source, to, width, channels, mirrored);
    else
        mirror_avx2(source, to[0], width, channels);
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

TARGET static void mirror_avx512(const uint8_t *source, uint8_t *to, int64_t width, int64_t channels)
{
    const __m512i order = LOAD(channels == 1 ? mirrored_1 : channels == 3 ? mirrored_3 : mirrored_4);
    const int64_t n = 64 / channels;
    const __mmask64 whole = channels == 3 ? ~(__mmask64)0 >> 1 : ~(__mmask64)0;
    FOR_BLOCKS (n, j, width) {
        const __m512i pixels = _mm512_maskz_loadu_epi8(whole, source + channels * (width - n - j));
        _mm512_mask_storeu_epi8(to + channels * j, whole, _mm512_permutexvar_epi8(order, pixels));
    }
}

/* A permutation of two vectors reads 7 bits of each index. The eighth bit selects between the results of two of them. */
TARGET static void planes_avx512(const uint8_t *source, uint8_t *const *to, int64_t width, int64_t channels, int mirrored)
{
    const __m512i order = LOAD(mirrored ? mirrored_1 : ascending);
    const __m512i twice = _mm512_add_epi8(order, order);
    const __m512i from_first = channels == 3 ? _mm512_add_epi8(twice, order) : _mm512_add_epi8(twice, twice);
    FOR_BLOCKS (64, j, width) {
        const uint8_t *from = source + channels * (mirrored ? width - 64 - j : j);
        const __m512i a = LOAD(from), b = LOAD(from + 64), c = LOAD(from + 128), d = channels == 4 ? LOAD(from + 192) : c;
        for (int64_t p = 0; p < channels; p++) {
            const __m512i index = _mm512_add_epi8(from_first, _mm512_set1_epi8((char)p));
            const __m512i low = _mm512_permutex2var_epi8(a, index, b), high = _mm512_permutex2var_epi8(c, index, d);
            STORE(to[p] + j, _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high));
        }
    }
}

int64_t fastprep_arrange_avx512(const uint8_t *source, uint8_t *const *to, int64_t width, int64_t channels, int mirrored,
                                int apart)
{
    if ((channels != 1 && channels != 3 && channels != 4) || width < 64) return 0;
    if (apart)
        planes_avx512(source, to, width, channels, mirrored);
    else
        mirror_avx512(source, to[0], width, channels);
    return width;
}

void fastprep_fence(void) { _mm_sfence(); }
#endif
