/* Standardisation in two passes: sums, and the numbers. Compile with -ffp-contract=off: each step is rounded.
 *
 * The order of the sums is part of the definition (docs/notes/standardisation.md): number k belongs to sum k / PIECE % N_SUMS of
 * lane k % N_LANES. */
#include "_standard.h"

#include <math.h>

#include "_crop.h"
#include "_crop_numbers.h"
#include "_halves_x86.h"

enum { N_LANES = 32, N_SUMS = 32, PIECE = 256 };

typedef struct {
    double distances, squares; /* of distances from the first number of the image */
} sums;

typedef struct {
    float high, low, factor;
} statistics;

/* ---- sums; these functions add `n` numbers of a piece to a row of them */

static void add_portable(const float *from, int64_t n, double first, double *distances, double *squares)
{
    for (int64_t k = 0; k < n; k++) {
        const double distance = (double)from[k] - first;
        distances[k % N_LANES] += distance;
        squares[k % N_LANES] += distance * distance;
    }
}

#ifdef FASTPREP_X86
/* N registers of WIDTH sums each; what is after the last whole N_LANES numbers is left to the portable loop. */
#define DEFINE_ADD(NAME, PROCESSOR, VECTOR, PREFIX, FROM, N, WIDTH)                                                       \
    PROCESSOR static void NAME(const float *from, int64_t n, double first, double *distances, double *squares)          \
    {                                                                                                                   \
        const VECTOR start = PREFIX##_set1_pd(first);                                                                   \
        const int64_t whole = n - n % N_LANES;                                                                          \
        for (int lane = 0; lane < N_LANES; lane += N * WIDTH) {                                                         \
            VECTOR d[N], q[N];                                                                                          \
            for (int i = 0; i < N; i++) d[i] = PREFIX##_loadu_pd(distances + lane + i * WIDTH);                         \
            for (int i = 0; i < N; i++) q[i] = PREFIX##_loadu_pd(squares + lane + i * WIDTH);                           \
            for (int64_t k = lane; k < whole; k += N_LANES)                                                             \
                for (int i = 0; i < N; i++) {                                                                           \
                    const VECTOR distance = PREFIX##_sub_pd(PREFIX##_cvtps_pd(FROM(from + k + i * WIDTH)), start);       \
                    d[i] = PREFIX##_add_pd(d[i], distance);                                                             \
                    q[i] = PREFIX##_add_pd(q[i], PREFIX##_mul_pd(distance, distance));                                  \
                }                                                                                                       \
            for (int i = 0; i < N; i++) PREFIX##_storeu_pd(distances + lane + i * WIDTH, d[i]);                         \
            for (int i = 0; i < N; i++) PREFIX##_storeu_pd(squares + lane + i * WIDTH, q[i]);                           \
        }                                                                                                               \
        add_portable(from + whole, n - whole, first, distances, squares);                                               \
    }

DEFINE_ADD(add_avx2, __attribute__((target("avx2"))), __m256d, _mm256, _mm_loadu_ps, 4, 4)
DEFINE_ADD(add_avx512, __attribute__((target("avx512f"))), __m512d, _mm512, _mm256_loadu_ps, 4, 8)
#endif

typedef void add_numbers(const float *from, int64_t n, double first, double *distances, double *squares);

static add_numbers *add_of(int version)
{
#ifdef FASTPREP_X86
    if (version == FASTPREP_AVX512) return add_avx512;
    if (version == FASTPREP_AVX2) return add_avx2;
#endif
    (void)version;
    return add_portable;
}

/* Add the sums of each lane, and then the lanes. */
static double total_of(const double rows[N_SUMS][N_LANES])
{
    double lanes[N_LANES] = {0};
    for (int s = 0; s < N_SUMS; s++)
        for (int lane = 0; lane < N_LANES; lane++) lanes[lane] += rows[s][lane];
    for (int half = N_LANES / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++) lanes[lane] += lanes[half + lane];
    return lanes[0];
}

static sums sums_of(const fastprep_standard *standard, const float *image)
{
    double distances[N_SUMS][N_LANES] = {0}, squares[N_SUMS][N_LANES] = {0};
    add_numbers *add = add_of(standard->version);
    for (int64_t at = 0; at < standard->n; at += PIECE) {
        const int64_t left = standard->n - at, row = at / PIECE % N_SUMS;
        add(image + at, left < PIECE ? left : PIECE, image[0], distances[row], squares[row]);
    }
    return (sums){total_of(distances), total_of(squares)};
}

static statistics statistics_of(const fastprep_standard *standard, const float *image)
{
    const sums all = sums_of(standard, image);
    const double n = (double)standard->n, first = image[0], distance = all.distances / n;
    const double variance = (all.squares - all.distances * distance) / n;
    const double deviation = variance > 0 ? sqrt(variance) : 0.0, least = 1.0 / sqrt(n);
    const double mean = first + distance;
    statistics found = {(float)mean, 0.0f, (float)(1.0 / (deviation > least ? deviation : least))};
    found.low = (float)(mean - (double)found.high);
    return found;
}

