/* The two operations on one row of a crop: the portable loops, or those of the x86 versions where these are faster. */
#ifndef FASTPREP_CROP_ROWS_H
#define FASTPREP_CROP_ROWS_H

#include "_crop.h"

/* Numbers of an image, which may lie anywhere in a mapped file; and numbers that are moved, whatever their type is */
typedef uint16_t fastprep_uint16 __attribute__((aligned(1), may_alias));
typedef int16_t fastprep_int16 __attribute__((aligned(1), may_alias));
typedef float fastprep_float32 __attribute__((aligned(1), may_alias));
typedef double fastprep_float64 __attribute__((aligned(1), may_alias));
typedef uint8_t bytes_1;
typedef uint16_t bytes_2 __attribute__((aligned(1), may_alias));
typedef uint32_t bytes_4 __attribute__((aligned(1), may_alias));
typedef uint64_t bytes_8 __attribute__((aligned(1), may_alias));

enum { FASTPREP_SLACK = 128 };  /* bytes after an arranged row that may be overwritten */

/* Put a row of the source into the order of the result: from right to left if mirrored, and separated into channels if these
 * come first. `to` has a pointer for each plane. */
void fastprep_arrange(const fastprep_crop *crop, const void *source, void *const *to, int mirrored);

/* Separate bytes into channels, if there is a vector loop for that. Return the number of pixels that were done, all or none. */
int64_t fastprep_separate(const fastprep_crop *crop, const void *source, void *const *to, int mirrored);

/* Convert n numbers, each with a mean and a scale of its own. */
uint32_t fastprep_convert(const fastprep_crop *crop, const void *source, const float *mean, const float *scale, void *target,
                      int64_t n);

#endif
