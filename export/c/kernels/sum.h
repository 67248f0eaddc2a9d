/* ADD and SUB of int8 and int16.
 *
 * TFLM shifts both inputs left (int8 by 20 bits, int16 by 15), multiplies each by its scale over
 * twice the larger scale, adds, and multiplies by the output's factor. For the input of the larger
 * scale, here the wide one, the factor is exactly one half: its share is a product of 32 bits. The
 * narrow one's needs no 64 bits either, since its lower bits are zeros; the multiplier is given in
 * two parts. */
#ifndef SORDINO_SUM_H
#define SORDINO_SUM_H

#include "broadcast.h"
#include "rounding.h"

typedef struct {
    sordino_broadcast shape; /* first: wide, second: narrow */
    int32_t equal;           /* both inputs have one scale: the shares are alike */
    int32_t simple;          /* see sordino_scaled_down; the activation leaves the whole type */
    int32_t wide_unit, narrow_unit; /* half of 2^20 or 2^15, negative for what is subtracted */
    int32_t offset;                 /* what the zero points add to the sum */
    int32_t narrow_zero_point;
    int32_t narrow_high, narrow_low; /* of the multiplier, 16 bits low */
    int32_t narrow_shift;            /* right, at least 1 */
    int32_t narrow_sign;
    sordino_scale output;
    int32_t zero_point;
    int32_t lowest, highest;
} sordino_sum_params;

/* value / 2^bits, half away from zero; bits is at least 1. */
static inline int32_t sordino_sum_shifted(int32_t value, int32_t bits)
{
    return (value + (int32_t)(1u << (bits - 1)) + (value >> 31)) >> bits;
}

static inline int32_t sordino_sum_s8_of(const sordino_sum_params *p, int32_t wide, int32_t narrow,
                                        int equal)
{
    const int32_t sum = wide * p->wide_unit + p->offset;
    if (equal) {
        return sum + narrow * p->narrow_unit;
    }
    const int32_t value = narrow - p->narrow_zero_point;
    const int32_t high = value * p->narrow_high * 32;
    const int32_t product = high + ((value * p->narrow_low + (1 << 10)) >> 11);
    return sum + p->narrow_sign * sordino_sum_shifted(product, p->narrow_shift);
}

static inline int32_t sordino_sum_s16_of(const sordino_sum_params *p, int32_t wide, int32_t narrow,
                                         int equal)
{
    const int32_t sum = wide * p->wide_unit;
    if (equal) {
        return sum + narrow * p->narrow_unit;
    }
    const int32_t high = narrow * p->narrow_high;
    const int32_t product = high + ((narrow * p->narrow_low + (1 << 15)) >> 16);
    return sum + p->narrow_sign * sordino_sum_shifted(product, p->narrow_shift);
}

static inline void sordino_sum_row_s8(const sordino_sum_params *p, const int8_t *wide,
                                      int32_t wide_step, const int8_t *narrow, int32_t narrow_step,
                                      int8_t *out, int32_t size, int equal, int simple)
{
    for (int32_t i = 0; i < size; ++i, wide += wide_step, narrow += narrow_step) {
        const int32_t sum = sordino_sum_s8_of(p, *wide, *narrow, equal);
        if (simple) {
            const int32_t value = sordino_scaled_down(sum, p->output, p->zero_point);
            out[i] = (int8_t)sordino_clamped(value, -128, 127);
        } else {
            const int32_t value = sordino_scaled(sum, p->output) + p->zero_point;
            out[i] = (int8_t)sordino_clamped(value, p->lowest, p->highest);
        }
    }
}

static inline void sordino_sum_row_s16(const sordino_sum_params *p, const int16_t *wide,
                                       int32_t wide_step, const int16_t *narrow,
                                       int32_t narrow_step, int16_t *out, int32_t size, int equal,
                                       int simple)
{
    for (int32_t i = 0; i < size; ++i, wide += wide_step, narrow += narrow_step) {
        const int32_t sum = sordino_sum_s16_of(p, *wide, *narrow, equal);
        if (simple) {
            const int32_t value = sordino_scaled_down(sum, p->output, 0);
            out[i] = (int16_t)sordino_clamped(value, -32768, 32767);
        } else {
            const int32_t value = sordino_scaled(sum, p->output);
            out[i] = (int16_t)sordino_clamped(value, p->lowest, p->highest);
        }
    }
}

static inline void sordino_sum_s8(const sordino_sum_params *p, const int8_t *wide,
                                  const int8_t *narrow, int8_t *out)
{
    const sordino_broadcast *b = &p->shape;
    const int32_t size = b->size[3], joint = b->first[3] & b->second[3];
    sordino_row row = {0, 0, {0, 0, 0}};
    do {
        const int8_t *x = wide + row.first, *y = narrow + row.second;
        if (!(p->simple && joint)) {
            sordino_sum_row_s8(p, x, b->first[3], y, b->second[3], out, size, p->equal, 0);
        } else if (p->equal) {
            sordino_sum_row_s8(p, x, 1, y, 1, out, size, 1, 1);
        } else {
            sordino_sum_row_s8(p, x, 1, y, 1, out, size, 0, 1);
        }
        out += size;
    } while (sordino_next_row(b, &row));
}

static inline void sordino_sum_s16(const sordino_sum_params *p, const int16_t *wide,
                                   const int16_t *narrow, int16_t *out)
{
    const sordino_broadcast *b = &p->shape;
    const int32_t size = b->size[3], joint = b->first[3] & b->second[3];
    sordino_row row = {0, 0, {0, 0, 0}};
    do {
        const int16_t *x = wide + row.first, *y = narrow + row.second;
        if (!(p->simple && joint)) {
            sordino_sum_row_s16(p, x, b->first[3], y, b->second[3], out, size, p->equal, 0);
        } else if (p->equal) {
            sordino_sum_row_s16(p, x, 1, y, 1, out, size, 1, 1);
        } else {
            sordino_sum_row_s16(p, x, 1, y, 1, out, size, 0, 1);
        }
        out += size;
    } while (sordino_next_row(b, &row));
}

#endif
