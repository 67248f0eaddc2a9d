/* Depthwise convolution of int16 with int8 weights. */
#ifndef SORDINO_DEPTHWISE_CONV_S16_H
#define SORDINO_DEPTHWISE_CONV_S16_H

#include "conv_dot_s16.h"

/* One channel of sums that need 64 bits. */
static inline int64_t sordino_depthwise_wide_s16(sordino_conv_taps x, const int16_t *row,
                                                 const int8_t *weight, int32_t outputs)
{
    int64_t total = 0;
    for (int32_t j = x.height; j > 0; --j, row += x.row) {
        const int16_t *value = row;
        for (int32_t i = x.width; i > 0; --i, value += x.tap, weight += outputs) {
            total += *value * *weight;
        }
    }
    return total;
}

/* One channel after the other; weights are [taps][outputs]. */
static inline void sordino_depthwise_rest_s16(sordino_conv_taps x, int32_t inputs, int32_t from,
                                              int32_t outputs, const sordino_conv_s16_params *p,
                                              int16_t *out)
{
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels);
    const sordino_conv_wide_channel *wide = sordino_conv_wide_channels_of(p->channels);
    const int32_t multiplier = outputs / inputs;
    for (int32_t c = from; c < outputs; ++c) {
        const int16_t *first = (const int16_t *)x.first + c / multiplier;
        const int64_t total = sordino_depthwise_wide_s16(x, first, p->weights + c, outputs);
        out[c] = p->wide ? sordino_conv_wide_output_s16(
                               p, wide + c, total + sordino_conv_wide_bias(wide + c))
                         : sordino_conv_output_s16(p, channel + c,
                                                   (int32_t)(total + channel[c].bias));
    }
}

#if SORDINO_HELIUM

/* Eight channels at a time: sums of the even ones and of the odd ones. Not for ``wide`` sums. */
static inline void sordino_depthwise_one_s16(sordino_conv_taps x, int32_t channels,
                                             const sordino_conv_s16_params *p, int16_t *out)
{
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels);
    const uint32x4_t offsets = sordino_conv_offsets(2);
    int32_t c = 0;
    for (; c + 8 <= channels; c += 8, channel += 8) {
        const int16_t *row = (const int16_t *)x.first + c;
        const int8_t *weight = p->weights + c;
        int32x4_t even = vdupq_n_s32(0), odd = vdupq_n_s32(0);
        for (int32_t j = x.height; j > 0; --j, row += x.row) {
            const int16_t *value = row;
            for (int32_t i = x.width; i > 0; --i, value += x.tap, weight += channels) {
                const int16x8_t a = vldrhq_s16(value), b = vldrbq_s16(weight);
                even = vaddq_s32(even, vmullbq_int_s16(a, b));
                odd = vaddq_s32(odd, vmulltq_int_s16(a, b));
            }
        }
        even = sordino_conv_outputs_s16(even, p, channel, offsets);
        odd = sordino_conv_outputs_s16(odd, p, channel + 1, offsets);
        vstrhq_s16(out + c, vmovntq_s32(vreinterpretq_s16_s32(even), odd));
    }
    sordino_depthwise_rest_s16(x, channels, c, channels, p, out);
}

#else

/* Four channels at a time. Not for ``wide`` sums. */
static inline void sordino_depthwise_one_s16(sordino_conv_taps x, int32_t channels,
                                             const sordino_conv_s16_params *p, int16_t *out)
{
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels);
    int32_t c = 0;
    for (; c + 4 <= channels; c += 4, channel += 4) {
        const int16_t *row = (const int16_t *)x.first + c;
        const int8_t *weight = p->weights + c;
        int32_t s0 = channel[0].bias, s1 = channel[1].bias;
        int32_t s2 = channel[2].bias, s3 = channel[3].bias;
        for (int32_t j = x.height; j > 0; --j, row += x.row) {
            const int16_t *value = row;
            for (int32_t i = x.width; i > 0; --i, value += x.tap, weight += channels) {
                s0 += value[0] * weight[0];
                s1 += value[1] * weight[1];
                s2 += value[2] * weight[2];
                s3 += value[3] * weight[3];
            }
        }
        out[c] = sordino_conv_output_s16(p, channel, s0);
        out[c + 1] = sordino_conv_output_s16(p, channel + 1, s1);
        out[c + 2] = sordino_conv_output_s16(p, channel + 2, s2);
        out[c + 3] = sordino_conv_output_s16(p, channel + 3, s3);
    }
    sordino_depthwise_rest_s16(x, channels, c, channels, p, out);
}

#endif

/* ``scratch`` holds a window [taps][input channels]. */
static inline void sordino_depthwise_conv_s16(const sordino_conv_s16_params *p, const int16_t *in,
                                              int16_t *out, void *scratch)
{
    const sordino_conv_windows *w = sordino_conv_windows_of(p->windows);
    const int32_t inputs = w->input_channels, outputs = w->filters;
    for (int32_t n = 0; n < w->batches * w->output_height; ++n) {
        const int32_t batch = n / w->output_height, y = n % w->output_height;
        const sordino_conv_line line = sordino_conv_line_of(w, in, batch, y, 0, 2);
        for (int32_t column = 0; column < w->output_width; ++column, out += outputs) {
            const sordino_conv_taps x = sordino_conv_taps_of(w, &line, column, 2, scratch);
            if (inputs == outputs && !p->wide) {
                sordino_depthwise_one_s16(x, inputs, p, out);
            } else {
                sordino_depthwise_rest_s16(x, inputs, 0, outputs, p, out);
            }
        }
    }
}

#endif
