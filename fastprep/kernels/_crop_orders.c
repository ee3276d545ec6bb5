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

DEFINE_PICK(bytes_1)
DEFINE_PICK(bytes_2)
DEFINE_PICK(bytes_4)
DEFINE_PICK(bytes_8)

static void pick(const fastprep_crop *crop, const void *source, const int64_t *channel_at, int64_t column_step, void *const *to,
                 int64_t first, int64_t last, int mirrored)
{
    switch (fastprep_source_size(crop->source_type)) {
    case 1: pick_bytes_1(crop, source, channel_at, column_step, to, first, last, mirrored); break;
    case 2: pick_bytes_2(crop, source, channel_at, column_step, to, first, last, mirrored); break;
    case 4: pick_bytes_4(crop, source, channel_at, column_step, to, first, last, mirrored); break;
    default: pick_bytes_8(crop, source, channel_at, column_step, to, first, last, mirrored);
    }
}

/* ---- plans for rows of numbers of more than a byte, and for some of the channels */

#ifdef FASTPREP_X86
/* A plan for each plane, or one for a channel that lies apart; or how channels that lie apart are interleaved */
typedef union {
    fastprep_weave weave;
    fastprep_picks picks[1];
} plans;

static int lies_apart(const fastprep_crop *crop) { return crop->order == FASTPREP_PLANES || crop->order == FASTPREP_COLUMNS; }

static int is_woven(const fastprep_crop *crop) { return lies_apart(crop) && !crop->channels_first && crop->channels > 1; }

static int64_t n_plans(const fastprep_crop *crop) { return crop->channels_first && !lies_apart(crop) ? crop->channels : 1; }

static void plan_picks(const fastprep_crop *crop, int mirrored, fastprep_picks *picks)
{
    static const int64_t first_channel = 0;
    const int64_t size = (int64_t)fastprep_source_size(crop->source_type);
    const int64_t at_once = crop->channels_first || lies_apart(crop) ? 1 : crop->channels;
    const int64_t step = lies_apart(crop) ? 1 : crop->column_step;
    int64_t n_bytes = crop->version == FASTPREP_AVX512 ? 64 : crop->version == FASTPREP_AVX2 ? 16 : 0;
    for (int64_t p = 0; p < n_plans(crop); p++) {
        const int64_t *channel_at = lies_apart(crop) ? &first_channel : crop->channel_at + p * at_once;
        fastprep_plan_picks(crop->crop_width, step, channel_at, at_once, size, n_bytes, mirrored, picks + p);
        if (!picks[p].n_bytes && n_bytes == 64) n_bytes = 16, p = -1; /* shorter vectors suit narrow crops */
    }
}

static int64_t run_picks(const fastprep_crop *crop, const fastprep_picks *picks, const void *source, void *const *to, int mirrored,
                         int64_t *first)
{
    const int64_t n = n_plans(crop);
    int64_t last = 0;
    *first = 0;
    for (int64_t p = 0; p < n; p++)
        if (!picks[p].n_bytes) return 0;
    if (picks[0].n_bytes == 64)
        fastprep_pick_avx512(crop->crop_width, picks, n, source, (uint8_t *const *)to, mirrored, first, &last);
    else
        fastprep_pick_avx2(crop->crop_width, picks, n, source, (uint8_t *const *)to, mirrored, first, &last);
    return last;
}
#endif

static size_t whole_lines(size_t n_bytes) { return (n_bytes + 63) / 64 * 64; }

static size_t plans_bytes(const fastprep_crop *crop)
{
#ifdef FASTPREP_X86
    if (crop->order == FASTPREP_PICKED_PIXELS || crop->source_type != FASTPREP_UINT8)
        return whole_lines((size_t)n_plans(crop) * sizeof(fastprep_picks) + sizeof(plans));
#else
    (void)crop;
#endif
    return 0;
}

void fastprep_plan_rows(const fastprep_crop *crop, int mirrored, fastprep_band *band)
{
#ifdef FASTPREP_X86
    const int64_t size = (int64_t)fastprep_source_size(crop->source_type);
    plans *plan = (plans *)band->numbers;
    if (!plans_bytes(crop)) return;
    if (is_woven(crop))
        fastprep_plan_weave(crop->channels, size, crop->version == FASTPREP_AVX512 ? 64 : 16, mirrored, &plan->weave);
    else
        plan_picks(crop, mirrored, plan->picks);
#else
    (void)crop, (void)mirrored, (void)band;
#endif
}

/* Take pixels by a plan, if there is one, and the others number by number. */
static void arrange_pixels(const fastprep_crop *crop, const void *source, void *const *to, int mirrored, const void *plan)
{
    int64_t first = 0, last = 0;
#ifdef FASTPREP_X86
    if (crop->channels_first && fastprep_separate(crop, source, to, mirrored)) return;
    if (crop->version != FASTPREP_PORTABLE) last = run_picks(crop, ((const plans *)plan)->picks, source, to, mirrored, &first);
#else
    (void)plan;
#endif
    if (crop->order == FASTPREP_PIXELS && last == 0) {
        fastprep_arrange(crop, source, to, mirrored);
        return;
    }
    pick(crop, source, crop->channel_at, crop->column_step, to, 0, first, mirrored);
    pick(crop, source, crop->channel_at, crop->column_step, to, last, crop->crop_width, mirrored);
}

