/* A real FFT of 2 * points samples through a complex one of `points`, a power of two from 4 on.
 *
 * Real and imaginary parts lie apart, so that inner loops run over neighbours. Forward, samples are
 * read in an order that leaves the bins in theirs (decimation in time); the way back takes bins in
 * their order and writes samples where they belong (decimation in frequency). So nothing is ever
 * sorted. Radix 4, with one stage of radix 2 where points is no power of four; the first stage has
 * no twiddles and is part of the reading and the writing.
 *
 * Tables: order[points / 4], from which sample on the reading takes each fourth of the points;
 * for a stage of span q the real parts of w^k, w^2k, w^3k for k < q, then their imaginary parts,
 * w = exp(-2 pi i / 4q); of radix 2 only w^k, w = exp(-2 pi i / 2q).
 */
#ifndef SORDINO_FFT_H
#define SORDINO_FFT_H

#include <stdint.h>

/* The first stage forward: samples times a window. */
static inline void sordino_fft_read(float *restrict re, float *restrict im,
                                    const float *restrict samples, const float *restrict window,
                                    const uint16_t *restrict order, int32_t points)
{
    const int32_t step = points / 2; /* a fourth of the samples */
    for (int32_t block = 0; block < points / 4; ++block) {
        const float *s = samples + 2 * order[block], *w = window + 2 * order[block];
        const float ar = s[0] * w[0], ai = s[1] * w[1];
        const float br = s[step] * w[step], bi = s[step + 1] * w[step + 1];
        const float cr = s[2 * step] * w[2 * step], ci = s[2 * step + 1] * w[2 * step + 1];
        const float dr = s[3 * step] * w[3 * step], di = s[3 * step + 1] * w[3 * step + 1];
        const float sr = ar + cr, si = ai + ci, tr = ar - cr, ti = ai - ci;
        const float ur = br + dr, ui = bi + di, vr = br - dr, vi = bi - di;
        float *x = re + 4 * block, *y = im + 4 * block;
        x[0] = sr + ur, y[0] = si + ui;
        x[1] = tr + vi, y[1] = ti - vr;
        x[2] = sr - ur, y[2] = si - ui;
        x[3] = tr - vi, y[3] = ti + vr;
    }
}

/* Four transforms of q points each become one of 4q; q is a multiple of 4. */
static inline void sordino_fft_join4(float *re, float *im, const float *restrict twiddles,
                                     int32_t q, int32_t points)
{
    const float *restrict w1 = twiddles, *restrict w2 = w1 + q, *restrict w3 = w2 + q;
    const float *restrict v1 = w3 + q, *restrict v2 = v1 + q, *restrict v3 = v2 + q;
    for (int32_t start = 0; start < points; start += 4 * q) {
        float *restrict x0 = re + start, *restrict x1 = x0 + q;
        float *restrict x2 = x1 + q, *restrict x3 = x2 + q;
        float *restrict y0 = im + start, *restrict y1 = y0 + q;
        float *restrict y2 = y1 + q, *restrict y3 = y2 + q;
        for (int32_t k = 0; k < q; ++k) {
            const float br = x1[k] * w1[k] - y1[k] * v1[k], bi = x1[k] * v1[k] + y1[k] * w1[k];
            const float cr = x2[k] * w2[k] - y2[k] * v2[k], ci = x2[k] * v2[k] + y2[k] * w2[k];
            const float dr = x3[k] * w3[k] - y3[k] * v3[k], di = x3[k] * v3[k] + y3[k] * w3[k];
            const float sr = x0[k] + cr, si = y0[k] + ci, tr = x0[k] - cr, ti = y0[k] - ci;
            const float ur = br + dr, ui = bi + di, vr = br - dr, vi = bi - di;
            x0[k] = sr + ur, y0[k] = si + ui;
            x1[k] = tr + vi, y1[k] = ti - vr;
            x2[k] = sr - ur, y2[k] = si - ui;
            x3[k] = tr - vi, y3[k] = ti + vr;
        }
    }
}

/* The same backwards, but for a factor of 4. */
static inline void sordino_fft_part4(float *re, float *im, const float *restrict twiddles,
                                     int32_t q, int32_t points)
{
    const float *restrict w1 = twiddles, *restrict w2 = w1 + q, *restrict w3 = w2 + q;
    const float *restrict v1 = w3 + q, *restrict v2 = v1 + q, *restrict v3 = v2 + q;
    for (int32_t start = 0; start < points; start += 4 * q) {
        float *restrict x0 = re + start, *restrict x1 = x0 + q;
        float *restrict x2 = x1 + q, *restrict x3 = x2 + q;
        float *restrict y0 = im + start, *restrict y1 = y0 + q;
        float *restrict y2 = y1 + q, *restrict y3 = y2 + q;
        for (int32_t k = 0; k < q; ++k) {
            const float sr = x0[k] + x2[k], si = y0[k] + y2[k];
            const float tr = x0[k] - x2[k], ti = y0[k] - y2[k];
            const float ur = x1[k] + x3[k], ui = y1[k] + y3[k];
            const float vr = x1[k] - x3[k], vi = y1[k] - y3[k];
            const float br = tr - vi, bi = ti + vr;
            const float cr = sr - ur, ci = si - ui;
            const float dr = tr + vi, di = ti - vr;
            x0[k] = sr + ur, y0[k] = si + ui;
            x1[k] = br * w1[k] + bi * v1[k], y1[k] = bi * w1[k] - br * v1[k];
            x2[k] = cr * w2[k] + ci * v2[k], y2[k] = ci * w2[k] - cr * v2[k];
            x3[k] = dr * w3[k] + di * v3[k], y3[k] = di * w3[k] - dr * v3[k];
        }
    }
}

