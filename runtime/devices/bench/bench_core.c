/* Cycle counters and stacks of Cortex-M and RISC-V.
 *
 * Addresses are of the Armv6-M, Armv7-M and Armv8-M reference manuals (system control space, DWT).
 * On any other core supply bench_counter and build with BENCH_COUNTER=BENCH_COUNTER_OWN.
 */
#include "bench_core.h"
#include "bench.h"

#define NAKED __attribute__((naked, noinline))
#define UNUSED __attribute__((unused)) /* they are: in assembler */

#if CORE_ARCHITECTURE == 1

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define SYSTICK_CONTROL REGISTER(0xE000E010u)
#define SYSTICK_RELOAD REGISTER(0xE000E014u)
#define SYSTICK_VALUE REGISTER(0xE000E018u)
#define CPUID REGISTER(0xE000ED00u)
#define DEMCR REGISTER(0xE000EDFCu)
#define DWT_CONTROL REGISTER(0xE0001000u)
#define DWT_CYCLES REGISTER(0xE0001004u)
#define DWT_LOCK REGISTER(0xE0001FB0u)

#define SYSTICK_BITS 0x00FFFFFFu
#define SYSTICK_WRAPPED (1u << 16)
#define TRACE_ENABLE (1u << 24)
#define UNLOCK 0xC5ACCE55u
#define NO_CYCLE_COUNTER (1u << 25)

static uint8_t counter = BENCH_COUNTER;
static uint32_t interrupts_were_masked;

#if defined __ARM_ARCH_6M__ || defined __ARM_ARCH_8M_BASE__
#define LOOK_FOR_DWT 0 /* M0, M0+, M1 and M23 have no cycle counter */
#else
#define LOOK_FOR_DWT (BENCH_COUNTER == BENCH_COUNTER_AUTO)
#endif

#if LOOK_FOR_DWT || BENCH_COUNTER == BENCH_COUNTER_DWT
static void begin_dwt(void)
{
    DEMCR |= TRACE_ENABLE;
    DWT_LOCK = UNLOCK; /* locked on a Cortex-M7; elsewhere it is ignored */
    DWT_CYCLES = 0;
    DWT_CONTROL |= 1u;
}
#endif

#if LOOK_FOR_DWT
static int dwt_counts(void)
{
    begin_dwt();
    if (DWT_CONTROL & NO_CYCLE_COUNTER) {
        return 0;
    }
    const uint32_t before = DWT_CYCLES;
    for (volatile int round = 0; round < 16; ++round) {
    }
    return DWT_CYCLES != before;
}
#endif

void core_begin(void)
{
#if LOOK_FOR_DWT
    counter = dwt_counts() ? BENCH_COUNTER_DWT : BENCH_COUNTER_SYSTICK;
#elif BENCH_COUNTER == BENCH_COUNTER_AUTO
    counter = BENCH_COUNTER_SYSTICK;
#elif BENCH_COUNTER == BENCH_COUNTER_DWT
    begin_dwt();
#endif
}

uint32_t core_identity(void)
{
    return CPUID;
}

uint32_t core_ticks(void)
{
#if BENCH_COUNTER == BENCH_COUNTER_OWN
    return bench_counter();
#else
    return counter == BENCH_COUNTER_DWT ? DWT_CYCLES : SYSTICK_BITS - SYSTICK_VALUE;
#endif
}

/* SysTick begins anew with every start, so that it wraps only in a step of 2^24 cycles or more, which
 * its control register then tells. */
static void begin_systick(void)
{
    SYSTICK_CONTROL = 0;
    SYSTICK_RELOAD = SYSTICK_BITS;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 5u; /* on, at the clock of the core, without interrupt */
    for (int patience = 1000; patience > 0 && SYSTICK_VALUE == 0; --patience) {
    } /* it starts with the next clock, or is not there: then it stands at 0 and counts nothing */
    (void)SYSTICK_CONTROL; /* forgets that it wrapped */
}

uint32_t core_start(void)
{
    uint32_t masked;
    __asm volatile("mrs %0, primask\n\tcpsid i" : "=r"(masked) : : "memory");
    interrupts_were_masked = masked;
    if (counter == BENCH_COUNTER_SYSTICK) {
        begin_systick();
    }
    return core_ticks();
}

