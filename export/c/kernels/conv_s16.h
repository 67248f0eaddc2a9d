/* Convolution of int16 with int8 weights, and matrix times vector as its smallest case. */
#ifndef SORDINO_CONV_S16_H
#define SORDINO_CONV_S16_H

#include "conv_dot_s16.h"

static inline void sordino_conv_one_s16(const sordino_conv_windows *w,
                                        const sordino_conv_s16_params *p, int32_t group,
                                        const void *window, int16_t *out)
{
    if (p->wide) {
        sordino_conv_wide_s16(w, p, group, (const int16_t *)window, out);
    } else {
        sordino_conv_single_s16(w, p, group, (const int16_t *)window, out);
    }
}

/* ``scratch`` holds four windows of ``pitch`` values. */
static inline void sordino_conv_s16(const sordino_conv_s16_params *p, const int16_t *in,
                                    int16_t *out, void *scratch)
{
    const sordino_conv_windows *w = sordino_conv_windows_of(p->windows);
    int16_t *spare = (int16_t *)scratch;
    for (int32_t group = 0; group < w->groups; ++group) {
        const int32_t first = group * w->filters;
        sordino_conv_position at = {0, 0, 0};
        int32_t n = 0;
        for (; n + 2 <= w->positions && !p->wide; n += 2) {
            const sordino_conv_position next = sordino_conv_next(w, at);
            const void *a = sordino_conv_window(w, in, at, group, 2, spare);
            const void *b = sordino_conv_window(w, in, next, group, 2, spare + p->pitch);
            sordino_conv_two_s16(w, p, group, (const int16_t *)a, (const int16_t *)b,
                                 out + first + sordino_conv_target(w, at),
                                 out + first + sordino_conv_target(w, next),
                                 spare + 2 * p->pitch);
            at = sordino_conv_next(w, next);
        }
        for (; n < w->positions; ++n, at = sordino_conv_next(w, at)) {
            const void *window = sordino_conv_window(w, in, at, group, 2, spare);
            sordino_conv_one_s16(w, p, group, window, out + first + sordino_conv_target(w, at));
        }
    }
}

/* A matrix times vectors that lie one behind the other. */
static inline void sordino_dense_s16(const sordino_conv_s16_params *p, const int16_t *in,
                                     int16_t *out)
{
    const sordino_conv_windows *w = sordino_conv_windows_of(p->windows);
    for (int32_t n = 0; n < w->positions; ++n) {
        sordino_conv_one_s16(w, p, 0, in + n * w->length, out + n * w->filters);
    }
}

#endif
