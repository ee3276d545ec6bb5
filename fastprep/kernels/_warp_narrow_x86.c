/* Resizing rows of bytes: numbers of the result are made 8 or 16 at a time, each from a byte of the same window of the row. */
#include "_warp_x86.h"

#ifdef FASTPREP_X86
#include <immintrin.h>
#include <string.h>

enum { LANES = 16 }; /* of index and weights */

static size_t whole_lines(size_t n_bytes) { return (n_bytes + 63) / 64 * 64; }

/* Numbers of channels that are interleaved, or of one channel of a pixel */
static int64_t most_vectors(int64_t n_out, int64_t channels) { return (n_out + 7) / 8 * channels; }

size_t fastprep_narrow_bytes(int64_t n_in, int64_t n_out, int64_t channels)
{
    const size_t n = (size_t)most_vectors(n_out, channels), most = (size_t)fastprep_most_taps(n_in, n_out);
    return 2 * whole_lines(n * sizeof(int32_t)) + whole_lines(n * most * LANES) + n * most * LANES * sizeof(float);
}

/* Return the number of taps that are not 0. */
static int64_t count_taps(const fastprep_taps *taps)
{
    int64_t most = 1;
    for (int64_t j = 0; j < taps->n_out; j++) {
        int64_t n = taps->count[j];
        while (n > most && taps->weights[j * taps->stride + n - 1] == 0.0f) n--;
        most = n > most ? n : most;
    }
    return most;
}

/* Return how many bytes the first taps of a vector span, of which the numbers belong to `at_once` channels. */
static int64_t measure(const fastprep_taps *taps, int64_t channels, int64_t at_once, int64_t n_lanes)
{
    int64_t span = 0;
    for (int64_t at = 0; at < taps->n_out * at_once; at += n_lanes) {
        const int64_t last = at + n_lanes < taps->n_out * at_once ? at + n_lanes - 1 : taps->n_out * at_once - 1;
        const int64_t distance = taps->first[last / at_once] - taps->first[at / at_once];
        const int64_t here = (distance < 0 ? -distance : distance) * channels + at_once;
        span = here > span ? here : span;
    }
    return span;
}

/* Plan vector v, whose numbers are those from `at` on, of n, of `at_once` channels from c on. */
static void plan_vector(fastprep_narrow_plan *plan, const fastprep_taps *taps, int64_t v, int64_t c, int64_t at_once, int64_t at,
                        int64_t n)
{
    const int32_t one = taps->first[at / at_once], other = taps->first[(at + n - 1) / at_once];
    const int64_t lowest = one < other ? one : other;
    uint8_t *index = plan->index + v * plan->together * LANES;
    float *weights = plan->weights + v * plan->n_taps * LANES;
    int64_t j = at / at_once, channel = at % at_once;
    plan->base[v] = (int32_t)((lowest - taps->begin) * plan->channels + c);
    for (int64_t lane = 0; lane < n; lane++) {
        const uint8_t from = (uint8_t)((taps->first[j] - lowest) * plan->channels + channel);
        const int64_t n_taps = taps->count[j] < plan->n_taps ? taps->count[j] : plan->n_taps;
        for (int64_t k = 0; k < plan->together; k++) index[k * LANES + lane] = (uint8_t)(from + k * plan->channels);
        for (int64_t k = 0; k < n_taps; k++) weights[k * LANES + lane] = taps->weights[j * taps->stride + k];
        if (++channel == at_once) j++, channel = 0;
    }
}

int fastprep_plan_narrow(fastprep_narrow_plan *plan, const fastprep_taps *taps, int64_t channels, int64_t plane_step,
                         int64_t n_lanes, int64_t n_bytes, void *memory)
{
    const int64_t at_once = plane_step ? 1 : channels, row = taps->n_out * at_once, in_row = (row + n_lanes - 1) / n_lanes;
    const int64_t span = measure(taps, channels, at_once, n_lanes);
    const size_t line = whole_lines((size_t)most_vectors(taps->n_out, channels) * sizeof(int32_t));
    if (span > n_bytes) return 0;
    plan->channels = channels;
    plan->n_taps = count_taps(taps);
    plan->together = 1 + (n_bytes - span) / channels;
    if (plan->together > plan->n_taps) plan->together = plan->n_taps;
    plan->n_vectors = in_row * (channels / at_once);
    plan->base = memory;
    plan->place = (int32_t *)((char *)memory + line);
    plan->index = (uint8_t *)memory + 2 * line;
    plan->weights = (float *)(plan->index + whole_lines((size_t)(plan->n_vectors * plan->together * LANES)));
    memset(plan->index, 0, (size_t)(plan->n_vectors * plan->together * LANES));
    memset(plan->weights, 0, (size_t)(plan->n_vectors * plan->n_taps * LANES) * sizeof(float));
    for (int64_t v = 0; v < plan->n_vectors; v++) {
        const int64_t c = v / in_row, at = v % in_row * n_lanes, left = row - at;
        plan->place[v] = (int32_t)(c * plane_step + at);
        plan_vector(plan, taps, v, c, at_once, at, left < n_lanes ? left : n_lanes);
    }
    return 1;
}

/* ---- AVX2 */
#define TARGET __attribute__((target("avx2")))
#define INLINE TARGET static inline __attribute__((always_inline))

INLINE __m256 tap_avx2(const uint8_t *window, __m128i index, __m256 weight)
{
    const __m128i bytes = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)window), index);
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), weight);
}

