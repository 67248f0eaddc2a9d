/* int8 rows of weights times int8 windows in Helium: 16 products per instruction. */
#ifndef SORDINO_CONV_DOT_HELIUM_H
#define SORDINO_CONV_DOT_HELIUM_H

#include "sordino_base.h"
#include "conv_scaling.h"

#if SORDINO_HELIUM

/* Four sums to four outputs; ``channel`` has their records ``offsets`` bytes on. */
static inline int32x4_t sordino_conv_outputs_s8(int32x4_t sums, const sordino_conv_s8_params *p,
                                                const sordino_conv_channel *channel,
                                                uint32x4_t offsets, mve_pred16_t some)
{
    const int32_t *record = &channel->bias;
    const int32x4_t bias = vldrwq_gather_offset_z_s32(record, offsets, some);
    const int32x4_t multiplier = vldrwq_gather_offset_z_s32(record + 1, offsets, some);
    const int32x4_t shift = vldrwq_gather_offset_z_s32(record + 2, offsets, some);
    const int32x4_t right = vminq_s32(shift, vdupq_n_s32(0));
    int32x4_t value = vshlq_s32(vaddq_s32(sums, bias), vmaxq_s32(shift, vdupq_n_s32(0)));
    value = vqrdmulhq_s32(value, multiplier);
    /* vrshl rounds half up: a negative value that is shifted to the right starts one lower */
    value = vaddq_s32(value, vshrq_n_s32(vandq_s32(value, right), 31));
    value = vaddq_n_s32(vrshlq_s32(value, right), p->zero_point);
    value = vmaxq_s32(value, vdupq_n_s32(p->lowest));
    return vminq_s32(value, vdupq_n_s32(p->highest));
}

/* 0, 1, 2, 3 times ``step`` records of channels, in bytes. */
static inline uint32x4_t sordino_conv_offsets(uint32_t step)
{
    return vmulq_n_u32(vidupq_n_u32(0, 1), step * (uint32_t)sizeof(sordino_conv_channel));
}

static inline void sordino_conv_single_s8(const sordino_conv_windows *w,
                                          const sordino_conv_s8_params *p, int32_t group,
                                          const int8_t *window, int8_t *out)
{
    const int32_t length = w->length, pitch = p->pitch, row = group * sordino_conv_rows(w);
    const sordino_conv_channel *channel = sordino_conv_channels_of(p->channels) + row;
    const uint32x4_t offsets = sordino_conv_offsets(1);
    const int8_t *w0 = p->weights + row * pitch;
    for (int32_t left = w->filters; left > 0; left -= 4, channel += 4, out += 4, w0 += 4 * pitch) {
        const int8_t *w1 = w0 + pitch, *w2 = w1 + pitch, *w3 = w2 + pitch;
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
        const mve_pred16_t kept = vctp32q((uint32_t)left);
        sums = sordino_conv_outputs_s8(sums, p, channel, offsets, kept);
        vstrbq_p_s32(out, sums, kept);
    }
}

static inline void sordino_conv_two_s8(const sordino_conv_windows *w,
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
