/* The loops over numbers of one size. Included once for each size, with NUMBER and NAME(function) defined. */

static void NAME(pick)(
    const fastprep_mask *mask, const NUMBER *source, const int64_t *down, const int64_t *across, NUMBER *target
) {
    const int64_t width = mask->out_width, channels = mask->channels, step = mask->channel_step;
    const int is_packed = channels == 1 || step == 1;
    int is_run = is_packed, is_reversed = channels == 1;
    for (int64_t j = 1; j < width; j++) {
        is_run &= across[j] - across[j - 1] == channels;
        is_reversed &= across[j] - across[j - 1] == -1;
    }
    for (int64_t i = 0; i < mask->out_height; i++, target += width * channels) {
        const NUMBER *row = source + down[i];
        if (is_run) {
            memcpy(target, row + across[0], (size_t)(width * channels) * sizeof(NUMBER));
        } else if (is_reversed) {
            NAME(reverse)(row + across[0] - (width - 1), width, target);
        } else if (channels == 1) {
            for (int64_t j = 0; j < width; j++) target[j] = row[across[j]];
        } else {
            for (int64_t j = 0; j < width; j++)
                for (int64_t c = 0; c < channels; c++) target[j * channels + c] = row[across[j] + c * step];
        }
    }
}

static void NAME(map)(
    const fastprep_mask *mask, const NUMBER *source, const int64_t *start, const int64_t *right, const int64_t *down,
    NUMBER *target
) {
    const int64_t channels = mask->channels, step = mask->channel_step;
    const NUMBER *fill = mask->fill;
    for (int64_t i = 0; i < mask->out_height; i++) {
        int64_t x = start[0] + down[0] * i, y = start[1] + down[1] * i;
        for (int64_t j = 0; j < mask->out_width; j++, x += right[0], y += right[1], target += channels) {
            const int64_t column = x >> 32, row = y >> 32;
            if (row >= 0 && row < mask->height && column >= 0 && column < mask->width) {
                const NUMBER *pixel = source + row * mask->row_step + column * mask->column_step;
                for (int64_t c = 0; c < channels; c++) target[c] = pixel[c * step];
            } else {
                memcpy(target, fill, (size_t)channels * sizeof(NUMBER));
            }
        }
    }
}
