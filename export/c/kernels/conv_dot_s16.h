/* int8 rows of weights times int16 windows, with what the core has for it.
 *
 * As in conv_dot_s8.h: sordino_conv_single_s16 does the filters of a group at one position,
 * sordino_conv_two_s16 at two; ``spare`` has room for two windows of ``pitch`` values. */
#ifndef SORDINO_CONV_DOT_S16_H
#define SORDINO_CONV_DOT_S16_H

#include "sordino_base.h"
#include "conv_dot_s8.h"
#include "conv_scaling_s16.h"

/* Sums beyond 32 bits: pieces of a row that stay within them are added up in 64. */
#define SORDINO_CONV_PIECE 256 /* times 2^7 · 2^15 is less than 2^31 */

static inline void sordino_conv_wide_s16(const sordino_conv_windows *w,
                                         const sordino_conv_s16_params *p, int32_t group,
                                         const int16_t *x, int16_t *out)
{
    const int32_t first = group * sordino_conv_rows(w);
    const sordino_conv_wide_channel *channel = sordino_conv_wide_channels_of(p->channels) + first;
    for (int32_t c = 0; c < w->filters; ++c) {
        const int8_t *row = p->weights + (first + c) * p->pitch;
        int64_t total = sordino_conv_wide_bias(channel + c);
        for (int32_t k = 0; k < w->length;) {
            const int32_t left = w->length - k;
            const int32_t end = left < SORDINO_CONV_PIECE ? w->length : k + SORDINO_CONV_PIECE;
            int32_t sum = 0;
            for (; k < end; ++k) {
                sum += x[k] * row[k];
            }
            total += sum;
        }
        out[c] = sordino_conv_wide_output_s16(p, channel + c, total);
    }
}

#if SORDINO_DSP

/* Of two pairs of int16, the lower ones as a pair, and the upper ones. */
SORDINO_CONV_INLINE int16x2_t sordino_conv_bottoms(uint32_t a, uint32_t b)
{
    return (int16x2_t)((a & 0xFFFFu) | (b << 16));
}

SORDINO_CONV_INLINE int16x2_t sordino_conv_tops(uint32_t a, uint32_t b)
{
    return (int16x2_t)((a >> 16) | (b & 0xFFFF0000u));
}

#endif

#if SORDINO_HELIUM

/* Four sums to four outputs; ``channel`` has their records ``offsets`` bytes on. */
SORDINO_CONV_INLINE int32x4_t sordino_conv_outputs_s16(int32x4_t sums,
                                                       const sordino_conv_s16_params *p,
                                                       const sordino_conv_channel *channel,
                                                       uint32x4_t offsets)
{
    const int32_t *record = &channel->bias;
    const int32x4_t multiplier = vldrwq_gather_offset_s32(record + 1, offsets);
    const int32x4_t shift = vldrwq_gather_offset_s32(record + 2, offsets);
    int32x4_t value = vaddq_s32(sums, vldrwq_gather_offset_s32(record, offsets));
    value = p->twice ? sordino_conv_scaled(value, multiplier, shift)
                     : vrshlq_s32(vmulhq_s32(value, multiplier), vnegq_s32(shift));
    value = vmaxq_s32(value, vdupq_n_s32(p->lowest));
    return vminq_s32(value, vdupq_n_s32(p->highest));
}

/* Weights are read in whole vectors: what is behind a row meets zeros of the window. */
static inline void sordino_conv_single_s16(const sordino_conv_windows *w,
                                           const sordino_conv_s16_params *p, int32_t group,
                                           const int16_t *window, int16_t *out)
{
    const int32_t length = w->length, pitch = p->pitch, row = group * sordino_conv_rows(w);
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels) + row;
    const uint32x4_t offsets = sordino_conv_offsets(1);
    const int8_t *weights = p->weights + row * pitch;
    const sordino_conv_s16_params known = *p; /* a store might change p, as far as C knows */
    for (int32_t left = w->filters; left > 0; left -= 4, channel += 4, out += 4) {
        const int16_t *x = window;
        const int8_t *w0 = weights, *w1 = w0 + pitch, *w2 = w1 + pitch, *w3 = w2 + pitch;
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        weights = w3 + pitch;
        for (int32_t n = length >> 3; n > 0; --n) {
            const int16x8_t v = vldrhq_s16(x);
            s0 = vmladavaq_s16(s0, v, vldrbq_s16(w0));
            s1 = vmladavaq_s16(s1, v, vldrbq_s16(w1));
            s2 = vmladavaq_s16(s2, v, vldrbq_s16(w2));
            s3 = vmladavaq_s16(s3, v, vldrbq_s16(w3));
            x += 8;
            w0 += 8;
            w1 += 8;
            w2 += 8;
            w3 += 8;
        }
        if (length & 7) {
            const int16x8_t v = vldrhq_z_s16(x, vctp16q((uint32_t)(length & 7)));
            s0 = vmladavaq_s16(s0, v, vldrbq_s16(w0));
            s1 = vmladavaq_s16(s1, v, vldrbq_s16(w1));
            s2 = vmladavaq_s16(s2, v, vldrbq_s16(w2));
            s3 = vmladavaq_s16(s3, v, vldrbq_s16(w3));
        }
        const int32x4_t value =
            sordino_conv_outputs_s16(sordino_conv_vector(s0, s1, s2, s3), &known, channel, offsets);
        if (left >= 4) {
            vstrhq_s32(out, value);
        } else {
            vstrhq_p_s32(out, value, vctp32q((uint32_t)left));
        }
    }
}

#elif defined(__thumb__) && !defined(__thumb2__)

