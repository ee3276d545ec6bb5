/* The CUDA warp kernel: cut out, resize or map, turn, recolour, subtract the mean, scale, convert and erase, in one pass.
 *
 * A block makes one tile of one output image. First its pixels go into shared memory as float32: as they are, or sampled between
 * four pixels for a matrix; for a box there are the rows of the source that the tile needs, after the pass along rows, and where
 * these are too many, the pixels after both passes. Then each thread makes the numbers that it stores together, 16 bytes that
 * are aligned wherever the tile begins; at the ends of a row it stores the numbers one by one. If a pixel does not fit into
 * shared memory, threads make each number from the source itself. The arithmetic is the same in all ways.
 *
 * All is done in the frame of the part before it is flipped and mirrored: i and j are its row and column. A transposed image only
 * has its steps exchanged. warp_plan.py lists the -D options and makes the records of the table. The text follows on numbers.cuh.
 *
 * With IMAGE_AT, images are of different sizes, with channels last: each record says where its image begins, and its height and
 * width; for a box, it also says where its taps are, which follow on the records, because their number is known at run time only.
 */
enum { MIRRORED = 1, FLIPPED = 2, TRANSPOSED = 4 };
enum { CROP, BOX, MATRIX };
constexpr int VECTOR = 16 / sizeof(Bits);
constexpr int TILES_DOWN = (CROP_HEIGHT + TILE_ROWS - 1) / TILE_ROWS;
constexpr int TILES_ACROSS = (CROP_WIDTH + TILE_COLUMNS - 1) / TILE_COLUMNS;
#ifndef IMAGE_AT
constexpr long long SOURCE_IMAGE = 1LL * HEIGHT * WIDTH * SOURCE_CHANNELS;
#endif
constexpr int PITCH = TILE_COLUMNS * CHANNELS | 1; /* odd, so that a column of the tile is in all banks */

/* The result of a tile: PLANES planes with DEPTH numbers for each pixel. SLOTS threads store a row of it. */
constexpr int PLANES = CHANNELS_FIRST ? CHANNELS : 1, DEPTH = CHANNELS_FIRST ? 1 : CHANNELS;
constexpr int SLOTS = (TILE_COLUMNS * DEPTH + 2 * VECTOR - 2) / VECTOR; /* wherever the row begins */

#ifdef FILL
__constant__ const unsigned fill_bits[] = {FILL};
#endif
#ifdef ERASE
__constant__ const unsigned erase_bits[] = {ERASE};
#endif

constexpr int TOGETHER = CHANNELS <= 4 ? CHANNELS : 1; /* channels that a thread makes before it goes to another pixel */
constexpr bool HAS_ROOM = STAGED_ROWS >= TILE_ROWS; /* of shared memory for the pixels of a tile */

/* What the record of an output image says, and what of it is in shared memory. */
struct Part {
    const SOURCE *image;
    const int *record;
    const float *narrow;
    int y, x, flags;
    int top, left;  /* row and column of the part where `narrow` begins, */
    bool in_passes; /* or a row of the source, if it has only been through the pass along rows */
};

#ifdef IMAGE_AT
constexpr bool HAS_SIZES = true, ROWS_ARE_NEAR = false;
__device__ __forceinline__ int height_of(const Part &part) { return part.record[IMAGE_AT + 2]; }
__device__ __forceinline__ int width_of(const Part &part) { return part.record[IMAGE_AT + 3]; }
__device__ __forceinline__ long long place_in(const Part &part, int y, int x, int channel)
{
    return (1LL * width_of(part) * y + x) * SOURCE_CHANNELS + picked(channel);
}
#else
constexpr bool HAS_SIZES = false, ROWS_ARE_NEAR = ROW_STEP < COLUMN_STEP; /* rows lie closer together than columns */
__device__ __forceinline__ int height_of(const Part &) { return HEIGHT; }
__device__ __forceinline__ int width_of(const Part &) { return WIDTH; }
__device__ __forceinline__ long long place_in(const Part &, int y, int x, int channel) { return place(y, x, channel); }
#endif

