/* Colours that the crop kernel maps while it converts bytes. */
#ifndef FASTPREP_CROP_COLORS_H
#define FASTPREP_CROP_COLORS_H

#include "_crop.h"

/* Write what n numbers, which begin with `channel`, are multiplied by, and what is added, if channels are kept apart. `step` is 0 if
 * they are all of that channel, and otherwise 1. */
void fastprep_gains(const float *colors, int64_t channels, int64_t channel, int64_t step, float *gain, float *shift, int64_t n);

/* Return whether such colours multiply a channel with another number than 1. */
int fastprep_has_gains(const float *colors, int64_t channels);

/* Map the colours of n bytes, at most 3 * FASTPREP_BLOCK, which are as above if channels are kept apart, and otherwise whole pixels of 3 channels. */
void fastprep_map_bytes(const float *colors, int64_t channels, int64_t channel, int64_t step, const uint8_t *bytes, float *to,
                        int64_t n);

#endif
