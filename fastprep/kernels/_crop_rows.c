/* The portable loops over one row. The arithmetic is (float(source) - mean) * scale, each step rounded to float32: compile with
 * -ffp-contract=off. Without a mean it is 0, and without a scale that is 1; neither changes a bit. */
#include "_crop_rows.h"

#include <string.h>

#include "_crop_numbers.h"
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

#ifdef FASTPREP_X86
int64_t fastprep_separate(const fastprep_crop *crop, const void *source, void *const *to, int mirrored)
{
    const fastprep_row row = {crop->crop_width, crop->column_step, crop->channels, crop->channel_at};
    int64_t done = 0;
    if (crop->source_type != FASTPREP_UINT8 || crop->version == FASTPREP_PORTABLE) return 0;
    if (crop->version == FASTPREP_AVX512) done = fastprep_separate_avx512(&row, source, (uint8_t *const *)to, mirrored);
    return done ? done : fastprep_separate_avx2(&row, source, (uint8_t *const *)to, mirrored);
}
#endif

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
        if (apart)
            first = fastprep_separate(crop, source, to, mirrored);
        else if (crop->version != FASTPREP_PORTABLE) {
            if (crop->version == FASTPREP_AVX512) first = fastprep_mirror_avx512(source, to[0], width, channels);
            if (!first) first = fastprep_mirror_avx2(source, to[0], width, channels);
        }
#endif
        arrange_uint8(source, to, first, width, mirrored, apart, channels);
        break;
    case FASTPREP_FLOAT32: arrange_float32(source, to, first, width, mirrored, apart, channels); break;
    default: arrange_float64(source, to, first, width, mirrored, apart, channels);
    }
}

/* ---- convert */

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
