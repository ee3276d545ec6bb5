/* Where the pixels of a row of the transform table come from. */
#ifndef FASTPREP_WARP_PART_H
#define FASTPREP_WARP_PART_H

#include "_warp.h"

/* Return the source: as it is, or with rows and columns exchanged, to which the numbers below refer then. */
const fastprep_crop *fastprep_source_of(const fastprep_warp *warp, const fastprep_warp_row *row);

/* Put the y, x, height and width of the row's box into `box`. */
void fastprep_box_of(const fastprep_warp_row *row, double *box);

/* Return a number as a multiple of 2^-32, rounded to even. */
int64_t fastprep_fixed(double number);

/* Return where the pixel (i, j) of the result, before the flags, lies on an axis of the source: 0 for x, 1 for y. */
int64_t fastprep_position(const double *matrix, int axis, int64_t i, int64_t j);

/* Return the part that the row needs. */
fastprep_part fastprep_part_of(const fastprep_warp *warp, const fastprep_warp_row *row);

#endif
