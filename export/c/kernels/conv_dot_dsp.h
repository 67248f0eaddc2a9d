/* int8 rows of weights times int8 windows with Arm's DSP instructions: pairs of products. */
#ifndef SORDINO_CONV_DOT_DSP_H
#define SORDINO_CONV_DOT_DSP_H

#include "sordino_base.h"
#include "conv_scaling.h"

#if SORDINO_DSP

/* Keeps the loads of one step behind those of the step before it, where registers are short. */
#define SORDINO_CONV_FENCE __asm__ volatile("" : : : "memory")

SORDINO_CONV_INLINE uint32_t sordino_conv_word(const void *from)
{
    uint32_t word;
    memcpy(&word, from, 4);
    return word;
}

/* Of four int8, values 0 and 2 as a pair of int16. */
SORDINO_CONV_INLINE int16x2_t sordino_conv_even(uint32_t word)
{
    return __sxtb16((int8x4_t)word);
}

/* Values 1 and 3. Compilers do not merge the rotation into the instruction that has one. */
SORDINO_CONV_INLINE int16x2_t sordino_conv_odd(uint32_t word)
{
#if defined(__arm__)
    int16x2_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
#else
    return __sxtb16((int8x4_t)((word >> 8) | (word << 24)));
#endif
}

/* Four weights times four values as pairs. */
SORDINO_CONV_INLINE int32_t sordino_conv_four(const int8_t *weights, int16x2_t even, int16x2_t odd,
                                              int32_t sum)
{
    const uint32_t word = sordino_conv_word(weights);
    sum = __smlad(sordino_conv_even(word), even, sum);
    return __smlad(sordino_conv_odd(word), odd, sum);
}

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
            const uint32_t word = sordino_conv_word(x);
            const int16x2_t even = sordino_conv_even(word), odd = sordino_conv_odd(word);
            s0 = sordino_conv_four(w0, even, odd, s0);
            s1 = sordino_conv_four(w1, even, odd, s1);
            s2 = sordino_conv_four(w2, even, odd, s2);
            s3 = sordino_conv_four(w3, even, odd, s3);
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

/* Four values of a window as int16: the even ones as a pair in the lower word, then the odd. */
static inline uint64_t sordino_conv_pairs(int16x2_t even, int16x2_t odd)
{
    return ((uint64_t)(uint32_t)odd << 32) | (uint32_t)even;
}

/* A window so, at every second place; zeros behind. */
static inline void sordino_conv_widen_s8(int32_t length, const int8_t *window, uint64_t *wide)
{
    for (; length >= 4; length -= 4, window += 4, wide += 2) {
        const uint32_t word = sordino_conv_word(window);
        *wide = sordino_conv_pairs(sordino_conv_even(word), sordino_conv_odd(word));
    }
    if (length > 0) {
        uint32_t word = 0;
        memcpy(&word, window, (size_t)length);
        *wide = sordino_conv_pairs(sordino_conv_even(word), sordino_conv_odd(word));
    }
}

/* Sums of rows 0 and 1 with windows a and b. */
typedef struct {
    int32_t a0, a1, b0, b1;
} sordino_conv_sums;

/* Four weights of each row times four values of each window: x[0] of a, x[1] of b. */
SORDINO_CONV_INLINE void sordino_conv_2x2x4(sordino_conv_sums *s, const int8_t *w0,
                                            const int8_t *w1, const uint64_t *x)
{
    const uint32_t v0 = sordino_conv_word(w0), v1 = sordino_conv_word(w1);
    const int16x2_t even0 = sordino_conv_even(v0), odd0 = sordino_conv_odd(v0);
    const int16x2_t even1 = sordino_conv_even(v1), odd1 = sordino_conv_odd(v1);
    const int16x2_t even_a = (int16x2_t)(uint32_t)x[0], odd_a = (int16x2_t)(uint32_t)(x[0] >> 32);
    const int16x2_t even_b = (int16x2_t)(uint32_t)x[1], odd_b = (int16x2_t)(uint32_t)(x[1] >> 32);
    s->a0 = __smlad(even0, even_a, s->a0);
    s->a0 = __smlad(odd0, odd_a, s->a0);
    s->a1 = __smlad(even1, even_a, s->a1);
    s->a1 = __smlad(odd1, odd_a, s->a1);
    s->b0 = __smlad(even0, even_b, s->b0);
    s->b0 = __smlad(odd0, odd_b, s->b0);
    s->b1 = __smlad(even1, even_b, s->b1);
    s->b1 = __smlad(odd1, odd_b, s->b1);
}

/* Two rows of ``pitch`` weights times the windows ``x``. */
SORDINO_CONV_INLINE sordino_conv_sums sordino_conv_2x2(const int8_t *w0, int32_t pitch,
                                                       const uint64_t *x, int32_t bias0,
                                                       int32_t bias1)
{
    const int8_t *w1 = w0 + pitch, *end = w1;
    sordino_conv_sums s = {bias0, bias1, bias0, bias1};
    if (pitch & 4) {
        sordino_conv_2x2x4(&s, w0, w1, x);
        w0 += 4;
        w1 += 4;
        x += 2;
    }
    for (; w0 != end; x += 4, w0 += 8, w1 += 8) {
        sordino_conv_2x2x4(&s, w0, w1, x);
        SORDINO_CONV_FENCE;
        sordino_conv_2x2x4(&s, w0 + 4, w1 + 4, x + 2);
    }
    return s;
}

SORDINO_CONV_INLINE void sordino_conv_two_s8(const sordino_conv_windows *w,
                                             const sordino_conv_s8_params *p, int32_t group,
                                             const int8_t *a, const int8_t *b, int8_t *out_a,
                                             int8_t *out_b, void *wide)
{
    const int32_t pitch = p->pitch, filters = w->filters, row = group * sordino_conv_rows(w);
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels) + row;
    const int8_t *weights = p->weights + row * pitch;
    uint64_t *windows = (uint64_t *)wide; /* of a and b, four values in turn */
    sordino_conv_widen_s8(w->length, a, windows);
    sordino_conv_widen_s8(w->length, b, windows + 1);
    for (int32_t c = 0; c < filters; c += 2, channel += 2, weights += 2 * pitch) {
        const sordino_conv_sums s =
            sordino_conv_2x2(weights, pitch, windows, channel[0].bias, channel[1].bias);
        sordino_conv_store_2x2_s8(p, channel, s.a0, s.b0, s.a1, s.b1, filters - c, out_a + c,
                                  out_b + c);
    }
}

#endif

#endif
