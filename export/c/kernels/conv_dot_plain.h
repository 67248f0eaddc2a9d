/* int8 rows of weights times int8 windows in plain C. */
#ifndef SORDINO_CONV_DOT_PLAIN_H
#define SORDINO_CONV_DOT_PLAIN_H

#include "sordino_base.h"
#include "conv_scaling.h"

#if !SORDINO_HELIUM && !SORDINO_DSP

#if defined(__thumb__) && !defined(__thumb2__)

/* The next index, kept in its register: these cores load signed bytes at the sum of two registers
 * only, so that an index folded into constant offsets would cost an instruction for each load. */
SORDINO_CONV_INLINE int32_t sordino_conv_after(int32_t k)
{
    ++k;
    __asm__("" : "+r"(k));
    return k;
}

/* Eight registers are enough for two rows. */
static inline void sordino_conv_single_s8(const sordino_conv_windows *w,
                                          const sordino_conv_s8_params *p, int32_t group,
                                          const int8_t *window, int8_t *out)
{
    const int32_t length = w->length, pitch = p->pitch, row = group * sordino_conv_rows(w);
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels) + row;
    const int8_t *w0 = p->weights + row * pitch + length, *x = window + length;
    for (int32_t left = w->filters; left > 0; left -= 2, channel += 2, out += 2, w0 += 2 * pitch) {
        const int8_t *w1 = w0 + pitch;
        int32_t s0 = channel[0].bias, s1 = channel[1].bias, k = -length;
        for (; k & 3; k = sordino_conv_after(k)) {
            s0 += x[k] * w0[k];
            s1 += x[k] * w1[k];
        }
        while (k < 0) {
            for (int32_t n = 0; n < 4; ++n) { /* unrolled */
                const int32_t v = x[k];
                s0 += v * w0[k];
                s1 += v * w1[k];
                k = sordino_conv_after(k);
            }
        }
        const int8_t v0 = sordino_conv_output_s8(p, channel, s0);
        const int8_t v1 = sordino_conv_output_s8(p, channel + 1, s1);
        out[0] = v0;
        if (left > 1) {
            out[1] = v1;
        }
    }
}

SORDINO_CONV_INLINE void sordino_conv_two_s8(const sordino_conv_windows *w,
                                             const sordino_conv_s8_params *p, int32_t group,
                                             const int8_t *a, const int8_t *b, int8_t *out_a,
                                             int8_t *out_b, void *wide)
{
    (void)wide;
    sordino_conv_single_s8(w, p, group, a, out_a);
    sordino_conv_single_s8(w, p, group, b, out_b);
}

#else

static inline void sordino_conv_single_s8(const sordino_conv_windows *w,
                                          const sordino_conv_s8_params *p, int32_t group,
                                          const int8_t *window, int8_t *out)
{
    const int32_t pitch = p->pitch, rest = w->length & 3, row = group * sordino_conv_rows(w);
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels) + row;
    const int8_t *w0 = p->weights + row * pitch, *end = window + (w->length - rest);
    for (int32_t left = w->filters; left > 0; left -= 4, channel += 4, out += 4) {
        const int8_t *x = window, *w1 = w0 + pitch, *w2 = w1 + pitch, *w3 = w2 + pitch;
        int32_t s0 = channel[0].bias, s1 = channel[1].bias;
        int32_t s2 = channel[2].bias, s3 = channel[3].bias;
        for (; x != end; x += 4, w0 += 4, w1 += 4, w2 += 4, w3 += 4) {
            const int32_t x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
            s0 += x0 * w0[0] + x1 * w0[1] + x2 * w0[2] + x3 * w0[3];
            s1 += x0 * w1[0] + x1 * w1[1] + x2 * w1[2] + x3 * w1[3];
            s2 += x0 * w2[0] + x1 * w2[1] + x2 * w2[2] + x3 * w2[3];
            s3 += x0 * w3[0] + x1 * w3[1] + x2 * w3[2] + x3 * w3[3];
        }
        for (int32_t k = 0; k < rest; ++k) {
            s0 += x[k] * w0[k];
            s1 += x[k] * w1[k];
            s2 += x[k] * w2[k];
            s3 += x[k] * w3[k];
        }
        w0 = w3 + (rest ? 4 : 0);
        sordino_conv_store_s8(p, channel, s0, s1, s2, s3, left, out);
    }
}

SORDINO_CONV_INLINE void sordino_conv_two_s8(const sordino_conv_windows *w,
                                             const sordino_conv_s8_params *p, int32_t group,
                                             const int8_t *a, const int8_t *b, int8_t *out_a,
                                             int8_t *out_b, void *wide)
{
    const int32_t pitch = p->pitch, rest = w->length & 3, row = group * sordino_conv_rows(w);
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels) + row;
    const int8_t *w0 = p->weights + row * pitch, *end = a + (w->length - rest);
    (void)wide;
    for (int32_t left = w->filters; left > 0; left -= 2, channel += 2, out_a += 2, out_b += 2) {
        const int8_t *w1 = w0 + pitch, *x = a, *y = b;
        int32_t a0 = channel[0].bias, b0 = a0, a1 = channel[1].bias, b1 = a1;
        for (; x != end; x += 4, y += 4, w0 += 4, w1 += 4) {
            for (int32_t k = 0; k < 4; ++k) { /* unrolled: constant offsets */
                a0 += x[k] * w0[k];
                a1 += x[k] * w1[k];
                b0 += y[k] * w0[k];
                b1 += y[k] * w1[k];
            }
        }
        for (int32_t k = 0; k < rest; ++k) {
            a0 += x[k] * w0[k];
            a1 += x[k] * w1[k];
            b0 += y[k] * w0[k];
            b1 += y[k] * w1[k];
        }
        w0 = w1 + (rest ? 4 : 0);
        sordino_conv_store_2x2_s8(p, channel, a0, b0, a1, b1, left, out_a, out_b);
    }
}

#endif

#endif

#endif
