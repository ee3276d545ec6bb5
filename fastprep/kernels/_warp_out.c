/* The output of the warp kernel. Conversion is that of crops of floats. */
#include "_warp_out.h"

#include <string.h>

#include "_crop_colors.h"
#include "_crop_rows.h"
#include "_warp_rows.h"

static size_t target_size(const fastprep_crop *crop) { return crop->target_type == FASTPREP_TO_FLOAT32 ? 4 : 2; }

static int64_t n_planes(const fastprep_crop *crop) { return crop->channels_first ? crop->channels : 1; }

static int64_t plane_row(const fastprep_crop *crop) { return crop->crop_width * (crop->channels / n_planes(crop)); }

int64_t fastprep_row_step(int64_t n) { return (n + 15) / 16 * 16 + FASTPREP_MARGIN; }

/* Layout of the working memory: the line, and the planes; then mean, scale, gain and shift of each plane, and what it is about to
 * write. */
size_t fastprep_output_room(const fastprep_crop *crop)
{
    const int64_t line = fastprep_row_step(crop->crop_width * crop->channels), plane = fastprep_row_step(plane_row(crop));
    const size_t floats = (size_t)(line + 5 * n_planes(crop) * plane + FASTPREP_MARGIN) * sizeof(float);
#ifdef FASTPREP_X86
    return floats + (size_t)n_planes(crop) * sizeof(fastprep_plane_out);
#else
    return floats;
#endif
}

#ifdef FASTPREP_X86
static void begin_planes(fastprep_output *output, const float *colors, float *room)
{
    const fastprep_crop *crop = &output->crop;
    const int64_t n = n_planes(crop), row = plane_row(crop), mean_row = crop->row_pixels * (row / crop->crop_width);
    const int64_t block = FASTPREP_OUT_BLOCK * (int64_t)target_size(crop);
    output->to = (fastprep_plane_out *)(room + 4 * n * output->plane_step + FASTPREP_MARGIN);
    for (int64_t p = 0; p < n; p++) {
        fastprep_plane_out *to = output->to + p;
        char *const target = output->target + (size_t)(p * crop->crop_height * row) * target_size(crop);
        const int64_t before = (int64_t)((uintptr_t)target % (uintptr_t)block);
        float *mean = room + 4 * p * output->plane_step + FASTPREP_MARGIN, *scale = mean + output->plane_step;
        float *gain = scale + output->plane_step, *shift = gain + output->plane_step;
        memcpy(mean, crop->mean + p * mean_row, (size_t)row * sizeof(float));
        memcpy(scale, crop->scale + p * mean_row, (size_t)row * sizeof(float));
        to->target = target - before;
        to->before = to->n_waiting = before / (int64_t)target_size(crop);
        to->values = (fastprep_block_values){mean, crop->has_scale ? scale : NULL, NULL, colors ? shift : NULL};
        if (colors && fastprep_has_gains(colors, crop->channels)) to->values.gain = gain;
        if (colors) fastprep_gains(colors, crop->channels, p, n == 1, gain, shift, row);
        to->type = crop->target_type, to->stream = crop->stream;
    }
}
#endif

void fastprep_begin_output(fastprep_output *output, const fastprep_crop *crop, const float *colors, int are_apart, void *target,
                           void *room)
{
    float *floats = room;
    output->crop = *crop;
    output->colors = are_apart ? NULL : colors;
    output->crop.source_type = FASTPREP_FLOAT32;
    output->target = target;
    output->plane_step = fastprep_row_step(plane_row(crop));
    output->line = floats + FASTPREP_MARGIN;
    floats += fastprep_row_step(crop->crop_width * crop->channels);
    output->planes = floats + FASTPREP_MARGIN;
#ifdef FASTPREP_X86
    output->to = NULL;
    output->maps = 0;
    if (crop->version == FASTPREP_PORTABLE) return;
    begin_planes(output, are_apart ? colors : NULL, floats + n_planes(crop) * output->plane_step);
    for (int64_t p = 0; p < n_planes(crop); p++) output->to[p].is_checked = crop->source_type != FASTPREP_UINT8;
    output->maps = output->colors && crop->channels == 3;
    if (!output->maps) return;
    const int64_t step = crop->channels_first ? crop->row_pixels : 1;
    output->plan = (fastprep_color_plan){colors, crop->mean, crop->scale, step};
    for (int64_t p = 0; p < n_planes(crop); p++) output->to[p].values = (fastprep_block_values){0};
#endif
}

#ifdef FASTPREP_X86
static fastprep_put *put_of(const fastprep_crop *crop)
{
    return crop->version == FASTPREP_AVX512 ? fastprep_put_avx512 : fastprep_put_avx2;
}

uint32_t fastprep_put_plane(fastprep_output *output, int64_t plane, const float *const *rows, const float *weights, int64_t n_rows)
{
    return put_of(&output->crop)(output->to + plane, rows, weights, n_rows, plane_row(&output->crop));
}

