/* The loops over uint8 rows that the x86 versions replace. Everything else is portable. */
#ifndef FASTPREP_CROP_X86_H
#define FASTPREP_CROP_X86_H

#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define FASTPREP_X86 1

/* Convert whole cache lines: blocks of FASTPREP_BLOCK pixels of one plane. `target`, `mean` and `scale` are 64-byte aligned.
 * `mean` advances by `mean_step` from block to block; `scale` is the same for all blocks, and may be NULL. Return the number of
 * converted numbers, at most n. */
typedef int64_t fastprep_lines(const uint8_t *bytes, const float *mean, int64_t mean_step, const float *scale, void *target,
                               int64_t n, int64_t channels, int stream);

fastprep_lines *fastprep_lines_avx2(int target_type);
fastprep_lines *fastprep_lines_avx512(int target_type);

/* fastprep_arrange for bytes, where it is more than a copy. Return the number of pixels that were arranged, all or none: only rows
 * of 1, 3 or 4 channels that are not too short are handled. */
int64_t fastprep_arrange_avx2(const uint8_t *source, uint8_t *const *to, int64_t width, int64_t channels, int mirrored, int apart);
int64_t fastprep_arrange_avx512(const uint8_t *source, uint8_t *const *to, int64_t width, int64_t channels, int mirrored,
                                int apart);

void fastprep_fence(void);  /* makes streamed stores visible to other threads */
#endif

#endif
