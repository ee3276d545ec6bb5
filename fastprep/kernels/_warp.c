/* A row of the result is made in float32 with interleaved channels: from a row of the source, from rows that were resized and wait
 * in a ring, or from samples. Then its colours are mapped, and it is converted as a row of a crop of floats. */
#include "_warp.h"

#include "_crop_orders.h"
#include "_crop_rows.h"
#include "_warp_out.h"
#include "_warp_part.h"
#include "_warp_rows.h"
#include "_warp_taps.h"

enum { ROWS_AT_ONCE = 4, ROWS_AHEAD = 8 }; /* of the source that are resized together; that are fetched before they are needed */

/* The work on one image; the pointers lead into the working memory */
typedef struct {
    const fastprep_warp *warp;
    const fastprep_warp_row *row;
    const void *pixels;
    const float *colors;        /* NULL if there are none */
    int are_apart;              /* whether they keep channels apart, and these are not negative */
    fastprep_crop part;         /* what is needed of the source, with channels last */
    int64_t y, x;               /* of the part */
    fastprep_band band;
    char *arranged;             /* rows of the part, in the type of the source */
    int64_t arranged_step;      /* bytes from one to the next */
    float *floats;              /* the first of them in float32 */
    fastprep_taps across, down;
    float *ring;                /* resized rows; row y of the source is number y % n_ring */
    int64_t n_ring, ring_step;
    int64_t next;               /* row of the source that will be resized next; when flipped, the one before it */
    const float **tapped;
    fastprep_output output;
    void *output_room;
#ifdef FASTPREP_X86
    fastprep_narrow_plan plan;
    void *plan_room;
    int is_planned;
    int64_t plane_step;         /* in the ring, if its rows have each channel by itself, otherwise 0 */
#endif
} work;

static size_t size_of(const fastprep_crop *crop) { return fastprep_source_size(crop->source_type); }

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- working memory */

/* Return where a part of the working memory begins, and go on behind it. */
static size_t take(size_t *at, size_t n_bytes)
{
    const size_t here = *at;
    *at += (n_bytes + 63) / 64 * 64;
    return here;
}

/* Lay out the working memory, if there is one, and return its size. It is large enough for straight and for turned images. */
static size_t lay_out(const fastprep_warp *warp, work *to, char *room)
{
    const fastprep_crop *crop = &warp->straight;
    const int64_t side = larger(crop->height, crop->width), longer = larger(side, crop->crop_width);
    const int64_t most_across = fastprep_most_taps(side, crop->crop_width), most_down = fastprep_most_taps(side, crop->crop_height);
    const size_t has_taps = warp->geometry == FASTPREP_OF_BOX;
    fastprep_crop whole = *crop, turned = warp->turned;
    whole.crop_width = turned.crop_width = side;
    whole.channels_first = turned.channels_first = 0;
    const size_t of_whole = fastprep_order_bytes(&whole, size_of(crop)), of_turned = fastprep_order_bytes(&turned, size_of(crop));
    size_t at = 0, places[9];
    to->arranged_step = (side * crop->channels * (int64_t)size_of(crop) + 64 + most_across * crop->channels + 63) / 64 * 64;
    to->ring_step = fastprep_row_step(crop->crop_width) * crop->channels; /* interleaved, or each channel by itself */
    to->n_ring = most_down + ROWS_AT_ONCE - 1;
    places[0] = take(&at, (size_t)to->arranged_step * (has_taps ? ROWS_AT_ONCE : 1));
    places[1] = take(&at, (size_t)(longer * crop->channels) * sizeof(float));
    places[2] = take(&at, has_taps * fastprep_taps_bytes(side, crop->crop_width));
    places[3] = take(&at, has_taps * fastprep_taps_bytes(side, crop->crop_height));
    places[4] = take(&at, has_taps * (size_t)(to->n_ring * to->ring_step + FASTPREP_MARGIN) * sizeof(float));
    places[5] = take(&at, has_taps * (size_t)most_down * sizeof(float *));
    places[6] = take(&at, fastprep_output_room(crop));
    places[7] = take(&at, of_whole > of_turned ? of_whole : of_turned);
#ifdef FASTPREP_X86
    places[8] = take(&at, has_taps * fastprep_narrow_bytes(side, crop->crop_width, crop->channels));
#endif
    if (!room) return at;
    to->arranged = room + places[0];
    to->floats = (float *)(room + places[1]);
    to->across.first = (int32_t *)(room + places[2]);
    to->down.first = (int32_t *)(room + places[3]);
    to->ring = (float *)(room + places[4]) + FASTPREP_MARGIN;
    to->tapped = (const float **)(room + places[5]);
    to->output_room = room + places[6];
    to->band.numbers = room + places[7];
#ifdef FASTPREP_X86
    to->plan_room = room + places[8];
#endif
    return at;
}

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

