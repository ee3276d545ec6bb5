/* HDF5's filters undone, without Python: one chunk at a time, into memory of the caller's. */
#ifndef FASTPREP_FILTERS_H
#define FASTPREP_FILTERS_H

#include <stddef.h>
#include <stdint.h>

/* Numbers of filters: see filters.py. */
enum {
    FASTPREP_DEFLATE = 1,
    FASTPREP_SHUFFLE = 2,
    FASTPREP_FLETCHER32 = 3,
    FASTPREP_LZF = 32000,
    FASTPREP_BLOSC = 32001,
    FASTPREP_LZ4 = 32004,
    FASTPREP_BITSHUFFLE = 32008,
    FASTPREP_ZSTD = 32015,
    FASTPREP_BLOSC2 = 32026
};

enum { FASTPREP_MOST_STAGES = 32, FASTPREP_MOST_VALUES = 40 };

/* Blosc2's blosc2_dparams with room behind it, as later releases have made it longer; all of them begin with the threads. */
typedef struct {
    int64_t n_threads;
    void *others[15];
} fastprep_blosc2_parameters;

/* Functions of the libraries that decompress; NULL where one is not there. */
typedef struct {
    int (*lz4_decompress)(const char *, char *, int, int);
    void *(*zstd_new)(void);
    size_t (*zstd_free)(void *);
    size_t (*zstd_decompress)(void *, void *, size_t, const void *, size_t);
    unsigned (*zstd_is_error)(size_t);
    void *(*deflate_new)(void);
    void (*deflate_free)(void *);
    int (*deflate_decompress)(void *, const void *, size_t, void *, size_t, size_t *);
    int (*blosc_validate)(const void *, size_t, size_t *);
    int (*blosc_decompress)(const void *, void *, size_t, int);
    void *(*blosc2_new)(fastprep_blosc2_parameters);
    void (*blosc2_free)(void *);
    int (*blosc2_decompress)(void *, const void *, int32_t, void *, int32_t);
} fastprep_codecs;

/* What one thread keeps from chunk to chunk; made when it is first needed. */
typedef struct {
    const fastprep_codecs *codecs;
    void *zstd, *deflate, *blosc2;
    uint8_t *memory;
    int64_t memory_bytes;
} fastprep_contexts;

typedef struct {
    int code;
    int n_values;
    uint32_t values[FASTPREP_MOST_VALUES];
} fastprep_stage;

/* The filters in the order in which they were applied. */
typedef struct {
    int n_stages;
    fastprep_stage stages[FASTPREP_MOST_STAGES];
} fastprep_pipeline;

typedef struct {
    const uint8_t *first;
    int64_t n_bytes;
} fastprep_bytes;

/* Undo the filters of a chunk, but for those whose bits are set in `skipped`. Return where the chunk is then: in `raw`, `spare` or
   `out`, and in `out` where a filter moved it. Nothing is written beyond `capacity` bytes of both, and nothing read beyond `raw`.
   `first` is NULL if the bytes do not give exactly `chunk_bytes`, or can't be decoded here. */
fastprep_bytes fastprep_undo_filters(
    const fastprep_pipeline *pipeline, fastprep_contexts *contexts, uint32_t skipped, fastprep_bytes raw, int64_t chunk_bytes,
    uint8_t *spare, uint8_t *out, int64_t capacity
);

/* Tell whether there is all that a stage needs. */
int fastprep_can_undo(const fastprep_codecs *codecs, const fastprep_stage *stage);

void fastprep_free_contexts(fastprep_contexts *contexts);

/* Return memory of the contexts', valid until more is asked for; NULL if there is none. */
uint8_t *fastprep_memory(fastprep_contexts *contexts, int64_t n_bytes);

/* Each of these decodes `data` into `out` and returns the number of bytes there, or -1. */
int64_t fastprep_lzf(fastprep_bytes data, uint8_t *out, int64_t capacity);
int64_t fastprep_unshuffle(fastprep_bytes data, int64_t element_bytes, uint8_t *out, int64_t capacity);
int64_t fastprep_unbitshuffle(
    fastprep_contexts *contexts, const fastprep_stage *stage, fastprep_bytes data, uint8_t *out, int64_t capacity
);
int64_t fastprep_blosc2(fastprep_contexts *contexts, fastprep_bytes data, uint8_t *out, int64_t capacity);
int64_t fastprep_lz4_block(const fastprep_contexts *contexts, fastprep_bytes data, uint8_t *out, int64_t capacity);
int64_t fastprep_zstd(fastprep_contexts *contexts, fastprep_bytes data, uint8_t *out, int64_t capacity);

/* The checksum of HDF5's filter fletcher32: of big-endian words of 16 bits, an odd byte at the end as the upper half of one. */
uint32_t fastprep_fletcher32(fastprep_bytes data);

/* Copy what a tile has of images into them. Sides are samples, height, width and channels: those of the images, those of the tile,
   where the tile begins, and how much of it lies within the images. */
void fastprep_place_tile(
    const uint8_t *tile, const int64_t *sides, const int64_t *tile_sides, const int64_t *starts, const int64_t *within,
    int64_t element_bytes, uint8_t *images
);

static inline uint64_t fastprep_big_endian(const uint8_t *bytes, int n_bytes) {
    uint64_t value = 0;
    for (int k = 0; k < n_bytes; k++) value = value << 8 | bytes[k];
    return value;
}

static inline uint64_t fastprep_little_endian(const uint8_t *bytes, int n_bytes) {
    uint64_t value = 0;
    for (int k = n_bytes; k-- > 0;) value = value << 8 | bytes[k];
    return value;
}

#endif
