/* The portable loops for sources in other orders, and the choice between these and those of the x86 versions. */
#include "_crop_orders.h"

#include <string.h>

#include "_crop_rows.h"
#include "_crop_x86.h"

/* ---- some of the channels, channels last; also the ends of rows that the x86 versions leave */

#define DEFINE_PICK(TYPE)                                                                                                \
    static void pick_##TYPE(const fastprep_crop *crop, const TYPE *restrict source, const int64_t *channel_at,          \
                            int64_t column_step, void *const *to, int64_t first, int64_t last, int mirrored)            \
    {                                                                                                                   \
        const int64_t channels = crop->channels, apart = crop->channels_first;                                          \
        const int64_t step = mirrored ? -column_step : column_step, stride = apart ? 1 : channels;                      \
        if (mirrored) source += (crop->crop_width - 1) * column_step;                                                   \
        for (int64_t c = 0; c < channels; c++) {                                                                        \
            const TYPE *from = source + channel_at[c];                                                                  \
            TYPE *restrict plane = apart ? (TYPE *)to[c] : (TYPE *)to[0] + c;                                           \
            for (int64_t j = first; j < last; j++) plane[j * stride] = from[j * step];                                  \
        }                                                                                                               \
    }

DEFINE_PICK(uint8_t)
DEFINE_PICK(float)
DEFINE_PICK(double)

static void pick(const fastprep_crop *crop, const void *source, const int64_t *channel_at, int64_t column_step, void *const *to,
                 int64_t first, int64_t last, int mirrored)
{
    switch (crop->source_type) {
    case FASTPREP_UINT8: pick_uint8_t(crop, source, channel_at, column_step, to, first, last, mirrored); break;
    case FASTPREP_FLOAT32: pick_float(crop, source, channel_at, column_step, to, first, last, mirrored); break;
    default: pick_double(crop, source, channel_at, column_step, to, first, last, mirrored);
    }
}

static int64_t n_plans(const fastprep_crop *crop) { return crop->channels_first ? crop->channels : 1; }

static void plan_picked(const fastprep_crop *crop, int mirrored, void *plan)
{
#ifdef FASTPREP_X86
    const fastprep_row row = {crop->crop_width, crop->column_step, crop->channels, crop->channel_at};
    const int64_t at_once = crop->channels_first ? 1 : crop->channels;
    fastprep_picks *plans = plan;
    int64_t n_bytes = crop->source_type != FASTPREP_UINT8 ? 0 : crop->version == FASTPREP_AVX512 ? 64
                      : crop->version == FASTPREP_AVX2                                           ? 16
                                                                                                 : 0;
    for (int64_t p = 0; p < n_plans(crop); p++) {
        fastprep_plan_picks(&row, crop->channel_at + p * at_once, at_once, n_bytes, mirrored, plans + p);
        if (!plans[p].n_bytes && n_bytes == 64) n_bytes = 16, p = -1; /* shorter vectors suit narrow crops */
    }
#else
    (void)crop, (void)mirrored, (void)plan;
#endif
}

static void arrange_picked(const fastprep_crop *crop, const void *source, void *const *to, int mirrored, const void *plan)
{
    int64_t first = 0, last = 0;
#ifdef FASTPREP_X86
    if (crop->channels_first && fastprep_separate(crop, source, to, mirrored)) return;
    const fastprep_picks *plans = plan;
    const fastprep_row row = {crop->crop_width, crop->column_step, crop->channels, crop->channel_at};
    int is_planned = 1;
    for (int64_t p = 0; p < n_plans(crop); p++) is_planned &= plans[p].n_bytes != 0;
    if (is_planned && plans[0].n_bytes == 64)
        fastprep_pick_avx512(&row, plans, source, (uint8_t *const *)to, mirrored, crop->channels_first, &first, &last);
    else if (is_planned)
        fastprep_pick_avx2(&row, plans, source, (uint8_t *const *)to, mirrored, crop->channels_first, &first, &last);
#else
    (void)plan;
#endif
    pick(crop, source, crop->channel_at, crop->column_step, to, 0, first, mirrored);
    pick(crop, source, crop->channel_at, crop->column_step, to, last, crop->crop_width, mirrored);
}

/* ---- each channel by itself */

