/* Bringing an image to mean 0 and standard deviation 1, over all of its numbers. */
#ifndef FASTPREP_STANDARD_H
#define FASTPREP_STANDARD_H

#include <stdint.h>

typedef struct {
    int version, type; /* of the kernel, and of the numbers of the result, as those of the crop kernel */
    int stream;        /* not 0: write around the caches, if the version can do that */
    int64_t n;         /* numbers of an image */
} fastprep_standard;

/* Standardise an image, and convert it: ((x - high) - low) * factor, each step rounded to float32, where high + low is the mean,
 * and factor is 1 / max(deviation, 1 / sqrt(n)). `target` is aligned for its type. Return whether all results are finite. */
int fastprep_standardize(const fastprep_standard *standard, const float *image, void *target);

#endif
