/* Unary operators of int8: one table of all 256 results, in the order of the value's bits. */
#ifndef SORDINO_LUT_H
#define SORDINO_LUT_H

#include "sordino_base.h"

typedef struct {
    int32_t size;
    const int8_t *results;
} sordino_lut_s8_params;

static inline void sordino_lut_s8(const sordino_lut_s8_params *p, const int8_t *in, int8_t *out)
{
    const int8_t *results = p->results;
    int32_t left = p->size;
#if SORDINO_HELIUM
    for (; left >= 16; left -= 16, in += 16, out += 16) {
        const uint8x16_t offsets = vldrbq_u8((const uint8_t *)in);
        vstrbq_s8(out, vldrbq_gather_offset_s8(results, offsets));
    }
#endif
    for (; left >= 4; left -= 4, in += 4, out += 4) {
        const int8_t first = results[(uint8_t)in[0]], second = results[(uint8_t)in[1]];
        const int8_t third = results[(uint8_t)in[2]], fourth = results[(uint8_t)in[3]];
        out[0] = first;
        out[1] = second;
        out[2] = third;
        out[3] = fourth;
    }
    for (; left > 0; --left) {
        *out++ = results[(uint8_t)*in++];
    }
}

typedef struct {
    int32_t size;
    const int16_t *results;
} sordino_lut_s8_s16_params;

static inline void sordino_lut_s8_s16(const sordino_lut_s8_s16_params *p, const int8_t *in,
                                      int16_t *out)
{
    for (int32_t i = 0; i < p->size; ++i) {
        out[i] = p->results[(uint8_t)in[i]];
    }
}

#endif
