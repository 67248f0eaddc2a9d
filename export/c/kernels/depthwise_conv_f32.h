/* float32 depthwise convolution. */
#ifndef SORDINO_DEPTHWISE_CONV_F32_H
#define SORDINO_DEPTHWISE_CONV_F32_H

#include "conv_f32.h"

/* Weights are [taps][output channels]; ``scratch`` holds a window [taps][input channels]. */
static inline void sordino_depthwise_conv_f32(const sordino_conv_f32_params *p, const float *in,
                                              float *out, void *scratch)
{
    const sordino_conv_windows *w = sordino_conv_windows_of(p->windows);
    const int32_t taps = w->kernel_height * w->kernel_width;
    const int32_t inputs = w->input_channels, outputs = w->filters, multiplier = outputs / inputs;
    for (int32_t n = 0; n < w->batches * w->output_height; ++n) {
        const int32_t batch = n / w->output_height, y = n % w->output_height;
        const sordino_conv_line line = sordino_conv_line_of(w, in, batch, y, 0, 4);
        for (int32_t column = 0; column < w->output_width; ++column, out += outputs) {
            const float *x = (const float *)sordino_conv_window(w, &line, column, 4, scratch);
            for (int32_t c = 0, i = 0; c < outputs; ++i) {
                for (int32_t m = 0; m < multiplier; ++m, ++c) {
                    const float *weight = p->weights + c;
                    float sum = 0.0f;
                    for (int32_t t = 0; t < taps; ++t) {
                        sum += x[t * inputs + i] * weight[t * outputs];
                    }
                    out[c] = sordino_conv_output_f32(p, c, sum);
                }
            }
        }
    }
}

#endif
