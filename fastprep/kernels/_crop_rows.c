/* The portable loops over one row. The arithmetic is (float(source) - mean) * scale, each step rounded to float32: compile with
 * -ffp-contract=off. Without a mean it is 0, and without a scale that is 1; neither changes a bit. */
#include "_crop_rows.h"

#include <string.h>

#include "_crop_x86.h"

/* ---- arrange */

/* `to` has a pointer for each plane. The pixels before `first` have been arranged already. `channels` is a constant where that
 * pays, so that the inner loop is unrolled. */
#define DEFINE_ARRANGE(NAME, TYPE)                                                                                       \
    static inline void NAME##_of(const TYPE *restrict source, void *const *to, int64_t first, int64_t width,            \
                                 int mirrored, int apart, const int64_t channels)                                       \
    {                                                                                                                   \
        const int64_t step = mirrored ? -channels : channels;                                                           \
        if (mirrored) source += (width - 1) * channels;                                                                 \
        for (int64_t p = 0; p < (apart ? channels : 1); p++) {                                                          \
            TYPE *restrict plane = to[p];                                                                               \
            if (apart)                                                                                                  \
                for (int64_t j = first; j < width; j++) plane[j] = source[j * step + p];                                \
            else                                                                                                        \
                for (int64_t j = first; j < width; j++)                                                                 \
                    for (int64_t c = 0; c < channels; c++) plane[j * channels + c] = source[j * step + c];              \
        }                                                                                                               \
    }                                                                                                                   \
    static void NAME(const TYPE *source, void *const *to, int64_t first, int64_t width, int mirrored, int apart,        \
                     int64_t channels)                                                                                  \
    {                                                                                                                   \
        switch (channels) {                                                                                             \
        case 1: NAME##_of(source, to, first, width, mirrored, apart, 1); break;                                         \
        case 3: NAME##_of(source, to, first, width, mirrored, apart, 3); break;                                         \
        case 4: NAME##_of(source, to, first, width, mirrored, apart, 4); break;                                         \
        default: NAME##_of(source, to, first, width, mirrored, apart, channels);                                        \
        }                                                                                                               \
    }

DEFINE_ARRANGE(arrange_uint8, uint8_t)
DEFINE_ARRANGE(arrange_float32, float)
DEFINE_ARRANGE(arrange_float64, double)

void fastprep_arrange(const fastprep_crop *crop, const void *source, void *const *to, int mirrored)
{
    const int64_t width = crop->crop_width, channels = crop->channels;
    const int apart = crop->channels_first && channels > 1;
    int64_t first = 0;
    switch (crop->source_type) {
    case FASTPREP_UINT8:
        if (!mirrored && !apart) {
            memcpy(to[0], source, (size_t)(width * channels));
            return;
        }
#ifdef FASTPREP_X86
        if (crop->version == FASTPREP_AVX512)
            first = fastprep_arrange_avx512(source, (uint8_t *const *)to, width, channels, mirrored, apart);
        if (crop->version != FASTPREP_PORTABLE && first == 0)
            first = fastprep_arrange_avx2(source, (uint8_t *const *)to, width, channels, mirrored, apart);
#endif
        arrange_uint8(source, to, first, width, mirrored, apart, channels);
        break;
    case FASTPREP_FLOAT32: arrange_float32(source, to, first, width, mirrored, apart, channels); break;
    default: arrange_float64(source, to, first, width, mirrored, apart, channels);
    }
}

/* ---- convert */

static inline float to_float32(float value) { return value; }

/* Return one argument or the other without a branch, so that compilers vectorise the loops. */
static inline uint32_t choose(int condition, uint32_t one, uint32_t other)
{
    const uint32_t mask = 0u - (uint32_t)condition;
    return (one & mask) | (other & ~mask);
}

/* Round to IEEE 754 binary16, to nearest even. */
static inline uint16_t to_float16(float value)
{
    uint32_t bits, magnitude_bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u;
    bits &= 0x7FFFFFFFu;
    float magnitude;  /* below 2^-14, results are multiples of 2^-24, which is the spacing of floats at 0.5: the addition rounds */
    memcpy(&magnitude, &bits, sizeof magnitude);
    magnitude += 0.5f;
    memcpy(&magnitude_bits, &magnitude, sizeof magnitude_bits);
    const int32_t ordered = (int32_t)bits;                /* SSE2 compares signed integers only */
    uint32_t half = (bits + 0xFFFu + (bits >> 13 & 1u) - 0x38000000u) >> 13;
    half = choose(ordered < 0x38800000, magnitude_bits - 0x3F000000u, half);
    half = choose(ordered >= 0x477FF000, 0x7C00u, half);  /* 65520 and more: infinity */
    half = choose(ordered > 0x7F800000, 0x7E00u, half);   /* NaN */
    return (uint16_t)(sign | half);
}

