/* Which part of the source a row of the transform table needs. */
#include "_warp_part.h"

#include <math.h>

#include "_warp_taps.h"

const fastprep_crop *fastprep_source_of(const fastprep_warp *warp, const fastprep_warp_row *row)
{
    return row->crop[3] & FASTPREP_TRANSPOSED ? &warp->turned : &warp->straight;
}

void fastprep_box_of(const fastprep_warp_row *row, double *box)
{
    const int turned = row->crop[3] & FASTPREP_TRANSPOSED ? 1 : 0;
    for (int k = 0; k < 4; k++) box[k] = row->box[k ^ turned];
}

int64_t fastprep_fixed(double number) { return (int64_t)nearbyint(number * 4294967296.0); } /* to even */

int64_t fastprep_position(const double *matrix, int axis, int64_t i, int64_t j)
{
    const double *m = matrix + 3 * axis;
    return fastprep_fixed(m[0] * 0.5 + m[1] * 0.5 + m[2] - 0.5) + fastprep_fixed(m[0]) * j + fastprep_fixed(m[1]) * i;
}

/* Find the pixels between the corners of the result, and those beside them, on an axis of n pixels; at least one. */
static void sampled_range(const fastprep_crop *crop, const double *matrix, int axis, int64_t n, int64_t *begin, int64_t *end)
{
    int64_t least = INT64_MAX, most = INT64_MIN;
    for (int corner = 0; corner < 4; corner++) {
        const int64_t i = corner & 1 ? crop->crop_height - 1 : 0, j = corner & 2 ? crop->crop_width - 1 : 0;
        const int64_t at = fastprep_position(matrix, axis, i, j);
        least = at < least ? at : least;
        most = at > most ? at : most;
    }
    least >>= 32, most = (most >> 32) + (axis ? 2 : 3); /* vectors read a little of the pixel behind the two of a row */
    *begin = least < 0 ? 0 : least > n - 1 ? n - 1 : least;
    *end = most > n ? n : most < *begin + 1 ? *begin + 1 : most;
}

fastprep_part fastprep_part_of(const fastprep_warp *warp, const fastprep_warp_row *row)
{
    const fastprep_crop *crop = fastprep_source_of(warp, row);
    fastprep_part part;
    double box[4];
    switch (warp->geometry) {
    case FASTPREP_OF_BOX:
        fastprep_box_of(row, box);
        fastprep_taps_range(box[0], box[2], crop->height, crop->crop_height, &part.top, &part.bottom);
        fastprep_taps_range(box[1], box[3], crop->width, crop->crop_width, &part.left, &part.right);
        break;
    case FASTPREP_OF_MATRIX:
        sampled_range(crop, row->matrix, 0, crop->width, &part.left, &part.right);
        sampled_range(crop, row->matrix, 1, crop->height, &part.top, &part.bottom);
        break;
    default:
        part.top = row->crop[crop == &warp->turned ? 2 : 1];
        part.left = row->crop[crop == &warp->turned ? 1 : 2];
        part.bottom = part.top + crop->crop_height;
        part.right = part.left + crop->crop_width;
    }
    return part;
}

fastprep_part fastprep_warp_part(const fastprep_warp *warp, const fastprep_warp_row *row)
{
    const fastprep_part part = fastprep_part_of(warp, row);
    if (fastprep_source_of(warp, row) == &warp->straight) return part;
    return (fastprep_part){part.left, part.right, part.top, part.bottom};
}
