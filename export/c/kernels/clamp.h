/* Values kept between two limits: RELU and RELU6 where input and output share a scale. */
#ifndef SORDINO_CLAMP_H
#define SORDINO_CLAMP_H

#include "rounding.h"

typedef struct {
    int32_t size;
    int32_t lowest, highest;
} sordino_clamp_s8_params;

static inline void sordino_clamp_s8(const sordino_clamp_s8_params *p, const int8_t *in, int8_t *out)
{
    for (int32_t i = 0; i < p->size; ++i) {
        out[i] = (int8_t)sordino_clamped(in[i], p->lowest, p->highest);
    }
}

typedef struct {
    int32_t size;
    int32_t lowest, highest;
} sordino_clamp_s16_params;

static inline void sordino_clamp_s16(const sordino_clamp_s16_params *p, const int16_t *in,
                                     int16_t *out)
{
    for (int32_t i = 0; i < p->size; ++i) {
        out[i] = (int16_t)sordino_clamped(in[i], p->lowest, p->highest);
    }
}

typedef struct {
    int32_t size;
    float lowest, highest;
} sordino_clamp_f32_params;

static inline void sordino_clamp_f32(const sordino_clamp_f32_params *p, const float *in, float *out)
{
    for (int32_t i = 0; i < p->size; ++i) {
        const float value = in[i];
        out[i] = value < p->lowest ? p->lowest : (value > p->highest ? p->highest : value);
    }
}

#endif
