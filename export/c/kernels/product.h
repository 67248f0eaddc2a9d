/* MUL of int8 and int16: the product of both centred values, times one factor. */
#ifndef SORDINO_PRODUCT_H
#define SORDINO_PRODUCT_H

#include "broadcast.h"
#include "rounding.h"

typedef struct {
    sordino_broadcast shape;
    int32_t simple; /* see sordino_scaled_down; the activation leaves the whole type */
    int32_t first_zero_point, second_zero_point;
    sordino_scale output;
    int32_t zero_point;
    int32_t lowest, highest;
} sordino_product_params;

static inline int32_t sordino_product_of(const sordino_product_params *p, int32_t first,
                                         int32_t second)
{
    return (first - p->first_zero_point) * (second - p->second_zero_point);
}

static inline int32_t sordino_product_scaled(const sordino_product_params *p, int32_t product)
{
    const int32_t value = sordino_scaled(product, p->output) + p->zero_point;
    return sordino_clamped(value, p->lowest, p->highest);
}

static inline void sordino_product_s8(const sordino_product_params *p, const int8_t *first,
                                      const int8_t *second, int8_t *out)
{
    const sordino_broadcast *b = &p->shape;
    const int32_t size = b->size[3], x_step = b->first[3], y_step = b->second[3];
    sordino_row row = {0, 0, {0, 0, 0}};
    do {
        const int8_t *x = first + row.first, *y = second + row.second;
        if (p->simple && (x_step & y_step)) {
            for (int32_t i = 0; i < size; ++i) {
                const int32_t product = sordino_product_of(p, x[i], y[i]);
                const int32_t value = sordino_scaled_down(product, p->output, p->zero_point);
                out[i] = (int8_t)sordino_clamped(value, -128, 127);
            }
        } else {
            for (int32_t i = 0; i < size; ++i, x += x_step, y += y_step) {
                out[i] = (int8_t)sordino_product_scaled(p, sordino_product_of(p, *x, *y));
            }
        }
        out += size;
    } while (sordino_next_row(b, &row));
}

static inline void sordino_product_s16(const sordino_product_params *p, const int16_t *first,
                                       const int16_t *second, int16_t *out)
{
    const sordino_broadcast *b = &p->shape;
    const int32_t size = b->size[3], x_step = b->first[3], y_step = b->second[3];
    sordino_row row = {0, 0, {0, 0, 0}};
    do {
        const int16_t *x = first + row.first, *y = second + row.second;
        if (p->simple && (x_step & y_step)) {
            for (int32_t i = 0; i < size; ++i) {
                const int32_t value = sordino_scaled_down((int32_t)x[i] * y[i], p->output, 0);
                out[i] = (int16_t)sordino_clamped(value, -32768, 32767);
            }
        } else {
            for (int32_t i = 0; i < size; ++i, x += x_step, y += y_step) {
                out[i] = (int16_t)sordino_product_scaled(p, (int32_t)*x * *y);
            }
        }
        out += size;
    } while (sordino_next_row(b, &row));
}

#endif
