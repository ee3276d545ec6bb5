/* The types of results, and float32. */
#ifndef FASTPREP_CROP_NUMBERS_H
#define FASTPREP_CROP_NUMBERS_H

#include <stdint.h>
#include <string.h>

static inline float to_float32(float value) { return value; }

/* Return one argument or the other without a branch, so that compilers vectorise the loops. */
static inline uint32_t choose(int condition, uint32_t one, uint32_t other)
{
    const uint32_t mask = 0u - (uint32_t)condition;
    return (one & mask) | (other & ~mask);
}

/* Round to IEEE 754 binary16, to nearest even. */
static inline uint16_t to_float16(float value)
{
    uint32_t bits, magnitude_bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u;
    bits &= 0x7FFFFFFFu;
    float magnitude;  /* below 2^-14, results are multiples of 2^-24, which is the spacing of floats at 0.5: the addition rounds */
    memcpy(&magnitude, &bits, sizeof magnitude);
    magnitude += 0.5f;
    memcpy(&magnitude_bits, &magnitude, sizeof magnitude_bits);
    const int32_t ordered = (int32_t)bits;                /* SSE2 compares signed integers only */
    uint32_t half = (bits + 0xFFFu + (bits >> 13 & 1u) - 0x38000000u) >> 13;
    half = choose(ordered < 0x38800000, magnitude_bits - 0x3F000000u, half);
    half = choose(ordered >= 0x477FF000, 0x7C00u, half);  /* 65520 and more: infinity */
    half = choose(ordered > 0x7F800000, 0x7E00u, half);   /* NaN */
    return (uint16_t)(sign | half);
}

/* Round to the upper half of a float32, to nearest even. */
static inline uint16_t to_bfloat16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t rounded = (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
    const int32_t ordered = (int32_t)(bits & 0x7FFFFFFFu);
    return (uint16_t)choose(ordered > 0x7F800000, bits >> 16 | 0x40u, rounded);  /* a NaN stays a NaN, and becomes quiet */
}

/* The bits of the least positive float32 that a type holds as infinity; those of infinity and of NaN are larger. */
#define LIMIT_float32 0x7F800000u
#define LIMIT_float16 0x477FF000u
#define LIMIT_bfloat16 0x7F7F8000u

/* Return a number whose highest bit is set if the type does not hold the value as a finite number. */
static inline uint32_t excess(float value, uint32_t limit)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7FFFFFFFu) + (0x80000000u - limit);
}

static inline float from_float32(float value) { return value; }

static inline float from_float16(uint16_t half)
{
    const uint32_t magnitude = half & 0x7FFFu;
    const uint32_t tiny_bits = 0x3F000000u | magnitude; /* below 2^-14: 0.5 and a multiple of 2^-24 */
    float tiny, value;
    memcpy(&tiny, &tiny_bits, sizeof tiny);
    tiny -= 0.5f;
    uint32_t bits, exact_bits = (magnitude << 13) + 0x38000000u;
    memcpy(&bits, &tiny, sizeof bits);
    exact_bits += choose((int32_t)magnitude >= 0x7C00, 0x38000000u, 0); /* infinity and NaN */
    bits = choose((int32_t)magnitude < 0x0400, bits, exact_bits) | (half & 0x8000u) << 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float from_bfloat16(uint16_t upper)
{
    const uint32_t bits = (uint32_t)upper << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
