/* Standardise images of float32, convert them, and erase a rectangle of each.
 *
 * A block works on one part of an image. A float32 result may lie where the numbers that it is made of are: a thread reads 16 bytes,
 * or a number, before it writes there, and nobody else touches these.
 *
 * Every size is a constant at compile time (cuda_standardizing.py lists the -D options). It follows on numbers.cuh.
 */
#ifdef ERASE
__constant__ const unsigned erase_bits[] = {ERASE};

/* Put the value of a channel where an element, by its number in the image, lies in the rectangle. */
__device__ __forceinline__ void erase(float &value, const int *rectangle, Index e)
{
    const int y = (int)(e / (Index)ROW % HEIGHT), x = (int)(e % (Index)ROW / DEPTH);
    const int channel = (int)(CHANNELS_FIRST ? e / (Index)(1LL * HEIGHT * WIDTH) : e % CHANNELS);
    const bool is_inside = (unsigned)(y - rectangle[0]) < (unsigned)rectangle[2] && (unsigned)(x - rectangle[1]) < (unsigned)rectangle[3];
    if (is_inside) value = __uint_as_float(erase_bits[channel]);
}
#endif

template <int N> struct Access {
    static __device__ __forceinline__ void load(float *values, const float *from)
    {
#pragma unroll
        for (int k = 0; k < N; k += 4) {
            const float4 four = *(const float4 *)(from + k);
            values[k] = four.x, values[k + 1] = four.y, values[k + 2] = four.z, values[k + 3] = four.w;
        }
    }
    static __device__ __forceinline__ void store(Bits *to, const float *values) { *(Vector *)to = pack(values, TARGET()); }
};
template <> struct Access<1> {
    static __device__ __forceinline__ void load(float *values, const float *from) { values[0] = *from; }
    static __device__ __forceinline__ void store(Bits *to, const float *values) { *to = (Bits)bits_of(values[0], TARGET()); }
};

/* Make N consecutive elements; return the largest magnitude of a result, as bits, before anything is erased. */
template <int N>
__device__ __forceinline__ unsigned put(Bits *to, const float *from, const float4 &statistics, const int *rectangle, Index e)
{
    float values[N];
    unsigned largest = 0;
    Access<N>::load(values, from + e);
#pragma unroll
    for (int k = 0; k < N; k++) {
        values[k] = multiply(subtract(subtract(values[k], statistics.x), statistics.y), statistics.z);
        largest = max(largest, __float_as_uint(values[k]) & 0x7FFFFFFFu);
#ifdef ERASE
        erase(values[k], rectangle, e + k);
#endif
    }
    Access<N>::store(to + e, values);
    return largest;
}

/* images: float32, and out: (n, HEIGHT, WIDTH, CHANNELS) or (n, CHANNELS, HEIGHT, WIDTH), aligned for their elements; statistics:
 * those of `fastprep_statistics`; table: a record of RECORD numbers for each image, of which ERASED begins a rectangle: y, x, height
 * and width. The grid has one block for each PART elements of an image. With CHECK_FINITE there is also not_finite: of each image 0,
 * and 1 after the kernel if it has a result that is not finite. */
extern "C" __global__ void __launch_bounds__(THREADS)
fastprep_standardize(const float *images, const float4 *__restrict__ statistics, const int *__restrict__ table, Bits *out
#ifdef CHECK_FINITE
                     , unsigned *__restrict__ not_finite
#endif
                     )
{
    constexpr unsigned PARTS = (unsigned)((IMAGE + PART - 1) / PART);
    const unsigned number = blockIdx.x / PARTS;
    const long long begin = 1LL * (blockIdx.x % PARTS) * PART, end = begin + PART < IMAGE ? begin + PART : IMAGE;
    const float *from = images + number * IMAGE;
    Bits *to = out + number * IMAGE;
    const float4 of_image = statistics[number];
#ifdef ERASE
    const int *rectangle = table + 1LL * number * RECORD + ERASED;
#else
    const int *rectangle = nullptr;
#endif

    /* From `head` to `tail` a vector at a time, if both are aligned there; the rest by single elements. */
    const int past = (int)((unsigned long long)(to + begin) % 16 / sizeof(Bits));
    const long long start = begin + (VECTOR - past) % VECTOR;
    const bool is_alike = (unsigned long long)(from + start) % 16 == 0;
    const long long head = is_alike && start < end ? start : end, tail = end - (end - head) % VECTOR;
    unsigned largest = 0;
#pragma unroll 1
    for (long long e = begin + threadIdx.x; e < head; e += THREADS)
        largest = max(largest, put<1>(to, from, of_image, rectangle, (Index)e));
#pragma unroll 1
    for (long long e = head + threadIdx.x * VECTOR; e < tail; e += THREADS * VECTOR)
        largest = max(largest, put<VECTOR>(to, from, of_image, rectangle, (Index)e));
#pragma unroll 1
    for (long long e = tail + threadIdx.x; e < end; e += THREADS)
        largest = max(largest, put<1>(to, from, of_image, rectangle, (Index)e));
#ifdef CHECK_FINITE
    if (largest >= Limit<TARGET>::BITS) not_finite[number] = 1; /* by any number of threads */
#endif
}
