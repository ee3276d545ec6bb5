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
