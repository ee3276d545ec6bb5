/* The CPU crop kernel: cut out, mirror or not, subtract the mean, scale, convert, in one pass. */
#ifndef FASTPREP_CROP_H
#define FASTPREP_CROP_H

#include <stddef.h>
#include <stdint.h>

enum { FASTPREP_UINT8, FASTPREP_FLOAT32, FASTPREP_FLOAT64 };      /* source */
enum { FASTPREP_TO_FLOAT32, FASTPREP_TO_FLOAT16, FASTPREP_TO_BFLOAT16 };
enum { FASTPREP_MIRRORED = 1, FASTPREP_FLIPPED = 2 };             /* flags of a crop: left-right, top-bottom */
enum { FASTPREP_PORTABLE, FASTPREP_AVX2, FASTPREP_AVX512 };       /* versions */
enum { FASTPREP_BLOCK = 32, FASTPREP_MIN_PIXELS = 64 };          /* the latter: rows of mean and scale have no fewer */

/* Channels last, a crop is one plane in which all channels lie interleaved; channels first, it is a plane for each channel. */
typedef struct {
    int version, source_type, target_type, channels_first;
    int stream;                         /* not 0: write around the caches, if the version can */
    int64_t height, width, channels;    /* of the source image, channels last */
    int64_t crop_height, crop_width;
    const float *mean;                  /* a row for each plane, `row_pixels` pixels long; of a mean image the rows of all
                                           its lines, and then once more, each from right to left, for mirrored crops */
    const float *scale;                 /* a row for each plane */
    int64_t row_pixels;
    int mean_is_image, has_scale;     /* not 0: the scale is not 1 everywhere */
} fastprep_crop;

/* Not 0 if this processor can run the version. */
int fastprep_crop_supported(int version);

/* Bytes of the room that fastprep_crop_run works in; its address is a multiple of 64. */
size_t fastprep_crop_room(const fastprep_crop *crop);

/* Cut the crop at (y, x) out of `pixels` into `target`, which is aligned for its type. */
void fastprep_crop_run(const fastprep_crop *crop, const void *pixels, int64_t y, int64_t x, int flags, void *target,
                       void *room);

#endif
