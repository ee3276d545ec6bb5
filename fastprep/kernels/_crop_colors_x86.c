/* Colours of pixels of 3 channels, which are separated, and interleaved again, in registers. */
#include "_crop_x86.h"

#ifdef FASTPREP_X86
#include <immintrin.h>

#include "_crop_x86_pixels.h"

/* ---- AVX2: colours of 8 pixels at a time */
#define TARGET __attribute__((target("avx2")))
#define INLINE TARGET static inline __attribute__((always_inline))

/* Take from three vectors the lanes that one of three channels has in them; no two are at the same place. `c` is a constant. */
INLINE __m256 lanes_of(const __m256 *x, const int c)
{
    if (c == 0) return _mm256_blend_ps(_mm256_blend_ps(x[0], x[1], 0x92), x[2], 0x24);
    if (c == 1) return _mm256_blend_ps(_mm256_blend_ps(x[0], x[1], 0x24), x[2], 0x49);
    return _mm256_blend_ps(_mm256_blend_ps(x[0], x[1], 0x49), x[2], 0x92);
}

/* Where these lanes are, by pixel; and which pixel each lane has */
static const int32_t LANES_OF[3][8] = {{0, 3, 6, 1, 4, 7, 2, 5}, {1, 4, 7, 2, 5, 0, 3, 6}, {2, 5, 0, 3, 6, 1, 4, 7}};
static const int32_t PIXELS_OF[3][8] = {{0, 3, 6, 1, 4, 7, 2, 5}, {5, 0, 3, 6, 1, 4, 7, 2}, {2, 5, 0, 3, 6, 1, 4, 7}};

INLINE void color_row_of_8(const fastprep_color_plan *plan, const void *source, const int is_bytes, float *to, int64_t plane_step,
                           int64_t width, const int stream)
{
    for (int64_t j = 0; j < width; j += 8) {
        __m256 x[3], in[3], out[3];
        for (int k = 0; k < 3; k++)
            if (is_bytes) {
                const __m128i bytes = _mm_loadl_epi64((const __m128i *)((const uint8_t *)source + 3 * j + 8 * k));
                x[k] = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
            } else
                x[k] = _mm256_loadu_ps((const float *)source + 3 * j + 8 * k);
        in[0] = lanes_of(x, 0), in[1] = lanes_of(x, 1), in[2] = lanes_of(x, 2);
        for (int c = 0; c < 3; c++) in[c] = _mm256_permutevar8x32_ps(in[c], _mm256_loadu_si256((const __m256i *)LANES_OF[c]));
        for (int c = 0; c < 3; c++) {
            const float *m = plan->colors + 4 * c;
            out[c] = _mm256_mul_ps(_mm256_set1_ps(m[0]), in[0]);
            out[c] = _mm256_add_ps(out[c], _mm256_mul_ps(_mm256_set1_ps(m[1]), in[1]));
            out[c] = _mm256_add_ps(out[c], _mm256_mul_ps(_mm256_set1_ps(m[2]), in[2]));
            out[c] = _mm256_add_ps(out[c], _mm256_set1_ps(m[3]));
            out[c] = _mm256_sub_ps(out[c], _mm256_set1_ps(plan->mean[c * plan->step]));
            out[c] = _mm256_mul_ps(out[c], _mm256_set1_ps(plan->scale[c * plan->step]));
        }
        if (plane_step) {
            for (int c = 0; c < 3; c++) _mm256_storeu_ps(to + c * plane_step + j, out[c]);
            continue;
        }
        for (int c = 0; c < 3; c++) out[c] = _mm256_permutevar8x32_ps(out[c], _mm256_loadu_si256((const __m256i *)PIXELS_OF[c]));
        x[0] = _mm256_blend_ps(_mm256_blend_ps(out[0], out[1], 0x92), out[2], 0x24);
        x[1] = _mm256_blend_ps(_mm256_blend_ps(out[0], out[1], 0x24), out[2], 0x49);
        x[2] = _mm256_blend_ps(_mm256_blend_ps(out[0], out[1], 0x49), out[2], 0x92);
        for (int k = 0; k < 3; k++)
            if (stream)
                _mm256_stream_ps(to + 3 * j + 8 * k, x[k]);
            else
                _mm256_storeu_ps(to + 3 * j + 8 * k, x[k]);
    }
}