/* `channel_at` says where the row of each channel is. */
static void arrange_planes(const fastprep_crop *crop, const void *source, const int64_t *channel_at, void *const *to,
                           int mirrored)
{
    const int64_t width = crop->crop_width, channels = crop->channels;
    const size_t size = crop->source_type == FASTPREP_UINT8 ? 1 : crop->source_type == FASTPREP_FLOAT32 ? 4 : 8;
    if (crop->channels_first || channels == 1) {
        fastprep_crop one = *crop; /* rows of one channel, which are copied or mirrored */
        one.channels = 1;
        one.channels_first = 0;
        for (int64_t c = 0; c < channels; c++) {
            const char *row = (const char *)source + channel_at[c] * (int64_t)size;
            if (mirrored)
                fastprep_arrange(&one, row, to + c, mirrored);
            else
                memcpy(to[c], row, (size_t)width * size);
        }
        return;
    }
    int64_t done = 0;
#ifdef FASTPREP_X86
    if (crop->source_type == FASTPREP_UINT8 && crop->version != FASTPREP_PORTABLE) {
        const fastprep_row row = {width, 1, channels, channel_at};
        if (crop->version == FASTPREP_AVX512) done = fastprep_interleave_avx512(&row, source, to[0], mirrored);
        if (!done) done = fastprep_interleave_avx2(&row, source, to[0], mirrored);
    }
#endif
    pick(crop, source, channel_at, 1, to, done, width, mirrored);
}

/* ---- columns before rows */
/* A band has BAND_ROWS rows of every channel: row (c, r) is that of channel c if channels lie apart in the source, and row (r, c)
 * if they are interleaved there, because then the numbers of a column are in this order. */

static int is_interleaved(const fastprep_crop *crop) { return crop->row_step != 1; }

static int64_t band_width(const fastprep_crop *crop) { return (crop->crop_width + 15) / 16 * 16; }

static int64_t band_channels(const fastprep_crop *crop)
{
    return is_interleaved(crop) ? crop->source_channels : crop->channels;
}

static size_t whole_lines(size_t n_bytes) { return (n_bytes + 63) / 64 * 64; }

size_t fastprep_order_bytes(const fastprep_crop *crop, size_t source_size)
{
#ifdef FASTPREP_X86
    if (crop->order == FASTPREP_PICKED_PIXELS) return whole_lines((size_t)n_plans(crop) * sizeof(fastprep_picks));
#endif
    if (crop->order != FASTPREP_COLUMNS) return 0;
    const size_t numbers = (size_t)(band_channels(crop) * FASTPREP_BAND_ROWS * band_width(crop));
    return whole_lines(numbers * source_size) + whole_lines((size_t)crop->channels * sizeof(int64_t));
}

/* Transpose: columns of `n` numbers, `step` numbers apart, become n rows. The tiles keep both sides in the first-level cache. */
#define DEFINE_TRANSPOSE(TYPE)                                                                                           \
    static void transpose_##TYPE(const TYPE *restrict source, int64_t step, TYPE *restrict to, int64_t to_step,         \
                                 int64_t n, int64_t width)                                                              \
    {                                                                                                                   \
        for (int64_t tile = 0; tile < width; tile += 16) {                                                              \
            const int64_t end = tile + 16 < width ? tile + 16 : width;                                                  \
            for (int64_t t = 0; t < n; t++)                                                                             \
                for (int64_t j = tile; j < end; j++) to[t * to_step + j] = source[j * step + t];                        \
        }                                                                                                               \
    }

DEFINE_TRANSPOSE(uint8_t)
DEFINE_TRANSPOSE(float)
DEFINE_TRANSPOSE(double)

static void transpose(const fastprep_crop *crop, const char *source, char *to, int64_t n)
{
    const int64_t width = crop->crop_width, step = crop->column_step, to_step = band_width(crop);
#ifdef FASTPREP_X86
    if (crop->source_type == FASTPREP_UINT8 && crop->version != FASTPREP_PORTABLE && n >= 16 && width >= 16) {
        if (crop->version == FASTPREP_AVX512)
            fastprep_transpose_avx512((const uint8_t *)source, step, (uint8_t *)to, to_step, n, width);
        else
            fastprep_transpose_avx2((const uint8_t *)source, step, (uint8_t *)to, to_step, n, width);
        return;
    }
#endif
    switch (crop->source_type) {
    case FASTPREP_UINT8: transpose_uint8_t((const uint8_t *)source, step, (uint8_t *)to, to_step, n, width); break;
    case FASTPREP_FLOAT32: transpose_float((const float *)source, step, (float *)to, to_step, n, width); break;
    default: transpose_double((const double *)source, step, (double *)to, to_step, n, width);
    }
}

