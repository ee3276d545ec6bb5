/* The portable loops of the warp kernel. Compile with -ffp-contract=off: each product and each sum is rounded to float32. */
#include "_warp_rows.h"

#include <string.h>

#include "_crop_rows.h"
#include "_warp_x86.h"

/* The same loops, compiled for wider registers */
#ifdef FASTPREP_X86
#define FOR_AVX2 __attribute__((target("avx2")))
#define DISPATCH(NAME, version, ...)                                                                                      \
    do {                                                                                                                \
        if ((version) != FASTPREP_PORTABLE)                                                                             \
            NAME##_avx2(__VA_ARGS__);                                                                                   \
        else                                                                                                            \
            NAME##_portable(__VA_ARGS__);                                                                               \
    } while (0)
#define DEFINE(LOOP, NAME) LOOP(NAME##_portable, ) LOOP(NAME##_avx2, FOR_AVX2)
#else
#define DISPATCH(NAME, version, ...) NAME##_portable(__VA_ARGS__)
#define DEFINE(LOOP, NAME) LOOP(NAME##_portable, )
#endif

/* ---- conversion of a source */

#define TO_FLOATS(NAME, TYPE, PROCESSOR)                                                                                \
    PROCESSOR static void NAME(const TYPE *restrict source, float *restrict to, int64_t n)                              \
    {                                                                                                                   \
        for (int64_t k = 0; k < n; k++) to[k] = (float)source[k];                                                       \
    }
#define FROM_BYTES(NAME, PROCESSOR) TO_FLOATS(NAME, uint8_t, PROCESSOR)
#define FROM_UINT16(NAME, PROCESSOR) TO_FLOATS(NAME, fastprep_uint16, PROCESSOR)
#define FROM_INT16(NAME, PROCESSOR) TO_FLOATS(NAME, fastprep_int16, PROCESSOR)
#define FROM_DOUBLES(NAME, PROCESSOR) TO_FLOATS(NAME, fastprep_float64, PROCESSOR)
DEFINE(FROM_BYTES, from_bytes)
DEFINE(FROM_UINT16, from_uint16)
DEFINE(FROM_INT16, from_int16)
DEFINE(FROM_DOUBLES, from_doubles)

void fastprep_to_floats(const fastprep_crop *crop, const void *source, float *to, int64_t n)
{
    switch (crop->source_type) {
    case FASTPREP_UINT8: DISPATCH(from_bytes, crop->version, source, to, n); break;
    case FASTPREP_UINT16: DISPATCH(from_uint16, crop->version, source, to, n); break;
    case FASTPREP_INT16: DISPATCH(from_int16, crop->version, source, to, n); break;
    case FASTPREP_FLOAT32: memcpy(to, source, (size_t)n * sizeof(float)); break;
    default: DISPATCH(from_doubles, crop->version, source, to, n);
    }
}

/* ---- resizing */

/* `channels` is a constant where that pays. */
#define NARROW_OF(channels)                                                                                               \
    for (int64_t j = 0; j < taps->n_out; j++) {                                                                         \
        const float *from = source + (taps->first[j] - taps->begin) * (channels);                                       \
        const float *weights = taps->weights + j * taps->stride;                                                        \
        const int64_t n = taps->count[j];                                                                               \
        for (int64_t c = 0; c < (channels); c++) {                                                                      \
            float total = from[c] * weights[0];                                                                         \
            for (int64_t k = 1; k < n; k++) total += from[k * (channels) + c] * weights[k];                             \
            to[j * (channels) + c] = total;                                                                             \
        }                                                                                                               \
    }
#define NARROW(NAME, PROCESSOR)                                                                                           \
    PROCESSOR static void NAME(const fastprep_taps *taps, const float *restrict source, int64_t channels,               \
                               float *restrict to)                                                                      \
    {                                                                                                                   \
        switch (channels) {                                                                                             \
        case 1: NARROW_OF(1) break;                                                                                     \
        case 3: NARROW_OF(3) break;                                                                                     \
        case 4: NARROW_OF(4) break;                                                                                     \
        default: NARROW_OF(channels)                                                                                    \
        }                                                                                                               \
    }