/* Return the number of the image in (y, x), which is transposed first. */
__device__ __forceinline__ float pixel(const Part &part, int y, int x, int channel)
{
    return widen(part.image[part.flags & TRANSPOSED ? place_in(part, x, y, channel) : place_in(part, y, x, channel)]);
}

#if GEOMETRY == 1 /* BOX */
/* The taps of one row or column of a box: the first pixel, their number and their weights. `taps` is where those of the axis are
 * in a record: first pixels and numbers in pairs, then weights. */
struct Taps {
    const float *weights;
    int first, count;
};

__device__ __forceinline__ Taps taps_of(const int *taps, int length, int most, int k)
{
    return {(const float *)taps + 2 * length + (long long)k * most, taps[2 * k], taps[2 * k + 1]};
}
#ifdef IMAGE_AT
/* TAPS_AT: where the taps along rows begin, counted from the record, and their number for a pixel; and the same along columns. */
__device__ __forceinline__ Taps across(const Part &part, int j)
{
    return taps_of(part.record + part.record[TAPS_AT], CROP_WIDTH, part.record[TAPS_AT + 1], j);
}
__device__ __forceinline__ Taps down(const Part &part, int i)
{
    return taps_of(part.record + part.record[TAPS_AT + 2], CROP_HEIGHT, part.record[TAPS_AT + 3], i);
}
#else
__device__ __forceinline__ Taps across(const Part &part, int j)
{
    return taps_of(part.record + ACROSS, CROP_WIDTH, MOST_ACROSS, j);
}
__device__ __forceinline__ Taps down(const Part &part, int i)
{
    return taps_of(part.record + DOWN, CROP_HEIGHT, MOST_DOWN, i);
}
#endif

/* The pass along a row of the source, for N channels. */
template <int N>
__device__ __forceinline__ void along(float *totals, const Part &part, const Taps &taps, int y, int channel)
{
#pragma unroll
    for (int n = 0; n < N; n++) totals[n] = multiply(pixel(part, y, taps.first, channel + n), taps.weights[0]);
#pragma unroll 1
    for (int k = 1; k < taps.count; k++) {
        const float weight = taps.weights[k];
#pragma unroll
        for (int n = 0; n < N; n++)
            totals[n] = add(totals[n], multiply(pixel(part, y, taps.first + k, channel + n), weight));
    }
}

/* Make N channels of a pixel of the part, from `channel` on, by both passes. */
template <int N>
__device__ __forceinline__ void make_pixel(float *values, const Part &part, int i, int j, int channel)
{
    const Taps vertical = down(part, i), horizontal = across(part, j);
#pragma unroll 1
    for (int k = 0; k < vertical.count; k++) {
        float totals[N];
        along<N>(totals, part, horizontal, vertical.first + k, channel);
#pragma unroll
        for (int n = 0; n < N; n++) {
            const float term = multiply(totals[n], vertical.weights[k]);
            values[n] = k ? add(values[n], term) : term;
        }
    }
}

/* The pass along columns, for N numbers of a row that are at `at` in each row of the shared memory. */
template <int N> __device__ __forceinline__ void sum_up(float *values, const Part &part, int i, const int *at)
{
    const Taps taps = down(part, i);
    const float *row = part.narrow + (taps.first - part.top) * PITCH;
#pragma unroll
    for (int n = 0; n < N; n++) values[n] = multiply(row[at[n]], taps.weights[0]);
#pragma unroll 1
    for (int k = 1; k < taps.count; k++) {
        const float weight = taps.weights[k];
        row += PITCH;
#pragma unroll
        for (int n = 0; n < N; n++) values[n] = add(values[n], multiply(row[at[n]], weight));
    }
}
#elif defined POSITIONS
/* A position in the source: a pixel, and the share of the one after it. */
struct Place {
    int pixel;
    float share;
};

