/* int8 depthwise convolution. */
#ifndef SORDINO_DEPTHWISE_CONV_S8_H
#define SORDINO_DEPTHWISE_CONV_S8_H

#include "conv_dot_s8.h"

/* One channel after the other; weights are [taps][outputs]. */
static inline void sordino_depthwise_rest_s8(sordino_conv_taps x, int32_t inputs, int32_t from,
                                             int32_t outputs, const sordino_conv_s8_params *p,
                                             int8_t *out)
{
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels);
    const int32_t multiplier = outputs / inputs;
    for (int32_t c = from; c < outputs; ++c) {
        const int8_t *row = (const int8_t *)x.first + c / multiplier, *weight = p->weights + c;
        int32_t sum = channel[c].bias;
        for (int32_t j = x.height; j > 0; --j, row += x.row) {
            const int8_t *value = row;
            for (int32_t i = x.width; i > 0; --i, value += x.tap, weight += outputs) {
                sum += *value * *weight;
            }
        }
        out[c] = sordino_conv_output_s8(p, channel + c, sum);
    }
}

#if SORDINO_HELIUM

/* Eight channels at a time: sums of the even ones and of the odd ones. */
static inline void sordino_depthwise_one_s8(sordino_conv_taps x, int32_t channels,
                                            const sordino_conv_s8_params *p, int8_t *out)
{
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels);
    const uint32x4_t offsets = sordino_conv_offsets(2);
    int32_t c = 0;
    for (; c + 8 <= channels; c += 8, channel += 8) {
        const int8_t *row = (const int8_t *)x.first + c, *weight = p->weights + c;
        int32x4_t even = vdupq_n_s32(0), odd = vdupq_n_s32(0);
        for (int32_t j = x.height; j > 0; --j, row += x.row) {
            const int8_t *value = row;
            for (int32_t i = x.width; i > 0; --i, value += x.tap, weight += channels) {
                const int16x8_t a = vldrbq_s16(value), b = vldrbq_s16(weight);
                even = vaddq_s32(even, vmullbq_int_s16(a, b));
                odd = vaddq_s32(odd, vmulltq_int_s16(a, b));
            }
        }
        even = sordino_conv_outputs_s8(even, p, channel, offsets);
        odd = sordino_conv_outputs_s8(odd, p, channel + 1, offsets);
        vstrbq_s16(out + c, vmovntq_s32(vreinterpretq_s16_s32(even), odd));
    }
    sordino_depthwise_rest_s8(x, channels, c, channels, p, out);
}

#else

/* Four channels at a time. */
static inline void sordino_depthwise_one_s8(sordino_conv_taps x, int32_t channels,
                                            const sordino_conv_s8_params *p, int8_t *out)
{
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels);
    int32_t c = 0;
    for (; c + 4 <= channels; c += 4, channel += 4) {
        const int8_t *row = (const int8_t *)x.first + c, *weight = p->weights + c;
        int32_t s0 = channel[0].bias, s1 = channel[1].bias;
        int32_t s2 = channel[2].bias, s3 = channel[3].bias;
        for (int32_t j = x.height; j > 0; --j, row += x.row) {
            const int8_t *value = row;
            for (int32_t i = x.width; i > 0; --i, value += x.tap, weight += channels) {
#if SORDINO_DSP
                const uint32_t v = sordino_conv_word(value), u = sordino_conv_word(weight);
                const int16x2_t even = sordino_conv_even(v), odd = sordino_conv_odd(v);
                const int16x2_t weight_even = sordino_conv_even(u), weight_odd = sordino_conv_odd(u);
                s0 = __smlabb(even, weight_even, s0);
                s1 = __smlabb(odd, weight_odd, s1);
                s2 = __smlatt(even, weight_even, s2);
                s3 = __smlatt(odd, weight_odd, s3);
#else
                s0 += value[0] * weight[0];
                s1 += value[1] * weight[1];
                s2 += value[2] * weight[2];
                s3 += value[3] * weight[3];
#endif
            }
        }
        sordino_conv_store_s8(p, channel, s0, s1, s2, s3, 4, out + c);
    }
    sordino_depthwise_rest_s8(x, channels, c, channels, p, out);
}

#endif

/* ``scratch`` holds a window [taps][input channels]. */
static inline void sordino_depthwise_conv_s8(const sordino_conv_s8_params *p, const int8_t *in,
                                             int8_t *out, void *scratch)
{
    const sordino_conv_windows *w = sordino_conv_windows_of(p->windows);
    const int32_t inputs = w->input_channels, outputs = w->filters;
    for (int32_t n = 0; n < w->batches * w->output_height; ++n) {
        const int32_t batch = n / w->output_height, y = n % w->output_height;
        const sordino_conv_line line = sordino_conv_line_of(w, in, batch, y, 0, 1);
        for (int32_t column = 0; column < w->output_width; ++column, out += outputs) {
            const sordino_conv_taps x = sordino_conv_taps_of(w, &line, column, 1, scratch);
            if (inputs == outputs) {
                sordino_depthwise_one_s8(x, inputs, p, out);
            } else {
                sordino_depthwise_rest_s8(x, inputs, 0, outputs, p, out);
            }
        }
    }
}

#endif
