/* The CUDA crop kernel: cut out, mirror, flip, subtract the mean, scale and convert, in one pass.
 *
 * A block makes one tile of one crop: TILE_ROWS whole rows, or TILE_COLUMNS pixels of one row where rows are long. It copies the
 * bytes of the image that it needs into shared memory, 16 at a time and in the order of the source. Then each thread gathers its
 * elements from shared memory and stores 16 bytes of the result at a time. So reads and writes are coalesced at any position of
 * the crop, and a mirrored crop only has other offsets in shared memory.
 *
 * Every size is a constant at compile time (cuda.py lists the -D options), which makes divisions cheap. It follows on
 * numbers.cuh.
 */
enum { MIRRORED = 1, FLIPPED = 2 };
enum { NO_MEAN, CHANNEL_MEAN, IMAGE_MEAN };
constexpr int VECTOR = 16 / sizeof(Bits), LINE = 128 / sizeof(Bits);
constexpr int TILES_DOWN = (CROP_HEIGHT + TILE_ROWS - 1) / TILE_ROWS;
constexpr int TILES_ACROSS = (CROP_WIDTH + TILE_COLUMNS - 1) / TILE_COLUMNS;

/* Lengths in the source, in elements: an image, a row of it, a row of the tile, and the pitch of rows in shared memory. The pitch
 * equals a row of the image modulo 16, so that aligned addresses in one are aligned in the other, and it is so large that
 * neighbouring rows do not share 16 bytes at their ends. */
constexpr long long IMAGE = 1LL * HEIGHT * WIDTH * CHANNELS, ROW = 1LL * WIDTH * CHANNELS;
#ifdef ROW_STEP
constexpr bool REORDERED = true; /* the source has other axes, or other channels, than (HEIGHT, WIDTH, CHANNELS) */
constexpr long long SOURCE_IMAGE = 1LL * HEIGHT * WIDTH * SOURCE_CHANNELS;
#else
constexpr bool REORDERED = false;
constexpr long long SOURCE_IMAGE = IMAGE;
#endif
constexpr int TILE_LENGTH = TILE_COLUMNS * CHANNELS;
constexpr int PITCH = TILE_LENGTH + 15 + (int)((ROW - TILE_LENGTH + 1) % 16);
constexpr int STAGED_LENGTH = STAGED ? TILE_ROWS * PITCH + 16 : 16;

/* The result of a tile: PLANES planes with RUN elements for each row and DEPTH for each pixel. In one store of a thread, the
 * channels repeat after CYCLE elements. If STEADY, they are the same in all of its stores. */
constexpr int PLANES = CHANNELS_FIRST ? CHANNELS : 1, DEPTH = CHANNELS_FIRST ? 1 : CHANNELS;
constexpr int RUN = TILE_COLUMNS * DEPTH;
constexpr int CYCLE = DEPTH < VECTOR ? DEPTH : VECTOR;
constexpr bool STEADY = THREADS * VECTOR % DEPTH == 0;
static_assert(TILE_ROWS == 1 || (STAGED && TILES_ACROSS == 1 && TILE_ROWS * RUN < 65536), "see rows_before");
static_assert(THREADS >= LINE + VECTOR, "the ends of a run are made an element a thread");

/* Copy rows of an image into shared memory, and return the position of the first element. `shared` is 16-byte aligned. */
template <typename T>
__device__ __forceinline__ int stage(T *shared, const T *image, long long first, int rows, int length)
{
    constexpr int N = 16 / sizeof(T); /* elements of a load */
    constexpr int LOADS = (TILE_LENGTH + 2 * N - 2) / N; /* for a row, wherever it starts */
    const unsigned long long begin = (unsigned long long)image, end = begin + IMAGE * sizeof(T);
    const int lead = (int)((begin + first * sizeof(T)) % 16 / sizeof(T));
    for (int k = threadIdx.x; k < rows * LOADS; k += THREADS) {
        const int row = k / LOADS;
        const unsigned long long at = begin + (first + row * ROW) * sizeof(T);
        const int skipped = (int)(at % 16 / sizeof(T)); /* elements between the aligned address and the row */
        const int from = k % LOADS * N - skipped;       /* relative to the row, as `length` is */
        if (from >= length) continue;
        const unsigned long long address = at - skipped * sizeof(T) + k % LOADS * 16;
        T *to = shared + lead + row * PITCH + from;
        if (address >= begin && address + 16 <= end) {
            *(uint4 *)to = __ldg((const uint4 *)address);
        } else { /* the ends of the image, where the memory may end, too */
#pragma unroll 1
            for (int n = 0; n < N; n++)
                if (from + n >= 0 && from + n < length) to[n] = ((const T *)at)[from + n];
        }
    }
    return lead;
}

#ifdef ROW_STEP
/* Copy a tile of a reordered source into shared memory with channels last, so that all that follows is the same for every order.
 * Neighbouring threads read neighbouring numbers of the source. */
