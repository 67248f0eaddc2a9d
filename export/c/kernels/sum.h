/* ADD and SUB of int8 and int16.
 *
 * TFLM shifts both inputs left (int8 by 20 bits, int16 by 15), multiplies each by its scale over
 * twice the larger scale, adds, and multiplies by the output's factor. For the input of the larger
 * scale, here the wide one, the factor is exactly one half: its share is a shift. The narrow one's
 * share needs no 64 bits, since its lower bits are zeros; the multiplier is given in two parts. */
#ifndef SORDINO_SUM_H
#define SORDINO_SUM_H

#include "broadcast.h"
#include "helium.h"
#include "rounding.h"

typedef struct {
    sordino_broadcast shape; /* first: wide, second: narrow */
    int32_t equal;           /* both inputs have one scale: both shares are shifts */
    int32_t simple;          /* see sordino_brought_down; the activation leaves the whole type */
    int32_t offset;          /* what the zero points add to the sum */
    int32_t narrow_zero_point;
    int32_t narrow_multiplier;
    int32_t narrow_high;  /* its upper 15 bits, shifted left by 5 for int8 */
    int32_t narrow_low;   /* its lower 16 bits */
    int32_t narrow_shift; /* right, at least 1 */
    sordino_scale output;
    int32_t zero_point;
    int32_t lowest, highest;
} sordino_sum_params;

/* What the narrow input adds: value * multiplier, rounded half up, then shifted right, rounded half
 * away from zero. The value is int8 less a zero point, or int16. */
static inline int32_t sordino_share_s8(int32_t value, int32_t high, int32_t low, int32_t shift)
{
    const int32_t product = value * high + ((value * low + (1 << 10)) >> 11);
    return (((product + (value >> 31)) >> (shift - 1)) + 1) >> 1;
}

static inline int32_t sordino_share_s16(int32_t value, int32_t high, int32_t low, int32_t shift)
{
    const int32_t product = value * high + ((value * low + (1 << 15)) >> 16);
    return (((product + (value >> 31)) >> (shift - 1)) + 1) >> 1;
}

#if SORDINO_HELIUM

static inline int32x4_t sordino_sum_vector(const sordino_sum_params *p, int32x4_t sum)
{
    const int32x4_t value = sordino_vector_scaled(vaddq_n_s32(sum, p->offset), p->output);
    return sordino_vector_clamped(vaddq_n_s32(value, p->zero_point), p->lowest, p->highest);
}

static inline int32x4_t sordino_signed_sum(int32x4_t x, int32x4_t y, int32_t sign, int32_t other)
{
    return other < 0 ? vsubq_s32(x, y) : (sign < 0 ? vsubq_s32(y, x) : vaddq_s32(x, y));
}

#define SORDINO_SUM_ROW(suffix, type, load, store, bits)                                         \
    static inline void sordino_sum_row_##suffix(const sordino_sum_params *p, const type *wide,   \
                                                const type *narrow, type *out, int32_t sign,     \
                                                int32_t other)                                   \
    {                                                                                            \
        const sordino_sum_params k = *p;                                                         \
        const sordino_scale share = {k.narrow_multiplier, -k.narrow_shift};                      \
        SORDINO_VECTOR_ROW(                                                                      \
            type, load, store, wide, narrow, out, k.shape.size[3],                               \
            sordino_sum_vector(                                                                  \
                &k, sordino_signed_sum(                                                          \
                        vshlq_n_s32(x, bits - 1),                                                \
                        sordino_vector_scaled(                                                   \
                            vshlq_n_s32(vsubq_n_s32(y, k.narrow_zero_point), bits), share),      \
                        sign, other)));                                                          \
    }                                                                                            \
    static inline void sordino_sum_equal_row_##suffix(                                           \
        const sordino_sum_params *p, const type *wide, const type *narrow, type *out,            \
        int32_t sign, int32_t other)                                                             \
    {                                                                                            \
        const sordino_sum_params k = *p;                                                         \
        SORDINO_VECTOR_ROW(                                                                      \
            type, load, store, wide, narrow, out, k.shape.size[3],                               \
            sordino_sum_vector(                                                                  \
                &k, vshlq_n_s32(sordino_signed_sum(x, y, sign, other), bits - 1)));              \
    }

SORDINO_SUM_ROW(s8, int8_t, vldrbq, vstrbq, 20)
SORDINO_SUM_ROW(s16, int16_t, vldrhq, vstrhq, 15)

#else

/* The signs are constants wherever these are called. Parameters are copied before the loops:
 * stores of int8 might change them, for all the compiler knows. */
static inline void sordino_sum_row_s8(const sordino_sum_params *p, const int8_t *wide,
                                      const int8_t *narrow, int8_t *out, int32_t sign,
                                      int32_t other)
{
    const sordino_down down = sordino_down_of(p->output, p->zero_point);
    const int32_t offset = p->offset, zero = p->narrow_zero_point;
    const int32_t high = p->narrow_high, low = p->narrow_low, shift = p->narrow_shift;
    for (const int8_t *end = wide + p->shape.size[3]; wide != end;) {
        const int32_t share = sordino_share_s8(*narrow++ - zero, high, low, shift);
        const int32_t sum = *wide++ * (sign * (1 << 19)) + offset + other * share;
        *out++ = (int8_t)sordino_brought_down_s8(sum, down);
    }
}

