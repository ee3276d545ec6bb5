/* The loops over uint8 rows that the x86 versions replace. Everything else is portable. */
#ifndef FASTPREP_CROP_X86_H
#define FASTPREP_CROP_X86_H

#include <stdint.h>

/* FASTPREP_NO_X86 leaves them out, so that what other processors run can be tried on this one. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(FASTPREP_NO_X86)
#define FASTPREP_X86 1

/* What numbers of a block become: times `gain`, plus `shift`, less `mean`, times `scale`. All are 64-byte aligned, and the same for
 * all blocks. `scale` and `gain` may be NULL. */
typedef struct {
    const float *mean, *scale, *gain, *shift;
} fastprep_block_values;

/* Map colours and convert to whole cache lines: blocks of FASTPREP_BLOCK pixels of one plane. `target` is 64-byte aligned. Return the number of
 * converted numbers, at most n. */
typedef int64_t fastprep_lines(const uint8_t *bytes, const fastprep_block_values *values, void *target, int64_t n, int64_t channels,
                               int stream);

/* A line of a plane: where it goes, and the n first numbers of it, which are the last ones of the first half of `numbers`; those
 * before `first` are somebody else's. The second half is working memory. `target` is 64-byte aligned. */
typedef struct {
    _Alignas(64) char numbers[128];
    char *target;
    int64_t first, n;
} fastprep_line;

/* Convert a row of n numbers, each with a mean and a scale of its own, and write those lines that become whole. Return whether there
 * is one that is not finite in the type of the result, which is not looked for among integers. */
typedef uint32_t fastprep_convert_row(const void *source, const float *mean, const float *scale, int scaled, int stream, int64_t n,
                                      fastprep_line *to);

fastprep_convert_row *fastprep_rows_avx2(int source_type, int target_type);
fastprep_convert_row *fastprep_rows_avx512(int source_type, int target_type);

fastprep_lines *fastprep_lines_avx2(int target_type);
fastprep_lines *fastprep_lines_avx512(int target_type);

/* A row of bytes: `channels` of those that are in the source. Within a row `column_step` bytes lead from a pixel to the next one,
 * and channel c of the result is `channel_at[c]` bytes after the start of its pixel. */
typedef struct {
    int64_t width, column_step, channels;
    const int64_t *channel_at;
} fastprep_row;

/* The functions below return the number of pixels that were done, all or none: they handle rows that are not too short. */

/* Turn round a row of 1, 3 or 4 channels. */
int64_t fastprep_mirror_avx2(const uint8_t *source, uint8_t *to, int64_t width, int64_t channels);
int64_t fastprep_mirror_avx512(const uint8_t *source, uint8_t *to, int64_t width, int64_t channels);

/* Copy n rows, `step` bytes apart, one behind the other, or turn them round. Return the number of rows that were done, all or none.
 * After the last row, up to FASTPREP_SLACK bytes may be overwritten. */
int64_t fastprep_short_rows_avx2(const uint8_t *source, int64_t step, uint8_t *to, int64_t n, int64_t width, int64_t channels,
                                 int mirrored);
int64_t fastprep_short_rows_avx512(const uint8_t *source, int64_t step, uint8_t *to, int64_t n, int64_t width, int64_t channels,
                                   int mirrored);

/* Separate channels of a source that has 3 or 4 into planes. Whole pixels of the source are read. */
int64_t fastprep_separate_avx2(const fastprep_row *row, const uint8_t *source, uint8_t *const *to, int mirrored);
int64_t fastprep_separate_avx512(const fastprep_row *row, const uint8_t *source, uint8_t *const *to, int mirrored);

/* Which of at most `n_bytes` bytes, from the lowest channel that is needed on, make how many pixels of a plane of the result.
 * `n_bytes` is 0 if the channels lie too far apart; `span` counts the bytes up to the last one that is needed. A pixel of the source
 * is `step` bytes after the one before it, one of the result `size` bytes. */
