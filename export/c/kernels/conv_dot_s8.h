/* int8 rows of weights times one or two int8 windows. */
#ifndef SORDINO_CONV_DOT_S8_H
#define SORDINO_CONV_DOT_S8_H

#include "sordino_base.h"
#include "conv_scaling.h"
#include "conv_window.h"

#if SORDINO_DSP

static inline uint32_t sordino_conv_word(const void *from)
{
    uint32_t word;
    memcpy(&word, from, 4);
    return word;
}

/* Four int8 as two pairs of int16: values 0 and 2, values 1 and 3. */
static inline int16x2_t sordino_conv_even(uint32_t word)
{
    return __sxtb16((int8x4_t)word);
}

static inline int16x2_t sordino_conv_odd(uint32_t word)
{
    return __sxtb16((int8x4_t)((word >> 8) | (word << 24)));
}

#endif

#if SORDINO_HELIUM

/* Four sums to four outputs, of which the first ``count`` are stored. */
static inline void sordino_conv_store_s8(int32x4_t sums, int32_t count,
                                         const sordino_conv_s8_params *p, int32_t channel,
                                         int8_t *out)
{
    const mve_pred16_t some = vctp32q((uint32_t)count);
    const int32x4_t multiplier = vldrwq_z_s32(p->multiplier + channel, some);
    const int32x4_t shift = vldrbq_z_s32(p->shift + channel, some);
    const int32x4_t right = vminq_s32(shift, vdupq_n_s32(0));
    int32x4_t value = vaddq_s32(sums, vldrwq_z_s32(p->bias + channel, some));
    value = vshlq_s32(value, vmaxq_s32(shift, vdupq_n_s32(0)));
    value = vqrdmulhq_s32(value, multiplier);
    /* vrshl rounds half up: a negative value that is shifted to the right starts one lower */
    value = vaddq_s32(value, vshrq_n_s32(vandq_s32(value, right), 31));
    value = vaddq_n_s32(vrshlq_s32(value, right), p->zero_point);
    value = vmaxq_s32(value, vdupq_n_s32(p->lowest));
    value = vminq_s32(value, vdupq_n_s32(p->highest));
    vstrbq_p_s32(out, value, some);
}

#endif

/* All filters of a group, from ``first``, at one position: four rows share what is loaded of the
 * window. Behind the last row, that row is taken again. */
static inline void sordino_conv_single_s8(const sordino_conv_windows *w,
                                        const sordino_conv_s8_params *p, int32_t first,
                                          const int8_t *window, int8_t *out)
{
    const int32_t length = w->length, pitch = p->pitch;
    const int8_t *weights = p->weights + first * pitch;
    for (int32_t c = 0; c < w->filters; c += 4, weights += 4 * pitch) {
        const int32_t left = w->filters - c, count = left < 4 ? left : 4;
        const int8_t *w0 = weights;
        const int8_t *w1 = left > 1 ? w0 + pitch : w0;
        const int8_t *w2 = left > 2 ? w1 + pitch : w0;
        const int8_t *w3 = left > 3 ? w2 + pitch : w0;
#if SORDINO_HELIUM
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, k = 0;
        for (; k + 16 <= length; k += 16) {
            const int8x16_t x = vldrbq_s8(window + k);
            s0 = vmladavaq_s8(s0, x, vldrbq_s8(w0 + k));
            s1 = vmladavaq_s8(s1, x, vldrbq_s8(w1 + k));
            s2 = vmladavaq_s8(s2, x, vldrbq_s8(w2 + k));
            s3 = vmladavaq_s8(s3, x, vldrbq_s8(w3 + k));
        }
        if (k < length) {
            const mve_pred16_t some = vctp8q((uint32_t)(length - k));
            const int8x16_t x = vldrbq_z_s8(window + k, some);
            s0 = vmladavaq_s8(s0, x, vldrbq_z_s8(w0 + k, some));
            s1 = vmladavaq_s8(s1, x, vldrbq_z_s8(w1 + k, some));
            s2 = vmladavaq_s8(s2, x, vldrbq_z_s8(w2 + k, some));
            s3 = vmladavaq_s8(s3, x, vldrbq_z_s8(w3 + k, some));
        }
        int32x4_t sums = vdupq_n_s32(s0);
        sums = vsetq_lane_s32(s1, sums, 1);
        sums = vsetq_lane_s32(s2, sums, 2);
        sums = vsetq_lane_s32(s3, sums, 3);
        sordino_conv_store_s8(sums, count, p, first + c, out + c);
#else
        const int32_t *bias = p->bias + first + c;
        int32_t s[4] = {bias[0], bias[left > 1 ? 1 : 0], bias[left > 2 ? 2 : 0],
                        bias[left > 3 ? 3 : 0]};
        int32_t k = 0;
#if SORDINO_DSP
        for (; k + 4 <= length; k += 4) {
            const uint32_t x = sordino_conv_word(window + k);
            const int16x2_t even = sordino_conv_even(x), odd = sordino_conv_odd(x);
            const uint32_t v0 = sordino_conv_word(w0 + k), v1 = sordino_conv_word(w1 + k);
            s[0] = __smlad(sordino_conv_even(v0), even, s[0]);
            s[0] = __smlad(sordino_conv_odd(v0), odd, s[0]);
            s[1] = __smlad(sordino_conv_even(v1), even, s[1]);
            s[1] = __smlad(sordino_conv_odd(v1), odd, s[1]);
            const uint32_t v2 = sordino_conv_word(w2 + k), v3 = sordino_conv_word(w3 + k);
            s[2] = __smlad(sordino_conv_even(v2), even, s[2]);
            s[2] = __smlad(sordino_conv_odd(v2), odd, s[2]);
            s[3] = __smlad(sordino_conv_even(v3), even, s[3]);
            s[3] = __smlad(sordino_conv_odd(v3), odd, s[3]);
        }
#endif
        for (; k < length; ++k) {
            const int32_t x = window[k];
            s[0] += x * w0[k];
            s[1] += x * w1[k];
            s[2] += x * w2[k];
            s[3] += x * w3[k];
        }
        for (int32_t i = 0; i < count; ++i) {
            out[c + i] = sordino_conv_output_s8(p, first + c + i, s[i]);
        }
#endif
    }
}

