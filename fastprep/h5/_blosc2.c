#include "_filters.h"

#include <limits.h>
#include <string.h>

/* The filter blosc2 stores a frame (README_CFRAME_FORMAT.rst of https://github.com/Blosc/c-blosc2): a header, in msgpack and so
   big-endian; one chunk; an index, which is a chunk of its own with the offset of the other one; and a trailer. Where the header has
   a layer "b2nd", the numbers of the chunk are in blocks of several dimensions, the last ones padded. What is not exactly so is
   refused, and left to HDF5. The chunk itself is decompressed by the library, once its header is one of the kinds that are known. */

enum {
    HEADER_LENGTH = 0x0B, /* offsets of numbers in the header of a frame */
    FRAME_LENGTH = 0x10,
    CHUNKS_LENGTH = 0x27,
    ITEM_BYTES = 0x30,
    LAYERS = 0x57,        /* of what lies behind the numbers */
    CHUNK_HEADER = 32,    /* bytes */
    INDEX = CHUNK_HEADER + 8,
    MOST_DIMENSIONS = 4,
    MOST_PADDING = 16     /* a block may be as long as a chunk less one: nearly twice as many numbers in each dimension */
};

static const uint64_t ZEROS = (uint64_t)0x81 << 56; /* an offset that stands for a chunk of zeros, which is not stored */

/* Where the numbers of a frame are: its item size; shape and block, samples or a length of 1 first; 0 blocks: as they are. */
typedef struct {
    int64_t item_bytes, n_dimensions;
    int64_t shape[MOST_DIMENSIONS], block[MOST_DIMENSIONS];
} layout;

/* Read an array of numbers, each with its type in front; return where it ends, or NULL. */
static const uint8_t *numbers(const uint8_t *at, const uint8_t *end, int64_t n, uint8_t type, int n_bytes, int64_t *out) {
    if (end - at < 1 + n * (n_bytes + 1) || *at++ != (0x90 | n)) return NULL;
    for (int64_t k = 0; k < n; k++, at += n_bytes + 1) {
        uint64_t value = *at == type ? fastprep_big_endian(at + 1, n_bytes) : 0;
        if (value == 0 || value > INT_MAX) return NULL;
        out[MOST_DIMENSIONS - n + k] = (int64_t)value;
    }
    return at;
}

/* Read the header's layers: none, or "b2nd" alone, with version, dimensions, shape, shape of chunks and of blocks. */
static int find_layout(fastprep_bytes header, layout *found) {
    static const uint8_t start[] = {0x93, 0xCD}, none[] = {0xDE, 0, 0}, one[] = {0xDE, 0, 1, 0xA4, 'b', '2', 'n', 'd', 0xD2};
    const uint8_t *at = header.first + LAYERS, *end = header.first + header.n_bytes;
    int64_t chunk[MOST_DIMENSIONS];
    found->n_dimensions = 0;
    if (end - at < 7 || memcmp(at, start, sizeof(start))) return 0;
    at += 4;
    if (!memcmp(at, none, sizeof(none))) return 1;
    if (end - at < (int64_t)sizeof(one) + 4 || memcmp(at, one, sizeof(one))) return 0;
    int64_t offset = (int64_t)fastprep_big_endian(at + sizeof(one), 4);
    if (offset > header.n_bytes - 8) return 0;
    at = header.first + offset;
    if (at[0] != 0xC6 || (int64_t)fastprep_big_endian(at + 1, 4) > end - at - 5) return 0;
    int64_t n = at[7];
    if (at[5] < 0x95 || at[5] > 0x9F || at[6] > 0x7F || n < 1 || n > MOST_DIMENSIONS) return 0;
    for (int k = 0; k < MOST_DIMENSIONS; k++) found->shape[k] = found->block[k] = chunk[k] = 1;
    at = numbers(at + 8, end, n, 0xD3, 8, found->shape);
    if (at != NULL) at = numbers(at, end, n, 0xD2, 4, chunk);
    if (at != NULL) at = numbers(at, end, n, 0xD2, 4, found->block);
    found->n_dimensions = n;
    return at != NULL && !memcmp(found->shape, chunk, sizeof(chunk));
}

/* Tell whether the header of a chunk is of a known kind, for so many bytes when it is decompressed. */
static int is_known_chunk(fastprep_bytes chunk, int64_t n_bytes) {
    if (chunk.n_bytes < CHUNK_HEADER) return 0;
    const uint8_t *header = chunk.first;
    int codec = header[2] >> 5, special = header[31] >> 4;
    int64_t block = (int64_t)fastprep_little_endian(header + 8, 4);
    if (header[0] != 5 || (header[2] & 5) != 5 || header[3] == 0) return 0; /* the stable version, with the longer header */
    if (codec != 0 && codec != 1 && codec != 3 && codec != 4) return 0;     /* blosclz, lz4, zlib, zstd */
    for (int k = 16; k < 22; k++) {
        if (header[k] > 4) return 0; /* shuffle, bitshuffle, delta and truncation; others the library would look for elsewhere */
    }
    /* no dictionary, nothing that is read later, no blocks of several lengths; a chunk of zeros, or an ordinary one */
    if (header[30] || (header[31] & 0x8F & ~2) || (special != 0 && special != 1)) return 0;
    return (int64_t)fastprep_little_endian(header + 4, 4) == n_bytes && block > 0 && block <= n_bytes &&
           (int64_t)fastprep_little_endian(header + 12, 4) == chunk.n_bytes;
}

