/* int8 convolutions: their parameters, and from a sum of products to the output's scale.
 *
 * TFLM rounds twice: sum · multiplier / 2^31 half up, then that · 2^shift half away from zero. */
#ifndef SORDINO_CONV_SCALING_H
#define SORDINO_CONV_SCALING_H

#include "sordino_base.h"
#include "conv_window.h"

/* Parameters point to one of these per output channel, as a table of int32_t. */
typedef struct {
    int32_t bias; /* less input zero point · sum of weights */
    int32_t multiplier;
    int32_t shift;
} sordino_conv_channel;

typedef struct {
    const int32_t *windows;  /* sordino_conv_windows */
    const int32_t *channels; /* sordino_conv_channel, one per output channel */
    const int8_t *weights;   /* a row per output channel, zeros behind it */
    int32_t pitch;           /* from row to row */
    int32_t zero_point;      /* of the output */
    int32_t lowest, highest; /* of the fused activation */
    int32_t simple;          /* shifts in −23 … −2, and an activation that leaves all of int8 */
} sordino_conv_s8_params;

static inline const sordino_conv_channel *sordino_conv_channels_of(const int32_t *table)
{
    return (const sordino_conv_channel *)(const void *)table;
}

/* The upper word of ``start`` + a · b. */
static inline int32_t sordino_conv_high(int32_t high, uint32_t low, int32_t a, int32_t b)
{
    const int64_t start = (int64_t)(((uint64_t)(uint32_t)high << 32) | low);
    return (int32_t)((start + (int64_t)a * b) >> 32);
}

static inline int32_t sordino_conv_scaled(int32_t sum, const sordino_conv_channel *channel)
{
    const int32_t shift = channel->shift;
    const int32_t lifted = shift > 0 ? (int32_t)((uint32_t)sum << shift) : sum;
    const int32_t product = (int32_t)(((int64_t)lifted * channel->multiplier + (1 << 30)) >> 31);
    if (shift >= 0) {
        return product;
    }
    return (((product + (product >> 31)) >> (-shift - 1)) + 1) >> 1;
}

/* The same and the output's zero point, for a shift in −23 … −2: what is added before either
 * rounding is one 64-bit number, so that the shift falls on the upper word of one product. */
static inline int32_t sordino_conv_scaled_simply(int32_t sum, const sordino_conv_channel *channel,
                                                 int32_t zero_point)
{
    const int32_t sign = sum >> 31, shift = -channel->shift - 2;
    const int32_t high = (2 * zero_point + 1) * (int32_t)(1u << shift) + sign;
    const uint32_t low = 0x40000000u + ((uint32_t)sign << 31); /* half, away from zero */
    return (sordino_conv_high(high, low, sum, channel->multiplier) >> shift) >> 1;
}

static inline int8_t sordino_conv_output_s8(const sordino_conv_s8_params *p,
                                            const sordino_conv_channel *channel, int32_t sum)
{
    if (p->simple) {
        const int32_t value = sordino_conv_scaled_simply(sum, channel, p->zero_point);
        return (int8_t)(value < -128 ? -128 : (value > 127 ? 127 : value));
    }
    const int32_t value = sordino_conv_scaled(sum, channel) + p->zero_point;
    return (int8_t)(value < p->lowest ? p->lowest : (value > p->highest ? p->highest : value));
}

#endif
