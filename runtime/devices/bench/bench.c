/* The bench: protocol and measurement. What belongs to a core is in bench_core.c.
 *
 * On the wire a message is a zero byte, the message with its CRC-32 in COBS, and a zero byte. COBS
 * writes no zeros, so either side finds the next message after noise. All numbers are little endian.
 *
 *   header, 16 bytes:  type (1), version (1), 0 (2), session (4), index of the frame (4), 0 (4)
 *   'H' host:   reset the model, begin the session              -> 'h', what board and model are
 *   'F' host:   header, features                                -> 'f', ticks, stack, operators, mask
 *   'e' board:  the index is one of the PROBLEM_ numbers below
 *
 * A frame that comes twice is answered twice and computed once: an answer may have been lost. With
 * BENCH_OUTPUT_ONLY nothing is received: 'h' and an 'f' per frame of bench_features.c, over and over.
 */
#include "bench.h"
#include "bench_core.h"
#include "bench_model.h" /* written for each model: MODEL(name), model_feature, model_mask, ... */

#if defined __BYTE_ORDER__ && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "The bench is written for little-endian cores."
#endif

#define VERSION 1
#define PROBLEM_DAMAGED 1 /* a message whose CRC is wrong, or that is too long */
#define PROBLEM_LENGTH 2  /* the features are not as many as those of the model */
#define PROBLEM_SESSION 3 /* not the session that was begun last: the board was reset */
#define PROBLEM_ORDER 4   /* neither the next frame nor the last one again */
#define PROBLEM_STACK 5   /* the step used nearly all of BENCH_STACK_BYTES, or more */
#define PROBLEM_TYPE 6

#define FLAG_OUTPUT_ONLY 1u
#define FLAG_SIMULATED 2u
#define PAINT 0x5AFEC0DEu
#define GUARD_WORDS 16
#define STACK_WORDS (BENCH_STACK_BYTES / 4)
#define UNKNOWN 0xFFFFFFFFu
#define SPIN_ROUNDS 1000

#if defined __GNUC__
#define WEAK __attribute__((weak))
#define NOINLINE __attribute__((noinline))
#define ALIGNED __attribute__((aligned(16)))
#else
#error "The bench is written for GCC and clang (Arm Compiler 6 is one)."
#endif

#ifndef BENCH_FLAGS
#define BENCH_FLAGS "flags not stated"
#endif
#ifdef __clang__
#define COMPILER __VERSION__ /* says clang itself */
#else
#define COMPILER "gcc " __VERSION__
#endif

typedef struct {
    uint8_t type, version, zero[2];
    uint32_t session;
    uint32_t index;
    uint32_t zeros;
} header_t;

typedef struct {
    uint8_t architecture, counter, counter_bits, flags;
    uint32_t core;
    uint32_t clock_hz;
    uint32_t spin;          /* ticks of a loop: 0 says that the counter stands still */
    uint32_t overhead;      /* ticks of a step that does nothing */
    uint32_t hook_overhead; /* ticks of an operator that does nothing */
    uint16_t feature_bytes, mask_bytes, operators, zero;
    uint32_t frames; /* of bench_features.c, 0 where features are received */
    uint32_t features_crc;
    uint8_t model[16]; /* of the SHA-256 of the model's C file */
} hello_t;

typedef struct {
    const void *bytes;
    uint32_t length;
} piece_t;

typedef void step_function(MODEL(t) *, const model_feature *, model_mask *);

#ifdef BENCH_OUTPUT_ONLY
extern const model_feature bench_features[BENCH_FRAMES][BENCH_FEATURES];
#else
static struct {
    header_t header;
    model_feature features[BENCH_FEATURES];
    uint32_t room_for_crc;
} request ALIGNED;
static uint32_t received; /* bytes in request, UNKNOWN when they are too many or make no sense */
#endif

static MODEL(t) instance ALIGNED;
static model_mask mask[BENCH_MASKS] ALIGNED;
static uint32_t stack[STACK_WORDS] ALIGNED;
static const uint8_t model_hash[16] = BENCH_MODEL_HASH;
static const char compiler[] = COMPILER " " BENCH_FLAGS;

static step_function *volatile timed_step;
static const model_feature *volatile timed_features;
static uint32_t *volatile timed_stack; /* the stack pointer at the call of the step */
static struct {
    uint32_t ticks;
    uint32_t stack;
#ifdef BENCH_OPERATORS
    uint32_t operators[BENCH_HOOKS];
#endif
} measured;

WEAK uint32_t bench_clock_hz(void)
{
    return 0;
}