/* Map the colours of a row, which is bytes or floats, and write it. */
static uint32_t put_colored(fastprep_output *output, const void *source, int is_bytes)
{
    const fastprep_crop *crop = &output->crop;
    const int64_t n = n_planes(crop), row = plane_row(crop), width = crop->crop_width;
    fastprep_plane_out *to = output->to;
    fastprep_color_row *color = crop->version == FASTPREP_AVX512 ? fastprep_color_row_avx512 : fastprep_color_row_avx2;
    uint32_t not_finite = 0;
    if (n == 1 && crop->stream && crop->target_type == FASTPREP_TO_FLOAT32 && !to->n_waiting && !to->is_checked
        && row % FASTPREP_OUT_BLOCK == 0) {
        color(&output->plan, source, is_bytes, (float *)to->target, 0, width, 1);
        to->target += (size_t)row * sizeof(float);
        return 0;
    }
    float *line = n == 1 ? output->line : output->planes;
    color(&output->plan, source, is_bytes, line, n == 1 ? 0 : output->plane_step, width, 0);
    for (int64_t p = 0; p < n; p++, line += output->plane_step) {
        const float *const rows = line;
        not_finite |= fastprep_put_plane(output, p, &rows, NULL, 0);
    }
    return not_finite;
}
#endif

int fastprep_put_bytes(fastprep_output *output, const uint8_t *bytes)
{
#ifdef FASTPREP_X86
    if (output->maps) {
        put_colored(output, bytes, 1);
        return 1;
    }
#endif
    (void)output, (void)bytes;
    return 0;
}

uint32_t fastprep_put_row(fastprep_output *output, int64_t i, const float *const *rows, const float *weights, int64_t n_rows)
{
    const fastprep_crop *crop = &output->crop;
    const int64_t n = n_planes(crop), row = plane_row(crop), mean_row = crop->row_pixels * (row / crop->crop_width);
    const float *line = rows[0];
    uint32_t not_finite = 0;
#ifdef FASTPREP_X86
    if (output->to && n == 1 && !output->colors) return fastprep_put_plane(output, 0, rows, weights, n_rows);
#endif
    if (n_rows) {
        fastprep_add_rows(crop->version, rows, weights, n_rows, output->line, crop->crop_width * crop->channels);
        line = output->line;
    }
#ifdef FASTPREP_X86
    if (output->maps) return put_colored(output, line, 0);
#endif
    if (output->colors) {
        if (line != output->line) memcpy(output->line, line, (size_t)(crop->crop_width * crop->channels) * sizeof(float));
        line = output->line;
        fastprep_map_colors(crop->version, output->colors, output->line, crop->crop_width, crop->channels);
    }
    if (n > 1) {
        fastprep_take_apart(crop->version, line, output->planes, output->plane_step, crop->crop_width, n);
        line = output->planes;
    }
    for (int64_t p = 0; p < n; p++, line += output->plane_step) {
#ifdef FASTPREP_X86
        if (output->to) {
            not_finite |= fastprep_put_plane(output, p, &line, NULL, 0);
            continue;
        }
#endif
        char *const target = output->target + (size_t)((p * crop->crop_height + i) * row) * target_size(crop);
        not_finite |= fastprep_convert(crop, line, crop->mean + p * mean_row, crop->scale + p * mean_row, target, row);
    }
    return not_finite;
}

void fastprep_end_output(fastprep_output *output)
{
#ifdef FASTPREP_X86
    if (!output->to) return;
    for (int64_t p = 0; p < n_planes(&output->crop); p++) fastprep_put_rest(output->to + p);
    if (output->crop.stream) fastprep_fence();
#else
    (void)output;
#endif
}

void fastprep_erase(const fastprep_crop *crop, const float *value, const int32_t *rectangle, void *target)
{
    const int64_t step = crop->channels / n_planes(crop);
    const size_t size = target_size(crop);
    const float zero = 0.0f, one = 1.0f;
    fastprep_crop output = *crop;
    output.source_type = FASTPREP_FLOAT32;
    if (rectangle[2] == 0 || rectangle[3] == 0) return;
    for (int64_t p = 0; p < n_planes(crop); p++) {
        const int64_t corner = (p * crop->crop_height + rectangle[0]) * crop->crop_width + rectangle[1];
        const size_t row = (size_t)(crop->crop_width * step) * size, n_bytes = (size_t)(rectangle[3] * step) * size;
        char *const first = (char *)target + (size_t)(corner * step) * size;
        for (int64_t c = 0; c < step; c++) fastprep_convert(&output, value + p + c, &zero, &one, first + (size_t)c * size, 1);
        for (size_t done = (size_t)step * size; done < n_bytes; done *= 2)
            memcpy(first + done, first, done < n_bytes - done ? done : n_bytes - done);
        for (int64_t i = 1; i < rectangle[2]; i++) memcpy(first + (size_t)i * row, first, n_bytes);
    }
}
