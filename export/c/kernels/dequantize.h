/* Integers as floats. */
#ifndef SORDINO_DEQUANTIZE_H
#define SORDINO_DEQUANTIZE_H

#include "sordino_base.h"

typedef struct {
    int32_t size;
    int32_t zero_point;
    float scale;
} sordino_dequantize_params;

static inline void sordino_dequantize_s8_f32(const sordino_dequantize_params *p, const int8_t *in,
                                             float *out)
{
    for (int32_t i = 0; i < p->size; ++i) {
        out[i] = p->scale * (float)(in[i] - p->zero_point);
    }
}

static inline void sordino_dequantize_s16_f32(const sordino_dequantize_params *p,
                                              const int16_t *in, float *out)
{
    for (int32_t i = 0; i < p->size; ++i) {
        out[i] = p->scale * (float)(in[i] - p->zero_point);
    }
}

#endif
