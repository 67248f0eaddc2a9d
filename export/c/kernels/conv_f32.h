/* float32 convolution, and matrix times vector as its smallest case. */
#ifndef SORDINO_CONV_F32_H
#define SORDINO_CONV_F32_H

#include "sordino_base.h"
#include "conv_window.h"

typedef struct {
    const int32_t *windows; /* sordino_conv_windows */
    const float *weights;   /* a row per output channel */
    const float *bias;
    float lowest, highest; /* of the fused activation */
} sordino_conv_f32_params;

SORDINO_CONV_INLINE float sordino_conv_output_f32(const sordino_conv_f32_params *p, int32_t channel,
                                                  float sum)
{
    const float value = sum + p->bias[channel];
    return value < p->lowest ? p->lowest : (value > p->highest ? p->highest : value);
}

/* The filters of a group, from ``first``, at one position: four rows share a load of the window.
 * Behind the last row, it is taken again. */
static inline void sordino_conv_single_f32(const sordino_conv_windows *w,
                                           const sordino_conv_f32_params *p, int32_t first,
                                           const float *x, float *out)
{
    const int32_t length = w->length, filters = w->filters;
    for (int32_t c = 0; c < filters; c += 4) {
        const int32_t last = filters - c - 1, at = first + c;
        const int32_t c1 = last < 1 ? last : 1, c2 = last < 2 ? last : 2, c3 = last < 3 ? last : 3;
        const float *w0 = p->weights + at * length, *w1 = w0 + c1 * length;
        const float *w2 = w0 + c2 * length, *w3 = w0 + c3 * length;
        float s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
        for (int32_t k = 0; k < length; ++k) {
            s0 += x[k] * w0[k];
            s1 += x[k] * w1[k];
            s2 += x[k] * w2[k];
            s3 += x[k] * w3[k];
        }
        out[c] = sordino_conv_output_f32(p, at, s0);
        out[c + c1] = sordino_conv_output_f32(p, at + c1, s1);
        out[c + c2] = sordino_conv_output_f32(p, at + c2, s2);
        out[c + c3] = sordino_conv_output_f32(p, at + c3, s3);
    }
}

/* The same at two positions, two rows at a time. */
SORDINO_CONV_INLINE void sordino_conv_two_f32(const sordino_conv_windows *w,
                                              const sordino_conv_f32_params *p, int32_t first,
                                              const float *x, const float *y, float *out_x,
                                              float *out_y)
{
    const int32_t length = w->length, filters = w->filters;
    for (int32_t c = 0; c < filters; c += 2) {
        const int32_t c1 = c + 1 < filters ? 1 : 0, at = first + c;
        const float *w0 = p->weights + at * length, *w1 = w0 + c1 * length;
        float x0 = 0.0f, x1 = 0.0f, y0 = 0.0f, y1 = 0.0f;
        for (int32_t k = 0; k < length; ++k) {
            x0 += x[k] * w0[k];
            x1 += x[k] * w1[k];
            y0 += y[k] * w0[k];
            y1 += y[k] * w1[k];
        }
        out_x[c] = sordino_conv_output_f32(p, at, x0);
        out_x[c + c1] = sordino_conv_output_f32(p, at + c1, x1);
        out_y[c] = sordino_conv_output_f32(p, at, y0);
        out_y[c + c1] = sordino_conv_output_f32(p, at + c1, y1);
    }
}

/* ``scratch`` holds two windows. */
static inline void sordino_conv_f32(const sordino_conv_f32_params *p, const float *in, float *out,
                                    void *scratch)
{
    const sordino_conv_windows *w = sordino_conv_windows_of(p->windows);
    const int32_t lines = w->batches * w->output_height, step = w->output_step;
    float *spare = (float *)scratch;
    for (int32_t group = 0; group < w->groups; ++group) {
        const int32_t first = group * w->filters;
        for (int32_t n = 0; n < lines; ++n) {
            const int32_t batch = n / w->output_height, y = n % w->output_height;
            const sordino_conv_line line = sordino_conv_line_of(w, in, batch, y, group, 4);
            float *to = out + line.target;
            int32_t x = 0;
            for (; x + 2 <= w->output_width; x += 2, to += 2 * step) {
                const void *a = sordino_conv_window(w, &line, x, 4, spare);
                const void *b = sordino_conv_window(w, &line, x + 1, 4, spare + w->length);
                sordino_conv_two_f32(w, p, first, (const float *)a, (const float *)b, to,
                                     to + step);
            }
            if (x < w->output_width) {
                const void *window = sordino_conv_window(w, &line, x, 4, spare);
                sordino_conv_single_f32(w, p, first, (const float *)window, to);
            }
        }
    }
}

/* A matrix times vectors that lie one behind the other. */
static inline void sordino_dense_f32(const sordino_conv_f32_params *p, const float *in, float *out)
{
    const sordino_conv_windows *w = sordino_conv_windows_of(p->windows);
    for (int32_t n = 0; n < w->batches; ++n) {
        sordino_conv_single_f32(w, p, 0, in + n * w->length, out + n * w->filters);
    }
}

#endif
