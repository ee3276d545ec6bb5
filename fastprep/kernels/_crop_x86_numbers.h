/* Numbers in x86 registers: loops are written with these functions, once for each instruction set. */
#ifndef FASTPREP_CROP_X86_NUMBERS_H
#define FASTPREP_CROP_X86_NUMBERS_H

#include <immintrin.h>
#include <stdint.h>

/* Rounding to bfloat16 is integer arithmetic without special cases, which does not change infinity and the processor's default NaN.
 * From bytes, with a finite mean and scale, no other NaN comes about. */

/* ---- AVX2 */
#define TARGET __attribute__((target("avx2,f16c")))
#define INLINE TARGET static inline __attribute__((always_inline, unused))

typedef struct { __m256 low, high; } floats16_avx2;

/* Bytes become words of 32 bits by a shuffle inside of lanes: vpmovzxbd crosses them, for which many processors have one unit only. */
INLINE floats16_avx2 from_bytes_avx2(const uint8_t *bytes)
{
    const __m256i all = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)bytes));
    const __m256i low = _mm256_setr_epi8(0, -1, -1, -1, 1, -1, -1, -1, 2, -1, -1, -1, 3, -1, -1, -1,  //
                                         4, -1, -1, -1, 5, -1, -1, -1, 6, -1, -1, -1, 7, -1, -1, -1);
    const __m256i high = _mm256_setr_epi8(8, -1, -1, -1, 9, -1, -1, -1, 10, -1, -1, -1, 11, -1, -1, -1,  //
                                          12, -1, -1, -1, 13, -1, -1, -1, 14, -1, -1, -1, 15, -1, -1, -1);
    return (floats16_avx2){_mm256_cvtepi32_ps(_mm256_shuffle_epi8(all, low)), _mm256_cvtepi32_ps(_mm256_shuffle_epi8(all, high))};
}

INLINE floats16_avx2 subtract_avx2(floats16_avx2 x, const float *y)
{
    return (floats16_avx2){_mm256_sub_ps(x.low, _mm256_load_ps(y)), _mm256_sub_ps(x.high, _mm256_load_ps(y + 8))};
}

INLINE floats16_avx2 add_avx2(floats16_avx2 x, const float *y)
{
    return (floats16_avx2){_mm256_add_ps(x.low, _mm256_load_ps(y)), _mm256_add_ps(x.high, _mm256_load_ps(y + 8))};
}

INLINE floats16_avx2 multiply_avx2(floats16_avx2 x, const float *y)
{
    return (floats16_avx2){_mm256_mul_ps(x.low, _mm256_load_ps(y)), _mm256_mul_ps(x.high, _mm256_load_ps(y + 8))};
}

INLINE floats16_avx2 read_avx2(const float *x) { return (floats16_avx2){_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }

INLINE void write_avx2(float *to, floats16_avx2 x)
{
    _mm256_storeu_ps(to, x.low);
    _mm256_storeu_ps(to + 8, x.high);
}

INLINE floats16_avx2 times_avx2(floats16_avx2 x, floats16_avx2 y)
{
    return (floats16_avx2){_mm256_mul_ps(x.low, y.low), _mm256_mul_ps(x.high, y.high)};
}

INLINE floats16_avx2 plus_avx2(floats16_avx2 x, floats16_avx2 y)
{
    return (floats16_avx2){_mm256_add_ps(x.low, y.low), _mm256_add_ps(x.high, y.high)};
}

INLINE floats16_avx2 minus_avx2(floats16_avx2 x, floats16_avx2 y)
{
    return (floats16_avx2){_mm256_sub_ps(x.low, y.low), _mm256_sub_ps(x.high, y.high)};
}

INLINE floats16_avx2 all_avx2(float x) { return (floats16_avx2){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }

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

/* Halves of a vector are stored by themselves: to join them first takes the unit that vcvtps2ph needs. */
INLINE void put_8_float16_avx2(char *target, __m256 x, int stream)
{
    const __m128i halves = _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT);
    if (stream)
        _mm_stream_si128((__m128i *)target, halves);
    else
        _mm_store_si128((__m128i *)target, halves);
}

INLINE void put_float16_avx2(char *target, floats16_avx2 x, floats16_avx2 y, int stream)
{
    put_8_float16_avx2(target, x.low, stream);
    put_8_float16_avx2(target + 16, x.high, stream);
    put_8_float16_avx2(target + 32, y.low, stream);
    put_8_float16_avx2(target + 48, y.high, stream);
}

/* Round to the upper halves, 16 at a time. One is carried if the lower half is more than 0x8000, or as much where the upper one is
 * odd. The words of the two vectors alternate until the end. */
INLINE __m256i to_bfloat16_avx2(floats16_avx2 x)
{
    const __m256i low = _mm256_castps_si256(x.low), high = _mm256_castps_si256(x.high);
    const __m256i upper = _mm256_blend_epi16(_mm256_srli_epi32(low, 16), high, 0xAA);
    const __m256i lower = _mm256_blend_epi16(low, _mm256_slli_epi32(high, 16), 0xAA);
    const __m256i even = _mm256_andnot_si256(upper, _mm256_set1_epi16(1));
    const __m256i carry = _mm256_srli_epi16(_mm256_subs_epu16(lower, even), 15);
    const __m256i in_lanes = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,  //
                                              0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(_mm256_add_epi16(upper, carry), in_lanes), 0xD8);
}

INLINE void put_bfloat16_avx2(char *target, floats16_avx2 x, floats16_avx2 y, int stream)
{
    store_avx2(target, to_bfloat16_avx2(x), stream);
    store_avx2(target + 32, to_bfloat16_avx2(y), stream);
}

#undef TARGET
#undef INLINE

/* ---- AVX-512 */
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,f16c")))
#define INLINE TARGET static inline __attribute__((always_inline, unused))

typedef __m512 floats16_avx512;

INLINE __m512 from_bytes_avx512(const uint8_t *bytes)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)bytes)));
}

INLINE __m512 subtract_avx512(__m512 x, const float *y) { return _mm512_sub_ps(x, _mm512_load_ps(y)); }

INLINE __m512 add_avx512(__m512 x, const float *y) { return _mm512_add_ps(x, _mm512_load_ps(y)); }

INLINE __m512 multiply_avx512(__m512 x, const float *y) { return _mm512_mul_ps(x, _mm512_load_ps(y)); }

INLINE __m512 read_avx512(const float *x) { return _mm512_loadu_ps(x); }

INLINE void write_avx512(float *to, __m512 x) { _mm512_storeu_ps(to, x); }

INLINE __m512 times_avx512(__m512 x, __m512 y) { return _mm512_mul_ps(x, y); }

INLINE __m512 plus_avx512(__m512 x, __m512 y) { return _mm512_add_ps(x, y); }

INLINE __m512 minus_avx512(__m512 x, __m512 y) { return _mm512_sub_ps(x, y); }

INLINE __m512 all_avx512(float x) { return _mm512_set1_ps(x); }

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

#undef TARGET
#undef INLINE

#endif
