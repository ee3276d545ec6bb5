/* Rows of numbers of any type, converted and written as whole cache lines. */
#include "_crop_x86.h"

#include "_crop.h"

#ifdef FASTPREP_X86
#include <string.h>

#include "_crop_numbers.h"
#include "_crop_x86_sources.h"

#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2,f16c")))
#define INLINE TARGET static inline __attribute__((always_inline))
#include "_crop_x86_rows.h"

#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,f16c")))
#define INLINE TARGET static inline __attribute__((always_inline))
#include "_crop_x86_rows.h"
#endif
