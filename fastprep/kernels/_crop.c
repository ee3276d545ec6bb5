/* Portable version. Every row goes through two loops: `convert_row_*` in the order of the source, which any compiler
 * vectorises, and, unless the row is already what is wanted, `store_row_*`, which reverses, converts and transposes it.
 *
 * The arithmetic is (float(source) - mean) * scale, each step rounded to float32: compile with -ffp-contract=off. */
#include "_crop.h"

#include <stddef.h>
#include <string.h>

#define DEFINE_CONVERT_ROW(NAME, SOURCE)                                                                                 \
    static void NAME(const SOURCE *restrict source, const float *restrict mean, const float *restrict scale,            \
                     float *restrict row, int64_t n)                                                                    \
    {                                                                                                                   \
        if (mean && scale)                                                                                              \
            for (int64_t k = 0; k < n; k++) row[k] = ((float)source[k] - mean[k]) * scale[k];                           \
        else if (mean)                                                                                                  \
            for (int64_t k = 0; k < n; k++) row[k] = (float)source[k] - mean[k];                                        \
        else if (scale)                                                                                                 \
            for (int64_t k = 0; k < n; k++) row[k] = (float)source[k] * scale[k];                                       \
        else                                                                                                            \
            for (int64_t k = 0; k < n; k++) row[k] = (float)source[k];                                                  \
    }

DEFINE_CONVERT_ROW(convert_row_uint8, uint8_t)
DEFINE_CONVERT_ROW(convert_row_float32, float)
DEFINE_CONVERT_ROW(convert_row_float64, double)

static inline float to_float32(float value) { return value; }

/* IEEE 754 binary16, round to nearest even */
static inline uint16_t to_float16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u;
    bits &= 0x7FFFFFFFu;
    if (bits > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);   /* NaN */
    if (bits >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u);  /* 65520 and more: infinity */
    if (bits < 0x38800000u) {                                    /* below 2^-14: subnormal, a multiple of 2^-24 */
        float magnitude;
        memcpy(&magnitude, &bits, sizeof bits);
        magnitude += 0.5f;                                       /* the spacing at 0.5 is 2^-24: the addition rounds */
        memcpy(&bits, &magnitude, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3F000000u));
    }
    bits += 0xFFFu + (bits >> 13 & 1u);
    return (uint16_t)(sign | ((bits - 0x38000000u) >> 13));
}

/* The upper half of a float32, round to nearest even */
static inline uint16_t to_bfloat16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(bits >> 16 | 0x40u);  /* NaN, kept quiet */
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

/* `channels` is a constant wherever that pays, so that the inner loop unrolls */
#define DEFINE_STORE_ROW(NAME, TARGET, CONVERT)                                                                          \
    static inline void NAME##_of(const fastprep_crop *crop, const float *restrict row, int mirrored,                    \
                                 TARGET *restrict target, int64_t i, const int64_t channels)                            \
    {                                                                                                                   \
        const int64_t width = crop->crop_width;                                                                         \
        const int64_t plane = crop->channels_first ? crop->crop_height * width : 1;                                     \
        const int64_t pixel = crop->channels_first ? 1 : channels;                                                      \
        target += i * width * pixel;                                                                                    \
        for (int64_t j = 0; j < width; j++) {                                                                           \
            const float *source = row + (mirrored ? width - 1 - j : j) * channels;                                      \
            for (int64_t c = 0; c < channels; c++) target[j * pixel + c * plane] = CONVERT(source[c]);                  \
        }                                                                                                               \
    }                                                                                                                   \
    static void NAME(const fastprep_crop *crop, const float *row, int mirrored, TARGET *target, int64_t i)              \
    {                                                                                                                   \
        switch (crop->channels) {                                                                                       \
        case 1: NAME##_of(crop, row, mirrored, target, i, 1); break;                                                    \
        case 3: NAME##_of(crop, row, mirrored, target, i, 3); break;                                                    \
        case 4: NAME##_of(crop, row, mirrored, target, i, 4); break;                                                    \
        default: NAME##_of(crop, row, mirrored, target, i, crop->channels);                                             \
        }                                                                                                               \
    }

DEFINE_STORE_ROW(store_row_float32, float, to_float32)
DEFINE_STORE_ROW(store_row_float16, uint16_t, to_float16)
DEFINE_STORE_ROW(store_row_bfloat16, uint16_t, to_bfloat16)

void fastprep_crop_run(const fastprep_crop *crop, const void *pixels, int64_t y, int64_t x, int flags, void *target,
                       float *row)
{
    const int64_t n = crop->crop_width * crop->channels;
    const int mirrored = flags & FASTPREP_MIRRORED;
    const int as_it_is = crop->target_type == FASTPREP_TO_FLOAT32 && !mirrored && (!crop->channels_first || crop->channels == 1);
    for (int64_t i = 0; i < crop->crop_height; i++) {
        const int64_t source_y = y + (flags & FASTPREP_FLIPPED ? crop->crop_height - 1 - i : i);
        const int64_t first = (source_y * crop->width + x) * crop->channels;
        const float *mean = crop->mean ? crop->mean + source_y * crop->mean_stride + x * crop->channels : NULL;
        float *converted = as_it_is ? (float *)target + i * n : row;
        switch (crop->source_type) {
        case FASTPREP_UINT8: convert_row_uint8((const uint8_t *)pixels + first, mean, crop->scale, converted, n); break;
        case FASTPREP_FLOAT32: convert_row_float32((const float *)pixels + first, mean, crop->scale, converted, n); break;
        default: convert_row_float64((const double *)pixels + first, mean, crop->scale, converted, n);
        }
        if (as_it_is) continue;
        switch (crop->target_type) {
        case FASTPREP_TO_FLOAT32: store_row_float32(crop, row, mirrored, (float *)target, i); break;
        case FASTPREP_TO_FLOAT16: store_row_float16(crop, row, mirrored, (uint16_t *)target, i); break;
        default: store_row_bfloat16(crop, row, mirrored, (uint16_t *)target, i);
        }
    }
}
