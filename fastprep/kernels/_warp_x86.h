/* The loops of the warp kernel that the x86 versions replace. */
#ifndef FASTPREP_WARP_X86_H
#define FASTPREP_WARP_X86_H

#include "_crop_x86.h"
#include "_warp_taps.h"

#ifdef FASTPREP_X86

enum { FASTPREP_ROWS_AT_ONCE = 4, FASTPREP_OUT_BLOCK = 32 };

/* ---- resizing rows of bytes */

/* How 16 numbers of the result at a time are picked out of a window of bytes: `together` taps share a window, which then moves on
 * by as many pixels. Index and weights have 16 entries for each tap. */
typedef struct {
    int64_t n_vectors, n_taps, together, channels;
    int32_t *base;  /* first byte of the first window of each vector */
    int32_t *place; /* where its numbers go */
    uint8_t *index; /* of the taps of the first window */
    float *weights; /* 0 for taps that a number does not have */
} fastprep_narrow_plan;

/* Return the size in bytes of what a plan needs. */
size_t fastprep_narrow_bytes(int64_t n_in, int64_t n_out, int64_t channels);

/* Plan windows of `n_bytes` bytes for n_lanes numbers each. The result is interleaved, or has each channel by itself if
 * `plane_step` is not 0. Return whether the taps lie close enough together. */
int fastprep_plan_narrow(fastprep_narrow_plan *plan, const fastprep_taps *taps, int64_t channels, int64_t plane_step,
                         int64_t n_lanes, int64_t n_bytes, void *memory);

/* Resize FASTPREP_ROWS_AT_ONCE rows. After a row, 64 bytes and the taps of a pixel may be read; after a row of the result, up to
 * 15 numbers may be written. */
void fastprep_narrow_avx2(const fastprep_narrow_plan *plan, const uint8_t *const *rows, float *const *to);
void fastprep_narrow_avx512(const fastprep_narrow_plan *plan, const uint8_t *const *rows, float *const *to);

/* ---- sampling */

/* Sample 16 positions of an image of 3 channels of bytes, channels last, if all lie inside of it, not beside the last column; see
 * fastprep_sample. Return whether they do. */
int fastprep_sample_avx512(const uint8_t *pixels, int64_t row_step, int64_t height, int64_t width, const int64_t *at,
                           const int64_t *step, float *to);

/* ---- output */

/* Where the numbers of a plane of the result go, in blocks of FASTPREP_OUT_BLOCK */
typedef struct {
    char *target;                      /* the next block, whose address is a multiple of its size */
    int64_t before, n_waiting;         /* numbers of the block that are not of the plane; that, and numbers that wait */
    fastprep_block_values values;      /* of a row, each of which may be NULL */
    int type, stream, is_checked;      /* is_checked: numbers may be infinite or NaN */
    float waiting[FASTPREP_OUT_BLOCK]; /* the numbers of the block so far */
} fastprep_plane_out;

/* Add up rows with weights, or take the only row as it is if n_rows is 0; subtract the mean, scale, convert and write n numbers. Up
 * to a block before and after the rows, the mean and the scale is read. Return whether there is a number that is not finite. */
typedef uint32_t fastprep_put(fastprep_plane_out *to, const float *const *rows, const float *weights, int64_t n_rows, int64_t n);

fastprep_put fastprep_put_avx2, fastprep_put_avx512;

/* Add up rows with weights. Up to 15 numbers are read and written after the rows. */
void fastprep_add_rows_avx2(const float *const *rows, const float *weights, int64_t n_rows, float *to, int64_t n);
void fastprep_add_rows_avx512(const float *const *rows, const float *weights, int64_t n_rows, float *to, int64_t n);

/* Write the numbers that wait at the end of a plane. */
void fastprep_put_rest(fastprep_plane_out *to);

#endif

#endif
