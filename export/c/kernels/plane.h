/* ADD and SUB of int8 as one plane: integers for which a shift gives every one of the 65,536
 * results that TFLM's three roundings give. They are searched and proved before C is written. */
#ifndef SORDINO_PLANE_H
#define SORDINO_PLANE_H

#include "broadcast.h"
#include "helium.h"
#include "rounding.h"

typedef struct {
    sordino_broadcast shape;
    int32_t first, second; /* factors of the stored values */
    int32_t offset;
    int32_t shift; /* right, at least 1 */
    int32_t whole; /* the fused activation leaves all of int8 */
    int32_t lowest, highest;
} sordino_plane_s8_params;

#if SORDINO_HELIUM

static inline int32x4_t sordino_plane_vector(const sordino_plane_s8_params *p, int32x4_t x,
                                             int32x4_t y)
{
    const int32x4_t start = vmlaq_n_s32(vdupq_n_s32(p->offset), x, p->first);
    const int32x4_t sum = vmlaq_n_s32(start, y, p->second);
    return sordino_vector_clamped(vshlq_r_s32(sum, -p->shift), p->lowest, p->highest);
}

static inline void sordino_plane_row_s8(const sordino_plane_s8_params *p, const int8_t *x_row,
                                        const int8_t *y_row, int8_t *out)
{
    const sordino_plane_s8_params k = *p;
    SORDINO_VECTOR_ROW(int8_t, vldrbq, vstrbq, x_row, y_row, out, k.shape.size[3],
                       sordino_plane_vector(&k, x, y));
}

#else

/* Parameters are copied first: stores of int8 might change them, for all the compiler knows. */
static inline void sordino_plane_row_s8(const sordino_plane_s8_params *p, const int8_t *x,
                                        const int8_t *y, int8_t *out)
{
    const int32_t first = p->first, second = p->second, offset = p->offset;
    const int32_t shift = p->shift - 1;
    for (const int8_t *end = x + p->shape.size[3]; x != end;) {
        const int32_t sum = *x++ * first + offset + *y++ * second;
        *out++ = (int8_t)sordino_halved_s8(sum >> shift);
    }
}

#endif

static inline void sordino_plane_s8(const sordino_plane_s8_params *p, const int8_t *first,
                                    const int8_t *second, int8_t *out)
{
    const int32_t size = p->shape.size[3], x_step = p->shape.first[3], y_step = p->shape.second[3];
    sordino_row row = {0, 0, {0, 0, 0}};
    do {
        const int8_t *x = first + row.first, *y = second + row.second;
        if (p->whole && (x_step & y_step)) {
            sordino_plane_row_s8(p, x, y, out);
        } else {
            for (int32_t i = 0; i < size; ++i, x += x_step, y += y_step) {
                const int32_t sum = *x * p->first + p->offset + *y * p->second;
                out[i] = (int8_t)sordino_clamped(sum >> p->shift, p->lowest, p->highest);
            }
        }
        out += size;
    } while (sordino_next_row(&p->shape, &row));
}

#endif
