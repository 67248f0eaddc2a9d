/* Start-up, counter and semihosting of QEMU's RISC-V machine `virt`.
 *
 * The counter is minstret, the instructions that have been executed. Reading it is an extension
 * (Zicsr) that older compilers take for part of the base and newer ones do not.
 */
#include "bench.h"

#define STATUS_FAULT 100

extern uint32_t bench_data_start[], bench_data_end[], bench_data_load[];
extern uint32_t bench_zero_start[], bench_zero_end[];

/* The three instructions that mean semihosting must be uncompressed and on one page. */
__attribute__((naked, aligned(16))) intptr_t machine_ask(intptr_t request, const void *arguments)
{
    __asm volatile(".option push\n\t"
                   ".option norvc\n\t"
                   "slli zero, zero, 0x1f\n\t"
                   "ebreak\n\t"
                   "srai zero, zero, 7\n\t"
                   "ret\n\t"
                   ".option pop");
}

__attribute__((naked)) void machine_spin(uint32_t rounds)
{
    __asm volatile("1: addi a0, a0, -1\n\tbnez a0, 1b\n\tret");
}

void machine_start(void)
{
}

uint32_t machine_ticks(void)
{
    uint32_t ticks;
    __asm volatile(".option push\n\t"
                   ".option arch, +zicsr\n\t"
                   "csrr %0, minstret\n\t"
                   ".option pop"
                   : "=r"(ticks));
    return ticks;
}

__attribute__((used, aligned(4))) static void fault(void)
{
    bench_exit(STATUS_FAULT);
}

__attribute__((noreturn, used)) static void start(void)
{
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

__attribute__((naked, section(".vectors"), used)) void reset(void)
{
    __asm volatile(".option push\n\t"
                   ".option norelax\n\t"
                   "la gp, __global_pointer$\n\t"
                   "la sp, bench_stack_top\n\t"
                   "la t0, fault\n\t"
                   ".option arch, +zicsr\n\t"
                   "csrw mtvec, t0\n\t"
                   ".option pop\n\t"
                   "j start");
}
