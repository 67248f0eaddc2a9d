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
    const int32_t lines = w->batches * w->output_height, step = w->output_step;
    int16_t *spare = (int16_t *)scratch;
    for (int32_t group = 0; group < w->groups; ++group) {
        for (int32_t n = 0; n < lines; ++n) {
            const int32_t batch = n / w->output_height, y = n % w->output_height;
            const sordino_conv_line line = sordino_conv_line_of(w, in, batch, y, group, 2);
            int16_t *to = out + line.target;
            int32_t x = 0;
            for (; x + 2 <= w->output_width && !p->wide; x += 2, to += 2 * step) {
                const void *a = sordino_conv_window(w, &line, x, 2, spare);
                const void *b = sordino_conv_window(w, &line, x + 1, 2, spare + p->pitch);
                sordino_conv_two_s16(w, p, group, (const int16_t *)a, (const int16_t *)b, to,
                                     to + step, spare + 2 * p->pitch);
            }
            for (; x < w->output_width; ++x, to += step) {
                const void *window = sordino_conv_window(w, &line, x, 2, spare);
                sordino_conv_one_s16(w, p, group, window, to);
            }
        }
    }
}

/* A matrix times vectors that lie one behind the other. */
static inline void sordino_dense_s16(const sordino_conv_s16_params *p, const int16_t *in,
                                     int16_t *out)
{
    const sordino_conv_windows *w = sordino_conv_windows_of(p->windows);
    for (int32_t n = 0; n < w->batches; ++n) {
        sordino_conv_one_s16(w, p, 0, in + n * w->length, out + n * w->filters);
    }
}

#endif
