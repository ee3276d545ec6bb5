#include "_filters.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { LZ4_MOST_BYTES = 0x7E000000 }; /* of a block: LZ4_MAX_INPUT_SIZE of lz4.h */

int64_t fastprep_lz4_block(const fastprep_contexts *contexts, fastprep_bytes data, uint8_t *out, int64_t capacity) {
    if (data.n_bytes > INT_MAX) return -1;
    int room = capacity > INT_MAX ? INT_MAX : (int)capacity;
    return contexts->codecs->lz4_decompress((const char *)data.first, (char *)out, (int)data.n_bytes, room);
}

int64_t fastprep_zstd(fastprep_contexts *contexts, fastprep_bytes data, uint8_t *out, int64_t capacity) {
    const fastprep_codecs *codecs = contexts->codecs;
    if (contexts->zstd == NULL && (contexts->zstd = codecs->zstd_new()) == NULL) return -1;
    /* a frame that is decoded in one piece needs no window, whatever size of one it claims */
    size_t done = codecs->zstd_decompress(contexts->zstd, out, (size_t)capacity, data.first, (size_t)data.n_bytes);
    return codecs->zstd_is_error(done) ? -1 : (int64_t)done;
}

static int64_t inflate(fastprep_contexts *contexts, fastprep_bytes data, uint8_t *out, int64_t capacity) {
    const fastprep_codecs *codecs = contexts->codecs;
    size_t done = 0;
    if (contexts->deflate == NULL && (contexts->deflate = codecs->deflate_new()) == NULL) return -1;
    int failed =
        codecs->deflate_decompress(contexts->deflate, data.first, (size_t)data.n_bytes, out, (size_t)capacity, &done);
    return failed ? -1 : (int64_t)done;
}

static int64_t blosc(const fastprep_contexts *contexts, fastprep_bytes data, uint8_t *out, int64_t capacity) {
    size_t n_bytes = 0;
    if (data.n_bytes < 16) return -1;
    int64_t stored = (int64_t)fastprep_little_endian(data.first + 12, 4); /* bytes that follow are no matter */
    if (stored > data.n_bytes || contexts->codecs->blosc_validate(data.first, (size_t)stored, &n_bytes) < 0) return -1;
    if (n_bytes > (size_t)capacity) return -1;
    int done = contexts->codecs->blosc_decompress(data.first, out, (size_t)capacity, 1);
    return done < 0 || (size_t)done != n_bytes ? -1 : done;
}

/* The length of all, 8 bytes, big-endian; that of a block, 4 bytes; then for each block its stored length, and its contents,
   which are as they were where that is their whole length. */
static int64_t lz4(const fastprep_contexts *contexts, fastprep_bytes data, uint8_t *out, int64_t capacity) {
    if (data.n_bytes < 12) return -1;
    uint64_t claimed = fastprep_big_endian(data.first, 8);
    int64_t block_bytes = (int64_t)fastprep_big_endian(data.first + 8, 4), position = 12;
    if (claimed > (uint64_t)capacity || block_bytes == 0 || block_bytes > LZ4_MOST_BYTES) return -1;
    int64_t n_bytes = (int64_t)claimed;
    for (int64_t start = 0; start < n_bytes; start += block_bytes) {
        int64_t length = n_bytes - start < block_bytes ? n_bytes - start : block_bytes;
        if (data.n_bytes - position < 4) return -1;
        int64_t stored = (int64_t)fastprep_big_endian(data.first + position, 4);
        position += 4;
        if (stored > data.n_bytes - position) return -1;
        fastprep_bytes block = {data.first + position, stored};
        if (stored == length) {
            memcpy(out + start, block.first, (size_t)length);
        } else if (fastprep_lz4_block(contexts, block, out + start, length) != length) {
            return -1;
        }
        position += stored;
    }
    return n_bytes;
}

/* Return the length without the checksum at the end; -1 if that is another one. */
static int64_t verify(fastprep_bytes data) {
    if (data.n_bytes < 4) return -1;
    fastprep_bytes body = {data.first, data.n_bytes - 4};
    uint32_t stored = (uint32_t)fastprep_little_endian(data.first + body.n_bytes, 4), computed = fastprep_fletcher32(body);
    /* HDF5 before 1.6.3 swapped the bytes of each half on little-endian machines; both are accepted, as in H5Zfletcher32.c */
    uint32_t swapped = (computed & 0x00FF00FFu) << 8 | (computed >> 8 & 0x00FF00FFu);
    return stored == computed || stored == swapped ? body.n_bytes : -1;
}