/* Let the band have row `source_y` of the crop at (y, x). */
static void fill_band(const fastprep_crop *crop, const void *pixels, int64_t y, int64_t x, int64_t source_y, int flipped,
                      fastprep_band *band)
{
    const int64_t size = crop->source_type == FASTPREP_UINT8 ? 1 : crop->source_type == FASTPREP_FLOAT32 ? 4 : 8;
    const int64_t line = band_width(crop) * size, together = is_interleaved(crop);
    if (source_y < band->first || source_y >= band->first + band->n_rows) {
        const int64_t last = y + crop->crop_height; /* the band keeps inside the crop, of which alone the bytes are there */
        band->n_rows = crop->crop_height < FASTPREP_BAND_ROWS ? crop->crop_height : FASTPREP_BAND_ROWS;
        band->first = flipped ? source_y - band->n_rows + 1 : source_y;
        if (band->first < y) band->first = y;
        if (band->first + band->n_rows > last) band->first = last - band->n_rows;
        const char *corner = (const char *)pixels + (band->first * crop->row_step + x * crop->column_step) * size;
        int64_t *channel_at = (int64_t *)(band->numbers + fastprep_order_bytes(crop, (size_t)size)
                                          - whole_lines((size_t)crop->channels * sizeof(int64_t)));
        for (int64_t c = 0; c < crop->channels; c++) {
            channel_at[c] = (together ? crop->channel_at[c] : c * FASTPREP_BAND_ROWS) * band_width(crop);
            if (!together)
                transpose(crop, corner + crop->channel_at[c] * size, band->numbers + channel_at[c] * size, band->n_rows);
        }
        if (together) transpose(crop, corner, band->numbers, band->n_rows * crop->source_channels);
        band->channel_at = channel_at;
    }
    band->row = band->numbers + (source_y - band->first) * (together ? crop->source_channels : 1) * line;
}

/* ---- any order */

void fastprep_plan_rows(const fastprep_crop *crop, int mirrored, fastprep_band *band)
{
    if (crop->order == FASTPREP_PICKED_PIXELS) plan_picked(crop, mirrored, band->numbers);
}

void fastprep_arrange_row(const fastprep_crop *crop, const void *pixels, int64_t y, int64_t x, int64_t source_y, int flags,
                          void *const *to, fastprep_band *band)
{
    const int64_t size = crop->source_type == FASTPREP_UINT8 ? 1 : crop->source_type == FASTPREP_FLOAT32 ? 4 : 8;
    const char *source = (const char *)pixels + (source_y * crop->row_step + x * crop->column_step) * size;
    const int mirrored = flags & FASTPREP_MIRRORED;
    switch (crop->order) {
    case FASTPREP_PIXELS: fastprep_arrange(crop, source, to, mirrored); break;
    case FASTPREP_PICKED_PIXELS: arrange_picked(crop, source, to, mirrored, band->numbers); break;
    case FASTPREP_PLANES: arrange_planes(crop, source, crop->channel_at, to, mirrored); break;
    default:
        fill_band(crop, pixels, y, x, source_y, flags & FASTPREP_FLIPPED, band);
        arrange_planes(crop, band->row, band->channel_at, to, mirrored);
    }
}

static void prefetch(const char *bytes, int64_t n)
{
#ifdef __GNUC__
    for (int64_t k = 0; k < n; k += 64) __builtin_prefetch(bytes + k);
#else
    (void)bytes, (void)n;
#endif
}

void fastprep_prefetch_row(const fastprep_crop *crop, const void *pixels, int64_t x, int64_t source_y, int flags)
{
    const int64_t size = crop->source_type == FASTPREP_UINT8 ? 1 : crop->source_type == FASTPREP_FLOAT32 ? 4 : 8;
    const int64_t width = crop->crop_width, n_bytes = width * crop->column_step * size, band = FASTPREP_BAND_ROWS;
    const char *source = (const char *)pixels + (source_y * crop->row_step + x * crop->column_step) * size;
    if (crop->order == FASTPREP_PLANES)
        for (int64_t p = 0; p < crop->channels; p++) prefetch(source + crop->channel_at[p] * size, n_bytes);
    else if (crop->order != FASTPREP_COLUMNS)
        prefetch(source, n_bytes);
    else {
        const int64_t part = (source_y % band + band) % band, later = flags & FASTPREP_FLIPPED ? -band : band;
        for (int64_t j = part * width / band; j < (part + 1) * width / band; j++)
            prefetch(source + (later * crop->row_step + j * crop->column_step) * size, band * crop->row_step * size);
    }
}
