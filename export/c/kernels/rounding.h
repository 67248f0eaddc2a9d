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

/* value * multiplier, which is not negative. */
static inline int64_t sordino_product(int32_t value, int32_t multiplier)
{
#if defined(__thumb__) && !defined(__thumb2__)
    /* These cores multiply to 32 bits; four products of halves are less than the compiler's call
     * of a function for 64 bits. */
    const uint32_t value_low = (uint32_t)value & 0xFFFFu, low = (uint32_t)multiplier & 0xFFFFu;
    const int32_t value_high = value >> 16, high = multiplier >> 16;
    const uint32_t lowest = value_low * low;
    const int32_t inner = value_high * (int32_t)low + (int32_t)(lowest >> 16);
    const uint32_t outer = value_low * (uint32_t)high + ((uint32_t)inner & 0xFFFFu);
    const int32_t upper = value_high * high + (inner >> 16) + (int32_t)(outer >> 16);
    const uint32_t lower = (outer << 16) | (lowest & 0xFFFFu);
    return (int64_t)(((uint64_t)(uint32_t)upper << 32) | lower);
#else
    return (int64_t)value * multiplier;
#endif
}

/* value * scale. */
static inline int32_t sordino_scaled(int32_t value, sordino_scale scale)
{
    if (scale.shift >= 0) {
        const int32_t lifted = (int32_t)((uint32_t)value << scale.shift);
        return (int32_t)((sordino_product(lifted, scale.multiplier) + (1 << 30)) >> 31);
    }
    const int32_t product = (int32_t)((sordino_product(value, scale.multiplier) + (1 << 30)) >> 31);
    return (((product + (product >> 31)) >> (-scale.shift - 1)) + 1) >> 1;
}

static inline int32_t sordino_saturated_s8(int32_t value)
{
    return sordino_clamped(value, -128, 127);
}

static inline int32_t sordino_saturated_s16(int32_t value)
{
    return sordino_clamped(value, -32768, 32767);
}

/* value * scale + offset for a shift of -23 to -2 and an offset of 16 bits: the roundings and the
 * offset are one 64-bit constant, less 2^31 for a negative value, which is what half up and half
 * away from zero differ by. Only the upper word is shifted. */
typedef struct {
    int32_t multiplier;
    int32_t high;  /* word of the constant; the low one is 2^30 */
    int32_t shift; /* of the upper word, right, by one more than this */
} sordino_down;

static inline sordino_down sordino_down_of(sordino_scale scale, int32_t offset)
{
    const int32_t shift = -scale.shift - 2;
    const sordino_down down = {scale.multiplier, (2 * offset + 1) * (int32_t)(1u << shift), shift};
    return down;
}

/* Twice what is wanted. */
static inline int32_t sordino_brought_twice(int32_t value, sordino_down by)
{
    const uint32_t low = 0x40000000u + ((uint32_t)value & 0x80000000u);
    const uint32_t high = (uint32_t)(by.high + (value >> 31));
    const int64_t start = (int64_t)(((uint64_t)high << 32) | low);
    return (int32_t)((start + sordino_product(value, by.multiplier)) >> 32) >> by.shift;
}

static inline int32_t sordino_brought_down(int32_t value, sordino_down by)
{
    return sordino_brought_twice(value, by) >> 1;
}

/* Half of a value, rounded down and saturated: one instruction where the core has it, which
 * compilers do not see. */
static inline int32_t sordino_halved_s8(int32_t twice)
{
#if defined(__arm__) && defined(__ARM_FEATURE_SAT)
    int32_t saturated;
    __asm__("ssat %0, #8, %1, asr #1" : "=r"(saturated) : "r"(twice));
    return saturated;
#else
    return sordino_saturated_s8(twice >> 1);
#endif
}

static inline int32_t sordino_halved_s16(int32_t twice)
{
#if defined(__arm__) && defined(__ARM_FEATURE_SAT)
    int32_t saturated;
    __asm__("ssat %0, #16, %1, asr #1" : "=r"(saturated) : "r"(twice));
    return saturated;
#else
    return sordino_saturated_s16(twice >> 1);
#endif
}

static inline int32_t sordino_brought_down_s8(int32_t value, sordino_down by)
{
    return sordino_halved_s8(sordino_brought_twice(value, by));
}

static inline int32_t sordino_brought_down_s16(int32_t value, sordino_down by)
{
    return sordino_halved_s16(sordino_brought_twice(value, by));
}

#endif