#if SORDINO_DSP

/* Widen a window for sordino_conv_pair_s8: the two pairs of each four values, zeros behind. */
static inline void sordino_conv_widen_s8(int32_t length, const int8_t *window,
                                         int16x2_t *wide)
{
    int32_t k = 0;
    for (; k + 4 <= length; k += 4) {
        const uint32_t word = sordino_conv_word(window + k);
        *wide++ = sordino_conv_even(word);
        *wide++ = sordino_conv_odd(word);
    }
    if (k < length) {
        uint32_t word = 0;
        memcpy(&word, window + k, (size_t)(length - k));
        *wide++ = sordino_conv_even(word);
        *wide++ = sordino_conv_odd(word);
    }
}

/* All filters of a group at two positions, two rows at a time. */
static inline void sordino_conv_pair_s8(const sordino_conv_windows *w,
                                        const sordino_conv_s8_params *p, int32_t first,
                                        const int16x2_t *a, const int16x2_t *b, int8_t *out_a,
                                        int8_t *out_b)
{
    const int32_t pitch = p->pitch;
    const int8_t *w0 = p->weights + first * pitch;
    for (int32_t c = 0; c < w->filters; c += 2) {
        const int32_t d = c + 1 < w->filters ? c + 1 : c;
        const int8_t *w1 = w0 + (d - c) * pitch, *end = w0 + pitch;
        int32_t a0 = p->bias[first + c], b0 = a0;
        int32_t a1 = p->bias[first + d], b1 = a1;
        const int16x2_t *x = a, *y = b;
        do {
            const uint32_t v0 = sordino_conv_word(w0), v1 = sordino_conv_word(w1);
            const int16x2_t even0 = sordino_conv_even(v0), odd0 = sordino_conv_odd(v0);
            const int16x2_t even1 = sordino_conv_even(v1), odd1 = sordino_conv_odd(v1);
            const int16x2_t x0 = x[0], x1 = x[1], y0 = y[0], y1 = y[1];
            a0 = __smlad(even0, x0, a0);
            a1 = __smlad(even1, x0, a1);
            b0 = __smlad(even0, y0, b0);
            b1 = __smlad(even1, y0, b1);
            a0 = __smlad(odd0, x1, a0);
            a1 = __smlad(odd1, x1, a1);
            b0 = __smlad(odd0, y1, b0);
            b1 = __smlad(odd1, y1, b1);
            w0 += 4;
            w1 += 4;
            x += 2;
            y += 2;
        } while (w0 != end);
        w0 = w1;
        out_a[c] = sordino_conv_output_s8(p, first + c, a0);
        out_b[c] = sordino_conv_output_s8(p, first + c, b0);
        out_a[d] = sordino_conv_output_s8(p, first + d, a1);
        out_b[d] = sordino_conv_output_s8(p, first + d, b1);
    }
}

#elif !SORDINO_HELIUM

/* All filters of a group at two positions, two rows at a time. */
static inline void sordino_conv_pair_s8(const sordino_conv_windows *w,
                                        const sordino_conv_s8_params *p, int32_t first,
                                        const int8_t *a, const int8_t *b, int8_t *out_a,
                                        int8_t *out_b)
{
    const int32_t length = w->length, pitch = p->pitch;
    const int8_t *w0 = p->weights + first * pitch;
    for (int32_t c = 0; c < w->filters; c += 2, w0 += 2 * pitch) {
        const int32_t d = c + 1 < w->filters ? c + 1 : c;
        const int8_t *w1 = w0 + (d - c) * pitch;
        int32_t a0 = p->bias[first + c], b0 = a0;
        int32_t a1 = p->bias[first + d], b1 = a1;
        for (int32_t k = 0; k < length; ++k) {
            const int32_t x = a[k], y = b[k], v0 = w0[k], v1 = w1[k];
            a0 += x * v0;
            a1 += x * v1;
            b0 += y * v0;
            b1 += y * v1;
        }
        out_a[c] = sordino_conv_output_s8(p, first + c, a0);
        out_b[c] = sordino_conv_output_s8(p, first + c, b0);
        out_a[d] = sordino_conv_output_s8(p, first + d, a1);
        out_b[d] = sordino_conv_output_s8(p, first + d, b1);
    }
}

#endif

#endif
