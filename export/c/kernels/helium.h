/* Four integers of 32 bits at a time, scaled with the two roundings of TFLM, in Helium. */
#ifndef SORDINO_HELIUM_H
#define SORDINO_HELIUM_H

#include "rounding.h"

#if SORDINO_HELIUM

/* values * scale for a negative shift. vrshl rounds half up: what is negative starts one lower. */
static inline int32x4_t sordino_vector_scaled(int32x4_t values, sordino_scale scale)
{
    const int32x4_t product = vqrdmulhq_n_s32(values, scale.multiplier);
    return vrshlq_n_s32(vaddq_s32(product, vshrq_n_s32(product, 31)), scale.shift);
}

static inline int32x4_t sordino_vector_clamped(int32x4_t values, int32_t lowest, int32_t highest)
{
    return vminq_s32(vmaxq_s32(values, vdupq_n_s32(lowest)), vdupq_n_s32(highest));
}

/* A loop over two rows of int8 or int16, ``combined`` being an expression of the vectors x and y;
 * ``load`` and ``store`` widen to 32 bits and back. */
#define SORDINO_VECTOR_ROW(type, load, store, x_row, y_row, out, size, combined)                 \
    do {                                                                                         \
        const type *x_next = (x_row), *y_next = (y_row);                                         \
        type *to = (out);                                                                        \
        int32_t left = (size);                                                                   \
        for (; left >= 4; left -= 4, x_next += 4, y_next += 4, to += 4) {                        \
            const int32x4_t x = load##_s32(x_next), y = load##_s32(y_next);                      \
            store##_s32(to, (combined));                                                         \
        }                                                                                        \
        if (left > 0) {                                                                          \
            const mve_pred16_t some = vctp32q((uint32_t)left);                                   \
            const int32x4_t x = load##_z_s32(x_next, some), y = load##_z_s32(y_next, some);      \
            store##_p_s32(to, (combined), some);                                                 \
        }                                                                                        \
    } while (0)

#endif

#endif