#ifdef BENCH_OPERATORS
/* The generated code calls this before (0) and after (1) each numbered operator. */
void MODEL(profile)(int step, int after);
NOINLINE void MODEL(profile)(int step, int after)
{
    static uint32_t started;
    const uint32_t now = core_ticks();
    if (after == 0) {
        started = core_ticks();
    } else if (step >= 0 && step < BENCH_HOOKS) {
        measured.operators[step] += now - started;
    }
}
#endif

static void step_of_nothing(MODEL(t) *model, const model_feature *in, model_mask *out)
{
    (void)model, (void)in, (void)out;
}

/* Runs on the painted stack. */
static NOINLINE void timed(void)
{
    step_function *const step = timed_step;
    const model_feature *const features = timed_features;
    timed_stack = core_stack_pointer();
    const uint32_t before = core_start();
    step(&instance, features, mask);
    measured.ticks = core_stop(before);
}

/* 1, or 0 where the stack is too small. */
static int measure(step_function *step, const model_feature *features)
{
    volatile uint32_t *word;
    for (word = stack; word < stack + STACK_WORDS; ++word) {
        *word = PAINT;
    }
    timed_step = step;
    timed_features = features;
    if (!core_call_on_stack(stack + STACK_WORDS, timed)) {
        measured.stack = UNKNOWN;
        return 1;
    }
    for (word = stack; word < stack + STACK_WORDS && *word == PAINT; ++word) {
    }
    /* A step without a frame of its own writes nothing below the stack pointer. */
    measured.stack = word < timed_stack ? (uint32_t)((uintptr_t)timed_stack - (uintptr_t)word) : 0;
    return word >= stack + GUARD_WORDS;
}

static void forget_operators(void)
{
#ifdef BENCH_OPERATORS
    for (int number = 0; number < BENCH_HOOKS; ++number) {
        measured.operators[number] = 0;
    }
#endif
}

