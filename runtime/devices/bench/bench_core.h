/* What the bench asks of a core: a counter, a stack to run on, a name. */
#ifndef SORDINO_BENCH_CORE_H
#define SORDINO_BENCH_CORE_H

#include <stdint.h>

#if defined __ARM_ARCH_PROFILE && __ARM_ARCH_PROFILE == 'M'
#define CORE_ARCHITECTURE 1 /* the identity is CPUID */
#elif defined __riscv
#define CORE_ARCHITECTURE 2 /* the identity is misa */
#else
#define CORE_ARCHITECTURE 0
#endif

/* Chooses the counter and starts it. */
void core_begin(void);

/* Which counter it is: one of BENCH_COUNTER_... */
uint8_t core_counter(void);

uint32_t core_identity(void);

/* Counts up; wraps at 32 bits. Between core_start and core_stop only. */
uint32_t core_ticks(void);

/* Masks interrupts; what the counter says now. */
uint32_t core_start(void);

/* Ticks since core_start said `before`, UINT32_MAX where the counter has wrapped too often to know.
 * Interrupts are as they were before core_start. */
uint32_t core_stop(uint32_t before);

/* Calls `work` with the stack pointer at `top`. Returns 0 where that cannot be done and `work` ran on
 * the stack that was. */
int core_call_on_stack(uint32_t *top, void (*work)(void));

static inline uint32_t *core_stack_pointer(void)
{
    uint32_t *pointer = 0;
#if CORE_ARCHITECTURE == 1
    __asm volatile("mov %0, sp" : "=r"(pointer));
#elif CORE_ARCHITECTURE == 2
    __asm volatile("mv %0, sp" : "=r"(pointer));
#endif
    return pointer;
}

#endif
