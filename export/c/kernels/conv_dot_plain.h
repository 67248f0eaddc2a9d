/* int8 rows of weights times int8 windows in plain C. */
#ifndef SORDINO_CONV_DOT_PLAIN_H
#define SORDINO_CONV_DOT_PLAIN_H

#include "sordino_base.h"
#include "conv_scaling.h"

#if !SORDINO_HELIUM && !SORDINO_DSP

#if defined(__thumb__) && !defined(__thumb2__)

/* Eight registers: two rows, and no constant offsets, which loads of signed bytes do not have. */
static inline void sordino_conv_single_s8(const sordino_conv_windows *w,
                                          const sordino_conv_s8_params *p, int32_t first,
                                          const int8_t *window, int8_t *out)
{
    const int32_t length = w->length, pitch = p->pitch, filters = w->filters;
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels) + first;
    const int8_t *w0 = p->weights + first * pitch;
    for (int32_t c = 0; c < filters; c += 2, channel += 2, w0 += 2 * pitch) {
        const int32_t c1 = c + 1 < filters ? 1 : 0;
        const int8_t *w1 = w0 + c1 * pitch;
        int32_t s0 = channel[0].bias, s1 = channel[c1].bias;
        for (int32_t k = 0; k < length; ++k) {
            const int32_t x = window[k];
            s0 += x * w0[k];
            s1 += x * w1[k];
        }
        out[c] = sordino_conv_output_s8(p, channel, s0);
        out[c + c1] = sordino_conv_output_s8(p, channel + c1, s1);
    }
}

static inline void sordino_conv_two_s8(const sordino_conv_windows *w,
                                       const sordino_conv_s8_params *p, int32_t first,
                                       const int8_t *a, const int8_t *b, int8_t *out_a,
                                       int8_t *out_b, void *wide)
{
    (void)wide;
    sordino_conv_single_s8(w, p, first, a, out_a);
    sordino_conv_single_s8(w, p, first, b, out_b);
}

#else

static inline void sordino_conv_single_s8(const sordino_conv_windows *w,
                                          const sordino_conv_s8_params *p, int32_t first,
                                          const int8_t *window, int8_t *out)
{
    const int32_t length = w->length, pitch = p->pitch, filters = w->filters;
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels) + first;
    const int8_t *row = p->weights + first * pitch, *end = window + (length & ~3);
    for (int32_t c = 0; c < filters; c += 4, channel += 4, row += 4 * pitch) {
        const int32_t last = filters - c - 1;
        const int32_t c1 = last < 1 ? last : 1, c2 = last < 2 ? last : 2, c3 = last < 3 ? last : 3;
        const int8_t *x = window;
        const int8_t *w0 = row, *w1 = row + c1 * pitch, *w2 = row + c2 * pitch;
        const int8_t *w3 = row + c3 * pitch;
        int32_t s0 = channel[0].bias, s1 = channel[c1].bias, s2 = channel[c2].bias;
        int32_t s3 = channel[c3].bias;
        for (; x != end; x += 4, w0 += 4, w1 += 4, w2 += 4, w3 += 4) {
            const int32_t x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
            s0 += x0 * w0[0] + x1 * w0[1] + x2 * w0[2] + x3 * w0[3];
            s1 += x0 * w1[0] + x1 * w1[1] + x2 * w1[2] + x3 * w1[3];
            s2 += x0 * w2[0] + x1 * w2[1] + x2 * w2[2] + x3 * w2[3];
            s3 += x0 * w3[0] + x1 * w3[1] + x2 * w3[2] + x3 * w3[3];
        }
        for (int32_t k = 0; k < (length & 3); ++k) {
            s0 += x[k] * w0[k];
            s1 += x[k] * w1[k];
            s2 += x[k] * w2[k];
            s3 += x[k] * w3[k];
        }
        const int8_t v0 = sordino_conv_output_s8(p, channel, s0);
        const int8_t v1 = sordino_conv_output_s8(p, channel + c1, s1);
        const int8_t v2 = sordino_conv_output_s8(p, channel + c2, s2);
        const int8_t v3 = sordino_conv_output_s8(p, channel + c3, s3);
        out[c] = v0;
        out[c + c1] = v1;
        out[c + c2] = v2;
        out[c + c3] = v3;
    }
}

static inline void sordino_conv_two_s8(const sordino_conv_windows *w,
                                       const sordino_conv_s8_params *p, int32_t first,
                                       const int8_t *a, const int8_t *b, int8_t *out_a,
                                       int8_t *out_b, void *wide)
{
    const int32_t length = w->length, pitch = p->pitch, filters = w->filters;
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels) + first;
    const int8_t *row = p->weights + first * pitch, *end = a + (length & ~3);
    (void)wide;
    for (int32_t c = 0; c < filters; c += 2, channel += 2, row += 2 * pitch) {
        const int32_t c1 = c + 1 < filters ? 1 : 0;
        const int8_t *w0 = row, *w1 = row + c1 * pitch, *x = a, *y = b;
        int32_t a0 = channel[0].bias, b0 = a0, a1 = channel[c1].bias, b1 = a1;
        for (; x != end; x += 4, y += 4, w0 += 4, w1 += 4) {
            for (int32_t k = 0; k < 4; ++k) { /* unrolled: constant offsets */
                a0 += x[k] * w0[k];
                a1 += x[k] * w1[k];
                b0 += y[k] * w0[k];
                b1 += y[k] * w1[k];
            }
        }
        for (int32_t k = 0; k < (length & 3); ++k) {
            a0 += x[k] * w0[k];
            a1 += x[k] * w1[k];
            b0 += y[k] * w0[k];
            b1 += y[k] * w1[k];
        }
        const int8_t va0 = sordino_conv_output_s8(p, channel, a0);
        const int8_t vb0 = sordino_conv_output_s8(p, channel, b0);
        const int8_t va1 = sordino_conv_output_s8(p, channel + c1, a1);
        const int8_t vb1 = sordino_conv_output_s8(p, channel + c1, b1);
        out_a[c] = va0;
        out_b[c] = vb0;
        out_a[c + c1] = va1;
        out_b[c + c1] = vb1;
    }
}

#endif

#endif

#endif
