/* Start-up, counter and semihosting of the Cortex-M machines that QEMU simulates.
 *
 * The counter is a 32-bit timer of the board, clocked by simulated time, which under -icount advances
 * by a fixed number of nanoseconds with every instruction. SysTick would do as well but has 24 bits.
 * COUNTER_AT is its address; which timer it is depends on the board.
 */
#include "bench.h"

#define REGISTER(offset) (*(volatile uint32_t *)(COUNTER_AT + (offset)))
#define CPACR (*(volatile uint32_t *)0xE000ED88u)

#define STATUS_FAULT 100

extern uint32_t bench_stack_top[];
extern uint32_t bench_data_start[], bench_data_end[], bench_data_load[];
extern uint32_t bench_zero_start[], bench_zero_end[];

__attribute__((naked)) intptr_t machine_ask(intptr_t request, const void *arguments)
{
    __asm volatile("bkpt 0xAB\n\tbx lr");
}

__attribute__((naked)) void machine_spin(uint32_t rounds)
{
    __asm volatile(".syntax unified\n1:\tsubs r0, #1\n\tbne 1b\n\tbx lr");
}

#if defined COUNTER_CMSDK /* Arm's APB timer: counts down from its reload value */
void machine_start(void)
{
    REGISTER(0x8) = 0xFFFFFFFFu; /* RELOAD */
    REGISTER(0x4) = 0xFFFFFFFFu; /* VALUE */
    REGISTER(0x0) = 1u;          /* CTRL: enable */
}

uint32_t machine_ticks(void)
{
    return ~REGISTER(0x4);
}
#elif defined COUNTER_SSE /* the system counter of Arm's SSE-300 subsystem */
void machine_start(void)
{
    REGISTER(0x0) = 1u; /* CNTCR: enable */
}

uint32_t machine_ticks(void)
{
    return REGISTER(0x8); /* CNTCV, low word */
}
#elif defined COUNTER_NRF51 /* Nordic's TIMER: read by capturing */
void machine_start(void)
{
    REGISTER(0x508) = 3u; /* BITMODE: 32 bits */
    REGISTER(0x510) = 0u; /* PRESCALER: 16 MHz */
    REGISTER(0x000) = 1u; /* TASKS_START */
}

uint32_t machine_ticks(void)
{
    REGISTER(0x040) = 1u; /* TASKS_CAPTURE[0] */
    return REGISTER(0x540); /* CC[0] */
}
#else
#error "Name the counter of this board."
#endif

/* Compilers make calls of memcpy and memset from loops, so nothing here may be one. */
__attribute__((noreturn, used)) static void start(void)
{
#if defined __ARM_FP || defined __ARM_FEATURE_MVE
    CPACR |= 0xFu << 20; /* the floating-point and vector unit is off after reset */
    __asm volatile("dsb\n\tisb");
#endif
    volatile uint32_t *target = bench_data_start;
    const uint32_t *source = bench_data_load;
    while (target < bench_data_end) {
        *target++ = *source++;
    }
    for (target = bench_zero_start; target < bench_zero_end; ++target) {
        *target = 0;
    }
    bench_exit(bench_main());
}

static void fault(void)
{
    bench_exit(STATUS_FAULT);
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    bench_stack_top, (const void *)start, fault, fault, fault, fault, fault, fault,
    fault,           fault,               fault, fault, fault, fault, fault, fault,
};
