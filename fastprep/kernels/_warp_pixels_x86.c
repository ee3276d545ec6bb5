/* Sampling of pixels of 3 channels. */
#include "_warp_x86.h"

#ifdef FASTPREP_X86
#include <immintrin.h>

#include "_crop_x86_pixels.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")))
#define INLINE TARGET static inline __attribute__((always_inline))

/* Return the 16 numbers whose upper and lower halves these are. */
INLINE __m512i low_words(__m512i one, __m512i other)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(one)), _mm512_cvtepi64_epi32(other), 1);
}

/* Return the upper 16 bits of the fractions of 16 positions, as parts of 1. */
INLINE __m512 shares(__m512i one, __m512i other)
{
    const __m512i parts = _mm512_and_si512(low_words(_mm512_srli_epi64(one, 16), _mm512_srli_epi64(other, 16)),
                                           _mm512_set1_epi32(0xFFFF));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(parts), _mm512_set1_ps(1.0f / 65536.0f));
}

/* Return byte c of each of 16 words of 8 bytes. */
INLINE __m512 byte_of(__m512i one, __m512i other, int c)
{
    const __m512i from = _mm512_setr_epi32(0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120);
    const __m512i picks = _mm512_add_epi32(from, _mm512_set1_epi32(c));
    return _mm512_cvtepi32_ps(_mm512_maskz_permutex2var_epi8(0x1111111111111111u, one, picks, other));
}

INLINE __m512 between(__m512 one, __m512 other, __m512 share)
{
    const __m512 rest = _mm512_sub_ps(_mm512_set1_ps(1.0f), share);
    return _mm512_add_ps(_mm512_mul_ps(one, rest), _mm512_mul_ps(other, share));
}

/* Positions on an axis are a line, so all lie between the ends. */
static int is_inside(int64_t at, int64_t step, int64_t n)
{
    const int64_t one = at >> 32, other = (at + 15 * step) >> 32;
    return one >= 0 && other >= 0 && one < n && other < n;
}

TARGET int fastprep_sample_avx512(const uint8_t *pixels, int64_t row_step, int64_t height, int64_t width, const int64_t *at,
                                  const int64_t *step, float *to)
{
    if (!is_inside(at[0], step[0], width - 2) || !is_inside(at[1], step[1], height - 1)) return 0;
    const __m512i lanes = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    __m512i x[2], y[2], top[2], bottom[2];
    for (int k = 0; k < 2; k++) {
        const __m512i lane = _mm512_add_epi64(lanes, _mm512_set1_epi64(8 * k));
        x[k] = _mm512_add_epi64(_mm512_set1_epi64(at[0]), _mm512_mullo_epi64(lane, _mm512_set1_epi64(step[0])));
        y[k] = _mm512_add_epi64(_mm512_set1_epi64(at[1]), _mm512_mullo_epi64(lane, _mm512_set1_epi64(step[1])));
        const __m512i row = _mm512_mullo_epi64(_mm512_srai_epi64(y[k], 32), _mm512_set1_epi64(row_step));
        const __m512i place = _mm512_add_epi64(row, _mm512_mul_epi32(_mm512_srai_epi64(x[k], 32), _mm512_set1_epi64(3)));
        top[k] = _mm512_i64gather_epi64(place, pixels, 1);
        bottom[k] = _mm512_i64gather_epi64(place, pixels + row_step, 1);
    }
    const __m512 share_x = shares(x[0], x[1]), share_y = shares(y[0], y[1]);
    __m512 out[3];
    for (int c = 0; c < 3; c++) {
        const __m512 above = between(byte_of(top[0], top[1], c), byte_of(top[0], top[1], c + 3), share_x);
        const __m512 below = between(byte_of(bottom[0], bottom[1], c), byte_of(bottom[0], bottom[1], c + 3), share_x);
        out[c] = between(above, below, share_y);
    }
    put_pixels(to, out, 0);
    return 1;
}
#endif
