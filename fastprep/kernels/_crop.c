/* Each row of a crop is first arranged (mirrored, or separated into channels) in the type of the source, in a buffer that stays
 * in the first-level cache. Then it is converted in one straight loop.
 *
 * The x86 versions convert only bytes, and only into whole cache lines, which can be written around the caches. What is left of
 * a row waits for the next row. The portable loop converts the first and the last numbers of a plane, which share their lines
 * with other data, and sources of other types. */
#include "_crop.h"

#include <string.h>

#include "_crop_rows.h"
#include "_crop_x86.h"

/* Numbers of a plane that are arranged before they are converted: enough for the calls to cost little, and few enough for writing
 * to overlap with arranging */
enum { BURST = 512 };

/* Images in a mapped file come from memory. Hardware prefetchers do not cross a page, nor follow the rows of a flipped crop. */
enum { ROWS_AHEAD = 2 };

static void prefetch(const char *bytes, int64_t n)
{
#ifdef __GNUC__
    for (int64_t k = 0; k < n; k += 64) __builtin_prefetch(bytes + k);
#else
    (void)bytes, (void)n;
#endif
}

/* A plane of the result: all channels, or one channel with channels first */
typedef struct {
    char *target;                   /* where the next result goes */
    char *arranged;                 /* numbers of the source that wait for their conversion */
    int64_t n_arranged;
    const float *mean, *scale;      /* rows; of a mean image, the first line */
    int64_t n_head;                 /* numbers before the first whole cache line */
    float *line_mean, *line_scale;  /* for a block after these; of a mean image, for the arranged numbers */
} plane;

typedef struct {
    int64_t n_planes, channels;     /* channels in each plane */
    int64_t row, block, capacity;   /* numbers in a row of a plane, in a block of lines, and in `arranged` */
    size_t source_size, target_size;
    int in_lines;
} shape;

static shape shape_of(const fastprep_crop *crop)
{
    shape of;
    of.n_planes = crop->channels_first ? crop->channels : 1;
    of.channels = crop->channels_first ? 1 : crop->channels;
    of.row = crop->crop_width * of.channels;
    of.block = FASTPREP_BLOCK * of.channels;
    of.source_size = crop->source_type == FASTPREP_UINT8 ? 1 : crop->source_type == FASTPREP_FLOAT32 ? 4 : 8;
    of.target_size = crop->target_type == FASTPREP_TO_FLOAT32 ? 4 : 2;
    of.in_lines = crop->version != FASTPREP_PORTABLE && crop->source_type == FASTPREP_UINT8;
    of.capacity = of.row + (of.in_lines ? BURST + of.block : 0);
    return of;
}

/* Layout of the working memory: the planes, and a pointer for each; then, for each plane, its arranged numbers, and the mean and
 * the scale of its lines */
static size_t whole_lines(size_t n_bytes) { return (n_bytes + 63) / 64 * 64; }

static size_t planes_bytes(const shape *of) { return whole_lines((size_t)of->n_planes * (sizeof(plane) + sizeof(void *))); }

static size_t arranged_bytes(const shape *of) { return whole_lines((size_t)of->capacity * of->source_size + FASTPREP_SLACK); }

static size_t scale_bytes(const shape *of) { return (size_t)of->block * sizeof(float); }

static size_t mean_bytes(const fastprep_crop *crop, const shape *of)
{
    return crop->mean_is_image ? whole_lines((size_t)of->capacity * sizeof(float)) : scale_bytes(of);
}

size_t fastprep_crop_room(const fastprep_crop *crop)
{
    const shape of = shape_of(crop);
    return planes_bytes(&of) + (size_t)of.n_planes * (arranged_bytes(&of) + mean_bytes(crop, &of) + scale_bytes(&of));
}

/* Return the mean of a crop's row in plane p, for a mean image. */
static const float *mean_row(const fastprep_crop *crop, const shape *of, int64_t p, int64_t source_y, int64_t x, int mirrored)
{
    const int64_t length = crop->row_pixels * of->channels;
    if (mirrored) {
        source_y += crop->height;
        x = crop->width - crop->crop_width - x;
    }
    return crop->mean + (source_y * of->n_planes + p) * length + x * of->channels;
}

static void lay_out(const fastprep_crop *crop, const shape *of, void *target, void *room)
{
    plane *planes = room;
    char *buffer = (char *)room + planes_bytes(of);
    for (int64_t p = 0; p < of->n_planes; p++) {
        plane *to = planes + p;
        to->target = (char *)target + (size_t)(p * crop->crop_height * of->row) * of->target_size;
        to->arranged = buffer;
        to->n_arranged = 0;
        to->mean = crop->mean + p * crop->row_pixels * of->channels;
        to->scale = crop->scale + p * crop->row_pixels * of->channels;
        to->n_head = (int64_t)(-(uintptr_t)to->target % 64 / of->target_size);
        to->line_mean = (float *)(buffer + arranged_bytes(of));
        to->line_scale = (float *)(buffer + arranged_bytes(of) + mean_bytes(crop, of));
        buffer = (char *)to->line_scale + scale_bytes(of);
        if (!of->in_lines) continue;
        const int64_t phase = to->n_head % of->channels;
        if (!crop->mean_is_image) memcpy(to->line_mean, to->mean + phase, scale_bytes(of));
        memcpy(to->line_scale, to->scale + phase, scale_bytes(of));
    }
}

