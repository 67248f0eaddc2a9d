/* Where convolutions read and write: the window of one output position, as consecutive values. */
#ifndef SORDINO_CONV_WINDOW_H
#define SORDINO_CONV_WINDOW_H

#include "sordino_base.h"

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
    int32_t positions;  /* of the output: batches, rows and columns */
    int32_t output_height, output_width;
    int32_t output_start;                          /* where the first position is written, */
    int32_t output_image, output_line, output_step; /* and how far the next ones are */
} sordino_conv_windows;

static inline const sordino_conv_windows *sordino_conv_windows_of(const int32_t *table)
{
    return (const sordino_conv_windows *)(const void *)table;
}

/* An output position; advancing follows the columns, then the rows, then the batches. */
typedef struct {
    int32_t batch, y, x;
} sordino_conv_position;

static inline sordino_conv_position sordino_conv_next(const sordino_conv_windows *w,
                                                      sordino_conv_position at)
{
    if (++at.x == w->output_width) {
        at.x = 0;
        if (++at.y == w->output_height) {
            at.y = 0;
            ++at.batch;
        }
    }
    return at;
}

static inline int32_t sordino_conv_target(const sordino_conv_windows *w, sordino_conv_position at)
{
    return w->output_start + at.batch * w->output_image + at.y * w->output_line +
           at.x * w->output_step;
}

/* Copy a window with ``fill`` outside of the input; ``size`` is that of a value in bytes. */
static inline void sordino_conv_gather(const sordino_conv_windows *w, const uint8_t *image,
                                       int32_t top, int32_t left, int32_t group, int32_t size,
                                       uint8_t *to)
{
    const int32_t depth = w->depth * size, row = w->kernel_width * depth;
    const int32_t pixel = w->input_channels * size, line = w->input_width * pixel;
    const int32_t right = left + (w->kernel_width - 1) * w->dilation_width;
    const int32_t whole = w->joined && left >= 0 && right < w->input_width;
    for (int32_t j = 0; j < w->kernel_height; ++j, to += row) {
        const int32_t y = top + j * w->dilation_height;
        if (y < 0 || y >= w->input_height) {
            memset(to, w->fill, (size_t)row);
        } else if (whole) {
            memcpy(to, image + y * line + left * pixel, (size_t)row);
        } else {
            const uint8_t *from = image + y * line + group * depth;
            for (int32_t i = 0, x = left; i < row; i += depth, x += w->dilation_width) {
                if (x < 0 || x >= w->input_width) {
                    memset(to + i, w->fill, (size_t)depth);
                } else {
                    memcpy(to + i, from + x * pixel, (size_t)depth);
                }
            }
        }
    }
}

/* The window of a position: in the input itself where it lies there in one piece, otherwise
 * gathered into ``spare``. */
static inline const void *sordino_conv_window(const sordino_conv_windows *w, const void *input,
                                              sordino_conv_position at, int32_t group,
                                              int32_t size, void *spare)
{
    const int32_t line = w->input_width * w->input_channels * size;
    const uint8_t *image = (const uint8_t *)input + at.batch * w->input_height * line;
    const int32_t top = at.y * w->stride_height - w->pad_top;
    const int32_t left = at.x * w->stride_width - w->pad_left;
    if (w->contiguous && top >= 0 && left >= 0 &&
        top + (w->kernel_height - 1) * w->dilation_height < w->input_height &&
        left + (w->kernel_width - 1) * w->dilation_width < w->input_width) {
        return image + top * line + (left * w->input_channels + group * w->depth) * size;
    }
    sordino_conv_gather(w, image, top, left, group, size, (uint8_t *)spare);
    return spare;
}

#endif
