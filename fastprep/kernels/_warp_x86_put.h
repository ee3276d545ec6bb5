/* Output in whole blocks, included by _warp_out_x86.c once for each instruction set. Before that it defines NAME(x), TARGET and
 * INLINE; the functions on 16 numbers are those of _crop_x86_numbers.h. */

INLINE NAME(floats16) NAME(sum)(const float *const *rows, const float *weights, const int64_t n_rows, int64_t at)
{
    NAME(floats16) total = NAME(read)(rows[0] + at);
    if (n_rows) total = NAME(times)(total, NAME(all)(weights[0]));
    for (int64_t r = 1; r < n_rows; r++)
        total = NAME(plus)(total, NAME(times)(NAME(read)(rows[r] + at), NAME(all)(weights[r])));
    return total;
}

INLINE NAME(floats16) NAME(finish)(fastprep_block_values of, NAME(floats16) x, int64_t at)
{
    if (of.gain) x = NAME(times)(x, NAME(read)(of.gain + at));
    if (of.shift) x = NAME(plus)(x, NAME(read)(of.shift + at));
    if (of.mean) x = NAME(minus)(x, NAME(read)(of.mean + at));
    return of.scale ? NAME(times)(x, NAME(read)(of.scale + at)) : x;
}

#define DEFINE_PUT(PUT, SIZE)                                                                                            \
    INLINE uint32_t NAME(PUT##_rows)(fastprep_plane_out *to, const float *const *rows, const float *weights,            \
                                     const int64_t n_rows, int64_t n)                                                   \
    {                                                                                                                   \
        const fastprep_block_values values = to->values;                                                                \
        uint32_t not_finite = 0;                                                                                        \
        int64_t at = -to->n_waiting;                                                                                    \
        for (; at < n; at += FASTPREP_OUT_BLOCK, to->target += FASTPREP_OUT_BLOCK * SIZE) {                             \
            const int64_t first = at < 0 ? -at : 0, end = n - at < FASTPREP_OUT_BLOCK ? n - at : FASTPREP_OUT_BLOCK;     \
            NAME(floats16) low = NAME(finish)(values, NAME(sum)(rows, weights, n_rows, at), at);                        \
            NAME(floats16) high = NAME(finish)(values, NAME(sum)(rows, weights, n_rows, at + 16), at + 16);             \
            if (first || end < FASTPREP_OUT_BLOCK || to->is_checked) {                                                  \
                float block[FASTPREP_OUT_BLOCK];                                                                        \
                NAME(write)(block, low);                                                                                \
                NAME(write)(block + 16, high);                                                                          \
                memcpy(to->waiting + first, block + first, (size_t)(end - first) * sizeof(float));                      \
                if (to->is_checked) not_finite |= check(to, first, end);                                                \
                to->n_waiting = end;                                                                                    \
                if (end < FASTPREP_OUT_BLOCK) return not_finite;                                                        \
                if (to->before || to->is_checked) { /* rounding to bfloat16 knows no NaN */                             \
                    fastprep_put_rest(to);                                                                              \
                    continue;                                                                                           \
                }                                                                                                       \
                low = NAME(read)(to->waiting);                                                                          \
                high = NAME(read)(to->waiting + 16);                                                                    \
            }                                                                                                           \
            NAME(PUT)(to->target, low, high, to->stream);                                                               \
        }                                                                                                               \
        to->n_waiting = 0;                                                                                              \
        return not_finite;                                                                                              \
    }                                                                                                                   \
    TARGET static uint32_t NAME(rows_##PUT)(fastprep_plane_out *to, const float *const *rows, const float *weights,     \
                                            int64_t n_rows, int64_t n)                                                  \
    {                                                                                                                   \
        switch (n_rows) {                                                                                               \
        case 0: return NAME(PUT##_rows)(to, rows, weights, 0, n);                                                       \
        case 1: return NAME(PUT##_rows)(to, rows, weights, 1, n);                                                       \
        case 2: return NAME(PUT##_rows)(to, rows, weights, 2, n);                                                       \
        case 3: return NAME(PUT##_rows)(to, rows, weights, 3, n);                                                       \
        case 4: return NAME(PUT##_rows)(to, rows, weights, 4, n);                                                       \
        default: return NAME(PUT##_rows)(to, rows, weights, n_rows, n);                                                 \
        }                                                                                                               \
    }

DEFINE_PUT(put_float32, 4)
DEFINE_PUT(put_float16, 2)
DEFINE_PUT(put_bfloat16, 2)

uint32_t NAME(fastprep_put)(fastprep_plane_out *to, const float *const *rows, const float *weights, int64_t n_rows, int64_t n)
{
    switch (to->type) {
    case FASTPREP_TO_FLOAT32: return NAME(rows_put_float32)(to, rows, weights, n_rows, n);
    case FASTPREP_TO_FLOAT16: return NAME(rows_put_float16)(to, rows, weights, n_rows, n);
    default: return NAME(rows_put_bfloat16)(to, rows, weights, n_rows, n);
    }
}

INLINE void NAME(add_rows)(const float *const *rows, const float *weights, const int64_t n_rows, float *to, int64_t n)
{
    for (int64_t at = 0; at < n; at += 16) NAME(write)(to + at, NAME(sum)(rows, weights, n_rows, at));
}

TARGET void NAME(fastprep_add_rows)(const float *const *rows, const float *weights, int64_t n_rows, float *to, int64_t n)
{
    switch (n_rows) {
    case 2: NAME(add_rows)(rows, weights, 2, to, n); break;
    case 3: NAME(add_rows)(rows, weights, 3, to, n); break;
    case 4: NAME(add_rows)(rows, weights, 4, to, n); break;
    default: NAME(add_rows)(rows, weights, n_rows, to, n);
    }
}

#undef DEFINE_PUT
#undef NAME
#undef TARGET
#undef INLINE