DEFINE(NARROW, narrow)

void fastprep_narrow(int version, const fastprep_taps *taps, const float *source, int64_t channels, float *to)
{
    DISPATCH(narrow, version, taps, source, channels, to);
}

enum { AT_ONCE = 64 }; /* numbers whose sums stay in registers or in the first-level cache */

void fastprep_add_rows(int version, const float *const *rows, const float *weights, int64_t n_rows, float *to, int64_t n)
{
#ifdef FASTPREP_X86
    if (version == FASTPREP_AVX512) {
        fastprep_add_rows_avx512(rows, weights, n_rows, to, n);
        return;
    }
    if (version == FASTPREP_AVX2) {
        fastprep_add_rows_avx2(rows, weights, n_rows, to, n);
        return;
    }
#endif
    for (int64_t at = 0; at < n; at += AT_ONCE) {
        const int64_t end = at + AT_ONCE < n ? at + AT_ONCE : n;
        for (int64_t k = at; k < end; k++) to[k] = rows[0][k] * weights[0];
        for (int64_t r = 1; r < n_rows; r++)
            for (int64_t k = at; k < end; k++) to[k] += rows[r][k] * weights[r];
    }
}

/* ---- colours */

#define MAP_COLORS(NAME, PROCESSOR)                                                                                       \
    PROCESSOR static void NAME(const float *restrict m, float *restrict row, int64_t width)                             \
    {                                                                                                                   \
        for (int64_t j = 0; j < width; j++, row += 3) {                                                                 \
            const float r = row[0], g = row[1], b = row[2];                                                             \
            row[0] = ((m[0] * r + m[1] * g) + m[2] * b) + m[3];                                                         \
            row[1] = ((m[4] * r + m[5] * g) + m[6] * b) + m[7];                                                         \
            row[2] = ((m[8] * r + m[9] * g) + m[10] * b) + m[11];                                                       \
        }                                                                                                               \
    }
DEFINE(MAP_COLORS, map_colors)

void fastprep_map_colors(int version, const float *colors, float *row, int64_t width, int64_t channels)
{
    if (channels == 1)
        for (int64_t j = 0; j < width; j++) row[j] = colors[0] * row[j] + colors[1];
    else
        DISPATCH(map_colors, version, colors, row, width);
}

#define TAKE_APART_OF(channels)                                                                                           \
    for (int64_t c = 0; c < (channels); c++)                                                                            \
        for (int64_t j = 0; j < width; j++) planes[c * step + j] = row[j * (channels) + c];
#define TAKE_APART(NAME, PROCESSOR)                                                                                       \
    PROCESSOR static void NAME(const float *restrict row, float *restrict planes, int64_t step, int64_t width,           \
                               int64_t channels)                                                                        \
    {                                                                                                                   \
        if (channels == 3)                                                                                              \
            TAKE_APART_OF(3)                                                                                            \
        else                                                                                                            \
            TAKE_APART_OF(channels)                                                                                     \
    }
DEFINE(TAKE_APART, take_apart)

void fastprep_take_apart(int version, const float *row, float *planes, int64_t step, int64_t width, int64_t channels)
{
    DISPATCH(take_apart, version, row, planes, step, width, channels);
}

/* ---- sampling */

/* Return the upper 16 bits of a fraction of 32 bits, which is the weight of the next pixel. */
static inline float share_of(int64_t position) { return (float)(position >> 16 & 0xFFFF) * (1.0f / 65536.0f); }

/* Return the four pixels around one position, weighted. */
static inline float weighted(float top_left, float top_right, float bottom_left, float bottom_right, float share_x, float share_y)
{
    const float top = top_left * (1.0f - share_x) + top_right * share_x;
    const float bottom = bottom_left * (1.0f - share_x) + bottom_right * share_x;
    return top * (1.0f - share_y) + bottom * share_y;
}

