/* The CPU crop kernel: cut out, mirror or not, subtract the mean, scale, convert, in one pass. */
#ifndef FASTPREP_CROP_H
#define FASTPREP_CROP_H

#include <stdint.h>

enum { FASTPREP_UINT8, FASTPREP_FLOAT32, FASTPREP_FLOAT64 };      /* source */
enum { FASTPREP_TO_FLOAT32, FASTPREP_TO_FLOAT16, FASTPREP_TO_BFLOAT16 };
enum { FASTPREP_MIRRORED = 1, FASTPREP_FLIPPED = 2 };             /* flags of a crop: left-right, top-bottom */

typedef struct {
    int source_type, target_type, channels_first;
    int64_t height, width, channels;    /* of the source picture, channels last */
    int64_t crop_height, crop_width;
    const float *mean;                  /* NULL, or rows of width * channels numbers */
    int64_t mean_stride;                /* numbers from one mean row to the next: 0 if one row serves all */
    const float *scale;                 /* NULL, or one row of width * channels numbers */
} fastprep_crop;

/* Cut the crop at (y, x) out of `pixels` into `target`. `row` is room for crop_width * channels floats. */
void fastprep_crop_run(const fastprep_crop *crop, const void *pixels, int64_t y, int64_t x, int flags, void *target,
                       float *row);

#endif
