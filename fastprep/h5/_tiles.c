#include "_filters.h"

#include <string.h>

/* Copy runs of the same length, each so many bytes behind the one before; short ones as numbers, which is what channels are. */
static void copy_runs(
    const uint8_t *restrict source, int64_t source_step, uint8_t *restrict target, int64_t target_step, int64_t run, int64_t n
) {
#define RUNS(bytes)                                                                                              \
    case bytes:                                                                                                  \
        for (int64_t k = 0; k < n; k++) memcpy(target + k * target_step, source + k * source_step, bytes);         \
        break;
    switch (run) {
        RUNS(1)
        RUNS(2)
        RUNS(3)
        RUNS(4)
        RUNS(6)
        RUNS(8)
        default:
            for (int64_t k = 0; k < n; k++) memcpy(target + k * target_step, source + k * source_step, (size_t)run);
    }
#undef RUNS
}

void fastprep_place_tile(
    const uint8_t *tile, const int64_t *sides, const int64_t *tile_sides, const int64_t *starts, const int64_t *within,
    int64_t element_bytes, uint8_t *images
) {
    int64_t pixel = sides[3] * element_bytes, row = sides[2] * pixel, image = sides[1] * row;
    int64_t tile_pixel = tile_sides[3] * element_bytes, tile_row = tile_sides[2] * tile_pixel;
    int64_t run = within[3] * element_bytes;
    for (int64_t n = 0; n < within[0]; n++) {
        const uint8_t *source = tile + n * tile_sides[1] * tile_row;
        uint8_t *target = images + n * image + starts[1] * row + starts[2] * pixel + starts[3] * element_bytes;
        for (int64_t y = 0; y < within[1]; y++, source += tile_row, target += row) {
            if (run == pixel && run == tile_pixel) {
                memcpy(target, source, (size_t)(within[2] * run));
            } else {
                copy_runs(source, tile_pixel, target, pixel, run, within[2]);
            }
        }
    }
}
