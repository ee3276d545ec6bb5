/* Each row of a crop is first arranged (mirrored, or separated into channels) in the type of the source, in a buffer that stays
 * in the first-level cache. Then it is converted in one straight loop.
 *
 * The x86 versions convert only bytes, and only into whole cache lines, which can be written around the caches. What is left of
 * a row waits for the next row. The portable loop converts the first and the last numbers of a plane, which share their lines
 * with other data, and sources of other types. */
#include "_crop.h"

#include <string.h>

#include "_crop_colors.h"
#include "_crop_orders.h"
#include "_crop_rows.h"
#include "_crop_x86.h"

/* Numbers of a plane that are arranged before they are converted: enough for the calls to cost little, and few enough for writing
 * to overlap with arranging */
enum { BURST = 512 };

/* Images in a mapped file come from memory. Hardware prefetchers do not cross a page, nor follow the rows of a flipped crop. */
enum { ROWS_AHEAD = 2 };

/* A plane of the result: all channels, or one channel with channels first */
typedef struct {
    char *target;                   /* where the next result goes */
    char *arranged;                 /* numbers of the source that wait for their conversion */
    int64_t n_arranged;
    const float *mean, *scale;      /* rows; of a mean image, the first line */
    int64_t n_head;                 /* numbers before the first whole cache line */
    float *line_mean, *line_scale;  /* for a block after these; of a mean image, for the arranged numbers */
    float *line_gain, *line_shift;  /* for such a block; NULL if there are none */
    int64_t number, phase;          /* of the plane; channel of the block's first number */
} plane;

typedef struct {
    int64_t n_planes, channels;     /* channels in each plane */
    int64_t row, block, capacity;   /* numbers in a row of a plane, in a block of lines, and in `arranged` */
    size_t source_size, target_size;
    int in_lines;
} shape;

static shape shape_of(const fastprep_crop *crop)
{
    shape of;
    of.n_planes = crop->channels_first ? crop->channels : 1;
    of.channels = crop->channels_first ? 1 : crop->channels;
    of.row = crop->crop_width * of.channels;
    of.block = FASTPREP_BLOCK * of.channels;
    of.source_size = crop->source_type == FASTPREP_UINT8 ? 1 : crop->source_type == FASTPREP_FLOAT32 ? 4 : 8;
    of.target_size = crop->target_type == FASTPREP_TO_FLOAT32 ? 4 : 2;
    of.in_lines = crop->version != FASTPREP_PORTABLE && crop->source_type == FASTPREP_UINT8;
    of.capacity = of.row + (of.in_lines ? BURST + of.block : 0);
    return of;
}

/* Layout of the working memory: the planes, and a pointer for each; then, for each plane, its arranged numbers, and the mean and
 * the scale of its lines. Arranged numbers keep inside a page if they can: stores that cross into the next one, between stores that
 * are written around the caches, halve the speed of the kernel (docs/notes/cpu-kernel.md). */
static size_t whole_lines(size_t n_bytes) { return (n_bytes + 63) / 64 * 64; }

static size_t inside_a_page(size_t at, size_t n_bytes)
{
    const size_t page = FASTPREP_ROOM_ALIGNMENT, left = page - at % page;
    return n_bytes > left && n_bytes <= page ? at + left : at;
}

static size_t planes_bytes(const shape *of) { return whole_lines((size_t)of->n_planes * (sizeof(plane) + sizeof(void *))); }

static size_t arranged_bytes(const shape *of) { return whole_lines((size_t)of->capacity * of->source_size + FASTPREP_SLACK); }

static size_t scale_bytes(const shape *of) { return (size_t)of->block * sizeof(float); }

static size_t colors_bytes(const shape *of) { return (size_t)of->n_planes * 2 * scale_bytes(of); }

static size_t mean_bytes(const fastprep_crop *crop, const shape *of)
{
    return crop->mean_is_image ? whole_lines((size_t)of->capacity * sizeof(float)) : scale_bytes(of);
}

size_t fastprep_crop_room(const fastprep_crop *crop)
{
    const shape of = shape_of(crop);
    size_t at = planes_bytes(&of);
    for (int64_t p = 0; p < of.n_planes; p++)
        at = inside_a_page(at, arranged_bytes(&of)) + arranged_bytes(&of) + mean_bytes(crop, &of) + scale_bytes(&of);
    return whole_lines(at + fastprep_order_bytes(crop, of.source_size)) + colors_bytes(&of);
}

/* Return the mean of a crop's row in plane p, for a mean image. */
static const float *mean_row(const fastprep_crop *crop, const shape *of, int64_t p, int64_t source_y, int64_t x, int mirrored)
{
    const int64_t length = crop->row_pixels * of->channels;
    if (mirrored) {
        source_y += crop->height;
        x = crop->width - crop->crop_width - x;
    }
    return crop->mean + (source_y * of->n_planes + p) * length + x * of->channels;
}