__device__ __forceinline__ void gather(SOURCE *shared, const SOURCE *image, int y, int x, int rows, int columns)
{
    constexpr int TILE = TILE_ROWS * TILE_COLUMNS * CHANNELS;
#pragma unroll 4
    for (int k = threadIdx.x; k < TILE; k += THREADS) {
        int row, column, channel;
        if (CHANNEL_STEP == 1 && SOURCE_CHANNELS > 1) { /* pixels */
            channel = k % CHANNELS;
            row = ROW_STEP < COLUMN_STEP ? k / CHANNELS % TILE_ROWS : k / CHANNELS / TILE_COLUMNS;
            column = ROW_STEP < COLUMN_STEP ? k / CHANNELS / TILE_ROWS : k / CHANNELS % TILE_COLUMNS;
        } else {
            channel = k / (TILE_ROWS * TILE_COLUMNS);
            row = ROW_STEP < COLUMN_STEP ? k % TILE_ROWS : k / TILE_COLUMNS % TILE_ROWS;
            column = ROW_STEP < COLUMN_STEP ? k / TILE_ROWS % TILE_COLUMNS : k % TILE_COLUMNS;
        }
        if (row < rows && column < columns)
            shared[row * PITCH + column * CHANNELS + channel] = image[place(y + row, x + column, channel)];
    }
}
#endif

/* Return a number of the source; `offset` counts as if it had channels last. */
__device__ __forceinline__ SOURCE number_at(const SOURCE *source, long long offset)
{
#ifdef ROW_STEP
    if (!STAGED) return source[place((int)(offset / ROW), (int)(offset % ROW / CHANNELS), (int)(offset % CHANNELS))];
#endif
    return source[offset];
}

/* Return e / RUN by one instruction, exact for numbers of 16 bits. */
__device__ __forceinline__ int rows_before(unsigned e)
{
    if (TILE_ROWS == 1) return 0;
    return RUN == 1 ? e : __umulhi(e, (unsigned)((1LL << 32) / RUN + 1));
}

/* The inputs of the elements that a thread stores together. */
struct Elements {
    long long offset[VECTOR]; /* in the source, relative to the first element */
    float mean[CYCLE], scale[CYCLE];
};

/* `channel` is the channel of the first element; `step` is the distance between consecutive elements in the source. */
__device__ __forceinline__ Elements elements(int channel, int step, const float *mean, const float *scale)
{
    Elements all;
    int c = channel;
#pragma unroll
    for (int k = 0; k < CYCLE; k++) {
        /* In a mirrored crop with channels last, pixels run backwards, but channels forwards. */
        all.offset[k] = step > 0 ? k : 2 * (c - channel) - k;
        all.mean[k] = MEAN == CHANNEL_MEAN ? mean[c] : 0.0f;
        all.scale[k] = SCALE ? scale[c] : 1.0f;
        c = c + 1 < CHANNELS ? c + 1 : 0;
    }
#pragma unroll
    for (int k = CYCLE; k < VECTOR; k++) all.offset[k] = all.offset[k - CYCLE] + CYCLE * step;
    return all;
}

__device__ __forceinline__ float element(const SOURCE *source, const float *means, long long offset, float mean, float scale)
{
    float value = widen(number_at(source, offset));
    if (MEAN == CHANNEL_MEAN) value = subtract(value, mean);
    if (MEAN == IMAGE_MEAN) value = subtract(value, means[offset]);
    if (SCALE) value = multiply(value, scale);
    return value;
}

/* images: (n, HEIGHT, WIDTH, CHANNELS). If ROW_STEP is defined, they have SOURCE_CHANNELS channels and axes in any order, with the
 * distances ROW_STEP, COLUMN_STEP and CHANNEL_STEP; if PICKED is defined, it lists the channel of the source for each of CHANNELS.
 * table: slot, y, x and flags of each crop; mean: (CHANNELS) or (HEIGHT, WIDTH, CHANNELS); scale: (CHANNELS); out: (n_out, CROP_HEIGHT, CROP_WIDTH, CHANNELS) or (n_out, CHANNELS, CROP_HEIGHT, CROP_WIDTH). Pointers are
 * aligned for their elements. The grid has one block for each tile, crop by crop. With CHECK_FINITE there is also not_finite:
 * (n_out), where a 1 is written for each crop that has a result which TARGET does not hold as a finite number. */
