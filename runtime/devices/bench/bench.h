/* A bench for a generated model: the host sends features, the board answers with cycles and masks.
 *
 * Your project supplies bench_putc and bench_getc, and calls bench_main with clocks and UART set up:
 *
 *     #include "bench.h"
 *
 *     void bench_putc(uint8_t byte) { ... send one byte, wait while the transmitter is full ... }
 *     uint8_t bench_getc(void) { ... wait for one byte ... }
 *     uint32_t bench_clock_hz(void) { return SystemCoreClock; }
 *
 *     int main(void)
 *     {
 *         clocks_and_uart();
 *         bench_main();
 *     }
 *
 * README.md beside this file has examples, the options of the build and the protocol.
 */
#ifndef SORDINO_BENCH_H
#define SORDINO_BENCH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Yours: sends one byte; returns when it is on its way. */
void bench_putc(uint8_t byte);

/* Yours: waits for one byte. Not needed in a build with BENCH_OUTPUT_ONLY. */
uint8_t bench_getc(void);

/* Yours if you like: what the core's clock is now, in Hz. Without it no time is stated, cycles only. */
uint32_t bench_clock_hz(void);

/* Yours with BENCH_COUNTER=BENCH_COUNTER_OWN: counts up once per core cycle, wraps at 32 bits. */
uint32_t bench_counter(void);

/* Answers the host for ever. Interrupts are masked while a step is timed. */
void bench_main(void);

/* What counts cycles. AUTO takes the cycle counter of the DWT and, where there is none or it stands
 * still, SysTick, which then is no longer anybody else's; on RISC-V it takes mcycle. */
#define BENCH_COUNTER_AUTO 0
#define BENCH_COUNTER_DWT 1
#define BENCH_COUNTER_SYSTICK 2
#define BENCH_COUNTER_MCYCLE 3
#define BENCH_COUNTER_OWN 4

#ifndef BENCH_COUNTER
#define BENCH_COUNTER BENCH_COUNTER_AUTO
#endif

/* The step runs on a stack of its own, of this size, so that what it uses can be seen. */
#ifndef BENCH_STACK_BYTES
#define BENCH_STACK_BYTES 4096
#endif

#ifdef __cplusplus
}
#endif

#endif
