/* The CPU warp kernel: turn, resize or map, recolour, subtract the mean, scale, convert and erase, in one pass. */
#ifndef FASTPREP_WARP_H
#define FASTPREP_WARP_H

#include "_crop.h"

/* Python takes these numbers from here (_cpu_warp.pyx). */
enum { FASTPREP_OF_CROP, FASTPREP_OF_BOX, FASTPREP_OF_MATRIX }; /* geometries */
enum { FASTPREP_TRANSPOSED = 4 };                               /* a flag: rows and columns change places, before the others */

typedef struct {
    int geometry, has_colors;
    /* The crops of the size of the result, from the source and from the source with rows and columns exchanged */
    fastprep_crop straight, turned;
    const float *fill;        /* outside of the source, a number for each channel */
    const float *erase_value; /* the same, of what erased rectangles become; NULL: none are erased */
} fastprep_warp;

/* A row of the transform table, of which only that is there which the geometry needs */
typedef struct {
    const int32_t *crop;    /* slot, y, x, flags */
    const double *box;      /* y, x, height, width */
    const double *matrix;   /* 2 x 3 */
    const float *colors;    /* channels x (channels + 1) */
    const int32_t *erasure; /* y, x, height, width */
} fastprep_warp_row;

/* Return the size in bytes of the working memory (`room`) of fastprep_warp_run. */
size_t fastprep_warp_room(const fastprep_warp *warp);

/* Return the part of the source that the row needs, which has at least one pixel. */
fastprep_part fastprep_warp_part(const fastprep_warp *warp, const fastprep_warp_row *row);

/* Make the image of a row, and write it to `target`, which is aligned for its type. Return whether all results are finite before
 * something is erased, which is not checked for sources of type uint8. */
int fastprep_warp_run(const fastprep_warp *warp, const fastprep_warp_row *row, const void *pixels, void *target, void *room);

#endif
