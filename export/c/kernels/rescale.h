/* int16 brought to another scale: QUANTIZE, RELU, and LEAKY_RELU, which has another factor for
 * negative values. Inputs of int8 take a table instead. */
#ifndef SORDINO_RESCALE_H
#define SORDINO_RESCALE_H

#include "rounding.h"

typedef struct {
    int32_t size;
    int32_t simple; /* see sordino_brought_down */
    sordino_scale scale;
    int32_t zero_point;
    int32_t lowest, highest;
} sordino_rescale_params;

#define SORDINO_RESCALE(name, type)                                                              \
    static inline void name(const sordino_rescale_params *p, const int16_t *in, type *out)       \
    {                                                                                            \
        const int32_t size = p->size, lowest = p->lowest, highest = p->highest;                  \
        if (p->simple) {                                                                         \
            const sordino_down down = sordino_down_of(p->scale, p->zero_point);                  \
            for (int32_t i = 0; i < size; ++i) {                                                 \
                const int32_t value = sordino_brought_down(in[i], down);                         \
                out[i] = (type)sordino_clamped(value, lowest, highest);                          \
            }                                                                                    \
            return;                                                                              \
        }                                                                                        \
        for (int32_t i = 0; i < size; ++i) {                                                     \
            const int32_t value = sordino_scaled(in[i], p->scale) + p->zero_point;               \
            out[i] = (type)sordino_clamped(value, lowest, highest);                              \
        }                                                                                        \
    }

SORDINO_RESCALE(sordino_rescale_s16, int16_t)
SORDINO_RESCALE(sordino_rescale_s16_s8, int8_t)

typedef struct {
    int32_t size;
    int32_t simple;
    sordino_scale positive, negative;
} sordino_leaky_relu_s16_params;

static inline void sordino_leaky_relu_s16(const sordino_leaky_relu_s16_params *p,
                                          const int16_t *in, int16_t *out)
{
    const int32_t size = p->size;
    if (p->simple) {
        const sordino_down above = sordino_down_of(p->positive, 0);
        const sordino_down below = sordino_down_of(p->negative, 0);
        for (int32_t i = 0; i < size; ++i) {
            const int32_t value = in[i] < 0 ? sordino_brought_down(in[i], below)
                                            : sordino_brought_down(in[i], above);
            out[i] = (int16_t)sordino_saturated_s16(value);
        }
        return;
    }
    for (int32_t i = 0; i < size; ++i) {
        const int32_t value = sordino_scaled(in[i], in[i] < 0 ? p->negative : p->positive);
        out[i] = (int16_t)sordino_saturated_s16(value);
    }
}

#endif
