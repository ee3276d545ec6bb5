/* What the x86 versions bring: the loops over uint8 rows. Everything else is portable. */
#ifndef FASTPREP_CROP_X86_H
#define FASTPREP_CROP_X86_H

#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define FASTPREP_X86 1

/* Convert whole cache lines: `target`, `mean` and `scale` are 64-byte aligned. Blocks of FASTPREP_BLOCK pixels of one plane; `mean`
 * moves on by `mean_step` from block to block, `scale` serves them all and may be NULL. Return how many numbers were converted, at most n. */
typedef int64_t fastprep_lines(const uint8_t *bytes, const float *mean, int64_t mean_step, const float *scale, void *target,
                               int64_t n, int64_t channels, int stream);

fastprep_lines *fastprep_lines_avx2(int target_type);
fastprep_lines *fastprep_lines_avx512(int target_type);

/* fastprep_arrange for bytes, where it is not a plain copy. Return how many pixels of the result are there, which is all of them or
 * none: there are versions for 1, 3 and 4 channels and rows that are not too short. */
int64_t fastprep_arrange_avx2(const uint8_t *source, uint8_t *const *to, int64_t width, int64_t channels, int mirrored, int apart);
int64_t fastprep_arrange_avx512(const uint8_t *source, uint8_t *const *to, int64_t width, int64_t channels, int mirrored,
                                int apart);

void fastprep_fence(void);  /* streamed stores are seen by other threads from here on */
#endif

#endif
