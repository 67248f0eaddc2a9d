/* Features of bins, and what becomes of bins under a mask. */
#ifndef SORDINO_FEATURES_H
#define SORDINO_FEATURES_H

#include "numbers.h"

#define SORDINO_CHUNK 32 /* bins at a time, so that little of the stack is taken */
#define SORDINO_POWER_FLOOR 1e-12f

/* Compressed magnitude |Y|^c, and real and imaginary part times |Y|^(c - 1); `level` is c / 2 and
 * `gain` (c - 1) / 2, for they are exponents of the power. */
static inline void sordino_compress(const float *restrict re, const float *restrict im,
                                    int32_t count, sordino_exponent level, sordino_exponent gain,
                                    float (*restrict channels)[SORDINO_CHUNK])
{
    for (int32_t k = 0; k < count; ++k) {
        const float power = re[k] * re[k] + im[k] * im[k] + SORDINO_POWER_FLOOR;
        const sordino_logarithm octaves = sordino_log2(power);
        const float by = sordino_power(octaves, gain);
        channels[0][k] = sordino_power(octaves, level);
        channels[1][k] = re[k] * by;
        channels[2][k] = im[k] * by;
    }
}

/* Real values to stored ones: round(value / scale) + zero_point, halves to even, saturated. Beyond
 * 2^22 the bits of the sum are no integer any more, but they still rise with the value. */
static inline void sordino_quantize(const float *restrict values, int32_t count, float scale,
                                    int32_t zero_point, int32_t lowest, int32_t highest,
                                    int32_t *restrict stored)
{
    const int32_t origin = SORDINO_SHIFTER_BITS - zero_point;
    for (int32_t k = 0; k < count; ++k) {
        int32_t bits = (int32_t)sordino_bits(values[k] / scale + SORDINO_SHIFTER);
        bits = bits > origin + lowest ? bits : origin + lowest;
        bits = bits < origin + highest ? bits : origin + highest;
        stored[k] = bits - origin;
    }
}

/* A bin times floor + (1 - floor) * gain, the gain complex or real. */
static inline void sordino_weigh_complex(float *restrict re, float *restrict im, float real,
                                         float imaginary, float floor)
{
    const float gr = floor + (1.0f - floor) * real, gi = (1.0f - floor) * imaginary;
    const float x = *re, y = *im;
    *re = x * gr - y * gi;
    *im = x * gi + y * gr;
}

static inline void sordino_weigh_real(float *restrict re, float *restrict im, float real,
                                      float floor)
{
    const float gain = floor + (1.0f - floor) * real;
    *re *= gain;
    *im *= gain;
}

#endif
