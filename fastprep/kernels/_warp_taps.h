/* The taps of the triangle filter: which pixels of an axis of the source, with which weights, make each pixel of the result. */
#ifndef FASTPREP_WARP_TAPS_H
#define FASTPREP_WARP_TAPS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t n_out, stride; /* pixels of the result; from the weights of one of them to those of the next */
    int32_t *first;        /* for each pixel of the result, the first pixel of the source, */
    int32_t *count;        /* the number of pixels from there on, */
    float *weights;        /* and their weights */
    int64_t begin, end;    /* all pixels of the source that are needed */
} fastprep_taps;

/* Return the largest possible number of taps for one pixel. */
int64_t fastprep_most_taps(int64_t n_in, int64_t n_out);

/* Return the size in bytes of the arrays, a multiple of 64. */
size_t fastprep_taps_bytes(int64_t n_in, int64_t n_out);

/* Return the taps of the part `start`, `length` of an axis of n_in pixels, made in `memory`; for the pixels of the result from the
 * last one to the first, if reversed. */
fastprep_taps fastprep_make_taps(double start, double length, int64_t n_in, int64_t n_out, int reversed, void *memory);

/* Return the first pixel of the source, and the one after the last, that any pixel of the result needs. */
void fastprep_taps_range(double start, double length, int64_t n_in, int64_t n_out, int64_t *begin, int64_t *end);

#endif