/* `numbers`: start, step to the right and step down, in multiples of 2**-32 pixels. */
__device__ __forceinline__ Place position(const long long *numbers, int i, int j)
{
    const long long at = numbers[0] + numbers[1] * j + numbers[2] * i;
    return {(int)(at >> 32), multiply((float)(int)(at >> 16 & 0xFFFF), 1.0f / 65536)};
}

__device__ __forceinline__ float pixel_or_fill(const Part &part, int y, int x, int channel)
{
    const bool is_inside = (unsigned)y < (unsigned)height_of(part) && (unsigned)x < (unsigned)width_of(part);
    return is_inside ? widen(part.image[place_in(part, y, x, channel)]) : __uint_as_float(fill_bits[channel]);
}

__device__ __forceinline__ float between(float first, float second, float share)
{
    return add(multiply(first, subtract(1.0f, share)), multiply(second, share));
}

/* Make N channels of a pixel of the part, from `channel` on, from the four pixels around its position. */
template <int N>
__device__ __forceinline__ void make_pixel(float *values, const Part &part, int i, int j, int channel)
{
    const long long *numbers = (const long long *)(part.record + POSITIONS);
    const Place x = position(numbers, i, j), y = position(numbers + 3, i, j);
#pragma unroll
    for (int n = 0; n < N; n++) {
        const int c = channel + n;
        float rows[2];
#pragma unroll
        for (int k = 0; k < 2; k++)
            rows[k] = between(pixel_or_fill(part, y.pixel + k, x.pixel, c), pixel_or_fill(part, y.pixel + k, x.pixel + 1, c),
                              x.share);
        values[n] = between(rows[0], rows[1], y.share);
    }
}
#else
/* Make N channels of a pixel of the part, from `channel` on. */
template <int N>
__device__ __forceinline__ void make_pixel(float *values, const Part &part, int i, int j, int channel)
{
#pragma unroll
    for (int n = 0; n < N; n++) values[n] = pixel(part, part.y + i, part.x + j, channel + n);
}
#endif

/* Return N numbers of row i of the part. */
template <int N>
__device__ __forceinline__ void samples(float *values, const Part &part, int i, const int *j, const int *channel)
{
    int at[N];
#pragma unroll
    for (int n = 0; n < N; n++) at[n] = (j[n] - part.left) * CHANNELS + channel[n];
#if GEOMETRY == 1 /* BOX */
    if (HAS_ROOM && part.in_passes) {
        sum_up<N>(values, part, i, at);
        return;
    }
#endif
#pragma unroll
    for (int n = 0; n < N; n++) {
        if (HAS_ROOM) values[n] = part.narrow[(i - part.top) * PITCH + at[n]];
        else make_pixel<1>(values + n, part, i, j[n], channel[n]);
    }
}

/* Fill the shared memory with `rows` rows. Neighbouring threads read neighbouring pixels or channels of the source. */
__device__ __forceinline__ void stage(float *narrow, const Part &part, int rows, int columns)
{
    constexpr int GROUPS = CHANNELS / TOGETHER;
    const bool rows_first = ROWS_ARE_NEAR != ((part.flags & TRANSPOSED) != 0);
    const int extent = GEOMETRY == BOX ? rows : TILE_ROWS; /* a constant where there is one */
    const int n_pixels = extent * TILE_COLUMNS;
    for (int k = threadIdx.x; k < n_pixels * GROUPS; k += THREADS) {
        const int number = CHANNEL_STEP == 1 ? k / GROUPS : k % n_pixels;
        const int channel = (CHANNEL_STEP == 1 ? k % GROUPS : k / n_pixels) * TOGETHER;
        const int row = rows_first ? number % extent : number / TILE_COLUMNS;
        const int column = rows_first ? number / extent : number % TILE_COLUMNS;
        if (row >= rows || column >= columns) continue;
        float values[TOGETHER];
#if GEOMETRY == 1 /* BOX */
        if (part.in_passes) along<TOGETHER>(values, part, across(part, part.left + column), part.top + row, channel);
        else
#endif
            make_pixel<TOGETHER>(values, part, part.top + row, part.left + column, channel);
#pragma unroll
        for (int n = 0; n < TOGETHER; n++) narrow[row * PITCH + column * CHANNELS + channel + n] = values[n];
    }
}

