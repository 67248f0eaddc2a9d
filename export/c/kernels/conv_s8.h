/* int8 convolution, and matrix times vector as its smallest case. */
#ifndef SORDINO_CONV_S8_H
#define SORDINO_CONV_S8_H

#include "conv_dot_s8.h"

/* ``scratch`` holds two windows of ``pitch`` values, then four bytes per value of one. */
static inline void sordino_conv_s8(const sordino_conv_s8_params *p, const int8_t *in, int8_t *out,
                                   void *scratch)
{
    const sordino_conv_windows *w = sordino_conv_windows_of(p->windows);
    int8_t *spare = (int8_t *)scratch;
    for (int32_t group = 0; group < w->groups; ++group) {
        const int32_t first = group * w->filters;
        sordino_conv_position at = {0, 0, 0};
        int32_t n = 0;
        for (; n + 2 <= w->positions; n += 2) {
            const sordino_conv_position next = sordino_conv_next(w, at);
            const void *a = sordino_conv_window(w, in, at, group, 1, spare);
            const void *b = sordino_conv_window(w, in, next, group, 1, spare + p->pitch);
            sordino_conv_two_s8(w, p, group, (const int8_t *)a, (const int8_t *)b,
                                out + first + sordino_conv_target(w, at),
                                out + first + sordino_conv_target(w, next),
                                spare + 2 * p->pitch);
            at = sordino_conv_next(w, next);
        }
        if (n < w->positions) {
            const void *window = sordino_conv_window(w, in, at, group, 1, spare);
            sordino_conv_single_s8(w, p, group, (const int8_t *)window,
                                   out + first + sordino_conv_target(w, at));
        }
    }
}

/* A matrix times vectors that lie one behind the other: kernel 1×1, stride 1, one group. */
static inline void sordino_dense_s8(const sordino_conv_s8_params *p, const int8_t *in, int8_t *out)
{
    const sordino_conv_windows *w = sordino_conv_windows_of(p->windows);
    for (int32_t n = 0; n < w->positions; ++n) {
        sordino_conv_single_s8(w, p, 0, in + n * w->length, out + n * w->filters);
    }
}

#endif