static int64_t decompress(fastprep_contexts *contexts, fastprep_bytes chunk, uint8_t *out, int64_t n_bytes) {
    if (!is_known_chunk(chunk, n_bytes)) return -1;
    if (contexts->blosc2 == NULL) {
        fastprep_blosc2_parameters parameters;
        memset(&parameters, 0, sizeof(parameters));
        parameters.n_threads = 1;
        contexts->blosc2 = contexts->codecs->blosc2_new(parameters);
        if (contexts->blosc2 == NULL) return -1;
    }
    int done = contexts->codecs->blosc2_decompress(contexts->blosc2, chunk.first, (int32_t)chunk.n_bytes, out, (int32_t)n_bytes);
    if (done == n_bytes) return n_bytes;
    contexts->codecs->blosc2_free(contexts->blosc2); /* nothing of a damaged chunk is kept */
    contexts->blosc2 = NULL;
    return -1;
}

/* Put the blocks of a chunk in the order of their numbers. */
static void unblock(const layout *found, const uint8_t *blocks, uint8_t *out) {
    int64_t grid[MOST_DIMENSIONS], n_blocks = 1, block_bytes = found->item_bytes;
    for (int k = 0; k < MOST_DIMENSIONS; k++) {
        grid[k] = (found->shape[k] + found->block[k] - 1) / found->block[k];
        n_blocks *= grid[k];
        block_bytes *= found->block[k];
    }
    int64_t image_bytes = found->item_bytes * found->shape[1] * found->shape[2] * found->shape[3];
    for (int64_t number = 0; number < n_blocks; number++) {
        int64_t starts[MOST_DIMENSIONS], within[MOST_DIMENSIONS], rest = number;
        for (int k = MOST_DIMENSIONS; k-- > 0; rest /= grid[k]) {
            int64_t left = found->shape[k] - (starts[k] = rest % grid[k] * found->block[k]);
            within[k] = left < found->block[k] ? left : found->block[k];
        }
        fastprep_place_tile(
            blocks + number * block_bytes, found->shape, found->block, starts, within, found->item_bytes, out + starts[0] * image_bytes
        );
    }
}

int64_t fastprep_blosc2(fastprep_contexts *contexts, fastprep_bytes data, uint8_t *out, int64_t capacity) {
    static const uint8_t magic[] = {0x9E, 0xA8, 'b', '2', 'f', 'r', 'a', 'm', 'e', 0, 0xD2};
    layout found;
    if (data.n_bytes < LAYERS + 7 || data.n_bytes > INT_MAX || memcmp(data.first, magic, sizeof(magic))) return -1;
    fastprep_bytes header = {data.first, (int64_t)fastprep_big_endian(data.first + HEADER_LENGTH, 4)};
    uint64_t frame_bytes = fastprep_big_endian(data.first + FRAME_LENGTH, 8);
    uint64_t claimed = fastprep_big_endian(data.first + CHUNKS_LENGTH, 8);
    if (frame_bytes > (uint64_t)data.n_bytes || header.n_bytes < LAYERS + 7 || (uint64_t)header.n_bytes > frame_bytes) return -1;
    if (!find_layout(header, &found) || claimed > frame_bytes - (uint64_t)header.n_bytes) return -1;
    found.item_bytes = (int64_t)fastprep_big_endian(data.first + ITEM_BYTES, 4);
    fastprep_bytes chunk = {data.first + header.n_bytes, (int64_t)claimed};
    const uint8_t *index = chunk.first + chunk.n_bytes;
    if ((int64_t)frame_bytes - header.n_bytes - chunk.n_bytes < INDEX) return -1;
    /* the index is too short to be compressed: bit 1 says that it is as it was */
    if (index[0] != 5 || !(index[2] & 2) || fastprep_little_endian(index + 4, 4) != 8) return -1;
    uint64_t offset = fastprep_little_endian(index + CHUNK_HEADER, 8);
    int64_t n_bytes = (int64_t)fastprep_big_endian(data.first + 0x1E, 8); /* of numbers and padding */
    int64_t n_out = found.item_bytes;
    if (n_bytes <= 0 || n_bytes > MOST_PADDING * capacity || n_bytes > INT_MAX || offset != (claimed ? 0 : ZEROS)) return -1;
    if (found.n_dimensions == 0) {
        n_out = n_bytes;
        if (n_out > capacity) return -1;
        if (claimed) return decompress(contexts, chunk, out, n_out);
        memset(out, 0, (size_t)n_out);
        return n_out;
    }
    int64_t n_padded = found.item_bytes;
    if (found.item_bytes <= 0 || found.item_bytes > capacity) return -1;
    for (int k = 0; k < MOST_DIMENSIONS; k++) {
        if (found.shape[k] > capacity / n_out || found.block[k] > found.shape[k]) return -1;
        n_out *= found.shape[k];
        n_padded *= (found.shape[k] + found.block[k] - 1) / found.block[k] * found.block[k];
    }
    if (n_padded != n_bytes) return -1;
    if (!claimed) {
        memset(out, 0, (size_t)n_out);
        return n_out;
    }
    uint8_t *blocks = fastprep_memory(contexts, n_padded);
    if (blocks == NULL || decompress(contexts, chunk, blocks, n_padded) < 0) return -1;
    unblock(&found, blocks, out);
    return n_out;
}
