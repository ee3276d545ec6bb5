#include "_mask.h"

#include <string.h>

/* Bytes are turned round eight at a time; the compiler does as well for larger numbers by itself. */
static void reverse_8(const uint8_t *source, int64_t n, uint8_t *target) {
    int64_t j = 0;
    for (; j + 8 <= n; j += 8) {
        uint64_t eight;
        memcpy(&eight, source + n - j - 8, 8);
        eight = __builtin_bswap64(eight);
        memcpy(target + j, &eight, 8);
    }
    for (; j < n; j++) target[j] = source[n - 1 - j];
}

#define REVERSE(name, type)                                                  \
    static void name(const type *source, int64_t n, type *target) {          \
        for (int64_t j = 0; j < n; j++) target[j] = source[n - 1 - j];       \
    }
REVERSE(reverse_16, uint16_t)
REVERSE(reverse_32, uint32_t)
REVERSE(reverse_64, uint64_t)

#define NUMBER uint8_t
#define NAME(function) function##_8
#include "_mask_numbers.h"
#undef NUMBER
#undef NAME

#define NUMBER uint16_t
#define NAME(function) function##_16
#include "_mask_numbers.h"
#undef NUMBER
#undef NAME

#define NUMBER uint32_t
#define NAME(function) function##_32
#include "_mask_numbers.h"
#undef NUMBER
#undef NAME

#define NUMBER uint64_t
#define NAME(function) function##_64
#include "_mask_numbers.h"
#undef NUMBER
#undef NAME

void fastprep_mask_pick(
    const fastprep_mask *mask, const void *source, const int64_t *down, const int64_t *across, void *target
) {
    switch (mask->item_bytes) {
        case 1: pick_8(mask, source, down, across, target); break;
        case 2: pick_16(mask, source, down, across, target); break;
        case 4: pick_32(mask, source, down, across, target); break;
        default: pick_64(mask, source, down, across, target);
    }
}

void fastprep_mask_map(
    const fastprep_mask *mask, const void *source, const int64_t *start, const int64_t *right, const int64_t *down, void *target
) {
    switch (mask->item_bytes) {
        case 1: map_8(mask, source, start, right, down, target); break;
        case 2: map_16(mask, source, start, right, down, target); break;
        case 4: map_32(mask, source, start, right, down, target); break;
        default: map_64(mask, source, start, right, down, target);
    }
}