/* As for int8: eight registers are enough for two rows. */
static inline void sordino_conv_single_s16(const sordino_conv_windows *w,
                                           const sordino_conv_s16_params *p, int32_t group,
                                           const int16_t *window, int16_t *out)
{
    const int32_t length = w->length, pitch = p->pitch, row = group * sordino_conv_rows(w);
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels) + row;
    const int8_t *w0 = p->weights + row * pitch + length;
    const int16_t *x = window + length;
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
        out[0] = sordino_conv_output_s16(p, channel, s0);
        if (left > 1) {
            out[1] = sordino_conv_output_s16(p, channel + 1, s1);
        }
    }
}

#else

static inline void sordino_conv_single_s16(const sordino_conv_windows *w,
                                           const sordino_conv_s16_params *p, int32_t group,
                                           const int16_t *window, int16_t *out)
{
    const int32_t pitch = p->pitch, rest = w->length & 3, row = group * sordino_conv_rows(w);
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels) + row;
    const int8_t *w0 = p->weights + row * pitch;
    const int16_t *end = window + (w->length - rest);
    for (int32_t left = w->filters; left > 0; left -= 4, channel += 4, out += 4) {
        const int16_t *x = window;
        const int8_t *w1 = w0 + pitch, *w2 = w1 + pitch, *w3 = w2 + pitch;
        int32_t s0 = channel[0].bias, s1 = channel[1].bias;
        int32_t s2 = channel[2].bias, s3 = channel[3].bias;
        for (; x != end; x += 4, w0 += 4, w1 += 4, w2 += 4, w3 += 4) {
#if SORDINO_DSP
            const uint32_t low = sordino_conv_word(x), high = sordino_conv_word(x + 2);
            const int16x2_t even = sordino_conv_bottoms(low, high);
            const int16x2_t odd = sordino_conv_tops(low, high);
            s0 = sordino_conv_four(w0, even, odd, s0);
            s1 = sordino_conv_four(w1, even, odd, s1);
            s2 = sordino_conv_four(w2, even, odd, s2);
            s3 = sordino_conv_four(w3, even, odd, s3);
#else
            const int32_t x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
            s0 += x0 * w0[0] + x1 * w0[1] + x2 * w0[2] + x3 * w0[3];
            s1 += x0 * w1[0] + x1 * w1[1] + x2 * w1[2] + x3 * w1[3];
            s2 += x0 * w2[0] + x1 * w2[1] + x2 * w2[2] + x3 * w2[3];
            s3 += x0 * w3[0] + x1 * w3[1] + x2 * w3[2] + x3 * w3[3];
#endif
        }
        for (int32_t k = 0; k < rest; ++k) {
            s0 += x[k] * w0[k];
            s1 += x[k] * w1[k];
            s2 += x[k] * w2[k];
            s3 += x[k] * w3[k];
        }
        w0 = w3 + (rest ? 4 : 0);
        out[0] = sordino_conv_output_s16(p, channel, s0);
        if (left > 1) {
            out[1] = sordino_conv_output_s16(p, channel + 1, s1);
        }
        if (left > 2) {
            out[2] = sordino_conv_output_s16(p, channel + 2, s2);
        }
        if (left > 3) {
            out[3] = sordino_conv_output_s16(p, channel + 3, s3);
        }
    }
}

#endif

#if SORDINO_DSP

/* A window in the order of the weights' pairs, as sordino_conv_widen_s8 leaves one. */
static inline void sordino_conv_pair_up_s16(int32_t length, const int16_t *window, uint64_t *pairs)
{
    for (; length >= 4; length -= 4, window += 4, pairs += 2) {
        const uint32_t low = sordino_conv_word(window), high = sordino_conv_word(window + 2);
        *pairs = sordino_conv_pairs(sordino_conv_bottoms(low, high), sordino_conv_tops(low, high));
    }
    if (length > 0) {
        uint32_t words[2] = {0, 0};
        memcpy(words, window, (size_t)length * 2);
        *pairs = sordino_conv_pairs(sordino_conv_bottoms(words[0], words[1]),
                                    sordino_conv_tops(words[0], words[1]));
    }
}

SORDINO_CONV_INLINE void sordino_conv_two_s16(const sordino_conv_windows *w,
                                              const sordino_conv_s16_params *p, int32_t group,
                                              const int16_t *a, const int16_t *b, int16_t *out_a,
                                              int16_t *out_b, void *spare)
{
    const int32_t pitch = p->pitch, filters = w->filters, row = group * sordino_conv_rows(w);
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels) + row;
    const int8_t *weights = p->weights + row * pitch;
    uint64_t *windows = (uint64_t *)spare;
    sordino_conv_pair_up_s16(w->length, a, windows);
    sordino_conv_pair_up_s16(w->length, b, windows + 1);
    for (int32_t c = 0; c < filters; c += 2, channel += 2, weights += 2 * pitch) {
        const sordino_conv_sums s =
            sordino_conv_2x2(weights, pitch, windows, channel[0].bias, channel[1].bias);
        out_a[c] = sordino_conv_output_s16(p, channel, s.a0);
        out_b[c] = sordino_conv_output_s16(p, channel, s.b0);
        if (c + 1 < filters) {
            out_a[c + 1] = sordino_conv_output_s16(p, channel + 1, s.a1);
            out_b[c + 1] = sordino_conv_output_s16(p, channel + 1, s.b1);
        }
    }
}

#else

SORDINO_CONV_INLINE void sordino_conv_two_s16(const sordino_conv_windows *w,
                                              const sordino_conv_s16_params *p, int32_t group,
                                              const int16_t *a, const int16_t *b, int16_t *out_a,
                                              int16_t *out_b, void *spare)
{
    (void)spare;
    sordino_conv_single_s16(w, p, group, a, out_a);
    sordino_conv_single_s16(w, p, group, b, out_b);
}

#endif

#endif