#define DEFINE_SAMPLE(TYPE)                                                                                               \
    static void sample_##TYPE(const fastprep_crop *crop, const TYPE *pixels, const int64_t *at, const int64_t *step,    \
                              const float *fill, float *restrict to, int64_t width)                                     \
    {                                                                                                                   \
        const int64_t channels = crop->channels, down = crop->row_step, right = crop->column_step;                      \
        for (int64_t j = 0; j < width; j++, to += channels) {                                                           \
            const int64_t at_x = at[0] + step[0] * j, at_y = at[1] + step[1] * j, x = at_x >> 32, y = at_y >> 32;        \
            const float share_x = share_of(at_x), share_y = share_of(at_y);                                             \
            if (x >= 0 && x + 1 < crop->width && y >= 0 && y + 1 < crop->height) {                                      \
                const TYPE *const from = pixels + y * down + x * right;                                                 \
                for (int64_t c = 0; c < channels; c++) {                                                                \
                    const TYPE *const top = from + crop->channel_at[c], *const bottom = top + down;                     \
                    to[c] = weighted((float)top[0], (float)top[right], (float)bottom[0], (float)bottom[right], share_x, \
                                     share_y);                                                                          \
                }                                                                                                       \
                continue;                                                                                               \
            }                                                                                                           \
            const int is_left = x >= 0 && x < crop->width, is_right = x + 1 >= 0 && x + 1 < crop->width;                \
            const int is_top = y >= 0 && y < crop->height, is_bottom = y + 1 >= 0 && y + 1 < crop->height;              \
            for (int64_t c = 0; c < channels; c++) {                                                                    \
                const int64_t from = y * down + x * right + crop->channel_at[c];                                        \
                to[c] = weighted(is_top && is_left ? (float)pixels[from] : fill[c],                                     \
                                 is_top && is_right ? (float)pixels[from + right] : fill[c],                            \
                                 is_bottom && is_left ? (float)pixels[from + down] : fill[c],                           \
                                 is_bottom && is_right ? (float)pixels[from + down + right] : fill[c], share_x,         \
                                 share_y);                                                                              \
            }                                                                                                           \
        }                                                                                                               \
    }

DEFINE_SAMPLE(uint8_t)
DEFINE_SAMPLE(fastprep_uint16)
DEFINE_SAMPLE(fastprep_int16)
DEFINE_SAMPLE(fastprep_float32)
DEFINE_SAMPLE(fastprep_float64)

static void sample(const fastprep_crop *crop, const void *pixels, const int64_t *at, const int64_t *step, const float *fill,
                   float *to, int64_t width)
{
    switch (crop->source_type) {
    case FASTPREP_UINT8: sample_uint8_t(crop, pixels, at, step, fill, to, width); break;
    case FASTPREP_UINT16: sample_fastprep_uint16(crop, pixels, at, step, fill, to, width); break;
    case FASTPREP_INT16: sample_fastprep_int16(crop, pixels, at, step, fill, to, width); break;
    case FASTPREP_FLOAT32: sample_fastprep_float32(crop, pixels, at, step, fill, to, width); break;
    default: sample_fastprep_float64(crop, pixels, at, step, fill, to, width);
    }
}

void fastprep_sample(const fastprep_crop *crop, const void *pixels, const int64_t *at, const int64_t *step, const float *fill,
                     float *to, int64_t width)
{
    int64_t j = 0;
#ifdef FASTPREP_X86
    const int in_vectors = crop->version == FASTPREP_AVX512 && crop->source_type == FASTPREP_UINT8 && crop->channels == 3
                           && crop->order == FASTPREP_PIXELS;
    for (; in_vectors && j + 16 <= width; j += 16) {
        const int64_t from[2] = {at[0] + step[0] * j, at[1] + step[1] * j};
        if (!fastprep_sample_avx512(pixels, crop->row_step, crop->height, crop->width, from, step, to + 3 * j))
            sample(crop, pixels, from, step, fill, to + 3 * j, 16);
    }
#endif
    const int64_t rest[2] = {at[0] + step[0] * j, at[1] + step[1] * j};
    sample(crop, pixels, rest, step, fill, to + crop->channels * j, width - j);
}
