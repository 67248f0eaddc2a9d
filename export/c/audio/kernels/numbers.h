/* Single numbers: what a sample may be, rounding, and a power without a mathematical library. */
#ifndef SORDINO_NUMBERS_H
#define SORDINO_NUMBERS_H

#include <stdint.h>
#include <string.h>

static inline uint32_t sordino_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float sordino_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A sample, or 0 for one that is not finite, beyond 2^20 times full scale, or below 2^-60: of NaN
 * and infinity a recurrent network would never recover, and of denormal numbers some cores are slow.
 * The exponent is judged, so that no option of a compiler can take the question away. */
static inline float sordino_sample(float value)
{
    const uint32_t bits = sordino_bits(value);
    const uint32_t exponent = (bits >> 23) & 0xFFu; /* 127 is that of 1 */
    const uint32_t kept = 0u - (uint32_t)(exponent - (127u - 60u) < 60u + 20u);
    return sordino_from_bits(bits & kept);
}

/* 1.5 * 2^23: added to a float within 2^22, it leaves the nearest integer (of two the even one) in
 * the low bits. These conversions are additions, so that loops of them can be vectorised. */
#define SORDINO_SHIFTER 12582912.0f
#define SORDINO_SHIFTER_BITS 0x4B400000

static inline int32_t sordino_nearest(float value)
{
    return (int32_t)sordino_bits(value + SORDINO_SHIFTER) - SORDINO_SHIFTER_BITS;
}

static inline float sordino_real(int32_t value)
{
    return sordino_from_bits((uint32_t)(value + SORDINO_SHIFTER_BITS)) - SORDINO_SHIFTER;
}

/* An exponent, and its division into a part whose products with whole numbers below 2^12 are exact
 * and the rest. */
typedef struct {
    float all, high, low;
} sordino_exponent;

/* The binary logarithm of a normal number > 0, as a whole number and the rest, -1/2 to 1/2. */
typedef struct {
    float whole, rest;
} sordino_logarithm;

static inline sordino_logarithm sordino_log2(float value)
{
    const uint32_t bits = sordino_bits(value);
    /* value = 2^whole * (1 + t) with sqrt(1/2) <= 1 + t < sqrt(2) */
    const int32_t whole = (int32_t)((bits - 0x3F3504F3u + (127u << 23)) >> 23) - 127;
    const float t = sordino_from_bits(bits - ((uint32_t)whole << 23)) - 1.0f;
    float ratio = -0.145744547f; /* log2(1 + t)/t, minimax, 5e-8 */
    ratio = ratio * t + 0.23689042f;
    ratio = ratio * t - 0.250069022f;
    ratio = ratio * t + 0.286707461f;
    ratio = ratio * t - 0.360087216f;
    ratio = ratio * t + 0.480939448f;
    ratio = ratio * t - 0.721357167f;
    ratio = ratio * t + 1.44269478f;
    const sordino_logarithm found = {sordino_real(whole), ratio * t};
    return found;
}

/* base^exponent for the logarithm of the base and a result in normal range. Within 5e-7 relative
 * for exponents up to 0.5 in size: the whole part of the logarithm meets no rounding. */
static inline float sordino_power(sordino_logarithm base, sordino_exponent exponent)
{
    const float exact = exponent.high * base.whole;
    const float rest = exponent.low * base.whole + exponent.all * base.rest;
    const int32_t shift = sordino_nearest(exact + rest);
    const float f = (exact - sordino_real(shift)) + rest; /* -1/2 to 1/2 */
    float exp2 = 0.00132647308f; /* (2^f - 1)/f, minimax, 1e-7 */
    exp2 = exp2 * f + 0.009671513f;
    exp2 = exp2 * f + 0.0555073358f;
    exp2 = exp2 * f + 0.240222424f;
    exp2 = exp2 * f + 0.693147004f;
    exp2 = exp2 * f + 1.0f;
    return sordino_from_bits(sordino_bits(exp2) + ((uint32_t)shift << 23));
}

#endif
