/* The triangle filter, as Pillow has it: support max(scale, 1), centres of pixels at one half, weights that add up to 1. Taps are
 * computed in float64, in a stated order, and rounded to float32 once. */
#include "_warp_taps.h"

#include <math.h>

static size_t whole_lines(size_t n_bytes) { return (n_bytes + 63) / 64 * 64; }

int64_t fastprep_most_taps(int64_t n_in, int64_t n_out)
{
    const double step = (double)n_in / (double)n_out; /* a part is not longer than its axis */
    const int64_t most = 2 * (int64_t)ceil(step > 1.0 ? step : 1.0) + 2;
    return most < n_in ? most : n_in;
}

size_t fastprep_taps_bytes(int64_t n_in, int64_t n_out)
{
    const size_t n = (size_t)n_out, most = (size_t)fastprep_most_taps(n_in, n_out);
    return 2 * whole_lines(n * sizeof(int32_t)) + whole_lines(n * most * sizeof(float));
}

static double centre_of(double start, double step, int64_t i) { return start + ((double)i + 0.5) * step; }

static int64_t first_of(double centre, double reach)
{
    const int64_t first = (int64_t)(centre - reach + 0.5);
    return first > 0 ? first : 0;
}

static int64_t end_of(double centre, double reach, int64_t n_in)
{
    const int64_t end = (int64_t)(centre + reach + 0.5);
    return end < n_in ? end : n_in;
}

void fastprep_taps_range(double start, double length, int64_t n_in, int64_t n_out, int64_t *begin, int64_t *end)
{
    const double step = length / (double)n_out, reach = step > 1.0 ? step : 1.0;
    *begin = first_of(centre_of(start, step, 0), reach);
    *end = end_of(centre_of(start, step, n_out - 1), reach, n_in);
}

fastprep_taps fastprep_make_taps(double start, double length, int64_t n_in, int64_t n_out, int reversed, void *memory)
{
    const double step = length / (double)n_out, reach = step > 1.0 ? step : 1.0, slope = 1.0 / reach;
    fastprep_taps taps = {n_out, fastprep_most_taps(n_in, n_out), 0, 0, 0, 0, 0};
    const size_t line = whole_lines((size_t)n_out * sizeof(int32_t));
    taps.first = memory;
    taps.count = (int32_t *)((char *)memory + line);
    taps.weights = (float *)((char *)memory + 2 * line);
    fastprep_taps_range(start, length, n_in, n_out, &taps.begin, &taps.end);
    for (int64_t i = 0; i < n_out; i++) {
        const double centre = centre_of(start, step, i);
        const int64_t first = first_of(centre, reach), n = end_of(centre, reach, n_in) - first;
        const int64_t at = reversed ? n_out - 1 - i : i;
        float *const weights = taps.weights + at * taps.stride;
        double total = 0.0;
        for (int64_t k = 0; k < n; k++) {
            const double weight = 1.0 - fabs(((double)(first + k) - centre + 0.5) * slope);
            total += weight > 0.0 ? weight : 0.0;
        }
        for (int64_t k = 0; k < n; k++) {
            const double weight = 1.0 - fabs(((double)(first + k) - centre + 0.5) * slope);
            weights[k] = (float)((weight > 0.0 ? weight : 0.0) / total);
        }
        taps.first[at] = (int32_t)first;
        taps.count[at] = (int32_t)n;
    }
    return taps;
}
