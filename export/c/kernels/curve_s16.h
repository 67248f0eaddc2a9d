/* Logistic and tanh of int16: straight lines between the entries of one table of the logistic.
 *
 * The input, in steps of 1/(24·512), is an index and the way to the next entry. A negative input
 * takes the result of its magnitude from the other end. */
#ifndef SORDINO_CURVE_S16_H
#define SORDINO_CURVE_S16_H

#include "sordino_base.h"

typedef struct {
    int32_t size;
    int32_t multiplier;
    int32_t shift;
    const uint16_t *entries; /* 256, in units of 2^-16 */
} sordino_curve_s16_params;

static inline int32_t sordino_curve_step(const sordino_curve_s16_params *p, int32_t value)
{
    const int32_t half = p->shift > 0 ? (int32_t)(1u << (p->shift - 1)) : 0;
    return (value * p->multiplier + half) >> p->shift;
}

/* The curve at ``step`` / 2^bits entries, in units of 2^-(16 + bits). */
static inline int32_t sordino_curve_at(const uint16_t *entries, int32_t step, int32_t bits)
{
    const int32_t index = step >> bits, way = step & ((1 << bits) - 1);
    const int32_t from = entries[index], to = entries[index + 1];
    return (from << bits) + way * (to - from);
}

static inline void sordino_logistic_s16(const sordino_curve_s16_params *p, const int16_t *in,
                                        int16_t *out)
{
    for (int32_t i = 0; i < p->size; ++i) {
        const int32_t step = sordino_curve_step(p, in[i]), size = step < 0 ? -step : step;
        const int32_t curve =
            size >= 255 << 9 ? 0x7fff << 10 : sordino_curve_at(p->entries, size, 9);
        const int32_t sum = step < 0 ? (1 << 25) + (1 << 9) - 1 - curve : curve + (1 << 9);
        out[i] = (int16_t)(sum >> 10);
    }
}

static inline void sordino_tanh_s16(const sordino_curve_s16_params *p, const int16_t *in,
                                    int16_t *out)
{
    for (int32_t i = 0; i < p->size; ++i) {
        const int32_t step = sordino_curve_step(p, in[i]), size = step < 0 ? -step : step;
        const int32_t curve =
            size >= 255 << 8 ? 0xffff << 8 : sordino_curve_at(p->entries, size, 8);
        const int32_t high = curve - (1 << 23);
        const int32_t sum = step < 0 ? (1 << 7) - 1 - high : high + (1 << 7);
        out[i] = (int16_t)(sum >> 8);
    }
}

#endif