/* CRC-32 as in Ethernet, zip and PNG, without a table. */
static uint32_t crc_of(uint32_t crc, const void *bytes, uint32_t length)
{
    const uint8_t *byte = bytes;
    crc = ~crc;
    for (uint32_t place = 0; place < length; ++place) {
        crc ^= byte[place];
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

static uint8_t byte_at(const piece_t *piece, uint32_t place)
{
    for (; place >= piece->length; ++piece) {
        place -= piece->length;
    }
    return ((const uint8_t *)piece->bytes)[place];
}

/* Sends pieces as one message; the last piece is left free for the CRC. */
static void send(piece_t *pieces, int count)
{
    uint32_t crc = 0, length = 0;
    for (int number = 0; number < count - 1; ++number) {
        crc = crc_of(crc, pieces[number].bytes, pieces[number].length);
        length += pieces[number].length;
    }
    pieces[count - 1].bytes = &crc;
    pieces[count - 1].length = sizeof crc;
    length += sizeof crc;

    bench_putc(0);
    /* COBS: a block is its length + 1 and up to 254 bytes that are not 0. Where a block is shorter
     * than 254, a 0 follows it; the message counts as if a 0 stood at its end. */
    for (uint32_t start = 0; start <= length;) {
        uint32_t end = start;
        while (end < length && end - start < 254 && byte_at(pieces, end) != 0) {
            ++end;
        }
        bench_putc((uint8_t)(end - start + 1));
        for (uint32_t place = start; place < end; ++place) {
            bench_putc(byte_at(pieces, place));
        }
        start = end - start == 254 ? end : end + 1;
    }
    bench_putc(0);
}

static header_t header_of(uint8_t type, uint32_t session, uint32_t index)
{
    const header_t header = {type, VERSION, {0, 0}, session, index, 0};
    return header;
}

static void send_hello(uint32_t session)
{
    hello_t hello = {0};
    uint32_t before;
    (void)measure(step_of_nothing, 0);
    hello.overhead = measured.ticks;
#ifdef BENCH_OPERATORS
    forget_operators();
    MODEL(profile)(0, 0);
    MODEL(profile)(0, 1);
    hello.hook_overhead = measured.operators[0];
    hello.operators = BENCH_HOOKS;
#endif
    before = core_start();
    for (volatile uint32_t round = 0; round < SPIN_ROUNDS; ++round) {
    }
    hello.spin = core_stop(before);
    hello.architecture = CORE_ARCHITECTURE;
    hello.core = core_identity();
    hello.counter = core_counter();
    hello.counter_bits = hello.counter == BENCH_COUNTER_SYSTICK ? 24 : 32;
    hello.clock_hz = bench_clock_hz();
    hello.feature_bytes = sizeof(model_feature) * BENCH_FEATURES;
    hello.mask_bytes = sizeof mask;
#ifdef BENCH_SIMULATED
    hello.flags |= FLAG_SIMULATED;
#endif
#ifdef BENCH_OUTPUT_ONLY
    hello.flags |= FLAG_OUTPUT_ONLY;
    hello.frames = BENCH_FRAMES;
    hello.features_crc = crc_of(0, bench_features, sizeof bench_features);
#endif
    for (int place = 0; place < 16; ++place) {
        hello.model[place] = model_hash[place];
    }
    const header_t header = header_of('h', session, 0);
    piece_t pieces[] = {
        {&header, sizeof header}, {&hello, sizeof hello}, {compiler, sizeof compiler - 1}, {0, 0}};
    send(pieces, 4);
}

static void send_frame(uint32_t session, uint32_t index)
{
    const header_t header = header_of('f', session, index);
    piece_t pieces[] = {
        {&header, sizeof header}, {&measured, sizeof measured}, {mask, sizeof mask}, {0, 0}};
    send(pieces, 4);
}

static void send_problem(uint32_t session, uint32_t problem)
{
    const header_t header = header_of('e', session, problem);
    piece_t pieces[] = {{&header, sizeof header}, {0, 0}};
    send(pieces, 2);
}

#ifdef BENCH_OUTPUT_ONLY

void bench_main(void)
{
    core_begin();
    for (uint32_t session = 1;; ++session) {
        MODEL(init)(&instance);
        send_hello(session);
        for (uint32_t frame = 0; frame < BENCH_FRAMES; ++frame) {
            forget_operators();
            if (measure(MODEL(step), bench_features[frame])) {
                send_frame(session, frame);
            } else {
                send_problem(session, PROBLEM_STACK);
            }
        }
    }
}

#else

/* Reads up to the next zero byte and undoes COBS; `received` says how many bytes there were. */
static void receive(void)
{
    uint8_t *const bytes = (uint8_t *)&request;
    uint32_t left = 0; /* bytes of the block that are still to come */
    int zero_owed = 0; /* the block before was shorter than 254 */
    received = 0;
    for (;;) {
        const uint8_t byte = bench_getc();
        const int code = left == 0;
        if (byte == 0) {
            if (left != 0) {
                received = UNKNOWN;
            }
            return;
        }
        if (code) {
            left = byte;
        }
        --left;
        if (code && !zero_owed) {
            zero_owed = byte != 255;
            continue;
        }
        if (code) {
            zero_owed = byte != 255;
        }
        if (received < sizeof request) {
            bytes[received++] = code ? 0 : byte;
        } else {
            received = UNKNOWN;
        }
    }
}

/* The bytes before the CRC, UNKNOWN when that is wrong. */
static uint32_t undamaged(void)
{
    uint32_t crc = 0;
    if (received == UNKNOWN || received < sizeof(header_t) + sizeof crc) {
        return UNKNOWN;
    }
    const uint32_t length = received - sizeof crc;
    const uint8_t *const stored = (const uint8_t *)&request + length;
    for (int place = 3; place >= 0; --place) {
        crc = (crc << 8) | stored[place];
    }
    return crc == crc_of(0, &request, length) ? length : UNKNOWN;
}

void bench_main(void)
{
    uint32_t session = 0, next = UNKNOWN; /* no session has begun */
    core_begin();
    for (;;) {
        receive();
        if (received == 0) {
            continue;
        }
        const uint32_t length = undamaged();
        const header_t *const asked = &request.header;
        if (length == UNKNOWN) {
            send_problem(session, PROBLEM_DAMAGED);
        } else if (asked->type == 'H') {
            session = asked->session;
            next = 0;
            MODEL(init)(&instance);
            send_hello(session);
        } else if (asked->type != 'F') {
            send_problem(session, PROBLEM_TYPE);
        } else if (next == UNKNOWN || asked->session != session) {
            send_problem(asked->session, PROBLEM_SESSION);
        } else if (length != sizeof(header_t) + sizeof request.features) {
            send_problem(session, PROBLEM_LENGTH);
        } else if (next != 0 && asked->index == next - 1) {
            send_frame(session, asked->index);
        } else if (asked->index != next) {
            send_problem(session, PROBLEM_ORDER);
        } else {
            forget_operators();
            if (measure(MODEL(step), request.features)) {
                send_frame(session, next++);
            } else {
                next = UNKNOWN;
                send_problem(session, PROBLEM_STACK);
            }
        }
    }
}

#endif
