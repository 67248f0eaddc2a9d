/* int8 rows of weights times int8 windows in Helium: 16 products per instruction. */
#ifndef SORDINO_CONV_DOT_HELIUM_H
#define SORDINO_CONV_DOT_HELIUM_H

#include "sordino_base.h"
#include "conv_scaling.h"

#if SORDINO_HELIUM

/* 0, 1, 2, 3 times ``step`` records of channels, in bytes. */
static inline uint32x4_t sordino_conv_offsets(uint32_t step)
{
    return vmulq_n_u32(vidupq_n_u32(0, 1), step * (uint32_t)sizeof(sordino_conv_channel));
}

SORDINO_CONV_INLINE int32x4_t sordino_conv_vector(int32_t s0, int32_t s1, int32_t s2, int32_t s3)
{
    const int32x4_t first = vdupq_n_s32(s0);
    return vsetq_lane_s32(s3, vsetq_lane_s32(s2, vsetq_lane_s32(s1, first, 1), 2), 3);
}

/* value * multiplier * 2^(shift - 31), rounded twice as sordino_scaled does. */
SORDINO_CONV_INLINE int32x4_t sordino_conv_scaled(int32x4_t value, int32x4_t multiplier,
                                                  int32x4_t shift)
{
    const int32x4_t zero = vdupq_n_s32(0), right = vminq_s32(shift, zero);
    value = vqrdmulhq_s32(vshlq_s32(value, vmaxq_s32(shift, zero)), multiplier);
    /* vrshl rounds half up: a negative value that is shifted to the right starts one lower */
    value = vaddq_s32(value, vshrq_n_s32(vandq_s32(value, right), 31));
    return vrshlq_s32(value, right);
}

/* Four sums to four outputs; ``channel`` has their records ``offsets`` bytes on. */
SORDINO_CONV_INLINE int32x4_t sordino_conv_outputs_s8(int32x4_t sums,
                                                      const sordino_conv_s8_params *p,
                                                      const sordino_conv_channel *channel,
                                                      uint32x4_t offsets)
{
    const int32_t *record = &channel->bias;
    const int32x4_t multiplier = vldrwq_gather_offset_s32(record + 1, offsets);
    const int32x4_t shift = vldrwq_gather_offset_s32(record + 2, offsets);
    int32x4_t value = vaddq_s32(sums, vldrwq_gather_offset_s32(record, offsets));
    value = vaddq_n_s32(sordino_conv_scaled(value, multiplier, shift), p->zero_point);
    value = vmaxq_s32(value, vdupq_n_s32(p->lowest));
    return vminq_s32(value, vdupq_n_s32(p->highest));
}

/* Weights are read in whole vectors: what is behind a row meets zeros of the window. */
static inline void sordino_conv_single_s8(const sordino_conv_windows *w,
                                          const sordino_conv_s8_params *p, int32_t group,
                                          const int8_t *window, int8_t *out)
{
    const int32_t length = w->length, pitch = p->pitch, row = group * sordino_conv_rows(w);
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels) + row;
    const uint32x4_t offsets = sordino_conv_offsets(1);
    const int8_t *weights = p->weights + row * pitch;
    const sordino_conv_s8_params known = *p; /* a store might change p, as far as C knows */
    for (int32_t left = w->filters; left > 0; left -= 4, channel += 4, out += 4) {
        const int8_t *x = window, *w0 = weights, *w1 = w0 + pitch, *w2 = w1 + pitch;
        const int8_t *w3 = w2 + pitch;
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        weights = w3 + pitch;
        for (int32_t n = length >> 4; n > 0; --n) {
            const int8x16_t v = vldrbq_s8(x);
            s0 = vmladavaq_s8(s0, v, vldrbq_s8(w0));
            s1 = vmladavaq_s8(s1, v, vldrbq_s8(w1));
            s2 = vmladavaq_s8(s2, v, vldrbq_s8(w2));
            s3 = vmladavaq_s8(s3, v, vldrbq_s8(w3));
            x += 16;
            w0 += 16;
            w1 += 16;
            w2 += 16;
            w3 += 16;
        }
        if (length & 15) {
            const int8x16_t v = vldrbq_z_s8(x, vctp8q((uint32_t)(length & 15)));
            s0 = vmladavaq_s8(s0, v, vldrbq_s8(w0));
            s1 = vmladavaq_s8(s1, v, vldrbq_s8(w1));
            s2 = vmladavaq_s8(s2, v, vldrbq_s8(w2));
            s3 = vmladavaq_s8(s3, v, vldrbq_s8(w3));
        }
        const int32x4_t value =
            sordino_conv_outputs_s8(sordino_conv_vector(s0, s1, s2, s3), &known, channel, offsets);
        if (left >= 4) {
            vstrbq_s32(out, value);
        } else {
            vstrbq_p_s32(out, value, vctp32q((uint32_t)left));
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

#endif

#endif
