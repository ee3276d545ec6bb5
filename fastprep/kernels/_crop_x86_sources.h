/* What rows of any type need beside _crop_x86_numbers.h: 16 numbers of each type in registers, lines of 16 results, NaN in bfloat16,
 * and the search for results that are not finite. */
#ifndef FASTPREP_CROP_X86_SOURCES_H
#define FASTPREP_CROP_X86_SOURCES_H

#include "_crop_x86_numbers.h"

/* ---- AVX2 */
#define TARGET __attribute__((target("avx2,f16c")))
#define INLINE TARGET static inline __attribute__((always_inline, unused))

INLINE floats16_avx2 from_uint16_avx2(const uint16_t *x)
{
    return (floats16_avx2){_mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)x))),
                           _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(x + 8))))};
}

INLINE floats16_avx2 from_int16_avx2(const int16_t *x)
{
    return (floats16_avx2){_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)x))),
                           _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(x + 8))))};
}

INLINE floats16_avx2 from_float32_avx2(const float *x) { return read_avx2(x); }

INLINE __m256 eight_of_float64_avx2(const double *x)
{
    const __m128 low = _mm256_cvtpd_ps(_mm256_loadu_pd(x)), high = _mm256_cvtpd_ps(_mm256_loadu_pd(x + 4));
    return _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1);
}

INLINE floats16_avx2 from_float64_avx2(const double *x)
{
    return (floats16_avx2){eight_of_float64_avx2(x), eight_of_float64_avx2(x + 8)};
}

INLINE void put_line_avx2(char *target, floats16_avx2 x, int stream)
{
    store_avx2(target, _mm256_castps_si256(x.low), stream);
    store_avx2(target + 32, _mm256_castps_si256(x.high), stream);
}

INLINE void copy_line_avx2(char *target, const char *line, int stream)
{
    store_avx2(target, _mm256_loadu_si256((const __m256i *)line), stream);
    store_avx2(target + 32, _mm256_loadu_si256((const __m256i *)(line + 32)), stream);
}

/* A NaN stays a NaN, and becomes quiet: without its lower half, which may be all that tells it from infinity, it is not rounded. */
INLINE __m256 quiet_avx2(__m256 x)
{
    const __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    const __m256i quiet = _mm256_and_si256(_mm256_or_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x400000)),
                                           _mm256_set1_epi32((int)0xFFFF0000));
    return _mm256_blendv_ps(x, _mm256_castsi256_ps(quiet), nan);
}

INLINE void put_bfloat16_or_nan_avx2(char *target, floats16_avx2 x, floats16_avx2 y, int stream)
{
    const floats16_avx2 quiet_x = {quiet_avx2(x.low), quiet_avx2(x.high)}, quiet_y = {quiet_avx2(y.low), quiet_avx2(y.high)};
    put_bfloat16_avx2(target, quiet_x, quiet_y, stream);
}

/* The largest magnitudes so far: bits without the sign, times 2 */
typedef __m256i integers16_avx2;

INLINE __m256i none_avx2(void) { return _mm256_setzero_si256(); }

INLINE __m256i larger_avx2(__m256i largest, floats16_avx2 x)
{
    const __m256i low = _mm256_slli_epi32(_mm256_castps_si256(x.low), 1), high = _mm256_slli_epi32(_mm256_castps_si256(x.high), 1);
    return _mm256_max_epu32(_mm256_max_epu32(largest, low), high);
}

INLINE uint32_t largest_of_avx2(__m256i largest)
{
    uint32_t each[8], most = 0;
    _mm256_storeu_si256((__m256i *)each, largest);
    for (int k = 0; k < 8; k++) most = each[k] > most ? each[k] : most;
    return most;
}

#undef TARGET
#undef INLINE

/* ---- AVX-512 */
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,f16c")))
#define INLINE TARGET static inline __attribute__((always_inline, unused))

INLINE __m512 from_uint16_avx512(const uint16_t *x)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)x)));
}

INLINE __m512 from_int16_avx512(const int16_t *x)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)x)));
}

INLINE __m512 from_float32_avx512(const float *x) { return read_avx512(x); }

INLINE __m512 from_float64_avx512(const double *x)
{
    const __m256 low = _mm512_cvtpd_ps(_mm512_loadu_pd(x)), high = _mm512_cvtpd_ps(_mm512_loadu_pd(x + 8));
    return _mm512_castpd_ps(_mm512_insertf64x4(_mm512_castps_pd(_mm512_castps256_ps512(low)), _mm256_castps_pd(high), 1));
}

INLINE void put_line_avx512(char *target, __m512 x, int stream) { store_avx512(target, _mm512_castps_si512(x), stream); }

INLINE void copy_line_avx512(char *target, const char *line, int stream)
{
    store_avx512(target, _mm512_loadu_si512(line), stream);
}

INLINE __m512i rounded_or_nan_avx512(__m512 x)
{
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_mask_or_epi32(rounded_avx512(x), nan, _mm512_castps_si512(x), _mm512_set1_epi32(0x400000));
}

INLINE void put_bfloat16_or_nan_avx512(char *target, __m512 x, __m512 y, int stream)
{
    const __m512i upper_halves = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33,  //
                                                  31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    store_avx512(target, _mm512_permutex2var_epi16(rounded_or_nan_avx512(x), upper_halves, rounded_or_nan_avx512(y)), stream);
}

typedef __m512i integers16_avx512;

INLINE __m512i none_avx512(void) { return _mm512_setzero_si512(); }

INLINE __m512i larger_avx512(__m512i largest, __m512 x)
{
    return _mm512_max_epu32(largest, _mm512_slli_epi32(_mm512_castps_si512(x), 1));
}

INLINE uint32_t largest_of_avx512(__m512i largest) { return _mm512_reduce_max_epu32(largest); }

#undef TARGET
#undef INLINE

#endif
