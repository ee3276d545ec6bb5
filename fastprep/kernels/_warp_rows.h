/* The operations of the warp kernel on one row, in float32: each product and each sum is rounded. */
#ifndef FASTPREP_WARP_ROWS_H
#define FASTPREP_WARP_ROWS_H

#include "_crop.h"
#include "_warp_taps.h"

/* Convert n numbers of a source of the type of `crop` to float32. */
void fastprep_to_floats(const fastprep_crop *crop, const void *source, float *to, int64_t n);

/* Resize a row of pixels, of which the first one is taps->begin. */
void fastprep_narrow(int version, const fastprep_taps *taps, const float *source, int64_t channels, float *to);

/* Add up n_rows rows of n numbers, each with a weight. Up to 15 numbers may be read and written after the rows. */
void fastprep_add_rows(int version, const float *const *rows, const float *weights, int64_t n_rows, float *to, int64_t n);

/* Map the 1 or 3 channels of each pixel of a row. */
void fastprep_map_colors(int version, const float *colors, float *row, int64_t width, int64_t channels);

/* Separate the channels of a row, `step` numbers apart. */
void fastprep_take_apart(int version, const float *row, float *planes, int64_t step, int64_t width, int64_t channels);

/* Sample a source bilinearly at `width` positions x, y, which are multiples of 2^-32 pixels, from `at` on in steps of `step`. */
void fastprep_sample(const fastprep_crop *crop, const void *pixels, const int64_t *at, const int64_t *step, const float *fill,
                     float *to, int64_t width);

#endif
