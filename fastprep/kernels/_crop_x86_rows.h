/* Conversion of rows into whole cache lines, included by _crop_x86_rows.c once for each instruction set. Before that it defines
 * NAME(x), TARGET and INLINE, and there are the functions of _crop_x86_numbers.h and _crop_x86_sources.h. */

/* Return 16 numbers that are converted to float32, less their mean, times their scale. */
#define DEFINE_VALUES(FROM, SOURCE)                                                                                     \
    INLINE NAME(floats16) NAME(values_##FROM)(const SOURCE *source, const float *mean, const float *scale, const int scaled)\
    {                                                                                                                   \
        const NAME(floats16) x = NAME(minus)(NAME(FROM)(source), NAME(read)(mean));                                     \
        return scaled ? NAME(times)(x, NAME(read)(scale)) : x;                                                          \
    }

/* Write a line of results, 16 or 32 of them. `largest` collects what tells whether all are finite, where `checked` asks for it. */
#define DEFINE_LINE(FROM, SOURCE, CHECKED)                                                                              \
    INLINE void NAME(FROM##_line_float32)(const SOURCE *source, const float *mean, const float *scale, char *target,    \
                                          const int scaled, const int stream, NAME(integers16) *largest)                \
    {                                                                                                                   \
        const NAME(floats16) x = NAME(values_##FROM)(source, mean, scale, scaled);                                      \
        if (CHECKED) *largest = NAME(larger)(*largest, x);                                                              \
        NAME(put_line)(target, x, stream);                                                                              \
    }                                                                                                                   \
    INLINE void NAME(FROM##_line_float16)(const SOURCE *source, const float *mean, const float *scale, char *target,    \
                                          const int scaled, const int stream, NAME(integers16) *largest)                \
    {                                                                                                                   \
        const NAME(floats16) x = NAME(values_##FROM)(source, mean, scale, scaled);                                      \
        const NAME(floats16) y = NAME(values_##FROM)(source + 16, mean + 16, scale + 16, scaled);                       \
        if (CHECKED) *largest = NAME(larger)(NAME(larger)(*largest, x), y);                                             \
        NAME(put_float16)(target, x, y, stream);                                                                        \
    }                                                                                                                   \
    INLINE void NAME(FROM##_line_bfloat16)(const SOURCE *source, const float *mean, const float *scale, char *target,   \
                                           const int scaled, const int stream, NAME(integers16) *largest)               \
    {                                                                                                                   \
        const NAME(floats16) x = NAME(values_##FROM)(source, mean, scale, scaled);                                      \
        const NAME(floats16) y = NAME(values_##FROM)(source + 16, mean + 16, scale + 16, scaled);                       \
        if (CHECKED) *largest = NAME(larger)(NAME(larger)(*largest, x), y);                                             \
        (CHECKED ? NAME(put_bfloat16_or_nan) : NAME(put_bfloat16))(target, x, y, stream);                               \
    }

/* The numbers that wait for the next row are the last ones of a line in front of that which begins this row. So a line of both is read
 * out of the two, whatever its parts are. Rows that are shorter than a line take another way; nothing outside a row is read.
 *
 * WRITE writes a line, or that part of it which is not somebody else's. SHORT appends a row of n numbers, less than a line. */
#define DEFINE_ROW(FROM, SOURCE, TYPE, SIZE)                                                                            \
    INLINE void NAME(FROM##_write_##TYPE)(fastprep_line *to, const char *line, const int stream)                        \
    {                                                                                                                   \
        const size_t first = (size_t)to->first * (SIZE);                                                                \
        if (first)                                                                                                      \
            memcpy(to->target + first, line + first, 64 - first);                                                       \
        else                                                                                                            \
            NAME(copy_line)(to->target, line, stream);                                                                  \
        to->first = 0;                                                                                                  \
        to->target += 64;                                                                                               \
    }                                                                                                                   \
    TARGET static uint32_t NAME(FROM##_short_##TYPE)(const SOURCE *source, const float *mean, const float *scale, fastprep_line *to,\
                                                     int64_t n, int scaled, int stream)                                 \
    {                                                                                                                   \
        enum { WHOLE = 64 / (SIZE) };                                                                                   \
        _Alignas(64) char line[64];                                                                                     \
        SOURCE numbers[WHOLE] = {0};                                                                                    \
        float means[WHOLE] = {0}, scales[WHOLE] = {0};                                                                  \
        NAME(integers16) largest = NAME(none)();                                                                        \
        char *const end = to->numbers + 64;                                                                             \
        const int64_t more = to->n + n < WHOLE ? n : WHOLE - to->n, left = n - more;                                    \
        memcpy(numbers, source, (size_t)n * sizeof(SOURCE));                                                            \
        memcpy(means, mean, (size_t)n * sizeof(float));                                                                 \
        memcpy(scales, scale, (size_t)n * sizeof(float));                                                               \
        NAME(FROM##_line_##TYPE)(numbers, means, scales, line, scaled, 0, &largest);                                    \
        memmove(end - (to->n + more) * (SIZE), end - to->n * (SIZE), (size_t)to->n * (SIZE));                           \
        memcpy(end - more * (SIZE), line, (size_t)more * (SIZE));                                                       \
        to->n += more;                                                                                                  \
        if (to->n == WHOLE) {                                                                                           \
            NAME(FROM##_write_##TYPE)(to, to->numbers, stream);                                                         \
            memcpy(end - left * (SIZE), line + more * (SIZE), (size_t)left * (SIZE));                                   \
            to->n = left;                                                                                               \
        }                                                                                                               \
        return NAME(largest_of)(largest) >= 2 * LIMIT_##TYPE;                                                           \
    }                                                                                                                   \
    INLINE uint32_t NAME(FROM##_row_of_##TYPE)(const SOURCE *source, const float *mean, const float *scale, fastprep_line *to,\
                                               int64_t n, const int scaled, const int stream)                           \
    {                                                                                                                   \
        enum { WHOLE = 64 / (SIZE) };                                                                                   \
        NAME(integers16) largest = NAME(none)();                                                                        \
        int64_t k = 0;                                                                                                  \
        if (n < WHOLE) return NAME(FROM##_short_##TYPE)(source, mean, scale, to, n, scaled, stream);                    \
        if (to->n) {                                                                                                    \
            NAME(FROM##_line_##TYPE)(source, mean, scale, to->numbers + 64, scaled, 0, &largest);                       \
            k = WHOLE - to->n;                                                                                          \
            NAME(FROM##_write_##TYPE)(to, to->numbers + k * (SIZE), stream);                                            \
        }                                                                                                               \
        char *target = to->target;                                                                                      \
        for (; k + WHOLE <= n; k += WHOLE, target += 64)                                                                \
            NAME(FROM##_line_##TYPE)(source + k, mean + k, scale + k, target, scaled, stream, &largest);                \
        to->target = target;                                                                                            \
        to->n = n - k;                                                                                                  \
        if (to->n) {                                                                                                    \
            k = n - WHOLE;                                                                                              \
            NAME(FROM##_line_##TYPE)(source + k, mean + k, scale + k, to->numbers, scaled, 0, &largest);                \
        }                                                                                                               \
        return NAME(largest_of)(largest) >= 2 * LIMIT_##TYPE;                                                           \
    }                                                                                                                   \
    TARGET static uint32_t NAME(FROM##_row_##TYPE)(const void *source, const float *mean, const float *scale, int scaled,\
                                                   int stream, int64_t n, fastprep_line *to)                            \
    {                                                                                                                   \
        if (scaled && stream) return NAME(FROM##_row_of_##TYPE)(source, mean, scale, to, n, 1, 1);                      \
        if (scaled) return NAME(FROM##_row_of_##TYPE)(source, mean, scale, to, n, 1, 0);                                \
        if (stream) return NAME(FROM##_row_of_##TYPE)(source, mean, scale, to, n, 0, 1);                                \
        return NAME(FROM##_row_of_##TYPE)(source, mean, scale, to, n, 0, 0);                                            \
    }

#define DEFINE_ROWS(FROM, SOURCE, CHECKED)                                                                              \
    DEFINE_VALUES(FROM, SOURCE)                                                                                         \
    DEFINE_LINE(FROM, SOURCE, CHECKED)                                                                                  \
    DEFINE_ROW(FROM, SOURCE, float32, 4)                                                                                \
    DEFINE_ROW(FROM, SOURCE, float16, 2)                                                                                \
    DEFINE_ROW(FROM, SOURCE, bfloat16, 2)

DEFINE_ROWS(from_bytes, uint8_t, 0)
DEFINE_ROWS(from_uint16, uint16_t, 0)
DEFINE_ROWS(from_int16, int16_t, 0)
DEFINE_ROWS(from_float32, float, 1)
DEFINE_ROWS(from_float64, double, 1)

#define ROWS_FROM(FROM) {NAME(FROM##_row_float32), NAME(FROM##_row_float16), NAME(FROM##_row_bfloat16)}

/* By type of the source and type of the result */
fastprep_convert_row *NAME(fastprep_rows)(int source_type, int target_type)
{
    static fastprep_convert_row *const rows[][3] = {
        [FASTPREP_UINT8] = ROWS_FROM(from_bytes),     [FASTPREP_UINT16] = ROWS_FROM(from_uint16),
        [FASTPREP_INT16] = ROWS_FROM(from_int16),     [FASTPREP_FLOAT32] = ROWS_FROM(from_float32),
        [FASTPREP_FLOAT64] = ROWS_FROM(from_float64),
    };
    return rows[source_type][target_type];
}

#undef ROWS_FROM
#undef DEFINE_ROWS
#undef DEFINE_ROW
#undef DEFINE_LINE
#undef DEFINE_VALUES
#undef NAME
#undef TARGET
#undef INLINE
