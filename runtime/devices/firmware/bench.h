/* What the bench asks of a machine. Every machine_*.c implements it. */
#ifndef SORDINO_BENCH_H
#define SORDINO_BENCH_H

#include <stdint.h>

/* Prepares the counter. */
void machine_start(void);

/* A free-running counter that advances by the same amount with every instruction; wraps at 32 bits. */
uint32_t machine_ticks(void);

/* Executes exactly 2 * rounds instructions besides a constant number. */
void machine_spin(uint32_t rounds);

static inline uint32_t *machine_stack_pointer(void)
{
    uint32_t *pointer;
#ifdef __riscv
    __asm volatile("mv %0, sp" : "=r"(pointer));
#else
    __asm volatile("mov %0, sp" : "=r"(pointer));
#endif
    return pointer;
}

/* One semihosting request; the value the host answers. */
intptr_t machine_ask(intptr_t request, const void *arguments);

/* Called by the start-up code with memory ready. The status with which the simulator ends. */
int bench_main(void);

/* Ends the simulator. */
_Noreturn void bench_exit(int status);

#endif
