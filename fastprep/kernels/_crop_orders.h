/* Arranging rows of sources in any order: channels last, all or some of them, each channel by itself, or columns before rows. */
#ifndef FASTPREP_CROP_ORDERS_H
#define FASTPREP_CROP_ORDERS_H

#include "_crop.h"

enum { FASTPREP_BAND_ROWS = 32 };

/* Rows of a crop that were put into the order of planes, because the source has columns before rows */
typedef struct {
    char *numbers;             /* from the working memory */
    const char *row;           /* the row that was asked for */
    const int64_t *channel_at; /* of that row, as in fastprep_crop */
    int64_t first, n_rows;     /* rows of the source; n_rows is 0 before the first use */
} fastprep_band;

/* Return the size in bytes of the working memory for a band, or for a plan: a multiple of 64, and 0 for sources that need none. */
size_t fastprep_order_bytes(const fastprep_crop *crop, size_t source_size);

/* Prepare for the rows of one crop. `band->numbers` is the working memory, and the rest of the band is 0. */
void fastprep_plan_rows(const fastprep_crop *crop, int mirrored, fastprep_band *band);

/* As fastprep_arrange, for row `source_y` of the crop at (y, x), in any order of the source. */
void fastprep_arrange_row(const fastprep_crop *crop, const void *pixels, int64_t y, int64_t x, int64_t source_y, int flags,
                          void *const *to, fastprep_band *band);

/* Let row `source_y` of a crop, from column x on, come into the caches; or, where columns come before rows, some of the columns of
 * the band after it. */
void fastprep_prefetch_row(const fastprep_crop *crop, const void *pixels, int64_t x, int64_t source_y, int flags);

#endif
