/* Layout of the working memory: the planes, and a pointer for each; then, for each plane, its arranged numbers, and the mean and
 * the scale of its lines; working memory for rows in other orders; and gains and shifts of colours. Arranged numbers keep inside a
 * page if they can: stores that cross into the next one, between stores that are written around the caches, halve the speed of the
 * kernel (docs/notes/cpu-kernel.md). */
#include "_crop_planes.h"

#include <string.h>

#include "_crop_colors.h"
#include "_crop_orders.h"
#include "_crop_rows.h"

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

fastprep_shape fastprep_shape_of(const fastprep_crop *crop, int has_colors)
{
    fastprep_shape of;
    of.n_planes = crop->channels_first ? crop->channels : 1;
    of.channels = crop->channels_first ? 1 : crop->channels;
    of.row = crop->crop_width * of.channels;
    of.block = FASTPREP_BLOCK * of.channels;
    of.source_size = fastprep_source_size(crop->source_type);
    of.target_size = crop->target_type == FASTPREP_TO_FLOAT32 ? 4 : 2;
    of.has_colors = has_colors;
    /* rows of a mean image are not one after the other; other means are those of the first row, as far as there are so many */
    of.rows_at_once = least((FASTPREP_BURST + of.row - 1) / of.row, crop->row_pixels / crop->crop_width);
    if (crop->mean_is_image || of.rows_at_once < 1) of.rows_at_once = 1;
    of.capacity = of.row * of.rows_at_once;
    if (has_colors) of.capacity = of.row + FASTPREP_BURST + of.block;
    return of;
}

static size_t whole_lines(size_t n_bytes) { return (n_bytes + 63) / 64 * 64; }

static size_t inside_a_page(size_t at, size_t n_bytes)
{
    const size_t page = FASTPREP_ROOM_ALIGNMENT, left = page - at % page;
    return n_bytes > left && n_bytes <= page ? at + left : at;
}

static size_t planes_bytes(const fastprep_shape *of)
{
    return whole_lines((size_t)of->n_planes * (sizeof(fastprep_plane) + sizeof(void *)));
}

static size_t arranged_bytes(const fastprep_shape *of)
{
    return whole_lines((size_t)of->capacity * of->source_size + FASTPREP_SLACK);
}

static size_t block_bytes(const fastprep_shape *of) { return (size_t)of->block * sizeof(float); }

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

static size_t room_of(const fastprep_crop *crop, int has_colors)
{
    const fastprep_shape of = fastprep_shape_of(crop, has_colors);
    size_t at = planes_bytes(&of);
    for (int64_t p = 0; p < of.n_planes; p++) at = inside_a_page(at, arranged_bytes(&of)) + arranged_bytes(&of);
    at += fastprep_order_bytes(crop, of.source_size);
    return has_colors ? at + (size_t)of.n_planes * 4 * block_bytes(&of) : at;
}

size_t fastprep_crop_room(const fastprep_crop *crop)
{
    const int may_have_colors = crop->source_type == FASTPREP_UINT8 && crop->version != FASTPREP_PORTABLE;
    return most(room_of(crop, 0), may_have_colors ? room_of(crop, 1) : 0);
}

const float *fastprep_mean_row(const fastprep_crop *crop, const fastprep_shape *of, int64_t p, int64_t source_y, int64_t x,
                               int mirrored)
{
    const int64_t length = crop->row_pixels * of->channels;
    if (mirrored) {
        source_y += crop->height;
        x = crop->width - crop->crop_width - x;
    }
    return crop->mean + (source_y * of->n_planes + p) * length + x * of->channels;
}

/* Write what the numbers of a block become, at `room`. */
static void lay_out_block(const fastprep_crop *crop, const fastprep_shape *of, const float *colors, fastprep_plane *to, float *room)
{
    const int are_apart = fastprep_keeps_apart(colors, crop->channels), step = of->n_planes == 1;
    to->n_arranged = 0;
    to->n_head = (int64_t)(-(uintptr_t)to->target % 64 / of->target_size);
    while (!are_apart && to->n_head % of->channels) to->n_head += 64 / (int64_t)of->target_size; /* whole pixels */
    to->phase = to->n_head % of->channels;
    to->line_mean = room;
    to->line_scale = room + of->block;
    to->line_gain = to->line_shift = NULL;
    memcpy(to->line_mean, to->mean + to->phase, block_bytes(of));
    memcpy(to->line_scale, to->scale + to->phase, block_bytes(of));
    if (!are_apart) return;
    float *const gain = room + 2 * of->block;
    to->line_shift = room + 3 * of->block;
    fastprep_gains(colors, crop->channels, step ? to->phase : to->number, step, gain, to->line_shift, of->block);
    if (fastprep_has_gains(colors, crop->channels)) to->line_gain = gain;
}

char *fastprep_lay_out(const fastprep_crop *crop, const fastprep_shape *of, const float *colors, void *target, void *room)
{
    fastprep_plane *planes = room;
    size_t at = planes_bytes(of);
    for (int64_t p = 0; p < of->n_planes; p++) {
        fastprep_plane *to = planes + p;
        to->target = (char *)target + (size_t)(p * crop->crop_height * of->row) * of->target_size;
        at = inside_a_page(at, arranged_bytes(of));
        to->arranged = (char *)room + at;
        at += arranged_bytes(of);
        to->mean = crop->mean + p * crop->row_pixels * of->channels;
        to->scale = crop->scale + p * crop->row_pixels * of->channels;
        to->number = p;
#ifdef FASTPREP_X86
        const size_t before = (uintptr_t)to->target % 64;
        to->line.target = to->target - before;
        to->line.first = to->line.n = (int64_t)(before / of->target_size);
#endif
    }
    char *const orders = (char *)room + at;
    float *blocks = (float *)(orders + fastprep_order_bytes(crop, of->source_size));
    for (int64_t p = 0; colors && p < of->n_planes; p++, blocks += 4 * of->block)
        lay_out_block(crop, of, colors, planes + p, blocks);
    return orders;
}