/* Mirror a row of one channel. */
static void mirror_row(const fastprep_crop *one, const void *source, void *to, const void *plan)
{
#ifdef FASTPREP_X86
    if (one->source_type != FASTPREP_UINT8 && one->version != FASTPREP_PORTABLE) {
        const int64_t at = 0;
        int64_t first = 0;
        const int64_t last = run_picks(one, ((const plans *)plan)->picks, source, &to, 1, &first);
        pick(one, source, &at, 1, &to, 0, first, 1);
        pick(one, source, &at, 1, &to, last, one->crop_width, 1);
        return;
    }
#else
    (void)plan;
#endif
    fastprep_arrange(one, source, &to, 1);
}

/* ---- each channel by itself */

/* `channel_at` says where the row of each channel is. */
static void arrange_planes(const fastprep_crop *crop, const void *source, const int64_t *channel_at, void *const *to,
                           int mirrored, const void *plan)
{
    const int64_t width = crop->crop_width, channels = crop->channels;
    const size_t size = fastprep_source_size(crop->source_type);
    if (crop->channels_first || channels == 1) {
        fastprep_crop one = *crop; /* rows of one channel, which are copied or mirrored */
        one.channels = 1;
        one.channels_first = 0;
        for (int64_t c = 0; c < channels; c++) {
            const char *row = (const char *)source + channel_at[c] * (int64_t)size;
            if (mirrored)
                mirror_row(&one, row, to[c], plan);
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
    } else if (crop->version != FASTPREP_PORTABLE)
        done = fastprep_weave_rows(&((const plans *)plan)->weave, source, channel_at, to[0], width, mirrored);
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

size_t fastprep_order_bytes(const fastprep_crop *crop, size_t source_size)
{
    if (crop->order != FASTPREP_COLUMNS) return plans_bytes(crop);
    const size_t numbers = (size_t)(band_channels(crop) * FASTPREP_BAND_ROWS * band_width(crop));
    return plans_bytes(crop) + whole_lines(numbers * source_size) + whole_lines((size_t)crop->channels * sizeof(int64_t));
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

DEFINE_TRANSPOSE(bytes_1)
DEFINE_TRANSPOSE(bytes_2)
DEFINE_TRANSPOSE(bytes_4)
DEFINE_TRANSPOSE(bytes_8)

static void transpose(const fastprep_crop *crop, const char *source, char *to, int64_t n)
{
    const int64_t width = crop->crop_width, step = crop->column_step, to_step = band_width(crop);
    const size_t size = fastprep_source_size(crop->source_type);
#ifdef FASTPREP_X86
    const int64_t least = size == 1 ? 16 : 8;
    if (crop->version != FASTPREP_PORTABLE && n >= least && width >= least) {
        if (size > 1)
            fastprep_transpose_numbers(source, step, to, to_step, n, width, (int)size);
        else if (crop->version == FASTPREP_AVX512)
            fastprep_transpose_avx512((const uint8_t *)source, step, (uint8_t *)to, to_step, n, width);
        else
            fastprep_transpose_avx2((const uint8_t *)source, step, (uint8_t *)to, to_step, n, width);
        return;
    }
#endif
    switch (size) {
    case 1: transpose_bytes_1((const bytes_1 *)source, step, (bytes_1 *)to, to_step, n, width); break;
    case 2: transpose_bytes_2((const bytes_2 *)source, step, (bytes_2 *)to, to_step, n, width); break;
    case 4: transpose_bytes_4((const bytes_4 *)source, step, (bytes_4 *)to, to_step, n, width); break;
    default: transpose_bytes_8((const bytes_8 *)source, step, (bytes_8 *)to, to_step, n, width);
    }
}

/* Let the band have row `source_y` of the crop at (y, x). */
static void fill_band(const fastprep_crop *crop, const void *pixels, int64_t y, int64_t x, int64_t source_y, int flipped,
                      fastprep_band *band)
{
    const int64_t size = (int64_t)fastprep_source_size(crop->source_type);
    const int64_t line = band_width(crop) * size, together = is_interleaved(crop);
    char *const numbers = band->numbers + plans_bytes(crop);
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
                transpose(crop, corner + crop->channel_at[c] * size, numbers + channel_at[c] * size, band->n_rows);
        }
        if (together) transpose(crop, corner, numbers, band->n_rows * crop->source_channels);
        band->channel_at = channel_at;
    }
    band->row = numbers + (source_y - band->first) * (together ? crop->source_channels : 1) * line;
}

/* ---- any order */

void fastprep_arrange_row(const fastprep_crop *crop, const void *pixels, int64_t y, int64_t x, int64_t source_y, int flags,
                          void *const *to, fastprep_band *band)
{
    const int64_t size = (int64_t)fastprep_source_size(crop->source_type);
    const char *source = (const char *)pixels + (source_y * crop->row_step + x * crop->column_step) * size;
    const int mirrored = flags & FASTPREP_MIRRORED;
    switch (crop->order) {
    case FASTPREP_PIXELS:
        if (crop->source_type == FASTPREP_UINT8 || (!mirrored && !(crop->channels_first && crop->channels > 1)))
            fastprep_arrange(crop, source, to, mirrored);
        else
            arrange_pixels(crop, source, to, mirrored, band->numbers);
        break;
    case FASTPREP_PICKED_PIXELS: arrange_pixels(crop, source, to, mirrored, band->numbers); break;
    case FASTPREP_PLANES: arrange_planes(crop, source, crop->channel_at, to, mirrored, band->numbers); break;
    default:
        fill_band(crop, pixels, y, x, source_y, flags & FASTPREP_FLIPPED, band);
        arrange_planes(crop, band->row, band->channel_at, to, mirrored, band->numbers);
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
    const int64_t size = (int64_t)fastprep_source_size(crop->source_type);
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