/* Return where the working memory for rows in other orders begins. */
static size_t lay_out(const fastprep_crop *crop, const shape *of, const float *colors, void *target, void *room)
{
    const int are_apart = colors && fastprep_keeps_apart(colors, crop->channels);
    plane *planes = room;
    size_t at = planes_bytes(of);
    for (int64_t p = 0; p < of->n_planes; p++) {
        plane *to = planes + p;
        to->target = (char *)target + (size_t)(p * crop->crop_height * of->row) * of->target_size;
        at = inside_a_page(at, arranged_bytes(of));
        char *const buffer = (char *)room + at;
        to->arranged = buffer;
        to->n_arranged = 0;
        to->mean = crop->mean + p * crop->row_pixels * of->channels;
        to->scale = crop->scale + p * crop->row_pixels * of->channels;
        to->number = p;
        to->n_head = (int64_t)(-(uintptr_t)to->target % 64 / of->target_size);
        while (colors && !are_apart && to->n_head % of->channels) to->n_head += 64 / (int64_t)of->target_size; /* whole pixels */
        to->line_gain = to->line_shift = NULL;
        to->line_mean = (float *)(buffer + arranged_bytes(of));
        to->line_scale = (float *)(buffer + arranged_bytes(of) + mean_bytes(crop, of));
        at += arranged_bytes(of) + mean_bytes(crop, of) + scale_bytes(of);
        if (!of->in_lines) continue;
        to->phase = to->n_head % of->channels;
        if (!crop->mean_is_image) memcpy(to->line_mean, to->mean + to->phase, scale_bytes(of));
        memcpy(to->line_scale, to->scale + to->phase, scale_bytes(of));
    }
    if (!are_apart) return at;
    float *numbers = (float *)((char *)room + whole_lines(at + fastprep_order_bytes(crop, of->source_size)));
    for (int64_t p = 0; p < of->n_planes; p++, numbers += 2 * of->block) {
        plane *to = planes + p;
        to->line_gain = numbers, to->line_shift = numbers + of->block;
        fastprep_gains(colors, crop->channels, of->n_planes == 1 ? to->phase : p, of->n_planes == 1, to->line_gain, to->line_shift,
                       of->block);
        if (!fastprep_has_gains(colors, crop->channels)) to->line_gain = NULL;
    }
    return at;
}

#ifdef FASTPREP_X86
/* Remove the first n arranged numbers, which have been converted. */
static void drop(const fastprep_crop *crop, const shape *of, plane *to, int64_t n)
{
    to->target += (size_t)n * of->target_size;
    to->n_arranged -= n;
    memmove(to->arranged, to->arranged + n, (size_t)to->n_arranged);
    if (crop->mean_is_image) memmove(to->line_mean, to->line_mean + n, (size_t)to->n_arranged * sizeof(float));
}

/* Convert the first n arranged numbers, less than a block, of which the first one is of the channel `phase` if they are interleaved. */
static void convert_some(const fastprep_crop *crop, const shape *of, const float *colors, const plane *to, int64_t phase,
                         const float *mean, const float *scale, int64_t n)
{
    if (!colors) {
        fastprep_convert(crop, to->arranged, mean, scale, to->target, n);
        return;
    }
    float mapped[3 * FASTPREP_BLOCK];
    const int64_t step = of->n_planes == 1;
    fastprep_crop of_floats = *crop;
    of_floats.source_type = FASTPREP_FLOAT32;
    fastprep_map_bytes(colors, crop->channels, step ? phase : to->number, step, (const uint8_t *)to->arranged, mapped, n);
    fastprep_convert(&of_floats, mapped, mean, scale, to->target, n);
}

/* Convert the whole blocks of the arranged numbers, and return how many numbers these are. */
static int64_t convert_blocks(const fastprep_crop *crop, const shape *of, const float *colors, plane *to)
{
    const int is_wide = crop->version == FASTPREP_AVX512;
    const uint8_t *bytes = (const uint8_t *)to->arranged;
    if (colors && !to->line_shift) {
        const fastprep_color_plan plan = {colors, crop->mean, crop->scale, 1};
        const int64_t n = to->n_arranged - to->n_arranged % of->block;
        (is_wide ? fastprep_color_row_avx512 : fastprep_color_row_avx2)(&plan, bytes, 1, (float *)to->target, 0, n / 3, crop->stream);
        return n;
    }
    const fastprep_block_values values = {to->line_mean, crop->has_scale ? to->line_scale : NULL, to->line_gain, to->line_shift,
                                          crop->mean_is_image ? of->block : 0};
    fastprep_lines *lines = (is_wide ? fastprep_lines_avx512 : fastprep_lines_avx2)(crop->target_type);
    return lines(bytes, &values, to->target, to->n_arranged, of->channels, crop->stream);
}