#ifdef COLORS
/* Map the channels of a pixel to one of them. */
__device__ __forceinline__ float recoloured(const Part &part, const float *channels, int channel)
{
    const float *row = (const float *)part.record + COLORS + channel * (CHANNELS + 1);
    float total = multiply(channels[0], row[0]);
#pragma unroll
    for (int k = 1; k < CHANNELS; k++) total = add(total, multiply(channels[k], row[k]));
    return add(total, row[CHANNELS]);
}
#endif

/* Make VECTOR numbers of row i of the part, up to mean and scale. */
__device__ __forceinline__ void elements(float *values, const Part &part, int i, const int *j, const int *channel,
                                         const float *mean, const float *scale)
{
#ifdef COLORS
    float channels[CHANNELS];
    int same[CHANNELS], all[CHANNELS];
#pragma unroll
    for (int k = 0; k < VECTOR; k++) {
        if (k == 0 || j[k] != j[k - 1]) {
#pragma unroll
            for (int c = 0; c < CHANNELS; c++) same[c] = j[k], all[c] = c;
            samples<CHANNELS>(channels, part, i, same, all);
        }
        values[k] = recoloured(part, channels, channel[k]);
    }
#else
    samples<VECTOR>(values, part, i, j, channel);
#endif
#pragma unroll
    for (int k = 0; k < VECTOR; k++) {
        if (MEAN) values[k] = subtract(values[k], mean[channel[k]]);
        if (SCALE) values[k] = multiply(values[k], scale[channel[k]]);
    }
}

#ifdef ERASE
/* `y` is the row of the result. */
__device__ __forceinline__ void erase(float *values, const int *rectangle, int y, bool mirrored, const int *j, const int *channel)
{
    if ((unsigned)(y - rectangle[0]) >= (unsigned)rectangle[2]) return;
#pragma unroll
    for (int k = 0; k < VECTOR; k++) {
        const int x = mirrored ? CROP_WIDTH - 1 - j[k] : j[k];
        if ((unsigned)(x - rectangle[1]) < (unsigned)rectangle[3]) values[k] = __uint_as_float(erase_bits[channel[k]]);
    }
}
#endif

/* Blocks for a multiprocessor of 1024 threads. Where eight numbers of a box are summed up together that may be NaN, or that are of
 * an image with a size of its own, a thread needs more registers than these leave. */
constexpr int BLOCKS = (GEOMETRY == BOX && VECTOR == 8 && (!IS_INTEGER || HAS_SIZES) ? 768 : 1024) / THREADS;

