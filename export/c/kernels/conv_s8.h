/* int8 convolution, and matrix times vector as its smallest case. */
#ifndef SORDINO_CONV_S8_H
#define SORDINO_CONV_S8_H

#include "conv_dot_s8.h"

/* ``scratch`` holds two windows of ``pitch`` values, then four bytes per value of one. */
static inline void sordino_conv_s8(const sordino_conv_s8_params *p, const int8_t *in, int8_t *out,
                                   void *scratch)
{
    const sordino_conv_windows *w = sordino_conv_windows_of(p->windows);
    const int32_t lines = w->batches * w->output_height, step = w->output_step;
    int8_t *spare = (int8_t *)scratch;
    for (int32_t group = 0; group < w->groups; ++group) {
        for (int32_t n = 0; n < lines; ++n) {
            const int32_t batch = n / w->output_height, y = n % w->output_height;
            const sordino_conv_line line = sordino_conv_line_of(w, in, batch, y, group, 1);
            int8_t *to = out + line.target;
            int32_t x = 0;
            for (; x + 2 <= w->output_width; x += 2, to += 2 * step) {
                const void *a = sordino_conv_window(w, &line, x, 1, spare);
                const void *b = sordino_conv_window(w, &line, x + 1, 1, spare + p->pitch);
                sordino_conv_two_s8(w, p, group, (const int8_t *)a, (const int8_t *)b, to,
                                    to + step, spare + 2 * p->pitch);
            }
            if (x < w->output_width) {
                const void *window = sordino_conv_window(w, &line, x, 1, spare);
                sordino_conv_single_s8(w, p, group, (const int8_t *)window, to);
            }
        }
    }
}

/* A matrix times vectors that lie one behind the other. */
static inline void sordino_dense_s8(const sordino_conv_s8_params *p, const int8_t *in, int8_t *out)
{
    const sordino_conv_windows *w = sordino_conv_windows_of(p->windows);
    for (int32_t n = 0; n < w->batches; ++n) {
        sordino_conv_single_s8(w, p, 0, in + n * w->length, out + n * w->filters);
    }
}

#endif
