/* Runs a generated model over the frames of features.bin and writes what it did to results.bin.
 *
 * Both files are on the host, in the folder where the simulator runs, and are read and written by
 * semihosting: the firmware then needs no memory for them. results.bin is a sequence of 32-bit words
 * in the byte order of the core (all are little endian):
 *
 *   ticks of 1000 rounds of machine_spin, of 2000 rounds, of a step that does nothing, of an operator
 *   that does nothing;
 *   for every frame: ticks of the step, bytes of stack it used, in a build with BENCH_OPERATORS the
 *   ticks of every operator, then the bytes of the mask, padded to whole words.
 */
#include "bench.h"
#include "bench_model.h" /* written for each model: MODEL(name), model_feature, model_mask, … */

#define SYS_OPEN 0x01
#define SYS_WRITE 0x05
#define SYS_READ 0x06
#define SYS_EXIT_EXTENDED 0x20
#define STOPPED_APPLICATION_EXIT 0x20026
#define READ_BINARY 1
#define WRITE_BINARY 5

#define STATUS_NO_FILE 101
#define STATUS_READ 102
#define STATUS_WRITE 103
#define STATUS_STACK 104

#define PAINT 0x5AFEC0DEu
#define GUARD_WORDS 16
#define WORDS(bytes) (((bytes) + 3u) / 4u)

typedef void step_function(MODEL(t) *, const model_feature *, model_mask *);

extern uint32_t bench_stack_limit[]; /* from the linker script */

static MODEL(t) instance __attribute__((section(".instance"), aligned(16)));
static union {
    model_feature values[MODEL_FEATURES];
    uint32_t words[WORDS(MODEL_FEATURES * sizeof(model_feature))];
} features __attribute__((aligned(16)));
static union {
    model_mask values[MODEL_MASKS];
    uint32_t words[WORDS(MODEL_MASKS * sizeof(model_mask))];
} mask __attribute__((aligned(16)));
static struct {
    uint32_t ticks;
    uint32_t stack;
#ifdef BENCH_OPERATORS
    uint32_t operators[BENCH_OPERATORS];
#endif
} frame;

#ifdef BENCH_OPERATORS
/* A call of the hook from here has to be like one from the model. */
#ifdef __clang__
#define OPAQUE __attribute__((noinline))
#else
#define OPAQUE __attribute__((noipa))
#endif

/* The hook that generated code calls before and after each numbered operator. */
OPAQUE void MODEL(profile)(int step, int after)
{
    static uint32_t started;
    const uint32_t now = machine_ticks();
    if (after == 0) {
        started = machine_ticks();
    } else if (step >= 0 && step < BENCH_OPERATORS) {
        frame.operators[step] += now - started;
    }
}
#endif

_Noreturn void bench_exit(int status)
{
    const intptr_t arguments[2] = {STOPPED_APPLICATION_EXIT, status};
    for (;;) {
        machine_ask(SYS_EXIT_EXTENDED, arguments);
    }
}

static intptr_t open_file(const char *name, intptr_t length, intptr_t mode)
{
    const intptr_t arguments[3] = {(intptr_t)name, mode, length};
    const intptr_t handle = machine_ask(SYS_OPEN, arguments);
    if (handle < 0) {
        bench_exit(STATUS_NO_FILE);
    }
    return handle;
}

static void write_file(intptr_t handle, const void *bytes, intptr_t length)
{
    const intptr_t arguments[3] = {handle, (intptr_t)bytes, length};
    if (machine_ask(SYS_WRITE, arguments) != 0) {
        bench_exit(STATUS_WRITE);
    }
}

/* 1 when all bytes were read, 0 at the end of the file. */
static int read_file(intptr_t handle, void *bytes, intptr_t length)
{
    const intptr_t arguments[3] = {handle, (intptr_t)bytes, length};
    const intptr_t missing = machine_ask(SYS_READ, arguments);
    if (missing != 0 && missing != length) {
        bench_exit(STATUS_READ);
    }
    return missing == 0;
}

/* One instruction: the return. */
static void step_of_nothing(MODEL(t) *model, const model_feature *in, model_mask *out)
{
    (void)model, (void)in, (void)out;
}

/* Runs one step on a painted stack. Painting reaches up to the stack pointer at the call. */
static __attribute__((noinline)) void measure(step_function *volatile step)
{
    volatile uint32_t *const limit = bench_stack_limit;
    volatile uint32_t *const top = machine_stack_pointer();
    volatile uint32_t *word;
    for (word = limit; word < top; ++word) {
        *word = PAINT;
    }
    const uint32_t before = machine_ticks();
    step(&instance, features.values, mask.values);
    frame.ticks = machine_ticks() - before;
    for (word = limit; word < top && *word == PAINT; ++word) {
    }
    if (word < limit + GUARD_WORDS) {
        bench_exit(STATUS_STACK);
    }
    frame.stack = (uint32_t)((uintptr_t)top - (uintptr_t)word);
}

/* Not inlined, so that what surrounds the loop is the same for every number of rounds. */
static __attribute__((noinline)) uint32_t time_of_spin(uint32_t rounds)
{
    const uint32_t before = machine_ticks();
    machine_spin(rounds);
    return machine_ticks() - before;
}

static void calibrate(uint32_t results[4])
{
    results[0] = time_of_spin(1000);
    results[1] = time_of_spin(2000);
    measure(step_of_nothing);
    results[2] = frame.ticks;
    results[3] = 0;
#ifdef BENCH_OPERATORS
    frame.operators[0] = 0;
    MODEL(profile)(0, 0);
    MODEL(profile)(0, 1);
    results[3] = frame.operators[0];
#endif
}

int bench_main(void)
{
    uint32_t calibration[4];
    machine_start();
    const intptr_t source = open_file("features.bin", 12, READ_BINARY);
    const intptr_t results = open_file("results.bin", 11, WRITE_BINARY);
    calibrate(calibration);
    write_file(results, calibration, sizeof calibration);
    MODEL(init)(&instance);
    while (read_file(source, &features, sizeof features.values)) {
#ifdef BENCH_OPERATORS
        for (uint32_t index = 0; index < BENCH_OPERATORS; ++index) {
            frame.operators[index] = 0;
        }
#endif
        measure(MODEL(step));
        write_file(results, &frame, sizeof frame);
        write_file(results, &mask, sizeof mask);
    }
    return 0;
}
