/* Each row of a crop is first arranged (mirrored, or separated into channels) in the type of the source, in a buffer that stays
 * in the first-level cache; short rows one after the other, because they follow each other in the result, too. Then they are
 * converted in one straight loop.
 *
 * The x86 versions write whole cache lines only, which can be written around the caches. A part of a line that is left of a row
 * waits for the next row. */
#include "_crop.h"

#include <string.h>

#include "_crop_orders.h"
#include "_crop_planes.h"
#include "_crop_rows.h"

#ifdef FASTPREP_X86
#include <cpuid.h>
#endif

/* Images in a mapped file come from memory. Hardware prefetchers do not cross a page, nor follow the rows of a flipped crop. */
enum { ROWS_AHEAD = 2 };

/* Convert n numbers of a plane, and return whether one of them is not finite. */
static uint32_t convert(const fastprep_crop *crop, const fastprep_shape *of, const void *numbers, const float *mean,
                        fastprep_plane *to, int64_t n)
{
#ifdef FASTPREP_X86
    if (crop->version != FASTPREP_PORTABLE)
        return (crop->version == FASTPREP_AVX512 ? fastprep_rows_avx512 : fastprep_rows_avx2)(crop->source_type, crop->target_type)(
            numbers, mean, to->scale, crop->has_scale, crop->stream, n, &to->line);
#endif
    char *const target = to->target;
    to->target += (size_t)n * of->target_size;
    return fastprep_convert(crop, numbers, mean, to->scale, target, n);
}

#ifdef FASTPREP_X86
/* Arrange and convert the rows of a crop that are short, several at a time: a call for each would take longer than what it does.
 * `step` leads from a row to the next one of the result. Return whether that was done. */
static int run_short_rows(const fastprep_crop *crop, const fastprep_shape *of, const uint8_t *source, int64_t step, int mirrored,
                          fastprep_plane *plane)
{
    const int is_avx512 = crop->version == FASTPREP_AVX512;
    for (int64_t i = 0, n; i < crop->crop_height; i += n, source += n * step) {
        n = crop->crop_height - i < of->rows_at_once ? crop->crop_height - i : of->rows_at_once;
        uint8_t *const to = (uint8_t *)plane->arranged;
        int64_t done = 0;
        if (is_avx512) done = fastprep_short_rows_avx512(source, step, to, n, crop->crop_width, crop->channels, mirrored);
        if (!done) done = fastprep_short_rows_avx2(source, step, to, n, crop->crop_width, crop->channels, mirrored);
        if (!done) return 0; /* the first time, or never */
        convert(crop, of, to, plane->mean, plane, n * of->row);
    }
    return 1;
}

/* Write what is left of the planes, a part of a line each, and let other threads see all that was streamed. */
static void finish(const fastprep_crop *crop, const fastprep_shape *of, fastprep_plane *planes, int has_lines)
{
    for (int64_t p = 0; has_lines && p < of->n_planes; p++) {
        const fastprep_line *line = &planes[p].line;
        const size_t first = (size_t)line->first * of->target_size, end = (size_t)line->n * of->target_size;
        if (end > first) memcpy(line->target + first, line->numbers + 64 - end + first, end - first);
    }
    if (crop->stream) fastprep_fence();
}
#endif

