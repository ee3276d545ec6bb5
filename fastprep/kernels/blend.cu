/* Blend each image of a batch with its partner, in place: image k and image n - 1 - k, as both were before.
 *
 * A block works on one part of a pair. A thread reads an element, or 16 bytes of them, of both images before it writes either, and
 * nobody else touches these, so no second batch is needed. What stays as it is is neither read nor written.
 *
 * Every size is a constant at compile time (cuda_blending.py lists the -D options). It follows on numbers.cuh.
 */
__device__ __forceinline__ float value_of(Bits bits, float32) { return bits; }
__device__ __forceinline__ float value_of(Bits bits, float16) { return half_value((unsigned short)bits); }
__device__ __forceinline__ float value_of(Bits bits, bfloat16) { return __uint_as_float((unsigned)bits << 16); }

/* What becomes of one image of a pair. */
struct Change {
    int4 rectangle; /* y, x, height and width; of height 0 to mix all pixels */
    float weight;
};

/* Return whether an element, by its number in the image, is not the image's own any more. */
__device__ __forceinline__ bool is_changed(const Change &change, Index e)
{
    const int4 part = change.rectangle;
    const int y = (int)(e / (Index)ROW % HEIGHT), x = (int)(e % (Index)ROW / DEPTH);
    const bool is_mixed = part.z == 0 && __float_as_uint(change.weight) != 0x3F800000u; /* the bits of 1 */
    return is_mixed || (y >= part.x && y - part.x < part.z && x >= part.y && x - part.y < part.w);
}

__device__ __forceinline__ Bits blended(const Change &change, Bits own, Bits other)
{
    if (change.rectangle.z) return other;
    const float kept = multiply(change.weight, value_of(own, TARGET()));
    return (Bits)bits_of(add(kept, multiply(subtract(1.0f, change.weight), value_of(other, TARGET()))), TARGET());
}

/* N consecutive elements, which are read and written at once. */
template <int N> struct Group;
template <> struct Group<1> { typedef Bits Type; };
template <> struct Group<VECTOR> { typedef Vector Type; };
template <int N> union Elements {
    typename Group<N>::Type all;
    Bits each[N];
};

template <int N>
__device__ __forceinline__ void blend_at(Bits *first, Bits *second, const Change &of_first, const Change &of_second, Index e)
{
    bool changes_first = false, changes_second = false;
#pragma unroll
    for (int k = 0; k < N; k++) {
        changes_first |= is_changed(of_first, e + k);
        changes_second |= is_changed(of_second, e + k);
    }
    if (!changes_first && !changes_second) return;
    Elements<N> one, two, new_one, new_two;
    one.all = *(const typename Group<N>::Type *)(first + e);
    two.all = *(const typename Group<N>::Type *)(second + e);
#pragma unroll
    for (int k = 0; k < N; k++) {
        new_one.each[k] = is_changed(of_first, e + k) ? blended(of_first, one.each[k], two.each[k]) : one.each[k];
        new_two.each[k] = is_changed(of_second, e + k) ? blended(of_second, two.each[k], one.each[k]) : two.each[k];
    }
    if (changes_first) *(typename Group<N>::Type *)(first + e) = new_one.all;
    if (changes_second) *(typename Group<N>::Type *)(second + e) = new_two.all;
}

/* x: (n, HEIGHT, WIDTH, CHANNELS) or (n, CHANNELS, HEIGHT, WIDTH), aligned for its elements; weights: (n); rectangles: y, x, height
 * and width of each image. The grid has one block for each PART elements of an image, pair by pair. */
extern "C" __global__ void __launch_bounds__(THREADS, 768 / THREADS)
fastprep_blend(Bits *__restrict__ x, const float *__restrict__ weights, const int4 *__restrict__ rectangles, int n)
{
    constexpr unsigned PARTS = (unsigned)((IMAGE + PART - 1) / PART);
    const int k = (int)(blockIdx.x / PARTS), partner = n - 1 - k;
    const long long begin = 1LL * (blockIdx.x % PARTS) * PART, end = begin + PART < IMAGE ? begin + PART : IMAGE;
    Bits *first = x + k * IMAGE, *second = x + partner * IMAGE;
    const Change of_first = {rectangles[k], weights[k]}, of_second = {rectangles[partner], weights[partner]};

    /* From `head` to `tail` 16 bytes at a time, if both images have the same alignment; the rest by single elements. */
    const int past = (int)((unsigned long long)(first + begin) % 16 / sizeof(Bits));
    const bool is_alike = (unsigned long long)(second + begin) % 16 / sizeof(Bits) == past;
    const long long start = begin + (VECTOR - past) % VECTOR;
    const long long head = is_alike && start < end ? start : end, tail = end - (end - head) % VECTOR;
#pragma unroll 1
    for (long long e = begin + threadIdx.x; e < head; e += THREADS) blend_at<1>(first, second, of_first, of_second, (Index)e);
#pragma unroll 1
    for (long long e = head + threadIdx.x * VECTOR; e < tail; e += THREADS * VECTOR)
        blend_at<VECTOR>(first, second, of_first, of_second, (Index)e);
#pragma unroll 1
    for (long long e = tail + threadIdx.x; e < end; e += THREADS) blend_at<1>(first, second, of_first, of_second, (Index)e);
}