/* ---- numbers; these functions return a number whose highest bit is set if a result is not finite */

#define DEFINE_PUT(NUMBER, TYPE)                                                                                          \
    static uint32_t put_##NUMBER(statistics of_image, const float *restrict from, TYPE *restrict to, int64_t n)         \
    {                                                                                                                   \
        uint32_t not_finite = 0;                                                                                        \
        for (int64_t k = 0; k < n; k++) {                                                                               \
            const float value = ((from[k] - of_image.high) - of_image.low) * of_image.factor;                           \
            not_finite |= excess(value, LIMIT_##NUMBER);                                                                \
            to[k] = to_##NUMBER(value);                                                                                 \
        }                                                                                                               \
        return not_finite;                                                                                              \
    }

DEFINE_PUT(float32, float)
DEFINE_PUT(float16, uint16_t)
DEFINE_PUT(bfloat16, uint16_t)

#ifdef FASTPREP_X86
#define INLINE FASTPREP_HALVES static inline __attribute__((always_inline))

INLINE void write_float32(float *to, __m256 x, int stream)
{
    if (stream)
        _mm256_stream_ps(to, x);
    else
        _mm256_storeu_ps(to, x);
}

INLINE void write_halves(uint16_t *to, __m128i x, int stream)
{
    if (stream)
        _mm_stream_si128((__m128i *)to, x);
    else
        _mm_storeu_si128((__m128i *)to, x);
}

INLINE void write_float16(uint16_t *to, __m256 x, int stream) { write_halves(to, floats_to_float16(x), stream); }

INLINE void write_bfloat16(uint16_t *to, __m256 x, int stream) { write_halves(to, floats_to_bfloat16(x), stream); }

/* Streams go to whole vectors; the numbers before the first one, and after the last one, are left to the portable loop. */
#define DEFINE_PUT_AVX2(NUMBER, TYPE)                                                                                     \
    FASTPREP_HALVES static uint32_t put_##NUMBER##_avx2(statistics of_image, const float *from, TYPE *to, int64_t n,     \
                                                        int stream)                                                     \
    {                                                                                                                   \
        const __m256 high = _mm256_set1_ps(of_image.high), low = _mm256_set1_ps(of_image.low);                          \
        const __m256 factor = _mm256_set1_ps(of_image.factor);                                                          \
        const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);                                                        \
        const __m256i beyond = _mm256_set1_epi32((int)(0x80000000u - LIMIT_##NUMBER));                                  \
        __m256i excesses = _mm256_setzero_si256();                                                                      \
        const int64_t before = (int64_t)(-(uintptr_t)to % (8 * sizeof(TYPE)) / sizeof(TYPE));                           \
        int64_t k = before < n ? before : n;                                                                            \
        uint32_t not_finite = put_##NUMBER(of_image, from, to, k);                                                      \
        for (; k + 8 <= n; k += 8) {                                                                                    \
            const __m256 rest = _mm256_sub_ps(_mm256_sub_ps(_mm256_loadu_ps(from + k), high), low);                     \
            const __m256 value = _mm256_mul_ps(rest, factor);                                                           \
            const __m256i bits = _mm256_and_si256(_mm256_castps_si256(value), magnitude);                               \
            excesses = _mm256_or_si256(excesses, _mm256_add_epi32(bits, beyond));                                       \
            write_##NUMBER(to + k, value, stream);                                                                      \
        }                                                                                                               \
        not_finite |= _mm256_movemask_ps(_mm256_castsi256_ps(excesses)) ? 0x80000000u : 0;                              \
        return not_finite | put_##NUMBER(of_image, from + k, to + k, n - k);                                            \
    }

DEFINE_PUT_AVX2(float32, float)
DEFINE_PUT_AVX2(float16, uint16_t)
DEFINE_PUT_AVX2(bfloat16, uint16_t)
#define PUT(NUMBER)                                                                                                       \
    (standard->version == FASTPREP_PORTABLE ? put_##NUMBER(found, image, target, standard->n)                           \
                                            : put_##NUMBER##_avx2(found, image, target, standard->n, standard->stream))
#else
#define PUT(NUMBER) put_##NUMBER(found, image, target, standard->n)
#endif

int fastprep_standardize(const fastprep_standard *standard, const float *image, void *target)
{
    const statistics found = statistics_of(standard, image);
    uint32_t not_finite;
    switch (standard->type) {
    case FASTPREP_TO_FLOAT32: not_finite = PUT(float32); break;
    case FASTPREP_TO_FLOAT16: not_finite = PUT(float16); break;
    default: not_finite = PUT(bfloat16);
    }
#ifdef FASTPREP_X86
    if (standard->version != FASTPREP_PORTABLE && standard->stream) _mm_sfence(); /* for other threads */
#endif
    return !(not_finite >> 31);
}
