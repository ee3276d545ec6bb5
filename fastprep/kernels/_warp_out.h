/* How the warp kernel writes: rows of the result, and rectangles that are erased. */
#ifndef FASTPREP_WARP_OUT_H
#define FASTPREP_WARP_OUT_H

#include "_crop.h"
#include "_warp_x86.h"

enum { FASTPREP_MARGIN = 48 }; /* numbers before and after a row of floats that may be read, and after it written */

/* The pointers lead into the working memory. */
typedef struct {
    fastprep_crop crop; /* from float32 */
    const float *colors; /* NULL if there are none that mix channels */
    char *target;
    float *line;        /* a row of the result with interleaved channels, */
    float *planes;      /* and with channels apart, each with its margins */
    int64_t plane_step; /* from one to the next */
#ifdef FASTPREP_X86
    fastprep_plane_out *to; /* NULL in the portable version */
    int maps;               /* whether colours, mean and scale are done by this plan */
    fastprep_color_plan plan;
#endif
} fastprep_output;

/* Return the numbers from a row of n floats to the next one, which leave room for margins. */
int64_t fastprep_row_step(int64_t n);

/* Return the size in bytes of the working memory (`room`) of an output. */
size_t fastprep_output_room(const fastprep_crop *crop);

/* `colors` is NULL, or maps the channels; are_apart: an x86 version may do that one channel at a time, see fastprep_keeps_apart. */
void fastprep_begin_output(fastprep_output *output, const fastprep_crop *crop, const float *colors, int are_apart, void *target,
                           void *room);

/* Write row i of the result, which is the sum of rows, each with a weight, or, if n_rows is 0, is rows[0]: map the colours,
 * subtract the mean, scale and convert. Return whether there is a number that is not finite. */
uint32_t fastprep_put_row(fastprep_output *output, int64_t i, const float *const *rows, const float *weights, int64_t n_rows);

#ifdef FASTPREP_X86
/* The same for one plane, channels first, of which no colours are mixed. */
uint32_t fastprep_put_plane(fastprep_output *output, int64_t plane, const float *const *rows, const float *weights, int64_t n_rows);
#endif

/* The same for interleaved bytes, after which 64 may be read, if this is possible: they have 3 channels, and their colours are
 * mapped. Return whether it is. */
int fastprep_put_bytes(fastprep_output *output, const uint8_t *bytes);

void fastprep_end_output(fastprep_output *output);

/* Fill a rectangle of the result, which is y, x, height and width, with a number for each channel, rounded to its type. */
void fastprep_erase(const fastprep_crop *crop, const float *value, const int32_t *rectangle, void *target);

#endif
