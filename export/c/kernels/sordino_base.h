/* What all kernels share: fixed-width types and which instructions the core has. */
#ifndef SORDINO_BASE_H
#define SORDINO_BASE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_MVE) && !defined(SORDINO_NO_HELIUM)
#define SORDINO_HELIUM 1
#include <arm_mve.h>
#else
#define SORDINO_HELIUM 0
#endif

#if defined(__ARM_FEATURE_DSP) && !defined(SORDINO_NO_DSP) && !SORDINO_HELIUM
#define SORDINO_DSP 1
#include <arm_acle.h>
#else
#define SORDINO_DSP 0
#endif

#if defined(__GNUC__) || defined(__clang__)
#define SORDINO_ALIGNED __attribute__((aligned(16)))
#else
#define SORDINO_ALIGNED
#endif

#endif
