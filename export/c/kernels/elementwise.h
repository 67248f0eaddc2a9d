/* Two tensors, element by element. */
#ifndef SORDINO_ELEMENTWISE_H
#define SORDINO_ELEMENTWISE_H

#include "sordino_base.h"

typedef struct {
    int32_t size;
    float lowest; /* of the fused activation */
    float highest;
} sordino_add_f32_params;

static inline void sordino_add_f32(const sordino_add_f32_params *p, const float *left,
                                   const float *right, float *out)
{
    for (int32_t i = 0; i < p->size; ++i) {
        const float sum = left[i] + right[i];
        out[i] = sum < p->lowest ? p->lowest : (sum > p->highest ? p->highest : sum);
    }
}

#endif
