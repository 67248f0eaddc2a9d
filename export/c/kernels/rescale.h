/* Values brought to another scale: QUANTIZE, and RELU and LEAKY_RELU of int16, which multiply
 * negative values by another factor or leave them out. Inputs of int8 take a table instead. */
#ifndef SORDINO_RESCALE_H
#define SORDINO_RESCALE_H

#include "rounding.h"

typedef struct {
    int32_t size;
    int32_t input_zero_point, output_zero_point;
    sordino_scale positive, negative;
    int32_t lowest, highest;
} sordino_rescale_params;

static inline int32_t sordino_rescaled(const sordino_rescale_params *p, int32_t stored)
{
    const int32_t value = stored - p->input_zero_point;
    const int32_t scaled = sordino_scaled(value, value >= 0 ? p->positive : p->negative);
    return sordino_clamped(scaled + p->output_zero_point, p->lowest, p->highest);
}

static inline void sordino_rescale_s16(const sordino_rescale_params *p, const int16_t *in,
                                       int16_t *out)
{
    for (int32_t i = 0; i < p->size; ++i) {
        out[i] = (int16_t)sordino_rescaled(p, in[i]);
    }
}

static inline void sordino_rescale_s16_s8(const sordino_rescale_params *p, const int16_t *in,
                                          int8_t *out)
{
    for (int32_t i = 0; i < p->size; ++i) {
        out[i] = (int8_t)sordino_rescaled(p, in[i]);
    }
}

#endif
