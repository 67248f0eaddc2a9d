/* Where convolutions read and write: the window of one output position, as consecutive values. */
#ifndef SORDINO_CONV_WINDOW_H
#define SORDINO_CONV_WINDOW_H

#include "sordino_base.h"

/* For what stands in innermost loops: a call there costs more than the work. */
#if defined(__GNUC__) || defined(__clang__)
#define SORDINO_CONV_INLINE static inline __attribute__((always_inline))
#else
#define SORDINO_CONV_INLINE static inline
#endif

/* A convolution as matrix rows times windows. A window is [kernel_height][kernel_width][depth]
 * values of one group; every output channel has one row of weights in that order.
 * Parameters point to such a record as a table of int32_t, in the order of the members. */
typedef struct {
    int32_t batches;
    int32_t input_height, input_width, input_channels;
    int32_t kernel_height, kernel_width;
    int32_t stride_height, stride_width;
    int32_t dilation_height, dilation_width;
    int32_t pad_top, pad_left;
    int32_t groups;
    int32_t depth;      /* input channels of one group */
    int32_t filters;    /* output channels of one group */
    int32_t length;     /* of a window, in values */
    int32_t joined;     /* the values of a kernel row are neighbours in memory */
    int32_t contiguous; /* so are all of a window that lies inside the input */
    int32_t fill;       /* byte that stands for zero around the input */
    int32_t output_height, output_width;
    int32_t output_start;                          /* where the first position is written, */
    int32_t output_image, output_line, output_step; /* and how far the next ones are */
} sordino_conv_windows;

static inline const sordino_conv_windows *sordino_conv_windows_of(const int32_t *table)
{
    return (const sordino_conv_windows *)(const void *)table;
}

/* One row of output positions. */
typedef struct {
    const uint8_t *image;
    const uint8_t *first; /* where a window that starts at the left edge of the input lies */
    int32_t top;          /* row of the input where the windows start */
    int32_t limit;        /* the last column where they are one piece; −1 where none is */
    int32_t target;       /* where the output of the first position is written */
} sordino_conv_line;

/* ``size`` is that of an input value in bytes. */
static inline sordino_conv_line sordino_conv_line_of(const sordino_conv_windows *w,
                                                     const void *input, int32_t batch, int32_t y,
                                                     int32_t group, int32_t size)
{
    const int32_t row = w->input_width * w->input_channels * size;
    const int32_t bottom = (w->kernel_height - 1) * w->dilation_height;
    const int32_t right = (w->kernel_width - 1) * w->dilation_width;
    sordino_conv_line line;
    line.image = (const uint8_t *)input + batch * w->input_height * row + group * w->depth * size;
    line.top = y * w->stride_height - w->pad_top;
    const int32_t inside = line.top >= 0 && line.top + bottom < w->input_height;
    line.first = inside ? line.image + line.top * row : line.image;
    line.limit = inside && w->contiguous ? w->input_width - 1 - right : -1;
    line.target = w->output_start + batch * w->output_image + y * w->output_line +
                  group * w->filters;
    return line;
}

/* Copy a window with ``fill`` outside of the input. */
static inline void sordino_conv_gather(const sordino_conv_windows *w, const sordino_conv_line *line,
                                       int32_t left, int32_t size, uint8_t *to)
{
    const int32_t depth = w->depth * size, row = w->kernel_width * depth;
    const int32_t pixel = w->input_channels * size;
    const int32_t right = left + (w->kernel_width - 1) * w->dilation_width;
    const int32_t whole = w->joined && left >= 0 && right < w->input_width;
    for (int32_t j = 0; j < w->kernel_height; ++j, to += row) {
        const int32_t y = line->top + j * w->dilation_height;
        const int32_t from = (y * w->input_width + left) * pixel;
        if (y < 0 || y >= w->input_height) {
            memset(to, w->fill, (size_t)row);
        } else if (whole) {
            memcpy(to, line->image + from, (size_t)row);
        } else {
            for (int32_t i = 0, x = left; i < row; i += depth, x += w->dilation_width) {
                if (x < 0 || x >= w->input_width) {
                    memset(to + i, w->fill, (size_t)depth);
                } else {
                    memcpy(to + i, line->image + from + (x - left) * pixel, (size_t)depth);
                }
            }
        }
    }
}

/* The window of column ``x``: in the input itself where it lies there in one piece, otherwise
 * gathered into ``spare``. */
static inline const void *sordino_conv_window(const sordino_conv_windows *w,
                                              const sordino_conv_line *line, int32_t x,
                                              int32_t size, void *spare)
{
    const int32_t left = x * w->stride_width - w->pad_left;
    if (left >= 0 && left <= line->limit) {
        return line->first + left * w->input_channels * size;
    }
    sordino_conv_gather(w, line, left, size, (uint8_t *)spare);
    return spare;
}

/* A window as its taps, where the values of one tap alone have to be neighbours. */
typedef struct {
    const void *first;
    int32_t height, width; /* taps */
    int32_t row, tap;      /* from one to the next, in values */
} sordino_conv_taps;

/* For depthwise convolutions, whose ``contiguous`` is true of every window inside the input. */
static inline sordino_conv_taps sordino_conv_taps_of(const sordino_conv_windows *w,
                                                     const sordino_conv_line *line, int32_t x,
                                                     int32_t size, void *spare)
{
    const int32_t channels = w->input_channels;
    sordino_conv_taps taps = {sordino_conv_window(w, line, x, size, spare), w->kernel_height,
                              w->kernel_width, w->kernel_width * channels, channels};
    if (taps.first != spare) {
        taps.row = w->dilation_height * w->input_width * channels;
        taps.tap = w->dilation_width * channels;
    }
    return taps;
}

#endif
