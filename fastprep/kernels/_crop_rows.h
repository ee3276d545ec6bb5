/* The two operations on one row of a crop: the portable loops, or those of the x86 versions where these are faster. */
#ifndef FASTPREP_CROP_ROWS_H
#define FASTPREP_CROP_ROWS_H

#include "_crop.h"

enum { FASTPREP_SLACK = 16 };  /* bytes after an arranged row that may be overwritten */

/* Put a row of the source into the order of the result: from right to left if mirrored, and separated into channels if these
 * come first. `to` has a pointer for each plane. */
void fastprep_arrange(const fastprep_crop *crop, const void *source, void *const *to, int mirrored);

/* Separate bytes into channels, if there is a vector loop for that. Return the number of pixels that were done, all or none. */
int64_t fastprep_separate(const fastprep_crop *crop, const void *source, void *const *to, int mirrored);

/* Convert n numbers, each with a mean and a scale of its own. */
uint32_t fastprep_convert(const fastprep_crop *crop, const void *source, const float *mean, const float *scale, void *target,
                      int64_t n);

#endif