/* Round to the upper half of a float32, to nearest even. */
static inline uint16_t to_bfloat16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t rounded = (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
    const int32_t ordered = (int32_t)(bits & 0x7FFFFFFFu);
    return (uint16_t)choose(ordered > 0x7F800000, bits >> 16 | 0x40u, rounded);  /* a NaN stays a NaN, and becomes quiet */
}

/* The bits of the least positive float32 that a type holds as infinity; those of infinity and of NaN are larger. */
#define LIMIT_float32 0x7F800000u
#define LIMIT_float16 0x477FF000u
#define LIMIT_bfloat16 0x7F7F8000u

/* Return a number whose highest bit is set if the type does not hold the value as a finite number. */
static inline uint32_t excess(float value, uint32_t limit)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7FFFFFFFu) + (0x80000000u - limit);
}

/* CHECK: sources of integers give finite results, see `CropSpec`. */
#define DEFINE_CONVERT(NAME, SOURCE, TARGET, TYPE, CHECK, PROCESSOR)                                                     \
    PROCESSOR static uint32_t NAME(const SOURCE *restrict source, const float *restrict mean,                           \
                                   const float *restrict scale, TARGET *restrict target, int64_t n)                     \
    {                                                                                                                   \
        uint32_t not_finite = 0;                                                                                        \
        for (int64_t k = 0; k < n; k++) {                                                                               \
            const float value = ((float)source[k] - mean[k]) * scale[k];                                                \
            if (CHECK) not_finite |= excess(value, LIMIT_##TYPE);                                                       \
            target[k] = to_##TYPE(value);                                                                               \
        }                                                                                                               \
        return not_finite & 0x80000000u;                                                                                \
    }

#define DEFINE_CONVERT_FROM(NAME, SOURCE, CHECK, PROCESSOR)                                                              \
    DEFINE_CONVERT(NAME##_to_float32, SOURCE, float, float32, CHECK, PROCESSOR)                                         \
    DEFINE_CONVERT(NAME##_to_float16, SOURCE, uint16_t, float16, CHECK, PROCESSOR)                                      \
    DEFINE_CONVERT(NAME##_to_bfloat16, SOURCE, uint16_t, bfloat16, CHECK, PROCESSOR)                                    \
    static uint32_t NAME(const void *source, const float *mean, const float *scale, void *target, int64_t n, int type)  \
    {                                                                                                                   \
        switch (type) {                                                                                                 \
        case FASTPREP_TO_FLOAT32: return NAME##_to_float32(source, mean, scale, target, n);                             \
        case FASTPREP_TO_FLOAT16: return NAME##_to_float16(source, mean, scale, target, n);                             \
        default: return NAME##_to_bfloat16(source, mean, scale, target, n);                                             \
        }                                                                                                               \
    }

DEFINE_CONVERT_FROM(convert_uint8, uint8_t, 0, )
DEFINE_CONVERT_FROM(convert_float32, float, 1, )
DEFINE_CONVERT_FROM(convert_float64, double, 1, )
#ifdef FASTPREP_X86
/* The same loops, compiled for wider registers */
#define AVX2 __attribute__((target("avx2")))
DEFINE_CONVERT_FROM(convert_float32_avx2, float, 1, AVX2)
DEFINE_CONVERT_FROM(convert_float64_avx2, double, 1, AVX2)
#endif

uint32_t fastprep_convert(const fastprep_crop *crop, const void *source, const float *mean, const float *scale, void *target,
                      int64_t n)
{
#ifdef FASTPREP_X86
    if (crop->version != FASTPREP_PORTABLE && crop->source_type == FASTPREP_FLOAT32)
        return convert_float32_avx2(source, mean, scale, target, n, crop->target_type);
    if (crop->version != FASTPREP_PORTABLE && crop->source_type == FASTPREP_FLOAT64)
        return convert_float64_avx2(source, mean, scale, target, n, crop->target_type);
#endif
    switch (crop->source_type) {
    case FASTPREP_UINT8: return convert_uint8(source, mean, scale, target, n, crop->target_type);
    case FASTPREP_FLOAT32: return convert_float32(source, mean, scale, target, n, crop->target_type);
    default: return convert_float64(source, mean, scale, target, n, crop->target_type);
    }
}
