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

/* The nearest integer, of two the even one, for a value within 2^22: adding 1.5 * 2^23 leaves it in
 * the low bits. */
static inline int32_t sordino_nearest(float value)
{
    return (int32_t)sordino_bits(value + 12582912.0f) - 0x4B400000;
}

/* An exponent and its division into a part whose products with whole numbers below 2^12 are exact,
 * and the rest. */
typedef struct {
    float all, high, low;
} sordino_exponent;

/* base^exponent for a normal base > 0 and a result in normal range. Within 5e-7 relative for
 * exponents up to 0.5 in size: the whole part of the binary logarithm never meets a rounding. */
static inline float sordino_power(float base, sordino_exponent exponent)
{
    const uint32_t bits = sordino_bits(base);
    /* base = 2^whole * (1 + t) with sqrt(1/2) <= 1 + t < sqrt(2) */
    const int32_t whole = (int32_t)((bits - 0x3F3504F3u + (127u << 23)) >> 23) - 127;
    const float t = sordino_from_bits(bits - ((uint32_t)whole << 23)) - 1.0f;
    float log2 = -0.145744547f; /* log2(1 + t)/t, minimax, 5e-8 */
    log2 = log2 * t + 0.23689042f;
    log2 = log2 * t - 0.250069022f;
    log2 = log2 * t + 0.286707461f;
    log2 = log2 * t - 0.360087216f;
    log2 = log2 * t + 0.480939448f;
    log2 = log2 * t - 0.721357167f;
    log2 = (log2 * t + 1.44269478f) * t;
    const float octaves = (float)whole;
    const float exact = exponent.high * octaves;
    const float rest = exponent.low * octaves + exponent.all * log2;
    const int32_t shift = sordino_nearest(exact + rest);
    const float f = (exact - (float)shift) + rest; /* -1/2 to 1/2 */
    float exp2 = 0.00132647308f; /* (2^f - 1)/f, minimax, 1e-7 */
    exp2 = exp2 * f + 0.009671513f;
    exp2 = exp2 * f + 0.0555073358f;
    exp2 = exp2 * f + 0.240222424f;
    exp2 = exp2 * f + 0.693147004f;
    exp2 = exp2 * f + 1.0f;
    return sordino_from_bits(sordino_bits(exp2) + ((uint32_t)shift << 23));
}

#endif