TARGET void fastprep_color_row_avx2(const fastprep_color_plan *plan, const void *source, int is_bytes, float *to,
                                    int64_t plane_step, int64_t width, int stream)
{
    if (is_bytes && stream)
        color_row_of_8(plan, source, 1, to, plane_step, width, 1);
    else
        color_row_of_8(plan, source, is_bytes, to, plane_step, width, stream);
}

#undef TARGET
#undef INLINE

/* ---- AVX-512: 16 pixels at a time */
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")))
#define INLINE TARGET static inline __attribute__((always_inline))

/* Choices for `choose_of` */
static const int32_t PICKS[6][16] = {
    /* channel c from the first two of three vectors, 0 where it comes from the third one; below, where that is */
    {0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0},
    {1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 0, 0, 0, 0, 0},
    {2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0, 0, 0, 0, 0},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31},
};
/* Return channel c of 16 pixels, of which lane k is byte 3 k + c. */
INLINE __m512 channel_of_bytes(__m512i bytes, int c)
{
    const __m512i from = _mm512_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 42, 45);
    const __m512i picks = _mm512_add_epi32(from, _mm512_set1_epi32(c));
    return _mm512_cvtepi32_ps(_mm512_maskz_permutexvar_epi8(0x1111111111111111u, picks, bytes));
}

INLINE void color_row(const fastprep_color_plan *plan, const void *source, const int is_bytes, float *to, int64_t plane_step,
                      int64_t width, const int stream)
{
    for (int64_t j = 0; j < width; j += 16) {
        __m512 in[3], out[3];
        if (is_bytes) {
            const __m512i bytes = _mm512_loadu_si512((const uint8_t *)source + 3 * j);
            for (int c = 0; c < 3; c++) in[c] = channel_of_bytes(bytes, c);
        } else {
            const float *from = (const float *)source + 3 * j;
            const __m512 one = _mm512_loadu_ps(from), two = _mm512_loadu_ps(from + 16), three = _mm512_loadu_ps(from + 32);
            for (int c = 0; c < 3; c++) in[c] = choose_of(choose_of(one, PICKS[c], two), PICKS[3 + c], three);
        }
        for (int c = 0; c < 3; c++) {
            const float *m = plan->colors + 4 * c;
            out[c] = _mm512_mul_ps(_mm512_set1_ps(m[0]), in[0]);
            out[c] = _mm512_add_ps(out[c], _mm512_mul_ps(_mm512_set1_ps(m[1]), in[1]));
            out[c] = _mm512_add_ps(out[c], _mm512_mul_ps(_mm512_set1_ps(m[2]), in[2]));
            out[c] = _mm512_add_ps(out[c], _mm512_set1_ps(m[3]));
            out[c] = _mm512_sub_ps(out[c], _mm512_set1_ps(plan->mean[c * plan->step]));
            out[c] = _mm512_mul_ps(out[c], _mm512_set1_ps(plan->scale[c * plan->step]));
        }
        if (plane_step)
            for (int c = 0; c < 3; c++) put(to + c * plane_step + j, out[c], stream);
        else
            put_pixels(to + 3 * j, out, stream);
    }
}

TARGET void fastprep_color_row_avx512(const fastprep_color_plan *plan, const void *source, int is_bytes, float *to,
                                      int64_t plane_step, int64_t width, int stream)
{
    if (is_bytes && stream)
        color_row(plan, source, 1, to, plane_step, width, 1);
    else if (is_bytes)
        color_row(plan, source, 1, to, plane_step, width, 0);
    else
        color_row(plan, source, 0, to, plane_step, width, stream);
}
#endif
