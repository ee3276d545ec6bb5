/* The portable loops over one row. The arithmetic is (float(source) - mean) * scale, each step rounded to float32: compile with
 * -ffp-contract=off. Without a mean it is 0, and without a scale that is 1; neither changes a bit. */
#include "_crop_rows.h"

#include <string.h>

#include "_crop_numbers.h"
#include "_crop_x86.h"

/* ---- arrange */

/* Mirror a row of pixels of any size, by overlapping pieces of a constant size where that is quicker than number by number. */
#define DEFINE_TURN(PIECE)                                                                                              \
    static void turn_by_##PIECE(const char *restrict source, char *restrict to, int64_t width, int64_t size)            \
    {                                                                                                                   \
        for (int64_t j = 0; j < width; j++, to += size) {                                                               \
            const char *const from = source + (width - 1 - j) * size;                                                   \
            for (int64_t at = 0; at + PIECE < size; at += PIECE) memcpy(to + at, from + at, PIECE);                     \
            memcpy(to + size - PIECE, from + size - PIECE, PIECE);                                                      \
        }                                                                                                               \
    }

DEFINE_TURN(4)
DEFINE_TURN(8)
DEFINE_TURN(16)

/* `to` has a pointer for each plane. `channels` is a constant where that
 * pays, so that the inner loop is unrolled. */
#define DEFINE_ARRANGE(TYPE)                                                                                            \
    static inline void arrange_##TYPE##_of(const TYPE *restrict source, void *const *to, int64_t width,                 \
                                           int mirrored, int apart, const int64_t channels)                             \
    {                                                                                                                   \
        const int64_t step = mirrored ? -channels : channels;                                                           \
        if (mirrored) source += (width - 1) * channels;                                                                 \
        for (int64_t p = 0; p < (apart ? channels : 1); p++) {                                                          \
            TYPE *restrict plane = to[p];                                                                               \
            if (apart)                                                                                                  \
                for (int64_t j = 0; j < width; j++) plane[j] = source[j * step + p];                                    \
            else                                                                                                        \
                for (int64_t j = 0; j < width; j++)                                                                     \
                    for (int64_t c = 0; c < channels; c++) plane[j * channels + c] = source[j * step + c];              \
        }                                                                                                               \
    }                                                                                                                   \
    static void arrange_##TYPE(const void *source, void *const *to, int64_t width, int mirrored,                        \
                               int apart, int64_t channels)                                                             \
    {                                                                                                                   \
        switch (channels) {                                                                                             \
        case 1: arrange_##TYPE##_of(source, to, width, mirrored, apart, 1); break;                                      \
        case 3: arrange_##TYPE##_of(source, to, width, mirrored, apart, 3); break;                                      \
        case 4: arrange_##TYPE##_of(source, to, width, mirrored, apart, 4); break;                                      \
        default: arrange_##TYPE##_of(source, to, width, mirrored, apart, channels);                                     \
        }                                                                                                               \
    }

DEFINE_ARRANGE(bytes_1)
DEFINE_ARRANGE(bytes_2)
DEFINE_ARRANGE(bytes_4)
DEFINE_ARRANGE(bytes_8)

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

/* Arrange a row of bytes by a vector loop, if there is one. Return the number of pixels that were done, all or none. */
static int64_t arrange_in_vectors(const fastprep_crop *crop, const void *source, void *const *to, int mirrored, int apart)
{
    int64_t done = 0;
#ifdef FASTPREP_X86
    if (crop->source_type != FASTPREP_UINT8 || crop->version == FASTPREP_PORTABLE) return 0;
    if (apart) return fastprep_separate(crop, source, to, mirrored);
    if (crop->version == FASTPREP_AVX512) done = fastprep_mirror_avx512(source, to[0], crop->crop_width, crop->channels);
    if (!done) done = fastprep_mirror_avx2(source, to[0], crop->crop_width, crop->channels);
#else
    (void)crop, (void)source, (void)to, (void)mirrored, (void)apart;
#endif
    return done;
}

void fastprep_arrange(const fastprep_crop *crop, const void *source, void *const *to, int mirrored)
{
    const int64_t width = crop->crop_width, channels = crop->channels;
    const int apart = crop->channels_first && channels > 1;
    const size_t size = fastprep_source_size(crop->source_type), pixel = (size_t)channels * size;
    if (!mirrored && !apart) {
        memcpy(to[0], source, (size_t)width * pixel);
        return;
    }
    const int64_t done = arrange_in_vectors(crop, source, to, mirrored, apart);
    if (done) return;
    if (!apart && pixel >= 4) {
        (pixel < 8 ? turn_by_4 : pixel < 16 ? turn_by_8 : turn_by_16)(source, to[0], width, (int64_t)pixel);
        return;
    }
    switch (size) {
    case 1: arrange_bytes_1(source, to, width, mirrored, apart, channels); break;
    case 2: arrange_bytes_2(source, to, width, mirrored, apart, channels); break;
    case 4: arrange_bytes_4(source, to, width, mirrored, apart, channels); break;
    default: arrange_bytes_8(source, to, width, mirrored, apart, channels);
    }
}

/* ---- convert */

/* CHECK: sources of integers give finite results, see `CropSpec`. */
#define DEFINE_CONVERT(NAME, SOURCE, TARGET, TYPE, CHECK, PROCESSOR)                                                    \
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

#define DEFINE_CONVERT_FROM(NAME, SOURCE, CHECK, PROCESSOR)                                                             \
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
DEFINE_CONVERT_FROM(convert_uint16, fastprep_uint16, 0, )
DEFINE_CONVERT_FROM(convert_int16, fastprep_int16, 0, )
DEFINE_CONVERT_FROM(convert_float32, fastprep_float32, 1, )
DEFINE_CONVERT_FROM(convert_float64, fastprep_float64, 1, )
#ifdef FASTPREP_X86
DEFINE_CONVERT_FROM(convert_float32_avx2, float, 1, __attribute__((target("avx2"))))
#endif

uint32_t fastprep_convert(const fastprep_crop *crop, const void *source, const float *mean, const float *scale, void *target,
                      int64_t n)
{
#ifdef FASTPREP_X86
    if (crop->version != FASTPREP_PORTABLE && crop->source_type == FASTPREP_FLOAT32) /* rows of the warp kernel */
        return convert_float32_avx2(source, mean, scale, target, n, crop->target_type);
#endif
    switch (crop->source_type) {
    case FASTPREP_UINT8: return convert_uint8(source, mean, scale, target, n, crop->target_type);
    case FASTPREP_UINT16: return convert_uint16(source, mean, scale, target, n, crop->target_type);
    case FASTPREP_INT16: return convert_int16(source, mean, scale, target, n, crop->target_type);
    case FASTPREP_FLOAT32: return convert_float32(source, mean, scale, target, n, crop->target_type);
    default: return convert_float64(source, mean, scale, target, n, crop->target_type);
    }
}
