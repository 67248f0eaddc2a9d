/* MEAN over any axes: sums of 32 bits, then one factor that holds the division. */
#ifndef SORDINO_MEAN_H
#define SORDINO_MEAN_H

#include "broadcast.h"
#include "rounding.h"

typedef struct {
    sordino_broadcast kept, reduced; /* "first" is the input; nothing is second */
    int32_t offset;                  /* what the input's zero point adds to a sum */
    sordino_scale output;
    int32_t zero_point;
} sordino_mean_params;

typedef struct {
    sordino_broadcast kept, reduced;
    float count;
} sordino_mean_f32_params;

#define SORDINO_SUM_OVER(name, type, sum_type)                                                   \
    static inline sum_type name(const sordino_broadcast *b, const type *in, sum_type sum)        \
    {                                                                                            \
        const int32_t size = b->size[3], step = b->first[3];                                     \
        sordino_row row = {0, 0, {0, 0, 0}};                                                     \
        do {                                                                                     \
            const type *x = in + row.first;                                                      \
            for (int32_t i = 0; i < size; ++i, x += step) {                                      \
                sum += *x;                                                                       \
            }                                                                                    \
        } while (sordino_next_row(b, &row));                                                     \
        return sum;                                                                              \
    }

#define SORDINO_MEAN(name, type, sum_over, lowest, highest)                                      \
    static inline void name(const sordino_mean_params *p, const type *in, type *out)             \
    {                                                                                            \
        sordino_row row = {0, 0, {0, 0, 0}};                                                     \
        do {                                                                                     \
            for (int32_t i = 0; i < p->kept.size[3]; ++i) {                                      \
                const type *x = in + row.first + i * p->kept.first[3];                           \
                const int32_t sum = sum_over(&p->reduced, x, p->offset);                         \
                const int32_t value = sordino_scaled(sum, p->output) + p->zero_point;            \
                *out++ = (type)sordino_clamped(value, lowest, highest);                          \
            }                                                                                    \
        } while (sordino_next_row(&p->kept, &row));                                              \
    }

SORDINO_SUM_OVER(sordino_sum_over_s8, int8_t, int32_t)
SORDINO_SUM_OVER(sordino_sum_over_s16, int16_t, int32_t)
SORDINO_SUM_OVER(sordino_sum_over_f32, float, float)
SORDINO_MEAN(sordino_mean_s8, int8_t, sordino_sum_over_s8, -128, 127)
SORDINO_MEAN(sordino_mean_s16, int16_t, sordino_sum_over_s16, -32768, 32767)

static inline void sordino_mean_f32(const sordino_mean_f32_params *p, const float *in, float *out)
{
    sordino_row row = {0, 0, {0, 0, 0}};
    do {
        for (int32_t i = 0; i < p->kept.size[3]; ++i) {
            const float *x = in + row.first + i * p->kept.first[3];
            *out++ = sordino_sum_over_f32(&p->reduced, x, 0.0f) / p->count;
        }
    } while (sordino_next_row(&p->kept, &row));
}

#endif
