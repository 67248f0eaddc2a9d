/* Values that move and do not change: slices, transpositions, parts of concatenations, padding. */
#ifndef SORDINO_MOVE_H
#define SORDINO_MOVE_H

#include "sordino_base.h"

/* One side of a move in elements: element (i, j, k, l, n) lies at
 * start + i * strides[0] + ... + n * strides[4]. The other side is contiguous. */
typedef struct {
    int32_t start;
    int32_t dims[5];
    int32_t strides[5];
} sordino_move_params;

typedef struct {
    int32_t size; /* of the padded tensor */
    int32_t value;
    sordino_move_params inside;
} sordino_pad_params;

/* gather reads a tensor in another order or in part; scatter writes to a part of a tensor. */
#define SORDINO_MOVE(type, T)                                                                  \
    static inline void sordino_gather_##type(const sordino_move_params *p, const T *in,        \
                                             T *out)                                           \
    {                                                                                          \
        const int32_t *dims = p->dims, *strides = p->strides;                                  \
        const int32_t length = dims[4], stride = strides[4];                                   \
        for (int32_t i = 0; i < dims[0]; ++i) {                                                \
            for (int32_t j = 0; j < dims[1]; ++j) {                                            \
                for (int32_t k = 0; k < dims[2]; ++k) {                                        \
                    int32_t at = p->start + i * strides[0] + j * strides[1] + k * strides[2];  \
                    for (int32_t l = 0; l < dims[3]; ++l, at += strides[3]) {                  \
                        const T *row = in + at;                                                \
                        if (stride == 1) {                                                     \
                            memcpy(out, row, (size_t)length * sizeof(T));                      \
                        } else {                                                               \
                            for (int32_t n = 0; n < length; ++n) {                             \
                                out[n] = row[n * stride];                                      \
                            }                                                                  \
                        }                                                                      \
                        out += length;                                                         \
                    }                                                                          \
                }                                                                              \
            }                                                                                  \
        }                                                                                      \
    }                                                                                          \
                                                                                               \
    static inline void sordino_scatter_##type(const sordino_move_params *p, const T *in,       \
                                              T *out)                                          \
    {                                                                                          \
        const int32_t *dims = p->dims, *strides = p->strides;                                  \
        const int32_t length = dims[4], stride = strides[4];                                   \
        for (int32_t i = 0; i < dims[0]; ++i) {                                                \
            for (int32_t j = 0; j < dims[1]; ++j) {                                            \
                for (int32_t k = 0; k < dims[2]; ++k) {                                        \
                    int32_t at = p->start + i * strides[0] + j * strides[1] + k * strides[2];  \
                    for (int32_t l = 0; l < dims[3]; ++l, at += strides[3]) {                  \
                        T *row = out + at;                                                     \
                        if (stride == 1) {                                                     \
                            memcpy(row, in, (size_t)length * sizeof(T));                       \
                        } else {                                                               \
                            for (int32_t n = 0; n < length; ++n) {                             \
                                row[n * stride] = in[n];                                       \
                            }                                                                  \
                        }                                                                      \
                        in += length;                                                          \
                    }                                                                          \
                }                                                                              \
            }                                                                                  \
        }                                                                                      \
    }                                                                                          \
                                                                                               \
    static inline void sordino_pad_##type(const sordino_pad_params *p, const T *in, T *out)    \
    {                                                                                          \
        for (int32_t i = 0; i < p->size; ++i) {                                                \
            out[i] = (T)p->value;                                                              \
        }                                                                                      \
        sordino_scatter_##type(&p->inside, in, out);                                           \
    }

SORDINO_MOVE(s8, int8_t)
SORDINO_MOVE(s16, int16_t)
SORDINO_MOVE(f32, float)

#undef SORDINO_MOVE

#endif
