/* The example board: two boards of Arm as QEMU simulates them. Start-up code and a UART.
 *
 * Your project has all this already, but for the two functions at the end.
 */
#include "bench.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define UART_DATA REGISTER(UART_AT + 0x0u)
#define UART_STATE REGISTER(UART_AT + 0x4u)
#define UART_CONTROL REGISTER(UART_AT + 0x8u)
#define UART_DIVIDER REGISTER(UART_AT + 0x10u)
#define UART_TX_FULL 1u
#define UART_RX_FULL 2u
#define FLOAT_AND_VECTORS REGISTER(0xE000ED88u)

extern uint32_t board_stack_top[];
extern uint32_t board_data_start[], board_data_end[], board_data_load[];
extern uint32_t board_zero_start[], board_zero_end[];

/* Compilers make calls of memcpy and memset from loops, so nothing here may be one. */
__attribute__((noreturn, used)) static void start(void)
{
#if defined __ARM_FP || defined __ARM_FEATURE_MVE
    FLOAT_AND_VECTORS |= 0xFu << 20; /* off after reset */
    __asm volatile("dsb\n\tisb");
#endif
    volatile uint32_t *target = board_data_start;
    const uint32_t *source = board_data_load;
    while (target < board_data_end) {
        *target++ = *source++;
    }
    for (target = board_zero_start; target < board_zero_end; ++target) {
        *target = 0;
    }
    UART_DIVIDER = 217; /* 25 MHz / 115200; QEMU takes any */
    UART_CONTROL = 3u;  /* transmit and receive */
    bench_main();
    for (;;) {
    }
}

static void fault(void)
{
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    board_stack_top, (const void *)start, fault, fault, fault, fault, fault, fault,
    fault,           fault,               fault, fault, fault, fault, fault, fault,
};

uint32_t bench_clock_hz(void)
{
    return CLOCK_HZ;
}

void bench_putc(uint8_t byte)
{
    while (UART_STATE & UART_TX_FULL) {
    }
    UART_DATA = byte;
}

uint8_t bench_getc(void)
{
    while ((UART_STATE & UART_RX_FULL) == 0) {
    }
    return (uint8_t)UART_DATA;
}
