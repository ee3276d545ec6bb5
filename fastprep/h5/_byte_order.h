/* Numbers in the other byte order. */
#ifndef FASTPREP_BYTE_ORDER_H
#define FASTPREP_BYTE_ORDER_H

#include <stdint.h>

/* Turn round the bytes of each number of `size` bytes: 2, 4 or 8. `target` is `source`, or does not overlap with it. Bytes at the end
   that fill no number are copied. */
void fastprep_swap_bytes(const uint8_t *source, uint8_t *target, int64_t n_bytes, int64_t size);

#endif
