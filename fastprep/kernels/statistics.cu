/* Mean and deviation of each image of float32: one block for each, of SUMS warps with a lane for each thread.
 *
 * The order of the sums is part of the definition (docs/notes/standardisation.md). Every size is a constant at compile time
 * (cuda_standardizing.py lists the -D options). It follows on numbers.cuh.
 */
constexpr int LANES = 32, SUMS = 32, PIECE = 256;

#ifdef __CUDACC__ /* PTX for the reasons that numbers.cuh gives */
#define OPERATION(NAME, INSTRUCTION)                                                                                      \
    __device__ __forceinline__ double NAME(double a, double b)                                                          \
    {                                                                                                                   \
        double result;                                                                                                  \
        asm(INSTRUCTION " %0, %1, %2;" : "=d"(result) : "d"(a), "d"(b));                                                \
        return result;                                                                                                  \
    }
OPERATION(add, "add.rn.f64")
OPERATION(subtract, "sub.rn.f64")
OPERATION(multiply, "mul.rn.f64")
OPERATION(divide, "div.rn.f64")
__device__ __forceinline__ double root(double value)
{
    double result;
    asm("sqrt.rn.f64 %0, %1;" : "=d"(result) : "d"(value));
    return result;
}
__device__ __forceinline__ double exact(float value) /* -ftz=true would make 0 of a subnormal number */
{
    double result;
    asm("cvt.f64.f32 %0, %1;" : "=d"(result) : "f"(value));
    return result;
}
#endif

__device__ __forceinline__ double2 plus(double2 a, double2 b)
{
    double2 total;
    total.x = add(a.x, b.x);
    total.y = add(a.y, b.y);
    return total;
}

/* Return `sum`, of distances and of their squares, with one more number. */
__device__ __forceinline__ double2 with(double2 sum, float value, double first)
{
    const double distance = subtract(exact(value), first);
    sum.x = add(sum.x, distance);
    sum.y = add(sum.y, multiply(distance, distance));
    return sum;
}

/* Return high, low and factor of an image. */
__device__ __forceinline__ float4 statistics_of(double2 sum, double first)
{
    const double n = (double)IMAGE, distance = divide(sum.x, n);
    const double variance = divide(subtract(sum.y, multiply(sum.x, distance)), n);
    const double deviation = variance > 0.0 ? root(variance) : 0.0, least = divide(1.0, root(n));
    const double mean = add(first, distance);
    const float high = narrow(mean), low = narrow(subtract(mean, exact(high)));
    return make_float4(high, low, narrow(divide(1.0, deviation > least ? deviation : least)), 0.0f);
}

/* images: (n, IMAGE); statistics: high, low, factor and 0 of each */
extern "C" __global__ void __launch_bounds__(SUMS * LANES)
fastprep_statistics(const float *__restrict__ images, float4 *__restrict__ statistics)
{
    __shared__ double2 sums[SUMS][LANES], lanes[LANES];
    const float *image = images + blockIdx.x * IMAGE;
    const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES;
    const double first = exact(image[0]);

    double2 sum = {0.0, 0.0};
#pragma unroll 1
    for (long long at = 1LL * row * PIECE; at < IMAGE; at += SUMS * PIECE) {
        const float *piece = image + at;
        if (at + PIECE <= IMAGE) {
#pragma unroll
            for (int k = 0; k < PIECE; k += LANES) sum = with(sum, piece[k + lane], first);
        } else {
            const int left = (int)(IMAGE - at);
#pragma unroll 1
            for (int k = lane; k < left; k += LANES) sum = with(sum, piece[k], first);
        }
    }
    sums[row][lane] = sum;
    __syncthreads();

    if (row == 0) {
        double2 total = sums[0][lane];
#pragma unroll 1
        for (int k = 1; k < SUMS; k++) total = plus(total, sums[k][lane]);
        lanes[lane] = total;
    }
    __syncthreads();

    if (threadIdx.x == 0) {
#pragma unroll 1
        for (int half = LANES / 2; half; half /= 2)
#pragma unroll 1
            for (int k = 0; k < half; k++) lanes[k] = plus(lanes[k], lanes[half + k]);
        statistics[blockIdx.x] = statistics_of(lanes[0], first);
    }
}