/* images, mean, scale, out and not_finite: as in crop.cu, but there is no mean image; with IMAGE_AT, images lie anywhere in
 * `images`. table: a record of RECORD numbers, each of 32 bits, for each output image, 16-byte aligned; it begins with slot, y, x
 * and flags. The grid has one block for each tile, image by image. */
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
fastprep_warp(const SOURCE *__restrict__ images, const int *__restrict__ table, const float *__restrict__ mean,
              const float *__restrict__ scale, Bits *__restrict__ out
#ifdef CHECK_FINITE
              , unsigned *__restrict__ not_finite
#endif
              )
{
    __shared__ float narrow[STAGED_ROWS ? STAGED_ROWS * PITCH : 1];

    const unsigned tile = blockIdx.x % (TILES_DOWN * TILES_ACROSS), number = blockIdx.x / (TILES_DOWN * TILES_ACROSS);
    const int tile_y = tile / TILES_ACROSS * TILE_ROWS, tile_x = tile % TILES_ACROSS * TILE_COLUMNS;
    const int rows = min(TILE_ROWS, CROP_HEIGHT - tile_y), columns = min(TILE_COLUMNS, CROP_WIDTH - tile_x);
    const int *record = table + 1LL * number * RECORD;
    const int flags = record[3];
    const bool mirrored = flags & MIRRORED, flipped = flags & FLIPPED, transposed = flags & TRANSPOSED;
    const int y = record[transposed ? 2 : 1], x = record[transposed ? 1 : 2];
#ifdef IMAGE_AT
    const SOURCE *image = images + *(const long long *)(record + IMAGE_AT);
#else
    const SOURCE *image = images + record[0] * SOURCE_IMAGE;
#endif
    Part part = {image, record, narrow, y, x, flags, 0, 0, false};
    part.top = flipped ? CROP_HEIGHT - tile_y - rows : tile_y;
    part.left = mirrored ? CROP_WIDTH - tile_x - columns : tile_x;
    int n_staged = rows;
#if GEOMETRY == 1 /* BOX */
    const Taps first = down(part, part.top), last = down(part, part.top + rows - 1);
    const int n_needed = last.first + last.count - first.first;
    part.in_passes = n_needed <= STAGED_ROWS; /* alike in all threads of a block */
    if (part.in_passes) part.top = first.first, n_staged = n_needed;
#endif
    if (HAS_ROOM) {
        stage(narrow, part, n_staged, columns);
        __syncthreads();
    }

    const int count = columns * DEPTH;
#ifdef CHECK_FINITE
    unsigned largest = 0; /* magnitude of a result, as bits */
#endif
#pragma unroll 1
    for (int k = threadIdx.x; k < PLANES * TILE_ROWS * SLOTS; k += THREADS) {
        const int plane = k / (TILE_ROWS * SLOTS), row = k / SLOTS % TILE_ROWS;
        if (row >= rows) continue;
        const int i = tile_y + row;
        Bits *target = out + (((1LL * number * PLANES + plane) * CROP_HEIGHT + i) * CROP_WIDTH + tile_x) * DEPTH;
        const int skipped = (int)((unsigned long long)target % 16 / sizeof(Bits)); /* since an aligned address */
        const int from = k % SLOTS * VECTOR - skipped;                             /* of `count` numbers */
        if (from >= count) continue;
        int j[VECTOR], channel[VECTOR];
#pragma unroll
        for (int n = 0; n < VECTOR; n++) {
            const int e = max(0, min(from + n, count - 1)); /* beyond the ends, a number is made again */
            const int column = tile_x + e / DEPTH;
            channel[n] = plane + e % DEPTH;
            j[n] = mirrored ? CROP_WIDTH - 1 - column : column;
        }
        float values[VECTOR];
        elements(values, part, flipped ? CROP_HEIGHT - 1 - i : i, j, channel, mean, scale);
#ifdef CHECK_FINITE
#pragma unroll
        for (int n = 0; n < VECTOR; n++) largest = max(largest, __float_as_uint(values[n]) & 0x7FFFFFFFu);
#endif
#ifdef ERASE
        erase(values, record + ERASED, i, mirrored, j, channel);
#endif
        if (from >= 0 && from + VECTOR <= count) {
            __stwb((Vector *)(target + from), pack(values, TARGET()));
        } else {
#pragma unroll
            for (int n = 0; n < VECTOR; n++)
                if (from + n >= 0 && from + n < count) target[from + n] = (Bits)bits_of(values[n], TARGET());
        }
    }
#ifdef CHECK_FINITE
    if (largest >= Limit<TARGET>::BITS) not_finite[number] = 1; /* by any number of threads */
#endif
}
