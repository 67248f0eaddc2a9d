/* Logistic, tanh and LEAKY_RELU of floats, without the mathematical library.
 *
 * The exponential is 2^n times the Taylor polynomial of the rest, which lies within ln(2)/2 of 0:
 * its error stays below 3e-7 of the result. */
#ifndef SORDINO_ACTIVATION_F32_H
#define SORDINO_ACTIVATION_F32_H

#include "sordino_base.h"

typedef struct {
    int32_t size;
} sordino_curve_f32_params;

/* e^x for a magnitude of at most 87. */
static inline float sordino_exp_f32(float x)
{
    const int32_t n = (int32_t)(x * 1.44269504f + (x < 0.0f ? -0.5f : 0.5f));
    /* ln(2) in two parts, the first of 9 bits, so that its product with n is exact. */
    const float r = (x - (float)n * 0.693359375f) + (float)n * 2.12194440e-4f;
    const float tail = 1.0f / 24.0f + r * (1.0f / 120.0f + r * (1.0f / 720.0f));
    const float power = 1.0f + (r + r * r * (0.5f + r * (1.0f / 6.0f + r * tail)));
    const uint32_t bits = (uint32_t)(n + 127) << 23;
    float two;
    memcpy(&two, &bits, sizeof two);
    return power * two;
}

static inline void sordino_logistic_f32(const sordino_curve_f32_params *p, const float *in,
                                        float *out)
{
    for (int32_t i = 0; i < p->size; ++i) {
        /* In this order NaN becomes a number, so that no NaN is converted to an integer. */
        const float x = in[i] > -87.0f ? (in[i] < 87.0f ? in[i] : 87.0f) : -87.0f;
        out[i] = 1.0f / (1.0f + sordino_exp_f32(-x));
    }
}

static inline float sordino_tanh_of(float x)
{
    const float size = x < 0.0f ? -x : x, square = x * x;
    if (size < 0.4f) { /* 1 - 2/(e^2x + 1) would cancel; the series up to x^11 */
        const float end = 62.0f / 2835.0f - square * (1382.0f / 155925.0f);
        const float last = -17.0f / 315.0f + square * end;
        return x + x * square * (-1.0f / 3.0f + square * (2.0f / 15.0f + square * last));
    }
    const float value = size < 10.0f ? 1.0f - 2.0f / (sordino_exp_f32(2.0f * size) + 1.0f) : 1.0f;
    return x < 0.0f ? -value : value;
}

static inline void sordino_tanh_f32(const sordino_curve_f32_params *p, const float *in,
                                    float *out)
{
    for (int32_t i = 0; i < p->size; ++i) {
        out[i] = sordino_tanh_of(in[i]);
    }
}

typedef struct {
    int32_t size;
    float slope;
} sordino_leaky_relu_f32_params;

static inline void sordino_leaky_relu_f32(const sordino_leaky_relu_f32_params *p, const float *in,
                                          float *out)
{
    for (int32_t i = 0; i < p->size; ++i) {
        out[i] = in[i] > 0.0f ? in[i] : in[i] * p->slope;
    }
}

#endif
