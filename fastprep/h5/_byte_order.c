#include "_byte_order.h"

#include <string.h>

#define SWAP(bits)                                                                      \
    static void swap_##bits(const uint8_t *source, uint8_t *target, int64_t n_bytes) {    \
        for (int64_t k = 0; k < n_bytes; k += bits / 8) {                               \
            uint##bits##_t number;                                                      \
            memcpy(&number, source + k, sizeof number);                                 \
            number = __builtin_bswap##bits(number);                                     \
            memcpy(target + k, &number, sizeof number);                                 \
        }                                                                               \
    }
SWAP(16)
SWAP(32)
SWAP(64)

#if defined(__x86_64__) && defined(__GNUC__) && !defined(FASTPREP_NO_X86)
#include <immintrin.h>

/* Swap whole vectors, and return how many bytes that were. SSE2, which compilers are confined to, lacks the shuffle. */
__attribute__((target("avx2"))) static int64_t swap_vectors(const uint8_t *source, uint8_t *target, int64_t n_bytes, int64_t size) {
    uint8_t turned[32];
    for (int k = 0; k < 32; k++) turned[k] = (uint8_t)((k % 16) ^ (int)(size - 1)); /* within a half of a vector */
    const __m256i order = _mm256_loadu_si256((const __m256i *)turned);
    int64_t k = 0;
    for (; k + 32 <= n_bytes; k += 32) {
        const __m256i numbers = _mm256_loadu_si256((const __m256i *)(source + k));
        _mm256_storeu_si256((__m256i *)(target + k), _mm256_shuffle_epi8(numbers, order));
    }
    return k;
}

static int64_t swap_most(const uint8_t *source, uint8_t *target, int64_t n_bytes, int64_t size) {
    return __builtin_cpu_supports("avx2") ? swap_vectors(source, target, n_bytes, size) : 0;
}
#else
static int64_t swap_most(const uint8_t *source, uint8_t *target, int64_t n_bytes, int64_t size) {
    (void)source, (void)target, (void)n_bytes, (void)size;
    return 0;
}
#endif

void fastprep_swap_bytes(const uint8_t *source, uint8_t *target, int64_t n_bytes, int64_t size) {
    const int64_t whole = n_bytes / size * size, done = swap_most(source, target, whole, size);
    switch (size) {
        case 2: swap_16(source + done, target + done, whole - done); break;
        case 4: swap_32(source + done, target + done, whole - done); break;
        default: swap_64(source + done, target + done, whole - done);
    }
    if (target != source) memcpy(target + whole, source + whole, (size_t)(n_bytes - whole));
}
