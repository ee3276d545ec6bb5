/* Output of the warp kernel in whole cache lines, which can be written around the caches. */
#include "_warp_x86.h"

#include "_crop.h"
#include "_crop_numbers.h"

#ifdef FASTPREP_X86
#include <string.h>

#include "_crop_x86_numbers.h"

/* Return whether there is a waiting number, from `first` on, that is not finite in the type of the result. */
static uint32_t check(const fastprep_plane_out *to, int64_t first, int64_t end)
{
    const uint32_t limit = to->type == FASTPREP_TO_FLOAT32   ? LIMIT_float32
                           : to->type == FASTPREP_TO_FLOAT16 ? LIMIT_float16
                                                             : LIMIT_bfloat16;
    uint32_t not_finite = 0;
    for (int64_t k = first; k < end; k++) not_finite |= excess(to->waiting[k], limit);
    return not_finite & 0x80000000u;
}

void fastprep_put_rest(fastprep_plane_out *to)
{
    for (int64_t k = to->before; k < to->n_waiting; k++) {
        const float value = to->waiting[k];
        if (to->type == FASTPREP_TO_FLOAT32)
            ((float *)to->target)[k] = value;
        else
            ((uint16_t *)to->target)[k] = to->type == FASTPREP_TO_FLOAT16 ? to_float16(value) : to_bfloat16(value);
    }
    to->before = to->n_waiting = 0;
}

#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2,f16c")))
#define INLINE TARGET static inline __attribute__((always_inline))
#include "_warp_x86_put.h"

#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,f16c")))
#define INLINE TARGET static inline __attribute__((always_inline))
#include "_warp_x86_put.h"
#endif