extern "C" __global__ void __launch_bounds__(THREADS, 1024 / THREADS)
fastprep_crop(const SOURCE *__restrict__ images, const int4 *__restrict__ table, const float *__restrict__ mean,
              const float *__restrict__ scale, Bits *__restrict__ out
#ifdef CHECK_FINITE
              , unsigned *__restrict__ not_finite
#endif
              )
{
    __shared__ uint4 staged_source[STAGED_LENGTH * sizeof(SOURCE) / 16];
    __shared__ uint4 staged_mean[MEAN == IMAGE_MEAN ? STAGED_LENGTH * sizeof(float) / 16 : 1];

    const unsigned tile = blockIdx.x % (TILES_DOWN * TILES_ACROSS), number = blockIdx.x / (TILES_DOWN * TILES_ACROSS);
    const int tile_y = tile / TILES_ACROSS * TILE_ROWS, tile_x = tile % TILES_ACROSS * TILE_COLUMNS;
    const int rows = min(TILE_ROWS, CROP_HEIGHT - tile_y), columns = min(TILE_COLUMNS, CROP_WIDTH - tile_x);
    const int4 crop = table[number];
    const bool mirrored = crop.w & MIRRORED, flipped = crop.w & FLIPPED;
    const int y = crop.y + (flipped ? CROP_HEIGHT - tile_y - rows : tile_y);
    const int x = crop.z + (mirrored ? CROP_WIDTH - tile_x - columns : tile_x);
    const SOURCE *image = images + crop.x * SOURCE_IMAGE;
    const long long first = y * ROW + 1LL * x * CHANNELS;

    /* Where a reordered source is not staged, offsets count from the image, and not from the first element. */
    const long long base = REORDERED && !STAGED ? first : 0;
    const SOURCE *source = image + (first - base);
    const float *means = MEAN == IMAGE_MEAN ? mean + (first - base) : mean;
    if (STAGED) {
#ifdef ROW_STEP
        gather((SOURCE *)staged_source, image, y, x, rows, columns);
        source = (SOURCE *)staged_source;
#else
        source = (SOURCE *)staged_source + stage((SOURCE *)staged_source, image, first, rows, columns * CHANNELS);
#endif
        if (MEAN == IMAGE_MEAN) means = (float *)staged_mean + stage((float *)staged_mean, mean, first, rows, columns * CHANNELS);
        __syncthreads();
    }

    /* Element e of a run, of channel c, is made from the element at corner + e * step + e / RUN * wrap + c * turn. */
    const int corner = (flipped ? (rows - 1) * PITCH : 0) + (mirrored ? (columns - 1) * CHANNELS : 0);
    int step = mirrored ? -PLANES : PLANES;
    asm("" : "+r"(step)); /* no instruction, but it keeps the compiler from computing the value anew in every iteration */
    int wrap = (flipped ? -PITCH : PITCH) - RUN * step;
    asm("" : "+r"(wrap));
    const int turn = CHANNELS_FIRST ? 1 : mirrored ? 2 : 0;
    const int count = rows * columns * DEPTH;
#ifdef CHECK_FINITE
    unsigned largest = 0; /* magnitude of a result, as bits */
#endif
#pragma unroll 1
    for (int plane = 0; plane < PLANES; plane++) {
        Bits *target = out + (((1LL * number * PLANES + plane) * CROP_HEIGHT + tile_y) * CROP_WIDTH + tile_x) * DEPTH;
        /* Vectors go from `head`, where a cache line begins, to `tail`, so that a warp writes whole lines. */
        const int past = (int)((unsigned long long)target / sizeof(Bits) % LINE);
        const int head = min((LINE - past) % LINE, count), tail = count - (unsigned)(count - head) % VECTOR;
        int e = head + (int)threadIdx.x * VECTOR;
        int channel = plane + e % DEPTH;
        Elements all = elements(channel, step, mean, scale);
#pragma unroll 1
        for (; e < tail; e += THREADS * VECTOR) {
            if (!STEADY) all = elements(channel = plane + e % DEPTH, step, mean, scale);
            const int row = rows_before(e);
            const int at = corner + e * step + row * wrap + channel * turn;
            long long offset[VECTOR];
#pragma unroll
            for (int k = 0; k < VECTOR; k++) offset[k] = all.offset[k];
            if (e - row * RUN > RUN - VECTOR) { /* the row ends among these elements */
#pragma unroll
                for (int k = 1; k < VECTOR; k++) offset[k] += (rows_before(e + k) - row) * wrap;
            }
            float values[VECTOR];
#pragma unroll
            for (int k = 0; k < VECTOR; k++)
                values[k] = element(source, means, base + at + offset[k], all.mean[k % CYCLE], all.scale[k % CYCLE]);
#ifdef CHECK_FINITE
#pragma unroll
            for (int k = 0; k < VECTOR; k++) largest = max(largest, __float_as_uint(values[k]) & 0x7FFFFFFFu);
#endif
            __stwb((Vector *)(target + e), pack(values, TARGET())); /* the compiler turns an assignment into four stores */
        }
        /* The elements that are left at both ends, one for each thread. */
        e = (int)threadIdx.x < head ? threadIdx.x : tail + threadIdx.x - LINE;
        if ((int)threadIdx.x < head || (threadIdx.x >= LINE && e < count)) {
            channel = plane + e % DEPTH;
            const int at = corner + e * step + rows_before(e) * wrap + channel * turn;
            const float m = MEAN == CHANNEL_MEAN ? mean[channel] : 0.0f, s = SCALE ? scale[channel] : 1.0f;
            const float value = element(source, means, base + at, m, s);
#ifdef CHECK_FINITE
            largest = max(largest, __float_as_uint(value) & 0x7FFFFFFFu);
#endif
            target[e] = (Bits)bits_of(value, TARGET());
        }
    }
#ifdef CHECK_FINITE
    if (largest >= Limit<TARGET>::BITS) not_finite[number] = 1; /* by any number of threads */
#endif
}
