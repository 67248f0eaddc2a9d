/* PRELU: negative values times a slope of their own. */
#ifndef SORDINO_PRELU_H
#define SORDINO_PRELU_H

#include "broadcast.h"
#include "rounding.h"

typedef struct {
    sordino_broadcast shape; /* first: values, second: slopes */
    int32_t zero_point, slope_zero_point, output_zero_point;
    sordino_scale positive, negative;
} sordino_prelu_s8_params;

static inline void sordino_prelu_s8(const sordino_prelu_s8_params *p, const int8_t *in,
                                    const int8_t *slopes, int8_t *out)
{
    const sordino_broadcast *b = &p->shape;
    sordino_row row = {0, 0, {0, 0, 0}};
    do {
        const int8_t *x = in + row.first, *slope = slopes + row.second;
        for (int32_t i = 0; i < b->size[3]; ++i, x += b->first[3], slope += b->second[3]) {
            const int32_t value = *x - p->zero_point;
            const int32_t scaled =
                value >= 0 ? sordino_scaled(value, p->positive)
                           : sordino_scaled(value * (*slope - p->slope_zero_point), p->negative);
            *out++ = (int8_t)sordino_clamped(scaled + p->output_zero_point, -128, 127);
        }
    } while (sordino_next_row(b, &row));
}

typedef struct {
    sordino_broadcast shape;
} sordino_prelu_f32_params;

static inline void sordino_prelu_f32(const sordino_prelu_f32_params *p, const float *in,
                                     const float *slopes, float *out)
{
    const sordino_broadcast *b = &p->shape;
    sordino_row row = {0, 0, {0, 0, 0}};
    do {
        const float *x = in + row.first, *slope = slopes + row.second;
        for (int32_t i = 0; i < b->size[3]; ++i, x += b->first[3], slope += b->second[3]) {
            *out++ = *x >= 0.0f ? *x : *x * *slope;
        }
    } while (sordino_next_row(b, &row));
}

#endif
