/* Pixels of 3 channels in AVX-512 registers. */
#ifndef FASTPREP_CROP_X86_PIXELS_H
#define FASTPREP_CROP_X86_PIXELS_H

#include <immintrin.h>
#include <stdint.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")))
#define INLINE TARGET static inline __attribute__((always_inline))

/* Choices for vpermt2ps: lane k of the first vector is k, that of the second one 16 + k. */
static const int32_t BACK[6][16] = {
    /* vector k of the result from the first two channels; below, with the third one */
    {0, 16, 0, 1, 17, 0, 2, 18, 0, 3, 19, 0, 4, 20, 0, 5},
    {21, 0, 6, 22, 0, 7, 23, 0, 8, 24, 0, 9, 25, 0, 10, 26},
    {0, 11, 27, 0, 12, 28, 0, 13, 29, 0, 14, 30, 0, 15, 31, 0},
    {0, 1, 16, 3, 4, 17, 6, 7, 18, 9, 10, 19, 12, 13, 20, 15},
    {0, 21, 2, 3, 22, 5, 6, 23, 8, 9, 24, 11, 12, 25, 14, 15},
    {26, 1, 2, 27, 4, 5, 28, 7, 8, 29, 10, 11, 30, 13, 14, 31},
};

INLINE __m512 choose_of(__m512 one, const int32_t *picks, __m512 other)
{
    return _mm512_permutex2var_ps(one, _mm512_loadu_si512(picks), other);
}

INLINE void put(float *to, __m512 x, const int stream)
{
    if (stream)
        _mm512_stream_ps(to, x);
    else
        _mm512_storeu_ps(to, x);
}

/* Write 16 pixels, channels last. */
INLINE void put_pixels(float *to, const __m512 *channels, const int stream)
{
    for (int k = 0; k < 3; k++)
        put(to + 16 * k, choose_of(choose_of(channels[0], BACK[k], channels[1]), BACK[3 + k], channels[2]), stream);
}

#undef TARGET
#undef INLINE

#endif
