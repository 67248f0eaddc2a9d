/* int8 convolutions: their parameters, and from a sum of products to the output's scale.
 *
 * TFLM rounds twice: sum · multiplier / 2^31 half up, then that · 2^shift half away from zero. */
#ifndef SORDINO_CONV_SCALING_H
#define SORDINO_CONV_SCALING_H

#include "sordino_base.h"
#include "conv_window.h"

typedef struct {
    const int32_t *windows;    /* sordino_conv_windows */
    const int8_t *weights;     /* a row per output channel, zeros behind it */
    int32_t pitch;             /* from row to row */
    const int32_t *bias;       /* less input zero point · sum of weights */
    const int32_t *multiplier; /* 31 bits, per output channel, */
    const int8_t *shift;       /* and the power of two after it */
    int32_t zero_point;        /* of the output */
    int32_t lowest, highest;   /* of the fused activation */
    int32_t simple;            /* shifts in −23 … −2, and an activation that leaves all of int8 */
} sordino_conv_s8_params;

static inline int32_t sordino_conv_scaled(int32_t sum, int32_t multiplier, int32_t shift)
{
    if (shift >= 0) {
        const int32_t lifted = (int32_t)((uint32_t)sum << shift);
        return (int32_t)(((int64_t)lifted * multiplier + (1 << 30)) >> 31);
    }
    const int32_t product = (int32_t)(((int64_t)sum * multiplier + (1 << 30)) >> 31);
    return (((product + (product >> 31)) >> (-shift - 1)) + 1) >> 1;
}

/* The same, with the output's zero point added, for a shift in −23 … −2: both roundings and the
 * zero point are one 64-bit constant, from which a negative sum takes 2^31, the difference
 * between half up and half away from zero. The shift then falls on the upper word alone. */
static inline int32_t sordino_conv_scaled_simply(int32_t sum, int32_t multiplier, int32_t shift,
                                                 int32_t zero_point)
{
    const uint32_t low = 0x40000000u + ((uint32_t)sum & 0x80000000u);
    const int32_t high = (2 * zero_point + 1) * (int32_t)(1u << (-shift - 2)) + (sum >> 31);
    const int64_t start = (int64_t)(((uint64_t)(uint32_t)high << 32) | low);
    const int64_t total = start + (int64_t)sum * multiplier;
    return ((int32_t)(total >> 32) >> (-shift - 2)) >> 1;
}

static inline int8_t sordino_conv_output_s8(const sordino_conv_s8_params *p, int32_t channel,
                                            int32_t sum)
{
    const int32_t multiplier = p->multiplier[channel], shift = p->shift[channel];
    if (p->simple) {
        const int32_t value = sordino_conv_scaled_simply(sum, multiplier, shift, p->zero_point);
        return (int8_t)(value < -128 ? -128 : (value > 127 ? 127 : value));
    }
    const int32_t value = sordino_conv_scaled(sum, multiplier, shift) + p->zero_point;
    return (int8_t)(value < p->lowest ? p->lowest : (value > p->highest ? p->highest : value));
}

#endif
