/* ADD and SUB of two int8 tensors of one scale and shape: a table of the results for every sum. */
#ifndef SORDINO_PAIRS_H
#define SORDINO_PAIRS_H

#include "sordino_base.h"

typedef struct {
    int32_t size;
    const int8_t *results; /* for -256 to 254 of a sum, -255 to 255 of a difference */
} sordino_pairs_params;

static inline void sordino_pairs_add_s8(const sordino_pairs_params *p, const int8_t *first,
                                        const int8_t *second, int8_t *out)
{
    const int8_t *results = p->results + 256;
    const int32_t size = p->size;
    for (int32_t i = 0; i < size; ++i) {
        out[i] = results[first[i] + second[i]];
    }
}

static inline void sordino_pairs_sub_s8(const sordino_pairs_params *p, const int8_t *first,
                                        const int8_t *second, int8_t *out)
{
    const int8_t *results = p->results + 255;
    const int32_t size = p->size;
    for (int32_t i = 0; i < size; ++i) {
        out[i] = results[first[i] - second[i]];
    }
}

#endif
