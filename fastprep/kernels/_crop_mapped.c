/* Bytes whose colours are mapped. They are converted in blocks of a number of pixels, each of whole cache lines, which can be written
 * around the caches. What is left of a row waits for the next row. The portable loop converts the first and the last numbers of a
 * plane, which share their lines with other data. */
#include "_crop_planes.h"

#include <string.h>

#include "_crop_colors.h"
#include "_crop_rows.h"

#ifdef FASTPREP_X86
/* Remove the first n arranged numbers, which have been converted. */
static void drop(const fastprep_shape *of, fastprep_plane *to, int64_t n)
{
    to->target += (size_t)n * of->target_size;
    to->n_arranged -= n;
    memmove(to->arranged, to->arranged + n, (size_t)to->n_arranged);
}

/* Convert the first n arranged numbers, less than a block, of which the first one is of the channel `phase` if they are interleaved. */
static void convert_some(const fastprep_crop *crop, const fastprep_shape *of, const float *colors, const fastprep_plane *to,
                         int64_t phase, const float *mean, const float *scale, int64_t n)
{
    float mapped[3 * FASTPREP_BLOCK];
    const int64_t step = of->n_planes == 1;
    fastprep_crop of_floats = *crop;
    of_floats.source_type = FASTPREP_FLOAT32;
    fastprep_map_bytes(colors, crop->channels, step ? phase : to->number, step, (const uint8_t *)to->arranged, mapped, n);
    fastprep_convert(&of_floats, mapped, mean, scale, to->target, n);
}

/* Convert the whole blocks of the arranged numbers, and return how many numbers these are. */
static int64_t convert_blocks(const fastprep_crop *crop, const fastprep_shape *of, const float *colors, fastprep_plane *to)
{
    const int is_wide = crop->version == FASTPREP_AVX512;
    const uint8_t *bytes = (const uint8_t *)to->arranged;
    if (!to->line_shift) {
        const fastprep_color_plan plan = {colors, crop->mean, crop->scale, 1};
        const int64_t n = to->n_arranged - to->n_arranged % of->block;
        (is_wide ? fastprep_color_row_avx512 : fastprep_color_row_avx2)(&plan, bytes, 1, (float *)to->target, 0, n / 3, crop->stream);
        return n;
    }
    const fastprep_block_values values = {to->line_mean, crop->has_scale ? to->line_scale : NULL, to->line_gain, to->line_shift};
    fastprep_lines *lines = (is_wide ? fastprep_lines_avx512 : fastprep_lines_avx2)(crop->target_type);
    return lines(bytes, &values, to->target, to->n_arranged, of->channels, crop->stream);
}

void fastprep_convert_mapped(const fastprep_crop *crop, const fastprep_shape *of, const float *colors, fastprep_plane *to, int is_end)
{
    if (!is_end && to->n_arranged < FASTPREP_BURST) return;
    if (to->n_head) {
        const int64_t n = to->n_head < to->n_arranged ? to->n_head : to->n_arranged;
        convert_some(crop, of, colors, to, 0, to->mean, to->scale, n);
        to->n_head -= n;
        drop(of, to, n);
    }
    if (!to->n_head) drop(of, to, convert_blocks(crop, of, colors, to));
    if (is_end) convert_some(crop, of, colors, to, to->phase, to->line_mean, to->line_scale, to->n_arranged);
}
#endif
