/* Conversions of 8 numbers between float32 and the shorter types, for functions that are marked FASTPREP_HALVES. */
#ifndef FASTPREP_HALVES_X86_H
#define FASTPREP_HALVES_X86_H

#include "_crop_x86.h"

#ifdef FASTPREP_X86
#include <immintrin.h>

#define FASTPREP_HALVES __attribute__((target("avx2,f16c")))
#define INLINE FASTPREP_HALVES static inline __attribute__((always_inline, unused))

INLINE __m256 float16_to_floats(__m128i x) { return _mm256_cvtph_ps(x); }

INLINE __m128i floats_to_float16(__m256 x) { return _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT); }

INLINE __m256 bfloat16_to_floats(__m128i x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16)); }

/* A NaN stays a NaN, and becomes quiet. */
INLINE __m128i floats_to_bfloat16(__m256 x)
{
    const __m256i bits = _mm256_castps_si256(x), kept = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(kept, _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i quiet = _mm256_or_si256(kept, _mm256_set1_epi32(0x40));
    const __m256i upper = _mm256_blendv_epi8(_mm256_srli_epi32(rounded, 16), quiet, is_nan);
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_packus_epi32(upper, upper), 0xD8));
}

#undef INLINE
#endif

#endif