int fastprep_crop_run(const fastprep_crop *crop, const float *colors, const void *pixels, int64_t y, int64_t x, int flags,
                      void *target, void *room)
{
    const fastprep_shape of = fastprep_shape_of(crop, colors != NULL);
    const int mirrored = flags & FASTPREP_MIRRORED, flipped = flags & FASTPREP_FLIPPED;
    const int as_it_is = !mirrored && of.n_planes == 1 && crop->order == FASTPREP_PIXELS && !colors && of.rows_at_once == 1;
    fastprep_plane *planes = room;
    void **next = (void **)(planes + of.n_planes);
    fastprep_band band = {0};
    uint32_t not_finite = 0;
    band.numbers = fastprep_lay_out(crop, &of, colors, target, room);
    fastprep_plan_rows(crop, mirrored, &band);
    int64_t first = 0; /* row of the result that is made one by one */
#ifdef FASTPREP_X86
    if (crop->version != FASTPREP_PORTABLE && crop->source_type == FASTPREP_UINT8 && of.rows_at_once > 1 && of.n_planes == 1
        && crop->order == FASTPREP_PIXELS && !colors) {
        const int64_t top = y + (flipped ? crop->crop_height - 1 : 0), step = flipped ? -crop->row_step : crop->row_step;
        const uint8_t *source = (const uint8_t *)pixels + top * crop->row_step + x * crop->column_step;
        if (run_short_rows(crop, &of, source, step, mirrored, planes)) first = crop->crop_height;
    }
#endif
    for (int64_t i = first, n_waiting = 0; i < crop->crop_height; i++) {
        const int64_t source_y = y + (flipped ? crop->crop_height - 1 - i : i);
        const char *source = (const char *)pixels + (source_y * crop->row_step + x * crop->column_step) * (int64_t)of.source_size;
        const int is_end = i == crop->crop_height - 1;
        if (i + ROWS_AHEAD < crop->crop_height)
            fastprep_prefetch_row(crop, pixels, x, source_y + (flipped ? -ROWS_AHEAD : ROWS_AHEAD), flags);
        if (!as_it_is) {
            for (int64_t p = 0; p < of.n_planes; p++) {
                const int64_t at = colors ? planes[p].n_arranged : n_waiting * of.row;
                next[p] = planes[p].arranged + (size_t)at * of.source_size;
            }
            fastprep_arrange_row(crop, pixels, y, x, source_y, flags, next, &band);
        }
#ifdef FASTPREP_X86
        for (int64_t p = 0; colors && p < of.n_planes; p++) {
            planes[p].n_arranged += of.row;
            fastprep_convert_mapped(crop, &of, colors, planes + p, is_end);
        }
        if (colors) continue;
#endif
        if (++n_waiting < of.rows_at_once && !is_end) continue;
        for (int64_t p = 0; p < of.n_planes; p++) {
            const float *mean = crop->mean_is_image ? fastprep_mean_row(crop, &of, p, source_y, x, mirrored) : planes[p].mean;
            not_finite |= convert(crop, &of, as_it_is ? source : planes[p].arranged, mean, planes + p, n_waiting * of.row);
        }
        n_waiting = 0;
    }
#ifdef FASTPREP_X86
    if (crop->version != FASTPREP_PORTABLE) finish(crop, &of, planes, !colors);
#endif
    return !not_finite;
}

void fastprep_crop_span(const fastprep_crop *crop, const fastprep_part *part, int64_t *first, int64_t *n_bytes)
{
    const int64_t size = (int64_t)fastprep_source_size(crop->source_type);
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

#ifdef FASTPREP_X86
/* Whether the processor converts float16. `__builtin_cpu_supports` of older clangs knows no name for it. It is asked once: in a virtual
 * machine each `cpuid` is a call to the host, which takes some microseconds, and every batch wants to know. */
static int converts_halves(void)
{
    enum { UNKNOWN, NO, YES };
    static int known = UNKNOWN;
    int answer = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (answer == UNKNOWN) {
        unsigned a, b, c, d;
        answer = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) ? YES : NO;
        __atomic_store_n(&known, answer, __ATOMIC_RELAXED);
    }
    return answer == YES;
}
#endif

int fastprep_crop_supported(int version)
{
    switch (version) {
    case FASTPREP_PORTABLE: return 1;
#ifdef FASTPREP_X86
    case FASTPREP_AVX2: return __builtin_cpu_supports("avx2") && converts_halves();
    case FASTPREP_AVX512:
        return fastprep_crop_supported(FASTPREP_AVX2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
               && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
               && __builtin_cpu_supports("avx512vbmi");
#endif
    default: return 0;
    }
}

/* A batch is written where one of some earlier ones was. Processors of Intel have small caches of their own, and a slow one in common;
 * measured in docs/notes/cpu-kernel.md. */
int64_t fastprep_stream_bytes(void)
{
#ifdef FASTPREP_X86
    if (__builtin_cpu_is("intel")) return (int64_t)5 << 19;
#endif
    return (int64_t)8 << 20;
}
