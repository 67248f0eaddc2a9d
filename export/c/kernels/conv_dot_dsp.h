/* int8 rows of weights times int8 windows with Arm's DSP instructions: pairs of products. */
#ifndef SORDINO_CONV_DOT_DSP_H
#define SORDINO_CONV_DOT_DSP_H

#include "sordino_base.h"
#include "conv_scaling.h"

#if SORDINO_DSP

static inline uint32_t sordino_conv_word(const void *from)
{
    uint32_t word;
    memcpy(&word, from, 4);
    return word;
}

/* Of four int8, values 0 and 2 as a pair of int16. */
static inline int16x2_t sordino_conv_even(uint32_t word)
{
    return __sxtb16((int8x4_t)word);
}

/* Values 1 and 3. Compilers do not merge the rotation into the instruction that has one. */
static inline int16x2_t sordino_conv_odd(uint32_t word)
{
#if defined(__arm__)
    int16x2_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
#else
    return __sxtb16((int8x4_t)((word >> 8) | (word << 24)));
#endif
}

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
            const uint32_t word = sordino_conv_word(x);
            const int16x2_t even = sordino_conv_even(word), odd = sordino_conv_odd(word);
            const uint32_t v0 = sordino_conv_word(w0);
            s0 = __smlad(sordino_conv_even(v0), even, s0);
            s0 = __smlad(sordino_conv_odd(v0), odd, s0);
            const uint32_t v1 = sordino_conv_word(w1);
            s1 = __smlad(sordino_conv_even(v1), even, s1);
            s1 = __smlad(sordino_conv_odd(v1), odd, s1);
            const uint32_t v2 = sordino_conv_word(w2);
            s2 = __smlad(sordino_conv_even(v2), even, s2);
            s2 = __smlad(sordino_conv_odd(v2), odd, s2);
            const uint32_t v3 = sordino_conv_word(w3);
            s3 = __smlad(sordino_conv_even(v3), even, s3);
            s3 = __smlad(sordino_conv_odd(v3), odd, s3);
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

/* Of two pairs of int16, the lower ones as a pair, and the upper ones. */
static inline int16x2_t sordino_conv_bottoms(uint32_t a, uint32_t b)
{
    return (int16x2_t)((a & 0xFFFFu) | (b << 16));
}

static inline int16x2_t sordino_conv_tops(uint32_t a, uint32_t b)
{
    return (int16x2_t)((a >> 16) | (b & 0xFFFF0000u));
}

typedef struct {
    int32_t a0, a1, b0, b1;
} sordino_conv_sums;

/* Rows 0 and 1 of ``pitch`` weights times windows a and b, which lie in ``x`` by turns: of four
 * values each the even pair and the odd pair. */
static inline sordino_conv_sums sordino_conv_2x2(const int8_t *w0, const int8_t *w1, int32_t pitch,
                                                 const int16x2_t *x, int32_t bias0, int32_t bias1)
{
    const int8_t *end = w0 + pitch;
    int32_t a0 = bias0, b0 = bias0, a1 = bias1, b1 = bias1;
    for (; w0 != end; x += 4, w0 += 4, w1 += 4) {
        const uint32_t v0 = sordino_conv_word(w0), v1 = sordino_conv_word(w1);
        const int16x2_t even0 = sordino_conv_even(v0), odd0 = sordino_conv_odd(v0);
        const int16x2_t even1 = sordino_conv_even(v1), odd1 = sordino_conv_odd(v1);
        a0 = __smlad(even0, x[0], a0);
        a1 = __smlad(even1, x[0], a1);
        a0 = __smlad(odd0, x[1], a0);
        a1 = __smlad(odd1, x[1], a1);
        b0 = __smlad(even0, x[2], b0);
        b1 = __smlad(even1, x[2], b1);
        b0 = __smlad(odd0, x[3], b0);
        b1 = __smlad(odd1, x[3], b1);
    }
    const sordino_conv_sums sums = {a0, a1, b0, b1};
    return sums;
}

/* A window as int16: of each four values the two pairs, at every second place; zeros behind. */
static inline void sordino_conv_widen_s8(int32_t length, const int8_t *window, int16x2_t *wide)
{
    for (; length >= 4; length -= 4, window += 4, wide += 4) {
        const uint32_t word = sordino_conv_word(window);
        wide[0] = sordino_conv_even(word);
        wide[1] = sordino_conv_odd(word);
    }
    if (length > 0) {
        uint32_t word = 0;
        memcpy(&word, window, (size_t)length);
        wide[0] = sordino_conv_even(word);
        wide[1] = sordino_conv_odd(word);
    }
}

static inline void sordino_conv_two_s8(const sordino_conv_windows *w,
                                       const sordino_conv_s8_params *p, int32_t first,
                                       const int8_t *a, const int8_t *b, int8_t *out_a,
                                       int8_t *out_b, void *wide)
{
    const int32_t pitch = p->pitch, filters = w->filters;
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels) + first;
    const int8_t *row = p->weights + first * pitch;
    int16x2_t *windows = (int16x2_t *)wide; /* of a and b, four values in turn */
    sordino_conv_widen_s8(w->length, a, windows);
    sordino_conv_widen_s8(w->length, b, windows + 2);
    for (int32_t c = 0; c < filters; c += 2, channel += 2, row += 2 * pitch) {
        const int32_t c1 = c + 1 < filters ? 1 : 0;
        const sordino_conv_sums s = sordino_conv_2x2(row, row + c1 * pitch, pitch, windows,
                                                     channel[0].bias, channel[c1].bias);
        const int8_t a0 = sordino_conv_output_s8(p, channel, s.a0);
        const int8_t b0 = sordino_conv_output_s8(p, channel, s.b0);
        const int8_t a1 = sordino_conv_output_s8(p, channel + c1, s.a1);
        const int8_t b1 = sordino_conv_output_s8(p, channel + c1, s.b1);
        out_a[c] = a0;
        out_b[c] = b0;
        out_a[c + c1] = a1;
        out_b[c + c1] = b1;
    }
}

#endif

#endif