static int64_t undo(fastprep_contexts *contexts, const fastprep_stage *stage, fastprep_bytes data, uint8_t *out, int64_t capacity) {
    if (data.n_bytes == 0) return -1;
    switch (stage->code) {
        case FASTPREP_DEFLATE: return inflate(contexts, data, out, capacity);
        case FASTPREP_SHUFFLE: return fastprep_unshuffle(data, stage->values[0], out, capacity);
        case FASTPREP_LZF: return fastprep_lzf(data, out, capacity);
        case FASTPREP_BLOSC: return blosc(contexts, data, out, capacity);
        case FASTPREP_LZ4: return lz4(contexts, data, out, capacity);
        case FASTPREP_BITSHUFFLE: return fastprep_unbitshuffle(contexts, stage, data, out, capacity);
        case FASTPREP_ZSTD: return fastprep_zstd(contexts, data, out, capacity);
        case FASTPREP_BLOSC2: return fastprep_blosc2(contexts, data, out, capacity);
        default: return -1;
    }
}

fastprep_bytes fastprep_undo_filters(
    const fastprep_pipeline *pipeline, fastprep_contexts *contexts, uint32_t skipped, fastprep_bytes raw, int64_t chunk_bytes,
    uint8_t *spare, uint8_t *out, int64_t capacity
) {
    const fastprep_bytes refused = {NULL, 0};
    int n_moves = 0;
    for (int k = 0; k < pipeline->n_stages; k++) {
        n_moves += !(skipped >> k & 1) && pipeline->stages[k].code != FASTPREP_FLETCHER32;
    }
    fastprep_bytes data = raw;
    for (int k = pipeline->n_stages; k-- > 0;) {
        if (skipped >> k & 1) continue;
        const fastprep_stage *stage = &pipeline->stages[k];
        if (stage->code == FASTPREP_FLETCHER32) {
            data.n_bytes = verify(data);
        } else {
            uint8_t *target = n_moves-- % 2 ? out : spare; /* so that the last one is `out` */
            data.n_bytes = undo(contexts, stage, data, target, capacity);
            data.first = target;
        }
        if (data.n_bytes < 0) return refused;
    }
    return data.n_bytes == chunk_bytes ? data : refused;
}

int fastprep_can_undo(const fastprep_codecs *codecs, const fastprep_stage *stage) {
    int lz4 = codecs->lz4_decompress != NULL;
    int zstd = codecs->zstd_new != NULL && codecs->zstd_free != NULL && codecs->zstd_decompress != NULL && codecs->zstd_is_error != NULL;
    uint32_t compression = stage->n_values > 4 ? stage->values[4] : 0;
    switch (stage->code) {
        case FASTPREP_DEFLATE:
            return codecs->deflate_new != NULL && codecs->deflate_free != NULL && codecs->deflate_decompress != NULL;
        case FASTPREP_SHUFFLE: return stage->n_values > 0 && stage->values[0] > 0;
        case FASTPREP_FLETCHER32: return 1;
        case FASTPREP_LZF: return 1;
        case FASTPREP_BLOSC: return codecs->blosc_validate != NULL && codecs->blosc_decompress != NULL;
        case FASTPREP_LZ4: return lz4;
        case FASTPREP_BITSHUFFLE:
            return stage->n_values > 2 && stage->values[2] > 0 && (!compression || (compression == 2 && lz4) || (compression == 3 && zstd));
        case FASTPREP_ZSTD: return zstd;
        case FASTPREP_BLOSC2:
            return codecs->blosc2_new != NULL && codecs->blosc2_free != NULL && codecs->blosc2_decompress != NULL;
        default: return 0;
    }
}

void fastprep_free_contexts(fastprep_contexts *contexts) {
    if (contexts->zstd != NULL) contexts->codecs->zstd_free(contexts->zstd);
    if (contexts->deflate != NULL) contexts->codecs->deflate_free(contexts->deflate);
    if (contexts->blosc2 != NULL) contexts->codecs->blosc2_free(contexts->blosc2);
    free(contexts->memory);
    contexts->zstd = contexts->deflate = contexts->blosc2 = NULL;
    contexts->memory = NULL;
    contexts->memory_bytes = 0;
}

uint8_t *fastprep_memory(fastprep_contexts *contexts, int64_t n_bytes) {
    if (contexts->memory == NULL || contexts->memory_bytes < n_bytes) {
        free(contexts->memory);
        contexts->memory = malloc(n_bytes > 0 ? (size_t)n_bytes : 1);
        contexts->memory_bytes = contexts->memory == NULL ? 0 : n_bytes;
    }
    return contexts->memory;
}
