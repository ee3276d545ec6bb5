/* Conversion of bytes whose colours are mapped into whole cache lines, included by _crop_x86.c once for each instruction set. Before that it defines
 * NAME(x), TARGET and INLINE; floats16, from_bytes, add, subtract and multiply, for 16 numbers at a time; and put_float32, put_float16
 * and put_bfloat16, which store 32 numbers at an aligned address, around the caches if `stream` is not 0. */

#define DEFINE_LINES(PUT, SIZE)                                                                                         \
    INLINE int64_t NAME(PUT##_lines)(const uint8_t *restrict bytes, const fastprep_block_values *values,                \
                                     char *restrict target, int64_t n, int64_t channels, const int gained,              \
                                     const int scaled, const int stream)                                                \
    {                                                                                                                   \
        const int64_t block = FASTPREP_BLOCK * channels;                                                                \
        int64_t done = 0;                                                                                               \
        for (; done + block <= n; done += block, bytes += block)                                                        \
            for (int64_t k = 0; k < block; k += 32, target += 32 * SIZE) {                                              \
                NAME(floats16) low = NAME(from_bytes)(bytes + k), high = NAME(from_bytes)(bytes + k + 16);              \
                if (gained) {                                                                                           \
                    low = NAME(multiply)(low, values->gain + k);                                                        \
                    high = NAME(multiply)(high, values->gain + k + 16);                                                 \
                }                                                                                                       \
                low = NAME(subtract)(NAME(add)(low, values->shift + k), values->mean + k);                              \
                high = NAME(subtract)(NAME(add)(high, values->shift + k + 16), values->mean + k + 16);                  \
                if (scaled) {                                                                                           \
                    low = NAME(multiply)(low, values->scale + k);                                                       \
                    high = NAME(multiply)(high, values->scale + k + 16);                                                \
                }                                                                                                       \
                NAME(PUT)(target, low, high, stream);                                                                   \
            }                                                                                                           \
        return done;                                                                                                    \
    }                                                                                                                   \
    TARGET static int64_t NAME(lines_##PUT)(const uint8_t *bytes, const fastprep_block_values *of, void *target,        \
                                            int64_t n, int64_t channels, int stream)                                    \
    {                                                                                                                   \
        const fastprep_block_values values = *of;                                                                       \
        const int scaled = values.scale != NULL;                                                                        \
        if (values.gain) return NAME(PUT##_lines)(bytes, &values, target, n, channels, 1, scaled, stream);              \
        if (!scaled && stream) return NAME(PUT##_lines)(bytes, &values, target, n, channels, 0, 0, 1);                  \
        return NAME(PUT##_lines)(bytes, &values, target, n, channels, 0, scaled, stream);                               \
    }

DEFINE_LINES(put_float32, 4)
DEFINE_LINES(put_float16, 2)
DEFINE_LINES(put_bfloat16, 2)

fastprep_lines *NAME(fastprep_lines)(int target_type)
{
    switch (target_type) {
    case FASTPREP_TO_FLOAT32: return NAME(lines_put_float32);
    case FASTPREP_TO_FLOAT16: return NAME(lines_put_float16);
    default: return NAME(lines_put_bfloat16);
    }
}

#undef DEFINE_LINES
#undef NAME
#undef TARGET
#undef INLINE
