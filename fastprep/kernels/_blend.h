/* Blending pairs of images of a batch, in place. */
#ifndef FASTPREP_BLEND_H
#define FASTPREP_BLEND_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int version, type;               /* of the numbers, as the types of the crop kernel's results */
    int channels_first;
    int64_t height, width, channels; /* of an image */
} fastprep_blend;

/* Blend two images, each as the other one was before: with `weight` of itself and 1 - weight of the other, each step rounded to
 * float32 and the result to the type; or with a rectangle y, x, height, width of the other, if its height is not 0. */
void fastprep_blend_pair(const fastprep_blend *blend, void *one, void *other, const float *weights, const int32_t *rectangles);

#endif