/* Two transforms of q points become one of 2q. */
static inline void sordino_fft_join2(float *re, float *im, const float *restrict twiddles,
                                     int32_t q)
{
    const float *restrict w = twiddles, *restrict v = w + q;
    float *restrict x0 = re, *restrict x1 = re + q, *restrict y0 = im, *restrict y1 = im + q;
    for (int32_t k = 0; k < q; ++k) {
        const float br = x1[k] * w[k] - y1[k] * v[k], bi = x1[k] * v[k] + y1[k] * w[k];
        const float ar = x0[k], ai = y0[k];
        x0[k] = ar + br, y0[k] = ai + bi;
        x1[k] = ar - br, y1[k] = ai - bi;
    }
}

/* The same backwards, but for a factor of 2. */
static inline void sordino_fft_part2(float *re, float *im, const float *restrict twiddles,
                                     int32_t q)
{
    const float *restrict w = twiddles, *restrict v = w + q;
    float *restrict x0 = re, *restrict x1 = re + q, *restrict y0 = im, *restrict y1 = im + q;
    for (int32_t k = 0; k < q; ++k) {
        const float br = x0[k] - x1[k], bi = y0[k] - y1[k];
        x0[k] += x1[k], y0[k] += y1[k];
        x1[k] = br * w[k] + bi * v[k], y1[k] = bi * w[k] - br * v[k];
    }
}

/* From the transform of even samples + i * odd samples to bins 0 to points of the real signal, all
 * twice as large. Table: sin(2 pi k / 2 points), then cos, for k < points / 2. */
static inline void sordino_fft_split(float *re, float *im, const float *restrict turns,
                                     int32_t points)
{
    const int32_t half = points / 2;
    const float *restrict sine = turns, *restrict cosine = turns + half;
    const float even = re[0], odd = im[0];
    re[0] = 2.0f * (even + odd), im[0] = 0.0f;
    re[points] = 2.0f * (even - odd), im[points] = 0.0f;
    re[half] *= 2.0f, im[half] *= -2.0f;
    float *restrict x = re, *restrict y = im;
    float *restrict u = re + half + 1, *restrict v = im + half + 1;
    for (int32_t k = 1; k < half; ++k) {
        const int32_t mirror = half - 1 - k; /* bin points - k */
        const float er = x[k] + u[mirror], ei = y[k] - v[mirror];
        const float qr = y[k] + v[mirror], qi = u[mirror] - x[k];
        const float tr = qr * cosine[k] + qi * sine[k], ti = qi * cosine[k] - qr * sine[k];
        x[k] = er + tr, y[k] = ei + ti;
        u[mirror] = er - tr, v[mirror] = ti - ei;
    }
}

/* The same backwards, twice as large again. The imaginary parts of bins 0 and points count for
 * nothing. */
static inline void sordino_fft_merge(float *re, float *im, const float *restrict turns,
                                     int32_t points)
{
    const int32_t half = points / 2;
    const float *restrict sine = turns, *restrict cosine = turns + half;
    const float first = re[0], last = re[points];
    re[0] = first + last, im[0] = first - last;
    re[half] *= 2.0f, im[half] *= -2.0f;
    float *restrict x = re, *restrict y = im;
    float *restrict u = re + half + 1, *restrict v = im + half + 1;
    for (int32_t k = 1; k < half; ++k) {
        const int32_t mirror = half - 1 - k;
        const float er = x[k] + u[mirror], ei = y[k] - v[mirror];
        const float tr = x[k] - u[mirror], ti = y[k] + v[mirror];
        const float qr = tr * cosine[k] - ti * sine[k], qi = ti * cosine[k] + tr * sine[k];
        x[k] = er - qi, y[k] = ei + qr;
        u[mirror] = er + qi, v[mirror] = qr - ei;
    }
}

/* A sample of the frame, which begins `skipped` before what is kept of it. */
static inline void sordino_fft_add(float *restrict sum, const float *restrict window, int32_t at,
                                   int32_t kept, float value)
{
    if ((uint32_t)at < (uint32_t)kept) { /* nor below 0 */
        sum[at] += window[at] * value;
    }
}

/* The last stage backwards: samples skipped to skipped + kept - 1 times a window are added to sum. */
static inline void sordino_fft_write(float *restrict sum, const float *restrict window,
                                     int32_t skipped, int32_t kept, const float *restrict re,
                                     const float *restrict im, const uint16_t *restrict order,
                                     int32_t points)
{
    const int32_t step = points / 2;
    for (int32_t block = 0; block < points / 4; ++block) {
        const float *x = re + 4 * block, *y = im + 4 * block;
        const float sr = x[0] + x[2], si = y[0] + y[2], tr = x[0] - x[2], ti = y[0] - y[2];
        const float ur = x[1] + x[3], ui = y[1] + y[3], vr = x[1] - x[3], vi = y[1] - y[3];
        const int32_t at = 2 * order[block] - skipped;
        sordino_fft_add(sum, window, at, kept, sr + ur);
        sordino_fft_add(sum, window, at + 1, kept, si + ui);
        sordino_fft_add(sum, window, at + step, kept, tr - vi);
        sordino_fft_add(sum, window, at + step + 1, kept, ti + vr);
        sordino_fft_add(sum, window, at + 2 * step, kept, sr - ur);
        sordino_fft_add(sum, window, at + 2 * step + 1, kept, si - ui);
        sordino_fft_add(sum, window, at + 3 * step, kept, tr + vi);
        sordino_fft_add(sum, window, at + 3 * step + 1, kept, ti - vr);
    }
}

#endif
