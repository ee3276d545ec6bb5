/* Images are blended in pieces that stay in the first-level cache, of which one is kept as it was. */
#include "_blend.h"

#include "_crop.h"
#include "_crop_numbers.h"
#include "_halves_x86.h"

enum { PIECE = 1024 }; /* numbers */

#define DEFINE_MIX(NAME, TYPE, NUMBER, PROCESSOR)                                                                         \
    PROCESSOR static void NAME(TYPE *restrict own, const TYPE *restrict other, float weight, int64_t n)                 \
    {                                                                                                                   \
        const float rest = 1.0f - weight;                                                                               \
        for (int64_t k = 0; k < n; k++)                                                                                 \
            own[k] = to_##NUMBER(weight * from_##NUMBER(own[k]) + rest * from_##NUMBER(other[k]));                      \
    }

DEFINE_MIX(mix_float32, float, float32, )
DEFINE_MIX(mix_float16, uint16_t, float16, )
DEFINE_MIX(mix_bfloat16, uint16_t, bfloat16, )
#ifdef FASTPREP_X86
/* The same loops, compiled for wider registers */
#define AVX2 __attribute__((target("avx2")))
DEFINE_MIX(mix_float32_avx2, float, float32, AVX2)
#define DEFINE_MIX_HALVES(TYPE)                                                                                           \
    FASTPREP_HALVES static void mix_##TYPE##_avx2(uint16_t *own, const uint16_t *other, float weight, int64_t n)        \
    {                                                                                                                   \
        const __m256 share = _mm256_set1_ps(weight), rest = _mm256_set1_ps(1.0f - weight);                              \
        int64_t k = 0;                                                                                                  \
        for (; k + 8 <= n; k += 8) {                                                                                    \
            const __m256 x = TYPE##_to_floats(_mm_loadu_si128((const __m128i *)(own + k)));                             \
            const __m256 y = TYPE##_to_floats(_mm_loadu_si128((const __m128i *)(other + k)));                           \
            const __m256 sum = _mm256_add_ps(_mm256_mul_ps(share, x), _mm256_mul_ps(rest, y));                          \
            _mm_storeu_si128((__m128i *)(own + k), floats_to_##TYPE(sum));                                              \
        }                                                                                                               \
        mix_##TYPE(own + k, other + k, weight, n - k);                                                                  \
    }

DEFINE_MIX_HALVES(float16)
DEFINE_MIX_HALVES(bfloat16)
#endif

static void mix(const fastprep_blend *blend, void *own, const void *other, float weight, int64_t n)
{
#ifdef FASTPREP_X86
    if (blend->version != FASTPREP_PORTABLE) {
        switch (blend->type) {
        case FASTPREP_TO_FLOAT32: mix_float32_avx2(own, other, weight, n); return;
        case FASTPREP_TO_FLOAT16: mix_float16_avx2(own, other, weight, n); return;
        default: mix_bfloat16_avx2(own, other, weight, n); return;
        }
    }
#endif
    switch (blend->type) {
    case FASTPREP_TO_FLOAT32: mix_float32(own, other, weight, n); break;
    case FASTPREP_TO_FLOAT16: mix_float16(own, other, weight, n); break;
    default: mix_bfloat16(own, other, weight, n);
    }
}

/* What becomes of the numbers first..end - 1 of a line */
typedef struct {
    int is_mixed;
    float weight;
    int64_t first, end;
} share;

/* Return what an image takes of line i of its partner. */
static share share_of(const fastprep_blend *blend, float weight, const int32_t *rectangle, int64_t i)
{
    const int64_t step = blend->channels_first ? 1 : blend->channels;
    if (!rectangle[2] && weight == 1.0f) return (share){0, 0.0f, 0, 0};
    if (!rectangle[2]) return (share){1, weight, 0, blend->width * step};
    if (i < rectangle[0] || i >= rectangle[0] + rectangle[2]) return (share){0, 0.0f, 0, 0};
    return (share){0, 0.0f, rectangle[1] * step, (rectangle[1] + rectangle[3]) * step};
}

/* Blend the numbers at..end - 1 of a line, of which `own` and `other` are the first ones. */
static void blend_piece(const fastprep_blend *blend, const share *part, char *own, const char *other, int64_t at, int64_t end,
                        size_t size)
{
    const int64_t first = part->first > at ? part->first : at, last = part->end < end ? part->end : end;
    if (first >= last) return;
    own += (size_t)(first - at) * size, other += (size_t)(first - at) * size;
    if (part->is_mixed)
        mix(blend, own, other, part->weight, last - first);
    else
        memcpy(own, other, (size_t)(last - first) * size);
}

void fastprep_blend_pair(const fastprep_blend *blend, void *one, void *other, const float *weights, const int32_t *rectangles)
{
    const int64_t n_planes = blend->channels_first ? blend->channels : 1, row = blend->width * (blend->channels / n_planes);
    const size_t size = blend->type == FASTPREP_TO_FLOAT32 ? 4 : 2;
    float before[PIECE];
    for (int64_t line = 0; line < n_planes * blend->height; line++) {
        const share first = share_of(blend, weights[0], rectangles, line % blend->height);
        const share second = share_of(blend, weights[1], rectangles + 4, line % blend->height);
        if (first.first >= first.end && second.first >= second.end) continue;
        for (int64_t at = 0; at < row; at += PIECE) {
            const int64_t end = at + PIECE < row ? at + PIECE : row;
            const size_t place = (size_t)(line * row + at) * size;
            memcpy(before, (char *)one + place, (size_t)(end - at) * size);
            blend_piece(blend, &first, (char *)one + place, (char *)other + place, at, end, size);
            blend_piece(blend, &second, (char *)other + place, (char *)before, at, end, size);
        }
    }
}
