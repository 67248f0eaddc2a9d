/* int8 rows of weights times one or two int8 windows, with what the core has for it. */
#ifndef SORDINO_CONV_DOT_S8_H
#define SORDINO_CONV_DOT_S8_H

#include "sordino_base.h"
#include "conv_scaling.h"

/* Each of the three headers has
 *
 *   sordino_conv_single_s8: the filters of a group at one position,
 *   sordino_conv_two_s8: the same at two positions, which share what is loaded of the weights;
 *     ``wide`` has room for four bytes per value of a window.
 * */
#if SORDINO_HELIUM
#include "conv_dot_helium.h"
#elif SORDINO_DSP
#include "conv_dot_dsp.h"
#else
#include "conv_dot_plain.h"
#endif

#endif
