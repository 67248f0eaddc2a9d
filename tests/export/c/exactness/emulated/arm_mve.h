/* Helium intrinsics in plain C, so that the kernels' vector path runs on any machine.
 *
 * Names and meanings: Arm C Language Extensions, "MVE Intrinsics". Only what the kernels use. */
#ifndef EMULATED_ARM_MVE_H
#define EMULATED_ARM_MVE_H

#include <stdint.h>
#include <string.h>

typedef int8_t int8x16_t __attribute__((vector_size(16)));
typedef uint8_t uint8x16_t __attribute__((vector_size(16)));
typedef int16_t int16x8_t __attribute__((vector_size(16)));
typedef int32_t int32x4_t __attribute__((vector_size(16)));
typedef uint32_t uint32x4_t __attribute__((vector_size(16)));
typedef uint16_t mve_pred16_t; /* a bit per byte of the vector */

static inline mve_pred16_t emulated_first(uint32_t lanes, uint32_t bytes)
{
    const uint32_t bits = lanes * bytes >= 16 ? 16 : lanes * bytes;
    return (mve_pred16_t)((1u << bits) - 1u);
}

static inline int emulated_lane(mve_pred16_t p, int lane, int bytes)
{
    return (p >> (lane * bytes)) & 1;
}

static inline int32_t emulated_int(int64_t value)
{
    return (int32_t)(uint32_t)(uint64_t)value;
}

static inline mve_pred16_t vctp8q(uint32_t n) { return emulated_first(n, 1); }
static inline mve_pred16_t vctp16q(uint32_t n) { return emulated_first(n, 2); }
static inline mve_pred16_t vctp32q(uint32_t n) { return emulated_first(n, 4); }

/* name, vector, element in memory, element in the vector, lanes */
#define EMULATED_LOAD(name, vector, memory, element, lanes)                                      \
    static inline vector name##_z_##element(const memory *from, mve_pred16_t p)                  \
    {                                                                                            \
        vector v = {0};                                                                          \
        for (int i = 0; i < lanes; ++i) {                                                        \
            if (emulated_lane(p, i, 16 / lanes)) {                                               \
                v[i] = from[i];                                                                  \
            }                                                                                    \
        }                                                                                        \
        return v;                                                                                \
    }                                                                                            \
    static inline vector name##_##element(const memory *from)                                    \
    {                                                                                            \
        return name##_z_##element(from, 0xffff);                                                 \
    }

EMULATED_LOAD(vldrbq, int8x16_t, int8_t, s8, 16)
EMULATED_LOAD(vldrbq, uint8x16_t, uint8_t, u8, 16)
EMULATED_LOAD(vldrbq, int16x8_t, int8_t, s16, 8)
EMULATED_LOAD(vldrbq, int32x4_t, int8_t, s32, 4)
EMULATED_LOAD(vldrhq, int16x8_t, int16_t, s16, 8)
EMULATED_LOAD(vldrhq, int32x4_t, int16_t, s32, 4)
EMULATED_LOAD(vldrwq, int32x4_t, int32_t, s32, 4)

#define EMULATED_STORE(name, vector, memory, element, lanes)                                     \
    static inline void name##_p_##element(memory *to, vector v, mve_pred16_t p)                  \
    {                                                                                            \
        for (int i = 0; i < lanes; ++i) {                                                        \
            if (emulated_lane(p, i, 16 / lanes)) {                                               \
                to[i] = (memory)v[i];                                                            \
            }                                                                                    \
        }                                                                                        \
    }                                                                                            \
    static inline void name##_##element(memory *to, vector v)                                    \
    {                                                                                            \
        name##_p_##element(to, v, 0xffff);                                                       \
    }

EMULATED_STORE(vstrbq, int8x16_t, int8_t, s8, 16)
EMULATED_STORE(vstrbq, int16x8_t, int8_t, s16, 8)
EMULATED_STORE(vstrbq, int32x4_t, int8_t, s32, 4)
EMULATED_STORE(vstrhq, int16x8_t, int16_t, s16, 8)
EMULATED_STORE(vstrhq, int32x4_t, int16_t, s32, 4)

#define EMULATED_SUM_OF_PRODUCTS(name, vector, lanes)                                            \
    static inline int32_t name(int32_t sum, vector a, vector b)                                  \
    {                                                                                            \
        int64_t total = sum;                                                                     \
        for (int i = 0; i < lanes; ++i) {                                                        \
            total += (int64_t)a[i] * b[i];                                                       \
        }                                                                                        \
        return emulated_int(total);                                                              \
    }

EMULATED_SUM_OF_PRODUCTS(vmladavaq_s8, int8x16_t, 16)
EMULATED_SUM_OF_PRODUCTS(vmladavaq_s16, int16x8_t, 8)

/* Four lanes of 32 bits, each from those of a and b; sums and products wrap. */
#define EMULATED_BINARY(name, expression)                                                        \
    static inline int32x4_t name(int32x4_t a, int32x4_t b)                                       \
    {                                                                                            \
        int32x4_t v = {0};                                                                       \
        for (int i = 0; i < 4; ++i) {                                                            \
            const int64_t x = a[i], y = b[i];                                                    \
            v[i] = emulated_int(expression);                                                     \
        }                                                                                        \
        return v;                                                                                \
    }

static inline int64_t emulated_doubled_high(int64_t x, int64_t y)
{
    return x == INT32_MIN && y == INT32_MIN ? INT32_MAX : (x * y + (1LL << 30)) >> 31;
}

static inline int64_t emulated_shifted(int64_t x, int64_t y, int rounded)
{
    if (y >= 0) {
        return (int64_t)((uint64_t)x << y);
    }
    return (x + (rounded ? 1LL << (-y - 1) : 0)) >> -y;
}

