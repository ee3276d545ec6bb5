/* Just enough of CUDA for crop.cu and warp.cu to compile as C++, and a launcher that runs its threads one after the other.
 *
 * Where there is a barrier, a thread runs twice: first until there, where an exception ends it, then from the start again and
 * through it, until the next one. That is right for a kernel that reads nothing before a barrier that a thread has written, other
 * than what is read after another barrier and stays as it is. */
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define __global__
#define __device__
#define __constant__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

using std::max;
using std::min;

struct alignas(16) int4 { int x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

static struct { unsigned x; } threadIdx, blockIdx;

static inline unsigned __float_as_uint(float value)
{
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}
static inline float __uint_as_float(unsigned bits)
{
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
template <typename T> static inline T __ldg(const T *address) { return *address; }
template <typename T> static inline void __stwb(T *address, T value) { *address = value; }

/* What numbers.cuh and statistics.cu write in PTX. */
static inline float subtract(float a, float b) { return a - b; }
static inline float add(float a, float b) { return a + b; }
static inline float multiply(float a, float b) { return a * b; }
static inline double subtract(double a, double b) { return a - b; }
static inline double add(double a, double b) { return a + b; }
static inline double multiply(double a, double b) { return a * b; }
static inline double divide(double a, double b) { return a / b; }
static inline double root(double value) { return std::sqrt(value); }
static inline double exact(float value) { return value; }
static inline float narrow(double value) { return (float)value; }
static inline unsigned short half_bits(float value)
{
    const unsigned sign = __float_as_uint(value) >> 31 << 15;
    const double magnitude = std::fabs((double)value);
    if (std::isnan(value)) return 0x7FFF;
    if (magnitude >= 65520) return (unsigned short)(sign | 0x7C00);
    int exponent;
    std::frexp(max(magnitude, 0x1p-14), &exponent); /* below 2^-14 all are multiples of 2^-24 */
    exponent--;
    const unsigned units = (unsigned)std::nearbyint(std::ldexp(magnitude, 10 - exponent)); /* rounds to nearest even */
    return (unsigned short)(sign | (units + ((exponent + 14) << 10)));
}
static inline float half_value(unsigned short bits)
{
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float magnitude = std::ldexp((float)(exponent ? fraction | 1024 : fraction), max(exponent, 1) - 25);
    if (exponent == 31) magnitude = fraction ? NAN : INFINITY;
    return bits >> 15 ? -magnitude : magnitude;
}

/* An argument of a kernel: of whichever type of pointer it is there, or where a number is. */
struct Argument {
    void *address;
    template <typename T> operator T *() const { return (T *)address; }
    operator int() const { return *(int *)address; }
};

/* Return memory of exactly that size, so that whatever is touched around it is an error, with what a file has there. */
static inline void *read_array(FILE *input, size_t bytes)
{
    void *memory = std::malloc(bytes);
    if (std::fread(memory, 1, bytes, input) != bytes) std::abort();
    return memory;
}

struct Barrier {};
static int open_barriers, passed_barriers; /* of a thread, in the order in which it comes to them */
static inline void __syncthreads()
{
    if (passed_barriers++ == open_barriers) throw Barrier();
}

/* Run all threads of a block; return how many of them the barrier stopped. */
static inline int run_threads(void (*kernel)(void *const *), void *const *arguments, int threads)
{
    int stopped = 0;
    for (int thread = 0; thread < threads; thread++) {
        threadIdx.x = thread;
        passed_barriers = 0;
        try {
            kernel(arguments);
        } catch (Barrier) {
            stopped++;
        }
    }
    return stopped;
}

static inline void launch(void (*kernel)(void *const *), void *const *arguments, int64_t first_block, int64_t n_blocks, int threads)
{
    for (int64_t block = first_block; block < first_block + n_blocks; block++) {
        blockIdx.x = (unsigned)block;
        open_barriers = 0;
        while (const int stopped = run_threads(kernel, arguments, threads)) {
            if (stopped != threads) {
                std::fprintf(stderr, "only %d of %d threads came to the barrier\n", stopped, threads);
                std::abort();
            }
            open_barriers++;
        }
    }
}
