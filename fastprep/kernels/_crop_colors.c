/* Compile with -ffp-contract=off: each product and each sum is rounded to float32. */
#include "_crop_colors.h"

int fastprep_keeps_apart(const float *colors, int64_t channels)
{
    if (channels == 1) return 1;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t other = 0; other < channels; other++) {
            const float number = colors[c * (channels + 1) + other];
            if (other == c ? number <= 0.0f : number != 0.0f) return 0; /* adding 0 changes no bit of a positive number, or of 0 */
        }
    return 1;
}

int fastprep_crop_maps(const fastprep_crop *crop, const float *colors)
{
    if (crop->version == FASTPREP_PORTABLE || crop->source_type != FASTPREP_UINT8 || crop->mean_is_image) return 0;
    return fastprep_keeps_apart(colors, crop->channels) || (!crop->channels_first && crop->target_type == FASTPREP_TO_FLOAT32);
}

void fastprep_gains(const float *colors, int64_t channels, int64_t channel, int64_t step, float *gain, float *shift, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        gain[k] = colors[channel * (channels + 1) + channel];
        shift[k] = colors[channel * (channels + 1) + channels];
        channel += step;
        if (channel == channels) channel = 0;
    }
}

int fastprep_has_gains(const float *colors, int64_t channels)
{
    for (int64_t c = 0; c < channels; c++)
        if (colors[c * (channels + 2)] != 1.0f) return 1;
    return 0;
}

void fastprep_map_bytes(const float *colors, int64_t channels, int64_t channel, int64_t step, const uint8_t *bytes, float *to,
                        int64_t n)
{
    if (fastprep_keeps_apart(colors, channels)) {
        float gain[3 * FASTPREP_BLOCK], shift[3 * FASTPREP_BLOCK];
        fastprep_gains(colors, channels, channel, step, gain, shift, n);
        for (int64_t k = 0; k < n; k++) to[k] = gain[k] * (float)bytes[k] + shift[k];
        return;
    }
    for (int64_t k = 0; k < n; k++) {
        const float *const m = colors + k % 3 * 4;
        const uint8_t *const pixel = bytes + k - k % 3;
        to[k] = ((m[0] * (float)pixel[0] + m[1] * (float)pixel[1]) + m[2] * (float)pixel[2]) + m[3];
    }
}
