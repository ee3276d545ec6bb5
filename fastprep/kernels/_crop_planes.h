/* The planes of a result, and the working memory in which their rows wait. */
#ifndef FASTPREP_CROP_PLANES_H
#define FASTPREP_CROP_PLANES_H

#include "_crop.h"
#include "_crop_x86.h"

/* Numbers of a plane that are arranged before they are converted: enough for the calls to cost little, and few enough for writing
 * to overlap with arranging */
enum { FASTPREP_BURST = FASTPREP_MORE_PIXELS };

/* A plane of the result: all channels, or one channel with channels first */
typedef struct {
    char *target;                   /* where the next result goes */
    char *arranged;                 /* numbers of the source that wait for their conversion */
    const float *mean, *scale;      /* rows; of a mean image, the first line */
#ifdef FASTPREP_X86
    fastprep_line line;
#endif
    /* where colours are mapped: */
    int64_t n_arranged;
    int64_t n_head;                 /* numbers before the first whole cache line */
    float *line_mean, *line_scale;  /* for a block after these */
    float *line_gain, *line_shift;  /* for such a block; NULL if there are none */
    int64_t number, phase;          /* of the plane; channel of the block's first number */
} fastprep_plane;

typedef struct {
    int64_t n_planes, channels;     /* channels in each plane */
    int64_t row, block, capacity;   /* numbers in a row of a plane, in a block of lines, and in `arranged` */
    int64_t rows_at_once;           /* which are arranged one after the other, and then converted like one */
    size_t source_size, target_size;
    int has_colors;
} fastprep_shape;

fastprep_shape fastprep_shape_of(const fastprep_crop *crop, int has_colors);

/* Lay out the working memory, which begins with the planes. Return where that for rows in other orders begins. */
char *fastprep_lay_out(const fastprep_crop *crop, const fastprep_shape *of, const float *colors, void *target, void *room);

/* Return the mean of a crop's row in plane p, for a mean image. */
const float *fastprep_mean_row(const fastprep_crop *crop, const fastprep_shape *of, int64_t p, int64_t source_y, int64_t x,
                               int mirrored);

/* Map the colours of what is arranged, and convert it: whole blocks, or all of it at the end of a plane. */
void fastprep_convert_mapped(const fastprep_crop *crop, const fastprep_shape *of, const float *colors, fastprep_plane *to,
                             int is_end);

#endif
