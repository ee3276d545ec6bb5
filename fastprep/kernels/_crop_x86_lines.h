/* Conversion of bytes into whole cache lines, included by _crop_x86.c once for each instruction set. Before that it defines
 * NAME(x), TARGET and INLINE; floats16, from_bytes, subtract and multiply, for 16 numbers at a time; and put_float32, put_float16
 * and put_bfloat16, which store 32 numbers at an aligned address, around the caches if `stream` is not 0. */

#define DEFINE_LINES(PUT, SIZE)                                                                                          \
    INLINE int64_t NAME(PUT##_lines)(const uint8_t *restrict bytes, const float *restrict mean, int64_t mean_step,      \
                                     const float *restrict scale, char *restrict target, int64_t n, int64_t channels,   \
                                     const int scaled, const int stream)                                                \
    {                                                                                                                   \
        const int64_t block = FASTPREP_BLOCK * channels;                                                                \
        int64_t done = 0;                                                                                               \
        for (; done + block <= n; done += block, bytes += block, mean += mean_step)                                     \
            for (int64_t k = 0; k < block; k += 32, target += 32 * SIZE) {                                              \
                NAME(floats16) low = NAME(subtract)(NAME(from_bytes)(bytes + k), mean + k);                             \
                NAME(floats16) high = NAME(subtract)(NAME(from_bytes)(bytes + k + 16), mean + k + 16);                  \
                if (scaled) {                                                                                           \
                    low = NAME(multiply)(low, scale + k);                                                               \
                    high = NAME(multiply)(high, scale + k + 16);                                                        \
                }                                                                                                       \
                NAME(PUT)(target, low, high, stream);                                                                   \
            }                                                                                                           \
        return done;                                                                                                    \
    }                                                                                                                   \
    TARGET static int64_t NAME(lines_##PUT)(const uint8_t *bytes, const float *mean, int64_t mean_step,                 \
                                            const float *scale, void *target, int64_t n, int64_t channels, int stream)  \
    {                                                                                                                   \
        if (scale && stream) return NAME(PUT##_lines)(bytes, mean, mean_step, scale, target, n, channels, 1, 1);        \
        if (scale) return NAME(PUT##_lines)(bytes, mean, mean_step, scale, target, n, channels, 1, 0);                  \
        if (stream) return NAME(PUT##_lines)(bytes, mean, mean_step, mean, target, n, channels, 0, 1);                  \
        return NAME(PUT##_lines)(bytes, mean, mean_step, mean, target, n, channels, 0, 0);                              \
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
