/* Two inputs of shapes that broadcast, walked through row by row of the output. */
#ifndef SORDINO_BROADCAST_H
#define SORDINO_BROADCAST_H

#include "sordino_base.h"

/* Sizes of the output's axes, the last one the row, and what one step along each of them is in
 * the inputs: 0 where the input repeats. Axes that go together are joined; unused ones are 1. */
typedef struct {
    int32_t size[4];
    int32_t first[4];
    int32_t second[4];
} sordino_broadcast;

typedef struct {
    int32_t first, second; /* where the row starts in the inputs */
    int32_t at[3];
} sordino_row;

/* On to the next row; 0 behind the last. */
static inline int sordino_next_row(const sordino_broadcast *b, sordino_row *row)
{
    for (int axis = 2; axis >= 0; --axis) {
        row->first += b->first[axis];
        row->second += b->second[axis];
        if (++row->at[axis] < b->size[axis]) {
            return 1;
        }
        row->first -= b->size[axis] * b->first[axis];
        row->second -= b->size[axis] * b->second[axis];
        row->at[axis] = 0;
    }
    return 0;
}

#endif
