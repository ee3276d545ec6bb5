/* What happens to one row of a crop; portable, and by the x86 version where that has something quicker. */
#ifndef FASTPREP_CROP_ROWS_H
#define FASTPREP_CROP_ROWS_H

#include "_crop.h"

enum { FASTPREP_SLACK = 16 };  /* bytes after an arranged row that may be overwritten */

/* Put a row of the source into the order of the result: from right to left if mirrored, and the channels apart if they come
 * first. `to` has a pointer for each plane. */
void fastprep_arrange(const fastprep_crop *crop, const void *source, void *const *to, int mirrored);

/* Convert n numbers, with a mean and a scale for each of them. */
void fastprep_convert(const fastprep_crop *crop, const void *source, const float *mean, const float *scale, void *target,
                      int64_t n);

#endif
