/* MUL of int8 and int16: the product of both centred values, times one factor. */
#ifndef SORDINO_PRODUCT_H
#define SORDINO_PRODUCT_H

#include "broadcast.h"
#include "helium.h"
#include "rounding.h"

typedef struct {
    sordino_broadcast shape;
    int32_t simple; /* see sordino_brought_down; the activation leaves the whole type */
    int32_t first_zero_point, second_zero_point;
    sordino_scale output;
    int32_t zero_point;
    int32_t lowest, highest;
} sordino_product_params;

static inline int32_t sordino_product_scaled(const sordino_product_params *p, int32_t product)
{
    const int32_t value = sordino_scaled(product, p->output) + p->zero_point;
    return sordino_clamped(value, p->lowest, p->highest);
}

#if SORDINO_HELIUM

static inline int32x4_t sordino_product_vector(const sordino_product_params *p, int32x4_t x,
                                               int32x4_t y)
{
    const int32x4_t value = sordino_vector_scaled(vmulq_s32(x, y), p->output);
    return sordino_vector_clamped(vaddq_n_s32(value, p->zero_point), p->lowest, p->highest);
}

static inline void sordino_product_row_s8(const sordino_product_params *p, const int8_t *x_row,
                                          const int8_t *y_row, int8_t *out)
{
    const sordino_product_params k = *p;
    SORDINO_VECTOR_ROW(int8_t, vldrbq, vstrbq, x_row, y_row, out, k.shape.size[3],
                       sordino_product_vector(&k, vsubq_n_s32(x, k.first_zero_point),
                                              vsubq_n_s32(y, k.second_zero_point)));
}

static inline void sordino_product_row_s16(const sordino_product_params *p, const int16_t *x_row,
                                           const int16_t *y_row, int16_t *out)
{
    const sordino_product_params k = *p;
    SORDINO_VECTOR_ROW(int16_t, vldrhq, vstrhq, x_row, y_row, out, k.shape.size[3],
                       sordino_product_vector(&k, x, y));
}

#else

/* In the rows, parameters are copied first: stores of int8 might change them, for all the compiler
 * knows. */
static inline void sordino_product_row_s8(const sordino_product_params *p, const int8_t *x,
                                          const int8_t *y, int8_t *out)
{
    const int32_t x_zero = p->first_zero_point, y_zero = p->second_zero_point;
    const sordino_down down = sordino_down_of(p->output, p->zero_point);
    for (const int8_t *end = x + p->shape.size[3]; x != end;) {
        const int32_t product = (*x++ - x_zero) * (*y++ - y_zero);
        *out++ = (int8_t)sordino_brought_down_s8(product, down);
    }
}

static inline void sordino_product_row_s16(const sordino_product_params *p, const int16_t *x,
                                           const int16_t *y, int16_t *out)
{
    const sordino_down down = sordino_down_of(p->output, 0);
    for (const int16_t *end = x + p->shape.size[3]; x != end;) {
        const int32_t product = (int32_t)*x++ * *y++;
        *out++ = (int16_t)sordino_brought_down_s16(product, down);
    }
}

#endif

static inline void sordino_product_s8(const sordino_product_params *p, const int8_t *first,
                                      const int8_t *second, int8_t *out)
{
    const sordino_broadcast b = p->shape;
    sordino_row row = {0, 0, {0, 0, 0}};
    do {
        const int8_t *x = first + row.first, *y = second + row.second;
        if (p->simple && (b.first[3] & b.second[3])) {
            sordino_product_row_s8(p, x, y, out);
        } else {
            for (int32_t i = 0; i < b.size[3]; ++i, x += b.first[3], y += b.second[3]) {
                const int32_t other = *y - p->second_zero_point;
                out[i] = (int8_t)sordino_product_scaled(p, (*x - p->first_zero_point) * other);
            }
        }
        out += b.size[3];
    } while (sordino_next_row(&p->shape, &row));
}

static inline void sordino_product_s16(const sordino_product_params *p, const int16_t *first,
                                       const int16_t *second, int16_t *out)
{
    const sordino_broadcast b = p->shape;
    sordino_row row = {0, 0, {0, 0, 0}};
    do {
        const int16_t *x = first + row.first, *y = second + row.second;
        if (p->simple && (b.first[3] & b.second[3])) {
            sordino_product_row_s16(p, x, y, out);
        } else {
            for (int32_t i = 0; i < b.size[3]; ++i, x += b.first[3], y += b.second[3]) {
                out[i] = (int16_t)sordino_product_scaled(p, (int32_t)*x * *y);
            }
        }
        out += b.size[3];
    } while (sordino_next_row(&p->shape, &row));
}

#endif