static void convert_lines(const fastprep_crop *crop, const shape *of, const float *colors, plane *to, int is_end)
{
    if (to->n_head) {
        const int64_t n = to->n_head < to->n_arranged ? to->n_head : to->n_arranged;
        convert_some(crop, of, colors, to, 0, crop->mean_is_image ? to->line_mean : to->mean, to->scale, n);
        to->n_head -= n;
        drop(crop, of, to, n);
    }
    if (!to->n_head) drop(crop, of, to, convert_blocks(crop, of, colors, to));
    if (is_end) convert_some(crop, of, colors, to, to->phase, to->line_mean, to->line_scale, to->n_arranged);
}
#endif

int fastprep_crop_run(const fastprep_crop *crop, const float *colors, const void *pixels, int64_t y, int64_t x, int flags,
                      void *target, void *room)
{
    const shape of = shape_of(crop);
    const int mirrored = flags & FASTPREP_MIRRORED;
    const int as_it_is = !mirrored && of.n_planes == 1 && !of.in_lines && crop->order == FASTPREP_PIXELS;
    plane *planes = room;
    void **next = (void **)(planes + of.n_planes);
    fastprep_band band = {0};
    uint32_t not_finite = 0;
    band.numbers = (char *)room + lay_out(crop, &of, colors, target, room);
    fastprep_plan_rows(crop, mirrored, &band);
    for (int64_t i = 0; i < crop->crop_height; i++) {
        const int64_t source_y = y + (flags & FASTPREP_FLIPPED ? crop->crop_height - 1 - i : i);
        const char *source = (const char *)pixels + (source_y * crop->row_step + x * crop->column_step) * (int64_t)of.source_size;
        if (i + ROWS_AHEAD < crop->crop_height)
            fastprep_prefetch_row(crop, pixels, x, source_y + (flags & FASTPREP_FLIPPED ? -ROWS_AHEAD : ROWS_AHEAD), flags);
        if (!as_it_is) {
            for (int64_t p = 0; p < of.n_planes; p++) next[p] = planes[p].arranged + (size_t)planes[p].n_arranged * of.source_size;
            fastprep_arrange_row(crop, pixels, y, x, source_y, flags, next, &band);
        }
        for (int64_t p = 0; p < of.n_planes; p++) {
            plane *to = planes + p;
            const float *mean = crop->mean_is_image ? mean_row(crop, &of, p, source_y, x, mirrored) : to->mean;
#ifdef FASTPREP_X86
            if (of.in_lines) {
                const int is_end = i == crop->crop_height - 1;
                if (crop->mean_is_image) memcpy(to->line_mean + to->n_arranged, mean, (size_t)of.row * sizeof(float));
                to->n_arranged += of.row;
                if (is_end || to->n_arranged >= BURST) convert_lines(crop, &of, colors, to, is_end);
                continue;
            }
#endif
            not_finite |= fastprep_convert(crop, as_it_is ? source : to->arranged, mean, to->scale, to->target, of.row);
            to->target += (size_t)of.row * of.target_size;
        }
    }
#ifdef FASTPREP_X86
    if (of.in_lines && crop->stream) fastprep_fence();
#endif
    return !not_finite;
}

void fastprep_crop_span(const fastprep_crop *crop, const fastprep_part *part, int64_t *first, int64_t *n_bytes)
{
    const int64_t size = crop->source_type == FASTPREP_UINT8 ? 1 : crop->source_type == FASTPREP_FLOAT32 ? 4 : 8;
    int64_t left = part->left, right = part->right, lowest = 0, highest = 0;
    if (crop->order != FASTPREP_COLUMNS) left = 0, right = crop->width; /* whole rows */
    if (crop->source_channels > 1 && crop->row_step > 1 && crop->column_step > 1) /* whole pixels */
        highest = crop->source_channels - 1;
    else {
        lowest = highest = crop->channel_at[0];
        for (int64_t c = 1; c < crop->channels; c++) {
            if (crop->channel_at[c] < lowest) lowest = crop->channel_at[c];
            if (crop->channel_at[c] > highest) highest = crop->channel_at[c];
        }
    }
    *first = (part->top * crop->row_step + left * crop->column_step + lowest) * size;
    *n_bytes = ((part->bottom - 1) * crop->row_step + (right - 1) * crop->column_step + highest + 1) * size - *first;
}

int fastprep_crop_supported(int version)
{
    switch (version) {
    case FASTPREP_PORTABLE: return 1;
#ifdef FASTPREP_X86
    case FASTPREP_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
    case FASTPREP_AVX512:
        return fastprep_crop_supported(FASTPREP_AVX2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
               && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
               && __builtin_cpu_supports("avx512vbmi");
#endif
    default: return 0;
    }
}