size_t fastprep_warp_room(const fastprep_warp *warp)
{
    work none = {0};
    const int is_crop = warp->geometry == FASTPREP_OF_CROP;
    const size_t of_crops = is_crop ? most(fastprep_crop_room(&warp->straight), fastprep_crop_room(&warp->turned)) : 0;
    return is_crop && !warp->has_colors ? of_crops : most(of_crops, lay_out(warp, &none, NULL));
}

/* ---- rows of the result */

/* Arrange row y of the source, and fetch one that will be needed later. */
static void arrange(work *to, int64_t y, int flags, void *arranged)
{
    const int64_t later = flags & FASTPREP_FLIPPED ? y - ROWS_AHEAD : y + ROWS_AHEAD;
    if (later >= to->y && later < to->y + to->part.crop_height) fastprep_prefetch_row(&to->part, to->pixels, to->x, later, flags);
    fastprep_arrange_row(&to->part, to->pixels, to->y, to->x, y, flags, &arranged, &to->band);
}

static void to_floats(work *to, float *floats)
{
    fastprep_to_floats(&to->part, to->arranged, floats, to->part.crop_width * to->part.channels);
}

/* Resize the rows y..y + n - 1 of the source. */
static void resize_rows(work *to, int64_t y, int64_t n, int flags)
{
    float *resized[ROWS_AT_ONCE];
    for (int64_t r = 0; r < ROWS_AT_ONCE; r++) resized[r] = to->ring + (y + (r < n ? r : n - 1)) % to->n_ring * to->ring_step;
#ifdef FASTPREP_X86
    if (to->is_planned) {
        const uint8_t *rows[ROWS_AT_ONCE];
        for (int64_t r = 0; r < ROWS_AT_ONCE; r++) rows[r] = (uint8_t *)to->arranged + (r < n ? r : n - 1) * to->arranged_step;
        for (int64_t r = 0; r < n; r++) arrange(to, y + r, flags & FASTPREP_FLIPPED, (void *)rows[r]);
        (to->part.version == FASTPREP_AVX512 ? fastprep_narrow_avx512 : fastprep_narrow_avx2)(&to->plan, rows, resized);
        return;
    }
#endif
    for (int64_t r = 0; r < n; r++) {
        arrange(to, y + r, flags & FASTPREP_FLIPPED, to->arranged);
        to_floats(to, to->floats);
        fastprep_narrow(to->part.version, &to->across, to->floats, to->part.channels, resized[r]);
    }
}

/* Let the ring have the rows first..end - 1 of the source. Each is resized once, because the range only moves on. */
static void fill_ring(work *to, int64_t first, int64_t end, int flags)
{
    if (flags & FASTPREP_FLIPPED) {
        to->next = end < to->next ? end : to->next;
        while (to->next > first) {
            const int64_t left = to->next - to->down.begin, n = left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE;
            to->next -= n;
            resize_rows(to, to->next, n, flags);
        }
    } else {
        to->next = first > to->next ? first : to->next;
        while (to->next < end) {
            const int64_t left = to->down.end - to->next, n = left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE;
            resize_rows(to, to->next, n, flags);
            to->next += n;
        }
    }
}

static uint32_t put_resized_row(work *to, int64_t i, int flags)
{
    const int64_t first = to->down.first[i], n = to->down.count[i];
    const float *const weights = to->down.weights + i * to->down.stride;
    fill_ring(to, first, first + n, flags);
    for (int64_t k = 0; k < n; k++) to->tapped[k] = to->ring + (first + k) % to->n_ring * to->ring_step;
#ifdef FASTPREP_X86
    if (to->plane_step) {
        uint32_t not_finite = 0;
        for (int64_t c = 0; c < to->part.channels; c++) {
            not_finite |= fastprep_put_plane(&to->output, c, to->tapped, weights, n);
            for (int64_t k = 0; k < n; k++) to->tapped[k] += to->plane_step;
        }
        return not_finite;
    }
#endif
    return fastprep_put_row(&to->output, i, to->tapped, weights, n);
}

static void sampled_row(work *to, int64_t i, int flags)
{
    const fastprep_crop *crop = &to->warp->straight;
    const double *matrix = to->row->matrix;
    const int mirrored = flags & FASTPREP_MIRRORED;
    const int64_t y = flags & FASTPREP_FLIPPED ? crop->crop_height - 1 - i : i, x = mirrored ? crop->crop_width - 1 : 0;
    const int64_t at[2] = {fastprep_position(matrix, 0, y, x), fastprep_position(matrix, 1, y, x)};
    const int64_t right[2] = {fastprep_fixed(matrix[0]), fastprep_fixed(matrix[3])};
    const int64_t step[2] = {mirrored ? -right[0] : right[0], mirrored ? -right[1] : right[1]};
    fastprep_sample(crop, to->pixels, at, step, to->warp->fill, to->output.line, crop->crop_width);
}

