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

/* What the magnitude of an input leads to, from 2^-1 to 1 in units of 2^-25 or 2^-24, and from it
 * the result: of the logistic in units of 2^-15, of tanh too. */
static inline int32_t sordino_logistic_of(int32_t curve, int negative)
{
    return (negative ? (1 << 25) + (1 << 9) - 1 - curve : curve + (1 << 9)) >> 10;
}

static inline int32_t sordino_tanh_of_curve(int32_t curve, int negative)
{
    const int32_t high = curve - (1 << 23);
    return (negative ? (1 << 7) - 1 - high : high + (1 << 7)) >> 8;
}

#if SORDINO_HELIUM

/* The curve at four magnitudes of steps; ``bits`` is a constant, 9 or 8. */
#define SORDINO_CURVE_VECTOR(bits, top)                                                          \
    static inline int32x4_t sordino_curve_vector_##bits(const uint16_t *entries, int32x4_t size) \
    {                                                                                            \
        const int32x4_t index = vminq_s32(vshrq_n_s32(size, bits), vdupq_n_s32(254));            \
        const uint32x4_t offsets = vreinterpretq_u32_s32(index);                                 \
        const int32x4_t from =                                                                   \
            vreinterpretq_s32_u32(vldrhq_gather_shifted_offset_u32(entries, offsets));           \
        const int32x4_t to =                                                                     \
            vreinterpretq_s32_u32(vldrhq_gather_shifted_offset_u32(entries + 1, offsets));       \
        const int32x4_t way = vandq_s32(size, vdupq_n_s32((1 << bits) - 1));                     \
        const int32x4_t rise = vmulq_s32(way, vsubq_s32(to, from));                              \
        const int32x4_t curve = vaddq_s32(vshlq_n_s32(from, bits), rise);                        \
        return vpselq_s32(vdupq_n_s32(top), curve, vcmpgeq_n_s32(size, 255 << bits));            \
    }

SORDINO_CURVE_VECTOR(9, 0x7fff << 10)
SORDINO_CURVE_VECTOR(8, 0xffff << 8)

static inline int32x4_t sordino_curve_steps(const sordino_curve_s16_params *p, int32x4_t values)
{
    const int32_t half = p->shift > 0 ? (int32_t)(1u << (p->shift - 1)) : 0;
    return vshlq_r_s32(vaddq_n_s32(vmulq_n_s32(values, p->multiplier), half), -p->shift);
}

static inline int32x4_t sordino_logistic_vector(const sordino_curve_s16_params *p,
                                                int32x4_t values)
{
    const int32x4_t steps = sordino_curve_steps(p, values);
    const int32x4_t curve = sordino_curve_vector_9(p->entries, vabsq_s32(steps));
    const int32x4_t above = vaddq_n_s32(curve, 1 << 9);
    const int32x4_t below = vsubq_s32(vdupq_n_s32((1 << 25) + (1 << 9) - 1), curve);
    return vshrq_n_s32(vpselq_s32(above, below, vcmpgeq_n_s32(steps, 0)), 10);
}

static inline int32x4_t sordino_tanh_vector(const sordino_curve_s16_params *p, int32x4_t values)
{
    const int32x4_t steps = sordino_curve_steps(p, values);
    const int32x4_t curve = sordino_curve_vector_8(p->entries, vabsq_s32(steps));
    const int32x4_t above = vsubq_n_s32(curve, (1 << 23) - (1 << 7));
    const int32x4_t below = vsubq_s32(vdupq_n_s32((1 << 23) + (1 << 7) - 1), curve);
    return vshrq_n_s32(vpselq_s32(above, below, vcmpgeq_n_s32(steps, 0)), 8);
}

#define SORDINO_CURVE_VECTORS(vector)                                                            \
    for (; left >= 4; left -= 4, in += 4, out += 4) {                                            \
        vstrhq_s32(out, vector(&k, vldrhq_s32(in)));                                             \
    }

#else
#define SORDINO_CURVE_VECTORS(vector)
#endif

static inline void sordino_logistic_s16(const sordino_curve_s16_params *p, const int16_t *in,
                                        int16_t *out)
{
    const sordino_curve_s16_params k = *p;
    int32_t left = k.size;
    SORDINO_CURVE_VECTORS(sordino_logistic_vector)
    for (; left > 0; --left) {
        const int32_t step = sordino_curve_step(&k, *in++), size = step < 0 ? -step : step;
        const int32_t curve =
            size >= 255 << 9 ? 0x7fff << 10 : sordino_curve_at(k.entries, size, 9);
        *out++ = (int16_t)sordino_logistic_of(curve, step < 0);
    }
}

static inline void sordino_tanh_s16(const sordino_curve_s16_params *p, const int16_t *in,
                                    int16_t *out)
{
    const sordino_curve_s16_params k = *p;
    int32_t left = k.size;
    SORDINO_CURVE_VECTORS(sordino_tanh_vector)
    for (; left > 0; --left) {
        const int32_t step = sordino_curve_step(&k, *in++), size = step < 0 ? -step : step;
        const int32_t curve = size >= 255 << 8 ? 0xffff << 8 : sordino_curve_at(k.entries, size, 8);
        *out++ = (int16_t)sordino_tanh_of_curve(curve, step < 0);
    }
}

#endif
