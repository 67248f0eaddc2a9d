/* Arm's 32-bit SIMD intrinsics in plain C, so that the kernels' DSP path runs on any machine.
 *
 * Names and meanings: Arm C Language Extensions, "32-bit SIMD intrinsics". The Q flag is left out. */
#ifndef EMULATED_ARM_ACLE_H
#define EMULATED_ARM_ACLE_H

#include <stdint.h>

typedef int32_t int8x4_t;
typedef int32_t int16x2_t;
typedef uint32_t uint8x4_t;
typedef uint32_t uint16x2_t;

static inline int32_t emulated_low(int16x2_t pair)
{
    return (int16_t)(uint16_t)((uint32_t)pair & 0xffffu);
}

static inline int32_t emulated_high(int16x2_t pair)
{
    return (int16_t)(uint16_t)((uint32_t)pair >> 16);
}

static inline int16x2_t emulated_pair(int32_t low, int32_t high)
{
    return (int16x2_t)(((uint32_t)low & 0xffffu) | ((uint32_t)high << 16));
}

static inline int32_t emulated_byte(uint32_t word, int index)
{
    return (int8_t)(uint8_t)((word >> (8 * index)) & 0xffu);
}

static inline int32_t emulated_sum(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

static inline int16x2_t __sxtb16(int8x4_t a)
{
    return emulated_pair(emulated_byte((uint32_t)a, 0), emulated_byte((uint32_t)a, 2));
}

static inline int16x2_t __sxtab16(int16x2_t a, int8x4_t b)
{
    return emulated_pair(emulated_low(a) + emulated_byte((uint32_t)b, 0),
                         emulated_high(a) + emulated_byte((uint32_t)b, 2));
}

static inline int32_t __smuad(int16x2_t a, int16x2_t b)
{
    return emulated_sum(emulated_low(a) * emulated_low(b), emulated_high(a) * emulated_high(b));
}

static inline int32_t __smuadx(int16x2_t a, int16x2_t b)
{
    return emulated_sum(emulated_low(a) * emulated_high(b), emulated_high(a) * emulated_low(b));
}

static inline int32_t __smlad(int16x2_t a, int16x2_t b, int32_t sum)
{
    return emulated_sum(__smuad(a, b), sum);
}

static inline int32_t __smladx(int16x2_t a, int16x2_t b, int32_t sum)
{
    return emulated_sum(__smuadx(a, b), sum);
}

static inline int64_t __smlald(int16x2_t a, int16x2_t b, int64_t sum)
{
    return sum + (int64_t)emulated_low(a) * emulated_low(b) +
           (int64_t)emulated_high(a) * emulated_high(b);
}

static inline int64_t __smlaldx(int16x2_t a, int16x2_t b, int64_t sum)
{
    return sum + (int64_t)emulated_low(a) * emulated_high(b) +
           (int64_t)emulated_high(a) * emulated_low(b);
}

static inline int32_t __smulbb(int32_t a, int32_t b)
{
    return emulated_low(a) * emulated_low(b);
}

static inline int32_t __smlabb(int32_t a, int32_t b, int32_t sum)
{
    return emulated_sum(emulated_low(a) * emulated_low(b), sum);
}

static inline int32_t __smlatt(int32_t a, int32_t b, int32_t sum)
{
    return emulated_sum(emulated_high(a) * emulated_high(b), sum);
}

static inline int16x2_t __sadd16(int16x2_t a, int16x2_t b)
{
    return emulated_pair(emulated_low(a) + emulated_low(b), emulated_high(a) + emulated_high(b));
}

static inline int16x2_t __ssub16(int16x2_t a, int16x2_t b)
{
    return emulated_pair(emulated_low(a) - emulated_low(b), emulated_high(a) - emulated_high(b));
}

static inline int32_t emulated_saturated(int32_t value, unsigned bits)
{
    const int32_t most = (int32_t)((1u << (bits - 1)) - 1u);
    return value > most ? most : (value < -most - 1 ? -most - 1 : value);
}

#define __ssat(value, bits) emulated_saturated((value), (bits))

#endif
