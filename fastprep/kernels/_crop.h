/* The CPU crop kernel: cut out, mirror, flip, subtract the mean, scale and convert, in one pass. */
#ifndef FASTPREP_CROP_H
#define FASTPREP_CROP_H

#include <stddef.h>
#include <stdint.h>

/* Python takes these numbers from here (_cpu.pyx). */
enum { FASTPREP_UINT8, FASTPREP_UINT16, FASTPREP_INT16, FASTPREP_FLOAT32, FASTPREP_FLOAT64 }; /* types of the source */
enum { FASTPREP_TO_FLOAT32, FASTPREP_TO_FLOAT16, FASTPREP_TO_BFLOAT16 }; /* types of the result */
enum { FASTPREP_MIRRORED = 1, FASTPREP_FLIPPED = 2 };                    /* flags of a crop: left-right, top-bottom */
enum { FASTPREP_PORTABLE, FASTPREP_AVX2, FASTPREP_AVX512 };              /* versions */
/* Orders of the source: channels last, all of them or some; rows of each channel by themselves; columns before rows */
enum { FASTPREP_PIXELS, FASTPREP_PICKED_PIXELS, FASTPREP_PLANES, FASTPREP_COLUMNS };
enum { FASTPREP_BLOCK = 32 };                                            /* pixels whose colours are mapped together */
enum { FASTPREP_MORE_PIXELS = 512 };                                     /* see `row_pixels` */

/* Return the size in bytes of a number of the source. */
static inline size_t fastprep_source_size(int source_type)
{
    switch (source_type) {
    case FASTPREP_UINT8: return 1;
    case FASTPREP_FLOAT32: return 4;
    case FASTPREP_FLOAT64: return 8;
    default: return 2;
    }
}

/* With channels last, a crop is one plane that holds all channels, interleaved. With channels first, each channel has a plane. */
typedef struct {
    int version, source_type, target_type, channels_first;
    int stream;                         /* not 0: write around the caches, if the version can do that */
    int64_t height, width, channels;    /* of the source image; only the channels of the result count */
    int64_t crop_height, crop_width;
    const float *mean;                  /* a row for each plane, `row_pixels` pixels long; for a mean image, the rows of all
                                           its lines, and then all of them from right to left, for mirrored crops */
    const float *scale;                 /* a row for each plane */
    int64_t row_pixels;                 /* at least those of the image, and without a mean image FASTPREP_MORE_PIXELS more */
    int mean_is_image, has_scale;       /* has_scale is 0 only if the scale is 1 everywhere */
    int order;                          /* of the source */
    int64_t row_step, column_step;      /* numbers from a row, and from a column, of the source to the next one */
    const int64_t *channel_at;          /* for each channel of the result, numbers from the start of a pixel to that channel */
    int64_t source_channels;
} fastprep_crop;

/* Return whether this processor can run the version. */
int fastprep_crop_supported(int version);

/* Return from how many bytes of a batch on it is better written around the caches of this processor. */
int64_t fastprep_stream_bytes(void);

enum { FASTPREP_ROOM_ALIGNMENT = 4096 }; /* the working memory starts with a page */

/* Return the size in bytes of the working memory (`room`) of fastprep_crop_run. */
size_t fastprep_crop_room(const fastprep_crop *crop);

/* Rows top..bottom - 1 and columns left..right - 1 of an image */
typedef struct {
    int64_t top, bottom, left, right;
} fastprep_part;

/* Tell which bytes of an image the kernel reads for a part that is not empty. */
void fastprep_crop_span(const fastprep_crop *crop, const fastprep_part *part, int64_t *first, int64_t *n_bytes);

/* Return whether colours, channels x (channels + 1) finite numbers of 1 or 3 channels, leave channels apart so that one that is not
 * negative needs a product and a sum only. */
int fastprep_keeps_apart(const float *colors, int64_t channels);

/* Return whether fastprep_crop_run can map these colours. */
int fastprep_crop_maps(const fastprep_crop *crop, const float *colors);

/* Cut the crop at (y, x) out of `pixels`, map the colours unless they are NULL, and write it to `target`, which is aligned for its
 * type. Return whether all results are finite, which is not checked for sources of type uint8. */
int fastprep_crop_run(const fastprep_crop *crop, const float *colors, const void *pixels, int64_t y, int64_t x, int flags,
                      void *target, void *room);

#endif