TARGET void fastprep_narrow_avx2(const fastprep_narrow_plan *plan, const uint8_t *const *rows, float *const *to)
{
    const int64_t n_taps = plan->n_taps, together = plan->together, move = together * plan->channels;
    const uint8_t *index = plan->index;
    const float *weights = plan->weights;
    for (int64_t v = 0; v < plan->n_vectors; v++, index += together * LANES, weights += n_taps * LANES) {
        __m256 totals[FASTPREP_ROWS_AT_ONCE];
        int64_t at = plan->base[v], k = 0;
        for (int r = 0; r < FASTPREP_ROWS_AT_ONCE; r++)
            totals[r] = tap_avx2(rows[r] + at, _mm_load_si128((const __m128i *)index), _mm256_load_ps(weights));
        for (int64_t tap = 1; tap < n_taps; tap++) {
            if (++k == together) k = 0, at += move;
            const __m128i picks = _mm_load_si128((const __m128i *)(index + k * LANES));
            const __m256 weight = _mm256_load_ps(weights + tap * LANES);
            for (int r = 0; r < FASTPREP_ROWS_AT_ONCE; r++)
                totals[r] = _mm256_add_ps(totals[r], tap_avx2(rows[r] + at, picks, weight));
        }
        for (int r = 0; r < FASTPREP_ROWS_AT_ONCE; r++) _mm256_storeu_ps(to[r] + plan->place[v], totals[r]);
    }
}

#undef TARGET
#undef INLINE

/* ---- AVX-512 */
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi")))
#define INLINE TARGET static inline __attribute__((always_inline))

INLINE __m512 tap_avx512(__m512i window, __m512i index, __m512 weight)
{
    const __m512i bytes = _mm512_maskz_permutexvar_epi8(0x1111111111111111u, index, window);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(bytes), weight);
}

/* All n_taps, a constant, are in the same window. */
INLINE void narrow_by_avx512(const fastprep_narrow_plan *plan, const uint8_t *const *rows, float *const *to, const int64_t n_taps)
{
    const uint8_t *index = plan->index;
    const float *weights = plan->weights;
    for (int64_t v = 0; v < plan->n_vectors; v++, index += n_taps * LANES, weights += n_taps * LANES) {
        __m512i windows[FASTPREP_ROWS_AT_ONCE];
        __m512 totals[FASTPREP_ROWS_AT_ONCE];
        const __m512i first = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)index));
        for (int r = 0; r < FASTPREP_ROWS_AT_ONCE; r++) {
            windows[r] = _mm512_loadu_si512(rows[r] + plan->base[v]);
            totals[r] = tap_avx512(windows[r], first, _mm512_load_ps(weights));
        }
        for (int64_t k = 1; k < n_taps; k++) {
            const __m512i picks = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)(index + k * LANES)));
            const __m512 weight = _mm512_load_ps(weights + k * LANES);
            for (int r = 0; r < FASTPREP_ROWS_AT_ONCE; r++)
                totals[r] = _mm512_add_ps(totals[r], tap_avx512(windows[r], picks, weight));
        }
        for (int r = 0; r < FASTPREP_ROWS_AT_ONCE; r++) _mm512_storeu_ps(to[r] + plan->place[v], totals[r]);
    }
}

TARGET static void narrow_any_avx512(const fastprep_narrow_plan *plan, const uint8_t *const *rows, float *const *to)
{
    const int64_t n_taps = plan->n_taps, together = plan->together, move = together * plan->channels;
    const uint8_t *index = plan->index;
    const float *weights = plan->weights;
    for (int64_t v = 0; v < plan->n_vectors; v++, index += together * LANES, weights += n_taps * LANES) {
        __m512 totals[FASTPREP_ROWS_AT_ONCE];
        int64_t at = plan->base[v], k = 0;
        const __m512i first = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)index));
        for (int r = 0; r < FASTPREP_ROWS_AT_ONCE; r++)
            totals[r] = tap_avx512(_mm512_loadu_si512(rows[r] + at), first, _mm512_load_ps(weights));
        for (int64_t tap = 1; tap < n_taps; tap++) {
            if (++k == together) k = 0, at += move;
            const __m512i picks = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)(index + k * LANES)));
            const __m512 weight = _mm512_load_ps(weights + tap * LANES);
            for (int r = 0; r < FASTPREP_ROWS_AT_ONCE; r++)
                totals[r] = _mm512_add_ps(totals[r], tap_avx512(_mm512_loadu_si512(rows[r] + at), picks, weight));
        }
        for (int r = 0; r < FASTPREP_ROWS_AT_ONCE; r++) _mm512_storeu_ps(to[r] + plan->place[v], totals[r]);
    }
}

TARGET void fastprep_narrow_avx512(const fastprep_narrow_plan *plan, const uint8_t *const *rows, float *const *to)
{
    if (plan->together < plan->n_taps) {
        narrow_any_avx512(plan, rows, to);
        return;
    }
    switch (plan->n_taps) {
    case 1: narrow_by_avx512(plan, rows, to, 1); break;
    case 2: narrow_by_avx512(plan, rows, to, 2); break;
    case 3: narrow_by_avx512(plan, rows, to, 3); break;
    case 4: narrow_by_avx512(plan, rows, to, 4); break;
    default: narrow_any_avx512(plan, rows, to);
    }
}
#endif
