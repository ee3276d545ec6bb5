/* Numbers of the CUDA kernels: their types, and arithmetic with the bits of the CPU kernels. A kernel's source is this text and its
 * file, one after the other, so it includes nothing and compiles alone. SOURCE and TARGET are types of this file.
 */
typedef unsigned char uint8;
typedef unsigned short uint16;
typedef short int16;
typedef float float32;
typedef double float64;
struct float16 {};
struct bfloat16 {};

/* Results are written as numbers of type Bits, VECTOR of them in 16 bytes of type Vector. */
template <typename T> struct Stored { typedef unsigned short Bits; typedef uint4 Vector; };
template <> struct Stored<float32> { typedef float Bits; typedef float4 Vector; };

/* The bits of the least positive float32 that a type holds as infinity; those of infinity and of NaN are larger. */
template <typename T> struct Limit { static constexpr unsigned BITS = 0x7F800000u; };
template <> struct Limit<float16> { static constexpr unsigned BITS = 0x477FF000u; };
template <> struct Limit<bfloat16> { static constexpr unsigned BITS = 0x7F7F8000u; };
typedef Stored<TARGET>::Bits Bits;
typedef Stored<TARGET>::Vector Vector;

constexpr bool IS_INTEGER = (SOURCE)1 / 2 == 0;
#ifdef HAS_NAN /* whether a result may be NaN, also of integers */
constexpr bool NAN_IS_POSSIBLE = HAS_NAN;
#else
constexpr bool NAN_IS_POSSIBLE = !IS_INTEGER;
#endif

/* PTX instead of operators or intrinsics: these instructions round to nearest even, keep subnormal numbers and are never fused,
 * whatever the compiler's options are. CuPy adds -ftz=true to the options. */
#ifdef __CUDACC__
__device__ __forceinline__ float subtract(float a, float b)
{
    float result;
    asm("sub.rn.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
    return result;
}
__device__ __forceinline__ float add(float a, float b)
{
    float result;
    asm("add.rn.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
    return result;
}
__device__ __forceinline__ float multiply(float a, float b)
{
    float result;
    asm("mul.rn.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
    return result;
}
__device__ __forceinline__ float narrow(double value)
{
    float result;
    asm("cvt.rn.f32.f64 %0, %1;" : "=f"(result) : "d"(value));
    return result;
}
__device__ __forceinline__ unsigned short half_bits(float value)
{
    unsigned short result;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result) : "f"(value));
    return result;
}
__device__ __forceinline__ float half_value(unsigned short bits)
{
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(bits));
    return result;
}
#if __CUDA_ARCH__ >= 800
__device__ __forceinline__ unsigned pair_bits(float low, float high, float16)
{
    unsigned result;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
    return result;
}
__device__ __forceinline__ unsigned pair_bits(float low, float high, bfloat16)
{
    unsigned result;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
    return result;
}
#endif
#endif

__device__ __forceinline__ float widen(uint8 value) { return (float)value; }
__device__ __forceinline__ float widen(uint16 value) { return (float)value; }
__device__ __forceinline__ float widen(int16 value) { return (float)value; }
__device__ __forceinline__ float widen(float32 value) { return value; }
__device__ __forceinline__ float widen(float64 value) { return narrow(value); }

__device__ __forceinline__ float bits_of(float value, float32) { return value; }
__device__ __forceinline__ unsigned bits_of(float value, float16)
{
    const unsigned bits = __float_as_uint(value);
    const bool is_nan = NAN_IS_POSSIBLE && (bits & 0x7FFFFFFFu) > 0x7F800000u; /* the instruction would lose the sign of a NaN */
    return is_nan ? (bits >> 16 & 0x8000u) | 0x7E00u : half_bits(value);
}
__device__ __forceinline__ unsigned bits_of(float value, bfloat16)
{
    const unsigned bits = __float_as_uint(value);
    const bool is_nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
    return (is_nan ? bits | 0x400000u : bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
}

__device__ __forceinline__ float4 pack(const float *values, float32)
{
    return make_float4(values[0], values[1], values[2], values[3]);
}
template <typename T> __device__ __forceinline__ unsigned pair(const float *values, T type)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    /* One instruction instead of many, for results without NaN: the instruction maps every NaN to the same one. */
    if (!NAN_IS_POSSIBLE) return pair_bits(values[0], values[1], type);
#endif
    return bits_of(values[0], type) | bits_of(values[1], type) << 16;
}
template <typename T> __device__ __forceinline__ uint4 pack(const float *values, T type)
{
    return make_uint4(pair(values, type), pair(values + 2, type), pair(values + 4, type), pair(values + 6, type));
}

#ifdef CHANNEL_STEP
#ifdef PICKED
__constant__ const int picked_channels[] = {PICKED};
__device__ __forceinline__ int picked(int channel) { return picked_channels[channel]; }
#else
__device__ __forceinline__ int picked(int channel) { return channel; }
#endif

#ifdef ROW_STEP
/* Where in an image a number is; ROW_STEP, COLUMN_STEP and CHANNEL_STEP are distances, PICKED lists channels of the source. */
__device__ __forceinline__ long long place(int y, int x, int channel)
{
    return 1LL * ROW_STEP * y + 1LL * COLUMN_STEP * x + 1LL * CHANNEL_STEP * picked(channel);
}
#endif
#endif

#ifdef PART
/* For kernels that go over finished images: PART elements in a block, 16 bytes at a time where that is possible. */
constexpr int VECTOR = 16 / sizeof(Bits);
constexpr long long IMAGE = 1LL * HEIGHT * WIDTH * CHANNELS;
constexpr int DEPTH = CHANNELS_FIRST ? 1 : CHANNELS;
constexpr long long ROW = 1LL * WIDTH * DEPTH;

/* Number of an element in an image; divisions by 64 bits would be calls. */
template <bool IS_SMALL> struct Number { typedef long long Type; };
template <> struct Number<true> { typedef unsigned Type; };
typedef Number<(IMAGE < 1LL << 30)>::Type Index;
#endif

