/* bench_putc through the debugger: port 0 of the instrumentation trace macrocell, out of pin SWO.
 *
 * For a build with BENCH_OUTPUT_ONLY on M3, M4, M7, M33 or M55, in place of a bench_putc of yours. The
 * debugger sets up clock and pin of the trace; its formatter has to be off.
 */
#include "bench.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define DEMCR REGISTER(0xE000EDFCu)
#define ITM_PORT0 0xE0000000u
#define ITM_ENABLED_PORTS REGISTER(0xE0000E00u)
#define ITM_CONTROL REGISTER(0xE0000E80u)
#define ITM_LOCK REGISTER(0xE0000FB0u)

#define TRACE_ENABLE (1u << 24)
#define UNLOCK 0xC5ACCE55u
#define ITM_ENABLE 1u
#define SYNC_ENABLE 4u
#define BUS_ID (1u << 16)

static void begin(void)
{
    DEMCR |= TRACE_ENABLE;
    ITM_LOCK = UNLOCK;
    ITM_CONTROL |= BUS_ID | SYNC_ENABLE | ITM_ENABLE;
    ITM_ENABLED_PORTS |= 1u;
}

void bench_putc(uint8_t byte)
{
    static int begun;
    if (!begun) {
        begin();
        begun = 1;
    }
    while ((REGISTER(ITM_PORT0) & 1u) == 0) { /* full */
    }
    *(volatile uint8_t *)(uintptr_t)ITM_PORT0 = byte;
}