typedef struct {
    int64_t n_bytes, pixels, lowest, span, step, size;
    uint8_t from[64];
} fastprep_picks;

/* Plan a plane that has these channels of numbers of `size` bytes. `step` and `channel_at` count numbers. */
void fastprep_plan_picks(int64_t width, int64_t step, const int64_t *channel_at, int64_t channels, int64_t size, int64_t n_bytes,
                         int mirrored, fastprep_picks *plan);

/* Pick channels, channels last, by a plan for each of n planes. The pixels of the result from `first` to `last` are done; up to 15
 * bytes after `last` may be overwritten, so that the pixels there have to come later. Only bytes of the row are read. */
void fastprep_pick_avx2(int64_t width, const fastprep_picks *plans, int64_t n, const uint8_t *source, uint8_t *const *to,
                        int mirrored, int64_t *first, int64_t *last);
void fastprep_pick_avx512(int64_t width, const fastprep_picks *plans, int64_t n, const uint8_t *source, uint8_t *const *to,
                          int mirrored, int64_t *first, int64_t *last);

/* Which bytes of vectors of `n_bytes` bytes, one for each of 2, 3 or 4 channels that lie apart, make their interleaved pixels. The
 * byte is in the lower six bits, and of 64 bytes, the channel above. Of 16 bytes, each channel has a table of its own. */
typedef struct {
    int64_t n_bytes, channels, size;
    uint8_t from[256];
} fastprep_weave;

void fastprep_plan_weave(int64_t channels, int64_t size, int64_t n_bytes, int mirrored, fastprep_weave *plan);

/* Interleave rows of channels that lie apart, by a plan; `channel_at` counts numbers. */
int64_t fastprep_weave_rows(const fastprep_weave *plan, const uint8_t *source, const int64_t *channel_at, uint8_t *to, int64_t width,
                            int mirrored);

/* Interleave rows of 2, 3 or 4 channels that lie apart. */
int64_t fastprep_interleave_avx2(const fastprep_row *row, const uint8_t *source, uint8_t *to, int mirrored);
int64_t fastprep_interleave_avx512(const fastprep_row *row, const uint8_t *source, uint8_t *to, int mirrored);

/* Make rows of columns: `width` columns of n bytes, `step` bytes apart, become n rows. Both numbers are 16 and more. */
void fastprep_transpose_avx2(const uint8_t *source, int64_t step, uint8_t *to, int64_t to_step, int64_t n, int64_t width);
void fastprep_transpose_avx512(const uint8_t *source, int64_t step, uint8_t *to, int64_t to_step, int64_t n, int64_t width);

/* The same for numbers of 2, 4 or 8 bytes, which the steps count; at least 8 columns of 8. */
void fastprep_transpose_numbers(const char *source, int64_t step, char *to, int64_t to_step, int64_t n, int64_t width, int size);

typedef struct {
    const float *colors, *mean, *scale; /* 3 x 4; of the 3 channels, mean and scale from one pixel of a row on */
    int64_t step;                       /* from the mean of a channel to the next one */
} fastprep_color_plan;

/* Map the colours of interleaved bytes or floats, subtract the mean and scale. The result is interleaved, or has each channel by
 * itself if `plane_step` is not 0; `to` may be the source. With `stream` it is written around the caches; its address is then a
 * multiple of 64, and the width one of 16. Otherwise, up to 47 numbers are written after the row. After the source, up to 16 bytes,
 * or 47 numbers, are read, or more if the width is no multiple of 16. */
typedef void fastprep_color_row(const fastprep_color_plan *plan, const void *source, int is_bytes, float *to, int64_t plane_step,
                                int64_t width, int stream);

fastprep_color_row fastprep_color_row_avx2, fastprep_color_row_avx512;

void fastprep_fence(void);  /* makes streamed stores visible to other threads */
#endif

#endif