EMULATED_BINARY(vaddq_s32, x + y)
EMULATED_BINARY(vsubq_s32, x - y)
EMULATED_BINARY(vmulq_s32, x *y)
EMULATED_BINARY(vmulhq_s32, (x * y) >> 32)
EMULATED_BINARY(vqrdmulhq_s32, emulated_doubled_high(x, y))
EMULATED_BINARY(vandq_s32, x &y)
EMULATED_BINARY(vmaxq_s32, x > y ? x : y)
EMULATED_BINARY(vminq_s32, x < y ? x : y)
EMULATED_BINARY(vshlq_s32, emulated_shifted(x, y, 0))
EMULATED_BINARY(vrshlq_s32, emulated_shifted(x, y, 1))

#define EMULATED_WITH_SCALAR(name, with)                                                         \
    static inline int32x4_t name(int32x4_t a, int32_t b)                                         \
    {                                                                                            \
        const int32x4_t all = {b, b, b, b};                                                      \
        return with(a, all);                                                                     \
    }

EMULATED_WITH_SCALAR(vaddq_n_s32, vaddq_s32)
EMULATED_WITH_SCALAR(vsubq_n_s32, vsubq_s32)
EMULATED_WITH_SCALAR(vmulq_n_s32, vmulq_s32)
EMULATED_WITH_SCALAR(vqrdmulhq_n_s32, vqrdmulhq_s32)
EMULATED_WITH_SCALAR(vshlq_n_s32, vshlq_s32)
EMULATED_WITH_SCALAR(vshlq_r_s32, vshlq_s32)
EMULATED_WITH_SCALAR(vrshlq_n_s32, vrshlq_s32)

static inline int32x4_t vmlaq_n_s32(int32x4_t sum, int32x4_t a, int32_t b)
{
    return vaddq_s32(sum, vmulq_n_s32(a, b));
}

static inline int32x4_t vdupq_n_s32(int32_t a)
{
    const int32x4_t v = {a, a, a, a};
    return v;
}

static inline int32x4_t vshrq_n_s32(int32x4_t a, int bits)
{
    return vshlq_s32(a, vdupq_n_s32(-bits));
}

static inline int32x4_t vnegq_s32(int32x4_t a) { return vsubq_s32(vdupq_n_s32(0), a); }

static inline int32x4_t vabsq_s32(int32x4_t a)
{
    return vmaxq_s32(a, vnegq_s32(a));
}

static inline int32x4_t vsetq_lane_s32(int32_t a, int32x4_t b, int lane)
{
    b[lane] = a;
    return b;
}

static inline mve_pred16_t vcmpgeq_n_s32(int32x4_t a, int32_t b)
{
    unsigned bits = 0;
    for (int i = 0; i < 4; ++i) {
        bits |= a[i] >= b ? 0xfu << (4 * i) : 0u;
    }
    return (mve_pred16_t)bits;
}

static inline int32x4_t vpselq_s32(int32x4_t a, int32x4_t b, mve_pred16_t p)
{
    for (int i = 0; i < 4; ++i) {
        b[i] = emulated_lane(p, i, 4) ? a[i] : b[i];
    }
    return b;
}

static inline int16x8_t vreinterpretq_s16_s32(int32x4_t a)
{
    int16x8_t v;
    memcpy(&v, &a, sizeof v);
    return v;
}

static inline uint32x4_t vreinterpretq_u32_s32(int32x4_t a)
{
    uint32x4_t v;
    memcpy(&v, &a, sizeof v);
    return v;
}

static inline int32x4_t vreinterpretq_s32_u32(uint32x4_t a)
{
    int32x4_t v;
    memcpy(&v, &a, sizeof v);
    return v;
}

/* The lower halves of b in the odd lanes of a. */
static inline int16x8_t vmovntq_s32(int16x8_t a, int32x4_t b)
{
    for (int i = 0; i < 4; ++i) {
        a[2 * i + 1] = (int16_t)(uint16_t)((uint32_t)b[i] & 0xffffu);
    }
    return a;
}

static inline int32x4_t vmullbq_int_s16(int16x8_t a, int16x8_t b)
{
    const int32x4_t v = {a[0] * b[0], a[2] * b[2], a[4] * b[4], a[6] * b[6]};
    return v;
}

static inline int32x4_t vmulltq_int_s16(int16x8_t a, int16x8_t b)
{
    const int32x4_t v = {a[1] * b[1], a[3] * b[3], a[5] * b[5], a[7] * b[7]};
    return v;
}

static inline uint32x4_t vidupq_n_u32(uint32_t a, int step)
{
    const uint32_t by = (uint32_t)step;
    const uint32x4_t v = {a, a + by, a + 2 * by, a + 3 * by};
    return v;
}

static inline uint32x4_t vmulq_n_u32(uint32x4_t a, uint32_t b)
{
    const uint32x4_t all = {b, b, b, b};
    return a * all;
}

static inline int32x4_t vldrwq_gather_offset_s32(const int32_t *base, uint32x4_t offsets)
{
    int32x4_t v = {0};
    for (int i = 0; i < 4; ++i) {
        int32_t lane;
        memcpy(&lane, (const char *)base + offsets[i], sizeof lane);
        v[i] = lane;
    }
    return v;
}

static inline uint32x4_t vldrhq_gather_shifted_offset_u32(const uint16_t *base, uint32x4_t offsets)
{
    uint32x4_t v = {0};
    for (int i = 0; i < 4; ++i) {
        v[i] = base[offsets[i]];
    }
    return v;
}

static inline int8x16_t vldrbq_gather_offset_s8(const int8_t *base, uint8x16_t offsets)
{
    int8x16_t v = {0};
    for (int i = 0; i < 16; ++i) {
        v[i] = base[offsets[i]];
    }
    return v;
}

#endif