#ifdef FASTPREP_X86
/* Remove the first n arranged numbers, which have been converted. */
static void drop(const fastprep_crop *crop, const shape *of, plane *to, int64_t n)
{
    to->target += (size_t)n * of->target_size;
    to->n_arranged -= n;
    memmove(to->arranged, to->arranged + n, (size_t)to->n_arranged);
    if (crop->mean_is_image) memmove(to->line_mean, to->line_mean + n, (size_t)to->n_arranged * sizeof(float));
}

static void convert_lines(const fastprep_crop *crop, const shape *of, plane *to, fastprep_lines *lines, int is_end)
{
    if (to->n_head) {
        const int64_t n = to->n_head < to->n_arranged ? to->n_head : to->n_arranged;
        fastprep_convert(crop, to->arranged, crop->mean_is_image ? to->line_mean : to->mean, to->scale, to->target, n);
        to->n_head -= n;
        drop(crop, of, to, n);
    }
    if (!to->n_head) {
        const int64_t mean_step = crop->mean_is_image ? of->block : 0;
        drop(crop, of, to, lines((const uint8_t *)to->arranged, to->line_mean, mean_step, crop->has_scale ? to->line_scale : NULL,
                                 to->target, to->n_arranged, of->channels, crop->stream));
    }
    if (is_end) fastprep_convert(crop, to->arranged, to->line_mean, to->line_scale, to->target, to->n_arranged);
}
#endif

int fastprep_crop_run(const fastprep_crop *crop, const void *pixels, int64_t y, int64_t x, int flags, void *target, void *room)
{
    const shape of = shape_of(crop);
    const int mirrored = flags & FASTPREP_MIRRORED;
    const int64_t source_row = crop->width * crop->channels * (int64_t)of.source_size;
    const int64_t n_source = crop->crop_width * crop->channels * (int64_t)of.source_size;
    const int as_it_is = !mirrored && of.n_planes == 1 && !of.in_lines;
    plane *planes = room;
    void **next = (void **)(planes + of.n_planes);
    uint32_t not_finite = 0;
#ifdef FASTPREP_X86
    fastprep_lines *lines = crop->version == FASTPREP_AVX512 ? fastprep_lines_avx512(crop->target_type)
                                                             : fastprep_lines_avx2(crop->target_type);
#endif
    lay_out(crop, &of, target, room);
    for (int64_t i = 0; i < crop->crop_height; i++) {
        const int64_t source_y = y + (flags & FASTPREP_FLIPPED ? crop->crop_height - 1 - i : i);
        const char *source = (const char *)pixels + (size_t)((source_y * crop->width + x) * crop->channels) * of.source_size;
        if (i + ROWS_AHEAD < crop->crop_height)
            prefetch(source + (flags & FASTPREP_FLIPPED ? -ROWS_AHEAD : ROWS_AHEAD) * source_row, n_source);
        if (!as_it_is) {
            for (int64_t p = 0; p < of.n_planes; p++) next[p] = planes[p].arranged + (size_t)planes[p].n_arranged * of.source_size;
            fastprep_arrange(crop, source, next, mirrored);
        }
        for (int64_t p = 0; p < of.n_planes; p++) {
            plane *to = planes + p;
            const float *mean = crop->mean_is_image ? mean_row(crop, &of, p, source_y, x, mirrored) : to->mean;
#ifdef FASTPREP_X86
            if (of.in_lines) {
                const int is_end = i == crop->crop_height - 1;
                if (crop->mean_is_image) memcpy(to->line_mean + to->n_arranged, mean, (size_t)of.row * sizeof(float));
                to->n_arranged += of.row;
                if (is_end || to->n_arranged >= BURST) convert_lines(crop, &of, to, lines, is_end);
                continue;
            }
#endif
            not_finite |= fastprep_convert(crop, as_it_is ? source : to->arranged, mean, to->scale, to->target, of.row);
            to->target += (size_t)of.row * of.target_size;
        }
    }
#ifdef FASTPREP_X86
    if (of.in_lines && crop->stream) fastprep_fence();
#endif
    return !not_finite;
}

int fastprep_crop_supported(int version)
{
    switch (version) {
    case FASTPREP_PORTABLE: return 1;
#ifdef FASTPREP_X86
    case FASTPREP_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
    case FASTPREP_AVX512:
        return fastprep_crop_supported(FASTPREP_AVX2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
               && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi");
#endif
    default: return 0;
    }
}
