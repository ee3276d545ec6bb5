#include "_mask.h"

#include <string.h>

#include "_warp.h"

/* Bytes are turned round eight at a time; the compiler does as well for larger numbers by itself. */
static void reverse_8(const uint8_t *source, int64_t n, uint8_t *target) {
    int64_t j = 0;
    for (; j + 8 <= n; j += 8) {
        uint64_t eight;
        memcpy(&eight, source + n - j - 8, 8);
        eight = __builtin_bswap64(eight);
        memcpy(target + j, &eight, 8);
    }
    for (; j < n; j++) target[j] = source[n - 1 - j];
}

#define REVERSE(name, type)                                                  \
    static void name(const type *source, int64_t n, type *target) {          \
        for (int64_t j = 0; j < n; j++) target[j] = source[n - 1 - j];       \
    }
REVERSE(reverse_16, uint16_t)
REVERSE(reverse_32, uint32_t)
REVERSE(reverse_64, uint64_t)

#define NUMBER uint8_t
#define NAME(function) function##_8
#include "_mask_numbers.h"
#undef NUMBER
#undef NAME

#define NUMBER uint16_t
#define NAME(function) function##_16
#include "_mask_numbers.h"
#undef NUMBER
#undef NAME

#define NUMBER uint32_t
#define NAME(function) function##_32
#include "_mask_numbers.h"
#undef NUMBER
#undef NAME

#define NUMBER uint64_t
#define NAME(function) function##_64
#include "_mask_numbers.h"
#undef NUMBER
#undef NAME

/* An axis of the result, and the part of an axis of the source that it shows. */
typedef struct {
    double start, length;
    int64_t n, n_source, step;
    int is_reversed;
} axis;

/* The centre of pixel i, before the axis is reversed. In the order of `target_geometry.py`, and exact for crops. */
static double centre(const axis *a, int64_t i) { return a->start + ((double)i + 0.5) * (a->length / (double)a->n); }

static int64_t place(const axis *a, int64_t i) {
    const int64_t pixel = (int64_t)centre(a, i);
    return pixel < a->n_source ? pixel : a->n_source - 1;  /* a box may end so close to the edge that sums are rounded to it */
}

/* Where the result is turned, its rows go along the rows of the source. */
static void axes_of(const fastprep_mask *mask, const fastprep_mask_row *row, axis *down, axis *across) {
    const int flags = row->crop[3], is_turned = (flags & FASTPREP_TRANSPOSED) != 0;
    const double h = (double)mask->out_height, w = (double)mask->out_width;
    const double box[4] = {row->crop[1], row->crop[2], is_turned ? w : h, is_turned ? h : w}, *part = row->box ? row->box : box;
    const axis rows = {part[0], part[2], 0, mask->height, mask->row_step, 0};
    const axis columns = {part[1], part[3], 0, mask->width, mask->column_step, 0};
    *down = is_turned ? columns : rows;
    *across = is_turned ? rows : columns;
    down->n = mask->out_height, down->is_reversed = (flags & FASTPREP_FLIPPED) != 0;
    across->n = mask->out_width, across->is_reversed = (flags & FASTPREP_MIRRORED) != 0;
}

static int fits(const axis *a, int is_box) {
    const double first = centre(a, 0), last = centre(a, a->n - 1), most = is_box ? 0x1p63 : (double)a->n_source;
    return first > (is_box ? -1 : 0) && last > -1 && first < 0x1p63 && last < most;
}

int fastprep_mask_fits(const fastprep_mask *mask, const fastprep_mask_row *row) {
    axis down, across;
    axes_of(mask, row, &down, &across);
    return fits(&down, row->box != NULL) && fits(&across, row->box != NULL);
}

void fastprep_mask_span(const fastprep_mask *mask, const fastprep_mask_row *row, int64_t *first, int64_t *end) {
    axis axes[2];
    axes_of(mask, row, &axes[0], &axes[1]);
    *first = 0;
    *end = (mask->channels - 1) * mask->channel_step + 1;
    for (int k = 0; k < 2; k++) {
        const int64_t one = place(&axes[k], 0), other = place(&axes[k], axes[k].n - 1);
        *first += axes[k].step * (one < other ? one : other);
        *end += axes[k].step * (one < other ? other : one);
    }
}

static void places(const axis *a, int64_t *found) {
    const axis own = *a;  /* a copy, so that nothing is read again after each write */
    const int64_t to = own.is_reversed ? -1 : 1;
    found += own.is_reversed ? own.n - 1 : 0;
    for (int64_t i = 0; i < own.n; i++, found += to) *found = own.step * place(&own, i);
}

void fastprep_mask_places(const fastprep_mask *mask, const fastprep_mask_row *row, int64_t *down, int64_t *across) {
    axis rows, columns;
    axes_of(mask, row, &rows, &columns);
    places(&rows, down);
    places(&columns, across);
}

void fastprep_mask_pick(
    const fastprep_mask *mask, const void *source, const int64_t *down, const int64_t *across, void *target
) {
    switch (mask->item_bytes) {
        case 1: pick_8(mask, source, down, across, target); break;
        case 2: pick_16(mask, source, down, across, target); break;
        case 4: pick_32(mask, source, down, across, target); break;
        default: pick_64(mask, source, down, across, target);
    }
}

void fastprep_mask_map(
    const fastprep_mask *mask, const void *source, const int64_t *start, const int64_t *right, const int64_t *down, void *target
) {
    switch (mask->item_bytes) {
        case 1: map_8(mask, source, start, right, down, target); break;
        case 2: map_16(mask, source, start, right, down, target); break;
        case 4: map_32(mask, source, start, right, down, target); break;
        default: map_64(mask, source, start, right, down, target);
    }
}
