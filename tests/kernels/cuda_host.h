/* Just enough of CUDA for crop.cu to compile as C++, and a launcher that runs its threads one after the other.
 *
 * Where there is a barrier, a thread runs twice: first until there, where an exception ends it, then from the start again and
 * through it. That is right for a kernel with one barrier and nothing before it that reads what a thread has written. */
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

using std::max;
using std::min;

struct alignas(16) int4 { int x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) float4 { float x, y, z, w; };
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

static struct { unsigned x; } threadIdx, blockIdx;

static inline unsigned __float_as_uint(float value)
{
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
template <typename T> static inline T __ldg(const T *address) { return *address; }
template <typename T> static inline void __stwb(T *address, T value) { *address = value; }

/* What crop.cu writes in PTX. */
static inline float subtract(float a, float b) { return a - b; }
static inline float multiply(float a, float b) { return a * b; }
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

struct Barrier {};
static bool barrier_is_open;
static inline void __syncthreads()
{
    if (!barrier_is_open) throw Barrier();
}

/* Run all threads of a block; return how many of them the barrier stopped. */
static inline int run_threads(void (*kernel)(void *const *), void *const *arguments, int threads)
{
    int stopped = 0;
    for (int thread = 0; thread < threads; thread++) {
        threadIdx.x = thread;
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
        barrier_is_open = false;
        const int stopped = run_threads(kernel, arguments, threads);
        if (stopped != 0 && stopped != threads) {
            std::fprintf(stderr, "only %d of %d threads came to the barrier\n", stopped, threads);
            std::abort();
        }
        barrier_is_open = true;
        if (stopped) run_threads(kernel, arguments, threads);
    }
}
