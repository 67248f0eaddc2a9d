/* MAXIMUM and MINIMUM of tensors that share one scale. */
#ifndef SORDINO_EXTREMUM_H
#define SORDINO_EXTREMUM_H

#include "broadcast.h"

typedef struct {
    sordino_broadcast shape;
} sordino_extremum_params;

#define SORDINO_EXTREMUM(name, type, relation)                                                   \
    static inline void name(const sordino_extremum_params *p, const type *first,                 \
                            const type *second, type *out)                                       \
    {                                                                                            \
        const sordino_broadcast *b = &p->shape;                                                  \
        const int32_t x_step = b->first[3], y_step = b->second[3];                               \
        sordino_row row = {0, 0, {0, 0, 0}};                                                     \
        do {                                                                                     \
            const type *x = first + row.first, *y = second + row.second;                         \
            for (int32_t i = 0; i < b->size[3]; ++i, x += x_step, y += y_step) {                 \
                *out++ = *x relation *y ? *x : *y;                                               \
            }                                                                                    \
        } while (sordino_next_row(b, &row));                                                     \
    }

SORDINO_EXTREMUM(sordino_maximum_s8, int8_t, >)
SORDINO_EXTREMUM(sordino_minimum_s8, int8_t, <)
SORDINO_EXTREMUM(sordino_maximum_s16, int16_t, >)
SORDINO_EXTREMUM(sordino_minimum_s16, int16_t, <)
SORDINO_EXTREMUM(sordino_maximum_f32, float, >)
SORDINO_EXTREMUM(sordino_minimum_f32, float, <)

#endif
