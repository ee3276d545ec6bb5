/* Masks: every number of the result is one number of the source, copied as it is, or a constant. */
#ifndef FASTPREP_MASK_H
#define FASTPREP_MASK_H

#include <stdint.h>

typedef struct {
    int64_t height, width;          /* of the source */
    int64_t out_height, out_width;
    int64_t channels;
    int64_t item_bytes;             /* of a number: 1, 2, 4 or 8 */
    int64_t row_step, column_step;  /* of the source, in numbers */
    int64_t channel_step;
    const void *fill;               /* what there is outside of the source, a number for each channel */
} fastprep_mask;

/* Where the result comes from: slot, y, x and flags of a crop; and y, x, height and width of a box in its place, or NULL. */
typedef struct {
    const int32_t *crop;
    const double *box;
} fastprep_mask_row;

/* Tell whether a row stays in the source. */
int fastprep_mask_fits(const fastprep_mask *mask, const fastprep_mask_row *row);

/* Find the numbers of the source, *first .. *end, between which all that a row picks lie. */
void fastprep_mask_span(const fastprep_mask *mask, const fastprep_mask_row *row, int64_t *first, int64_t *end);

/* Find what fastprep_mask_pick takes: rows and columns whose pixels have the centres of those of the result in them. */
void fastprep_mask_places(const fastprep_mask *mask, const fastprep_mask_row *row, int64_t *down, int64_t *across);

/* Pick rows and columns: number (i, j, c) of `target` is number down[i] + across[j] + c * channel_step of `source`. */
void fastprep_mask_pick(
    const fastprep_mask *mask, const void *source, const int64_t *down, const int64_t *across, void *target
);

/* Pick by positions (x, y), in multiples of 2**-32 pixels: start + right * j + down * i, each of them x and then y. */
void fastprep_mask_map(
    const fastprep_mask *mask, const void *source, const int64_t *start, const int64_t *right, const int64_t *down, void *target
);

#endif