uint32_t core_stop(uint32_t before)
{
    uint32_t ticks = core_ticks() - before;
    if (counter == BENCH_COUNTER_SYSTICK && (SYSTICK_CONTROL & SYSTICK_WRAPPED)) {
        ticks = 0xFFFFFFFFu;
    }
    if (!interrupts_were_masked) {
        __asm volatile("cpsie i" : : : "memory");
    }
    return ticks;
}

#if defined __ARM_ARCH_8M_MAIN__ || defined __ARM_ARCH_8_1M_MAIN__
#define HAS_STACK_LIMITS 1
#endif

static void NAKED call_on_stack(uint32_t *top UNUSED, void (*work)(void) UNUSED)
{
    __asm volatile(".syntax unified\n\t"
                   "push {r4, lr}\n\t"
                   "mov r4, sp\n\t"
                   "mov sp, r0\n\t"
                   "blx r1\n\t"
                   "mov sp, r4\n\t"
                   "pop {r4, pc}");
}

int core_call_on_stack(uint32_t *top, void (*work)(void))
{
#ifdef HAS_STACK_LIMITS
    /* Start-up code may have set limits, below which our stack may lie. */
    uint32_t main_limit, process_limit;
    __asm volatile("mrs %0, msplim\n\tmrs %1, psplim\n\t"
                   "msr msplim, %2\n\tmsr psplim, %2"
                   : "=&r"(main_limit), "=&r"(process_limit)
                   : "r"(0)
                   : "memory");
    call_on_stack(top, work);
    __asm volatile("msr msplim, %0\n\tmsr psplim, %1" : : "r"(main_limit), "r"(process_limit));
#else
    call_on_stack(top, work);
#endif
    return 1;
}

#elif CORE_ARCHITECTURE == 2

static uint8_t counter = BENCH_COUNTER == BENCH_COUNTER_OWN ? BENCH_COUNTER_OWN : BENCH_COUNTER_MCYCLE;
static uint32_t status_before;

/* Reading a control register is an extension that older compilers take for part of the base. */
#define CONTROL(instruction, ...) \
    __asm volatile(".option push\n\t.option arch, +zicsr\n\t" instruction "\n\t.option pop" __VA_ARGS__)

void core_begin(void)
{
}

uint32_t core_identity(void)
{
    uint32_t isa;
    CONTROL("csrr %0, misa", : "=r"(isa));
    return isa;
}

uint32_t core_ticks(void)
{
#if BENCH_COUNTER == BENCH_COUNTER_OWN
    return bench_counter();
#else
    uint32_t cycles;
    CONTROL("csrr %0, mcycle", : "=r"(cycles));
    return cycles;
#endif
}

uint32_t core_start(void)
{
    CONTROL("csrrci %0, mstatus, 8", : "=r"(status_before) : : "memory");
    return core_ticks();
}

uint32_t core_stop(uint32_t before)
{
    const uint32_t ticks = core_ticks() - before;
    const uint32_t enabled = status_before & 8u;
    CONTROL("csrs mstatus, %0", : : "r"(enabled) : "memory");
    return ticks;
}

static void NAKED call_on_stack(uint32_t *top UNUSED, void (*work)(void) UNUSED)
{
    __asm volatile("addi sp, sp, -16\n\t"
                   "sw ra, 12(sp)\n\t"
                   "sw s0, 8(sp)\n\t"
                   "mv s0, sp\n\t"
                   "mv sp, a0\n\t"
                   "jalr a1\n\t"
                   "mv sp, s0\n\t"
                   "lw ra, 12(sp)\n\t"
                   "lw s0, 8(sp)\n\t"
                   "addi sp, sp, 16\n\t"
                   "ret");
}

int core_call_on_stack(uint32_t *top, void (*work)(void))
{
    call_on_stack(top, work);
    return 1;
}

#else

#if BENCH_COUNTER != BENCH_COUNTER_OWN
#error "This core's counter is not known: supply bench_counter, build with BENCH_COUNTER=BENCH_COUNTER_OWN."
#endif

static const uint8_t counter = BENCH_COUNTER_OWN;

void core_begin(void)
{
}

uint32_t core_identity(void)
{
    return 0;
}

uint32_t core_ticks(void)
{
    return bench_counter();
}

uint32_t core_start(void)
{
    return core_ticks();
}

uint32_t core_stop(uint32_t before)
{
    return core_ticks() - before;
}

int core_call_on_stack(uint32_t *top, void (*work)(void))
{
    (void)top;
    work();
    return 0;
}

#endif

uint8_t core_counter(void)
{
    return counter;
}
