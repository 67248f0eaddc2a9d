/* Convolutions of int16 with int8 weights: their parameters, and from a sum to the output's scale.
 *
 * TFLM sums in 64 bits, multiplies by 15 bits and rounds once, half up; but where the model's biases
 * are int32, it sums in 32 bits, multiplies by 31 and rounds twice. */
#ifndef SORDINO_CONV_SCALING_S16_H
#define SORDINO_CONV_SCALING_S16_H

#include "sordino_base.h"
#include "conv_scaling.h"

/* Per output channel, as a table of int32_t, where sums are wide. */
typedef struct {
    int32_t bias_low, bias_high;
    int32_t multiplier;
    int32_t shift;
} sordino_conv_wide_channel;

typedef struct {
    const int32_t *windows;  /* sordino_conv_windows */
    const int32_t *channels; /* sordino_conv_channel or sordino_conv_wide_channel */
    const int8_t *weights;   /* rows with zeros behind them; 16 bytes more may be read */
    int32_t pitch;           /* from row to row, a multiple of 4 */
    int32_t lowest, highest; /* of the fused activation */
    int32_t wide;            /* a sum may need more than 32 bits, or a shift is less than 17 */
    int32_t twice;           /* biases are int32 in the model: sums are scaled as in int8 */
} sordino_conv_s16_params;

SORDINO_CONV_INLINE int16_t sordino_conv_clamped_s16(const sordino_conv_s16_params *p,
                                                     int32_t value)
{
    return (int16_t)sordino_clamped(value, p->lowest, p->highest);
}

/* Where neither ``wide`` nor ``twice``: multipliers stand 16 bits higher and shifts are less by as
 * many, so that only the upper word of the product is needed. */
SORDINO_CONV_INLINE int16_t sordino_conv_output_s16(const sordino_conv_s16_params *p,
                                                    const sordino_conv_channel *channel,
                                                    int32_t sum)
{
    if (p->twice) {
        const sordino_scale scale = {channel->multiplier, channel->shift};
        return sordino_conv_clamped_s16(p, sordino_scaled(sum, scale));
    }
    const int32_t high = (int32_t)(sordino_product(sum, channel->multiplier) >> 32);
    const int32_t half = (int32_t)((1u << channel->shift) >> 1);
    return sordino_conv_clamped_s16(p, (high + half) >> channel->shift);
}

static inline const sordino_conv_wide_channel *sordino_conv_wide_channels_of(const int32_t *table)
{
    return (const sordino_conv_wide_channel *)(const void *)table;
}

static inline int64_t sordino_conv_wide_bias(const sordino_conv_wide_channel *channel)
{
    const uint64_t high = (uint64_t)(uint32_t)channel->bias_high << 32;
    return (int64_t)(high | (uint32_t)channel->bias_low);
}

static inline int16_t sordino_conv_wide_output_s16(const sordino_conv_s16_params *p,
                                                   const sordino_conv_wide_channel *channel,
                                                   int64_t sum)
{
    const int64_t half = (int64_t)((uint64_t)1 << channel->shift >> 1);
    const int64_t value = (sum * channel->multiplier + half) >> channel->shift;
    const int32_t kept = (int32_t)(uint32_t)((uint64_t)value & 0xFFFFFFFFu); /* as TFLM */
    return sordino_conv_clamped_s16(p, kept);
}

#endif