/* Make row i of the result. Return whether it has a number that is not finite. */
static uint32_t make_row(work *to, int64_t i, int flags)
{
    switch (to->warp->geometry) {
    case FASTPREP_OF_BOX: return put_resized_row(to, i, flags);
    case FASTPREP_OF_MATRIX: sampled_row(to, i, flags); break;
    default:
        arrange(to, to->y + (flags & FASTPREP_FLIPPED ? to->part.crop_height - 1 - i : i), flags, to->arranged);
        if (to->part.source_type == FASTPREP_UINT8 && fastprep_put_bytes(&to->output, (const uint8_t *)to->arranged)) return 0;
        to_floats(to, to->output.line);
    }
    const float *line = to->output.line;
    return fastprep_put_row(&to->output, i, &line, NULL, 0);
}

#ifdef FASTPREP_X86
static void plan_narrow(work *to, const fastprep_crop *crop)
{
    const int64_t n_lanes = crop->version == FASTPREP_AVX512 ? 16 : 8, n_bytes = crop->version == FASTPREP_AVX512 ? 64 : 16;
    if (crop->version == FASTPREP_PORTABLE || crop->source_type != FASTPREP_UINT8) return;
    if (crop->channels_first && crop->channels > 1 && (!to->colors || to->are_apart)) to->plane_step = fastprep_row_step(crop->crop_width);
    to->is_planned = fastprep_plan_narrow(&to->plan, &to->across, crop->channels, to->plane_step, n_lanes, n_bytes, to->plan_room);
    if (to->is_planned || !to->plane_step) return;
    to->plane_step = 0;
    to->is_planned = fastprep_plan_narrow(&to->plan, &to->across, crop->channels, 0, n_lanes, n_bytes, to->plan_room);
}
#endif

static const float *colors_of(const fastprep_warp *warp, const fastprep_warp_row *row)
{
    return warp->has_colors ? row->colors : NULL;
}

/* Prepare for a row of the table: find the part of the source, and the taps of each axis. */
static void begin(work *to, const fastprep_warp *warp, const fastprep_warp_row *row, const void *pixels)
{
    const fastprep_crop *crop = fastprep_source_of(warp, row);
    const fastprep_part part = fastprep_part_of(warp, row);
    const int flags = row->crop[3];
    to->warp = warp, to->row = row, to->pixels = pixels;
    to->colors = colors_of(warp, row);
    to->are_apart = to->colors && crop->version != FASTPREP_PORTABLE && crop->source_type == FASTPREP_UINT8
                    && warp->geometry != FASTPREP_OF_MATRIX && fastprep_keeps_apart(to->colors, crop->channels);
    to->part = *crop;
    to->part.channels_first = 0;
    to->part.crop_height = part.bottom - part.top, to->part.crop_width = part.right - part.left;
    to->y = part.top, to->x = part.left;
    if (warp->geometry == FASTPREP_OF_BOX) {
        double box[4];
        fastprep_box_of(row, box);
        to->across = fastprep_make_taps(box[1], box[3], crop->width, crop->crop_width, flags & FASTPREP_MIRRORED,
                                        to->across.first);
        to->down = fastprep_make_taps(box[0], box[2], crop->height, crop->crop_height, flags & FASTPREP_FLIPPED, to->down.first);
        to->next = flags & FASTPREP_FLIPPED ? to->down.end : to->down.begin;
#ifdef FASTPREP_X86
        plan_narrow(to, crop);
#endif
    }
    fastprep_plan_rows(&to->part, warp->geometry == FASTPREP_OF_CROP && flags & FASTPREP_MIRRORED, &to->band);
}

int fastprep_warp_run(const fastprep_warp *warp, const fastprep_warp_row *row, const void *pixels, void *target, void *room)
{
    const fastprep_crop *crop = fastprep_source_of(warp, row);
    const int flags = row->crop[3] & (FASTPREP_MIRRORED | FASTPREP_FLIPPED);
    uint32_t not_finite = 0;
    const float *colors = colors_of(warp, row);
    if (warp->geometry == FASTPREP_OF_CROP && (!colors || fastprep_crop_maps(crop, colors))) {
        const fastprep_part part = fastprep_part_of(warp, row);
        not_finite = !fastprep_crop_run(crop, colors, pixels, part.top, part.left, flags, target, room);
    } else {
        work to = {0};
        lay_out(warp, &to, room);
        begin(&to, warp, row, pixels);
        fastprep_begin_output(&to.output, crop, to.colors, to.are_apart, target, to.output_room);
        for (int64_t i = 0; i < crop->crop_height; i++) not_finite |= make_row(&to, i, flags);
        fastprep_end_output(&to.output);
    }
    if (warp->erase_value) fastprep_erase(crop, warp->erase_value, row->erasure, target);
    return !not_finite;
}