static inline void sordino_sum_equal_row_s8(const sordino_sum_params *p, const int8_t *wide,
                                            const int8_t *narrow, int8_t *out, int32_t sign,
                                            int32_t other)
{
    const sordino_down down = sordino_down_of(p->output, p->zero_point);
    const int32_t offset = p->offset;
    for (const int8_t *end = wide + p->shape.size[3]; wide != end;) {
        const int32_t sum = (sign * *wide++ + other * *narrow++) * (1 << 19) + offset;
        *out++ = (int8_t)sordino_brought_down_s8(sum, down);
    }
}

static inline void sordino_sum_row_s16(const sordino_sum_params *p, const int16_t *wide,
                                       const int16_t *narrow, int16_t *out, int32_t sign,
                                       int32_t other)
{
    const sordino_down down = sordino_down_of(p->output, 0);
    const int32_t high = p->narrow_high, low = p->narrow_low, shift = p->narrow_shift;
    for (const int16_t *end = wide + p->shape.size[3]; wide != end;) {
        const int32_t share = sordino_share_s16(*narrow++, high, low, shift);
        const int32_t sum = *wide++ * (sign * (1 << 14)) + other * share;
        *out++ = (int16_t)sordino_brought_down_s16(sum, down);
    }
}

static inline void sordino_sum_equal_row_s16(const sordino_sum_params *p, const int16_t *wide,
                                             const int16_t *narrow, int16_t *out, int32_t sign,
                                             int32_t other)
{
    const sordino_down down = sordino_down_of(p->output, 0);
    for (const int16_t *end = wide + p->shape.size[3]; wide != end;) {
        const int32_t sum = (sign * *wide++ + other * *narrow++) * (1 << 14);
        *out++ = (int16_t)sordino_brought_down_s16(sum, down);
    }
}

#endif

/* Any row: inputs that stay where they are, fused activations, unusual scales. */
#define SORDINO_SUM_SLOW_ROW(name, type, bits, share)                                            \
    static inline void name(const sordino_sum_params *p, const type *wide, const type *narrow,   \
                            type *out, int32_t sign, int32_t other)                              \
    {                                                                                            \
        const int32_t x_step = p->shape.first[3], y_step = p->shape.second[3];                   \
        for (int32_t i = 0; i < p->shape.size[3]; ++i, wide += x_step, narrow += y_step) {       \
            const int32_t value = *narrow - p->narrow_zero_point;                                \
            const int32_t narrow_share =                                                         \
                p->equal ? *narrow * (1 << bits)                                                 \
                         : share(value, p->narrow_high, p->narrow_low, p->narrow_shift);         \
            const int32_t sum = *wide * (sign * (1 << bits)) + p->offset + other * narrow_share; \
            const int32_t scaled = sordino_scaled(sum, p->output) + p->zero_point;               \
            out[i] = (type)sordino_clamped(scaled, p->lowest, p->highest);                       \
        }                                                                                        \
    }

SORDINO_SUM_SLOW_ROW(sordino_sum_slow_row_s8, int8_t, 19, sordino_share_s8)
SORDINO_SUM_SLOW_ROW(sordino_sum_slow_row_s16, int16_t, 14, sordino_share_s16)

#define SORDINO_SUM(name, type, suffix, sign, other)                                             \
    static inline void name(const sordino_sum_params *p, const type *wide, const type *narrow,   \
                            type *out)                                                           \
    {                                                                                            \
        sordino_row row = {0, 0, {0, 0, 0}};                                                     \
        do {                                                                                     \
            const type *x = wide + row.first, *y = narrow + row.second;                          \
            if (!(p->simple && (p->shape.first[3] & p->shape.second[3]))) {                      \
                sordino_sum_slow_row_##suffix(p, x, y, out, sign, other);                        \
            } else if (p->equal) {                                                               \
                sordino_sum_equal_row_##suffix(p, x, y, out, sign, other);                       \
            } else {                                                                             \
                sordino_sum_row_##suffix(p, x, y, out, sign, other);                             \
            }                                                                                    \
            out += p->shape.size[3];                                                             \
        } while (sordino_next_row(&p->shape, &row));                                             \
    }

SORDINO_SUM(sordino_add_s8, int8_t, s8, 1, 1)
SORDINO_SUM(sordino_add_s16, int16_t, s16, 1, 1)
SORDINO_SUM(sordino_sub_s8, int8_t, s8, 1, -1) /* wide - narrow */
SORDINO_SUM(sordino_sub_s16, int16_t, s16, 1, -1)
SORDINO_SUM(sordino_rsb_s8, int8_t, s8, -1, 1) /* narrow - wide */
SORDINO_SUM(sordino_rsb_s16, int16_t, s16, -1, 1)

#endif
