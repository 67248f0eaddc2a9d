/* An integer times a real multiplier, with the two roundings of TFLM: the doubled product's high
 * half is rounded half up, then the right shift half away from zero. */
#ifndef SORDINO_ROUNDING_H
#define SORDINO_ROUNDING_H

#include "sordino_base.h"

/* multiplier * 2^(shift - 31); the shift is -31 to 30. */
typedef struct {
    int32_t multiplier;
    int32_t shift;
} sordino_scale;

static inline int32_t sordino_clamped(int32_t value, int32_t lowest, int32_t highest)
{
    return value < lowest ? lowest : (value > highest ? highest : value);
}

/* value * scale. */
static inline int32_t sordino_scaled(int32_t value, sordino_scale scale)
{
    if (scale.shift >= 0) {
        const int32_t lifted = (int32_t)((uint32_t)value << scale.shift);
        return (int32_t)(((int64_t)lifted * scale.multiplier + (1 << 30)) >> 31);
    }
    const int32_t product = (int32_t)(((int64_t)value * scale.multiplier + (1 << 30)) >> 31);
    return (((product + (product >> 31)) >> (-scale.shift - 1)) + 1) >> 1;
}

/* value * scale + offset for a shift of -23 to -2 and an offset of 16 bits: the roundings and the
 * offset are one 64-bit constant, less 2^31 for a negative value, which is what half up and half
 * away from zero differ by. Only the upper word is shifted. */
static inline int32_t sordino_scaled_down(int32_t value, sordino_scale scale, int32_t offset)
{
    const int32_t half = (int32_t)(1u << (-scale.shift - 2));
    const uint32_t low = 0x40000000u + ((uint32_t)value & 0x80000000u);
    const uint32_t high = (uint32_t)((2 * offset + 1) * half + (value >> 31));
    const int64_t start = (int64_t)(((uint64_t)high << 32) | low);
    const int64_t total = start + (int64_t)value * scale.multiplier;
    return ((int32_t)(total >> 32) >> (-scale.shift - 2)) >> 1;
}

#endif
