/* float32 depthwise convolution. */
#ifndef SORDINO_DEPTHWISE_CONV_F32_H
#define SORDINO_DEPTHWISE_CONV_F32_H

#include "conv_f32.h"

/* One position; weights are [taps][output channels]. */
static inline void sordino_depthwise_one_f32(sordino_conv_taps x, int32_t inputs, int32_t outputs,
                                             const sordino_conv_f32_params *p, float *out)
{
    const int32_t multiplier = outputs / inputs;
    for (int32_t c = 0, channel = 0; c < outputs; ++channel) {
        for (int32_t m = 0; m < multiplier; ++m, ++c) {
            const float *row = (const float *)x.first + channel, *weight = p->weights + c;
            float sum = 0.0f;
            for (int32_t j = x.height; j > 0; --j, row += x.row) {
                const float *value = row;
                for (int32_t i = x.width; i > 0; --i, value += x.tap, weight += outputs) {
                    sum += *value * *weight;
                }
            }
            out[c] = sordino_conv_output_f32(p, c, sum);
        }
    }
}

/* ``scratch`` holds a window [taps][input channels]. */
static inline void sordino_depthwise_conv_f32(const sordino_conv_f32_params *p, const float *in,
                                              float *out, void *scratch)
{
    const sordino_conv_windows *w = sordino_conv_windows_of(p->windows);
    const int32_t inputs = w->input_channels, outputs = w->filters;
    for (int32_t n = 0; n < w->batches * w->output_height; ++n) {
        const int32_t batch = n / w->output_height, y = n % w->output_height;
        const sordino_conv_line line = sordino_conv_line_of(w, in, batch, y, 0, 4);
        for (int32_t column = 0; column < w->output_width; ++column, out += outputs) {
            const sordino_conv_taps x = sordino_conv_taps_of(w, &line, column, 4, scratch);
            sordino_depthwise_one_f32(x, inputs, outputs, p, out);
        }
    }
}

#endif
