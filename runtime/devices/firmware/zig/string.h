/* The functions of the C library that generated C calls, for a compiler that comes without one. */
#ifndef SORDINO_STRING_H
#define SORDINO_STRING_H

#include <stddef.h>

void *memcpy(void *restrict target, const void *restrict source, size_t bytes);
void *memmove(void *target, const void *source, size_t bytes);
void *memset(void *target, int value, size_t bytes);

#endif
