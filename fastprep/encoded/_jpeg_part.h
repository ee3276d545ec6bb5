/* A part of a JPEG, decoded by libjpeg-turbo. */
#ifndef FASTPREP_JPEG_PART_H
#define FASTPREP_JPEG_PART_H

#include <stddef.h>
#include <stdint.h>

/* A decoder, for one thread at a time. */
typedef struct fastprep_jpeg fastprep_jpeg;

/* What is wanted of an image of height x width pixels: rows top to bottom - 1, and columns left to right - 1. */
typedef struct {
    int64_t height, width, top, bottom, left, right;
    int channels; /* of the result: 3 for RGB, 1 for grey */
} fastprep_jpeg_part;

/* Return a new decoder; NULL if there is no memory, or if the library at hand is not the one that this was compiled for. */
fastprep_jpeg *fastprep_jpeg_new(void);

void fastprep_jpeg_free(fastprep_jpeg *jpeg);

/* Decode a part into its place in `out`, which has room for the whole image, without gaps; other pixels there become anything.
 * All bytes are looked at for damage nevertheless. Return 1 if the pixels are those of the whole image decoded. Return 0 for
 * all that another decoder has to judge: a JPEG of which libjpeg finds anything to warn of, one of another size than is said,
 * one that is progressive or in several scans, and one that has to be converted otherwise than from YCbCr or grey. */
int fastprep_jpeg_decode(
    fastprep_jpeg *jpeg, const uint8_t *bytes, size_t n_bytes, const fastprep_jpeg_part *wanted, uint8_t *out);

#endif
