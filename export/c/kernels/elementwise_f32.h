/* Sum, difference and product of two float tensors. */
#ifndef SORDINO_ELEMENTWISE_F32_H
#define SORDINO_ELEMENTWISE_F32_H

#include "broadcast.h"

typedef struct {
    sordino_broadcast shape;
    float lowest, highest; /* of the fused activation */
} sordino_elementwise_f32_params;

#define SORDINO_ELEMENTWISE_F32(name, operation)                                                 \
    static inline void name(const sordino_elementwise_f32_params *p, const float *first,         \
                            const float *second, float *out)                                     \
    {                                                                                            \
        const sordino_broadcast *b = &p->shape;                                                  \
        sordino_row row = {0, 0, {0, 0, 0}};                                                     \
        do {                                                                                     \
            const float *x = first + row.first, *y = second + row.second;                        \
            for (int32_t i = 0; i < b->size[3]; ++i, x += b->first[3], y += b->second[3]) {      \
                const float value = *x operation *y;                                             \
                *out++ = value < p->lowest ? p->lowest                                           \
                                           : (value > p->highest ? p->highest : value);          \
            }                                                                                    \
        } while (sordino_next_row(b, &row));                                                     \
    }

SORDINO_ELEMENTWISE_F32(sordino_add_f32, +)
SORDINO_ELEMENTWISE_F32(sordino_sub_f32, -)
SORDINO_ELEMENTWISE_F32(sordino_mul_f32, *)

#endif
