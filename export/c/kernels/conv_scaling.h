/* int8 convolutions: their parameters, and from a sum of products to the output's scale. */
#ifndef SORDINO_CONV_SCALING_H
#define SORDINO_CONV_SCALING_H

#include "sordino_base.h"
#include "conv_window.h"
#include "rounding.h"

/* Parameters point to one of these per row of weights, as a table of int32_t. Each group has a
 * multiple of 4 rows, the last ones zeros, except in depthwise convolutions. */
typedef struct {
    int32_t bias; /* less input zero point · sum of weights */
    int32_t multiplier;
    int32_t shift;
} sordino_conv_channel;

typedef struct {
    const int32_t *windows;  /* sordino_conv_windows */
    const int32_t *channels; /* sordino_conv_channel, one per row */
    const int8_t *weights;   /* rows with zeros behind them; 16 bytes more may be read */
    int32_t pitch;           /* from row to row, a multiple of 4 */
    int32_t zero_point;      /* of the output */
    int32_t lowest, highest; /* of the fused activation */
    int32_t simple;          /* shifts in −23 … −2, and an activation that leaves all of int8 */
} sordino_conv_s8_params;

/* Of a group. */
static inline int32_t sordino_conv_rows(const sordino_conv_windows *w)
{
    return (w->filters + 3) & ~3;
}

static inline const sordino_conv_channel *sordino_conv_channels_of(const int32_t *table)
{
    return (const sordino_conv_channel *)(const void *)table;
}

SORDINO_CONV_INLINE int32_t sordino_conv_simple_s8(const sordino_conv_s8_params *p,
                                                   const sordino_conv_channel *channel, int32_t sum)
{
    const sordino_scale scale = {channel->multiplier, channel->shift};
    return sordino_brought_down_s8(sum, sordino_down_of(scale, p->zero_point));
}

SORDINO_CONV_INLINE int32_t sordino_conv_general_s8(const sordino_conv_s8_params *p,
                                                    const sordino_conv_channel *channel,
                                                    int32_t sum)
{
    const sordino_scale scale = {channel->multiplier, channel->shift};
    const int32_t value = sordino_scaled(sum, scale) + p->zero_point;
    return sordino_clamped(value, p->lowest, p->highest);
}

static inline int8_t sordino_conv_output_s8(const sordino_conv_s8_params *p,
                                            const sordino_conv_channel *channel, int32_t sum)
{
    return (int8_t)(p->simple ? sordino_conv_simple_s8(p, channel, sum)
                              : sordino_conv_general_s8(p, channel, sum));
}

/* Four channels at one position, of which the first ``left`` exist. All are computed before any
 * is stored, because a store through a char pointer might change what the next one needs. */
SORDINO_CONV_INLINE void sordino_conv_store_s8(const sordino_conv_s8_params *p,
                                               const sordino_conv_channel *channel, int32_t s0,
                                               int32_t s1, int32_t s2, int32_t s3, int32_t left,
                                               int8_t *out)
{
    int32_t v0, v1, v2, v3;
    if (p->simple) {
        v0 = sordino_conv_simple_s8(p, channel, s0);
        v1 = sordino_conv_simple_s8(p, channel + 1, s1);
        v2 = sordino_conv_simple_s8(p, channel + 2, s2);
        v3 = sordino_conv_simple_s8(p, channel + 3, s3);
    } else {
        v0 = sordino_conv_general_s8(p, channel, s0);
        v1 = sordino_conv_general_s8(p, channel + 1, s1);
        v2 = sordino_conv_general_s8(p, channel + 2, s2);
        v3 = sordino_conv_general_s8(p, channel + 3, s3);
    }
    out[0] = (int8_t)v0;
    if (left > 1) {
        out[1] = (int8_t)v1;
    }
    if (left > 2) {
        out[2] = (int8_t)v2;
    }
    if (left > 3) {
        out[3] = (int8_t)v3;
    }
}

/* The same for two channels at positions a and b. */
SORDINO_CONV_INLINE void sordino_conv_store_2x2_s8(const sordino_conv_s8_params *p,
                                                   const sordino_conv_channel *channel, int32_t a0,
                                                   int32_t b0, int32_t a1, int32_t b1, int32_t left,
                                                   int8_t *out_a, int8_t *out_b)
{
    int32_t va0, vb0, va1, vb1;
    if (p->simple) {
        va0 = sordino_conv_simple_s8(p, channel, a0);
        vb0 = sordino_conv_simple_s8(p, channel, b0);
        va1 = sordino_conv_simple_s8(p, channel + 1, a1);
        vb1 = sordino_conv_simple_s8(p, channel + 1, b1);
    } else {
        va0 = sordino_conv_general_s8(p, channel, a0);
        vb0 = sordino_conv_general_s8(p, channel, b0);
        va1 = sordino_conv_general_s8(p, channel + 1, a1);
        vb1 = sordino_conv_general_s8(p, channel + 1, b1);
    }
    out_a[0] = (int8_t)va0;
    out_b[0] = (int8_t)vb0;
    if (left > 1) {
        out_a[1] = (int8_t)va1;
        out_b[1] = (int8_t)vb1;
    }
}

#endif
