/* Runs a generated model, or its audio path, over the frames of features.bin and writes to
 * results.bin what it did.
 *
 *     linux_bench CPU MILLISECONDS
 *
 * Pinned to one core: every golden frame once, from the initial state, for its mask; steps to warm up;
 * then timed steps, for so many milliseconds. results.bin, little endian: the header below, the
 * masks, and
 *   - pairs of 64-bit words, how many steps took from so many nanoseconds on, and that number; or
 *   - with BENCH_OPERATORS, for every timed step the nanoseconds of every operator, 32 bits each.
 * The header is written last: a file without its mark was cut short.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench_model.h" /* written for each model: MODEL(name), model_feature, FRAME_FEATURES, … */

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "values travel in little-endian order"
#endif

#define STATUS_USAGE 100
#define STATUS_FEATURES 101
#define STATUS_PIN 102
#define STATUS_WRITE 103
#define STATUS_MEMORY 104
#define STATUS_GONE 105

#define WARM_UP_NS 500000000
#define LOOK_NS 200000000
#define CLOCK_PAIRS 1001
#define SPARE_SECONDS 60

/* Durations below FINE are told apart to the nanosecond, longer ones to one part in HALF. */
#define HALF 1024
#define FINE (2 * HALF)
#define OCTAVES 30
#define ROUNDS 2000 /* of operators, at most */

typedef struct {
    char mark[8];
    int64_t frames, mask_bytes, cpu;
    int64_t warm_up, timed;         /* steps */
    int64_t minimum, maximum;       /* nanoseconds of a step */
    int64_t clock;                  /* nanoseconds that reading the clock twice takes, median */
    int64_t before, after;          /* kHz of the core after warm-up and after timing, 0 if unknown */
    int64_t memory;                 /* peak bytes after the golden frames, 0 if unknown */
    int64_t emulated;               /* 1 where another processor executes this program */
    int64_t entries;                /* pairs, or rounds of operators */
} results_header;

static MODEL(t) instance;
static model_mask mask[FRAME_MASKS];

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void stop(int status, const char *what)
{
    perror(what);
    exit(status);
}

static void put(FILE *file, const void *bytes, size_t length)
{
    if (fwrite(bytes, 1, length, file) != length) {
        stop(STATUS_WRITE, "results.bin");
    }
}

#ifdef BENCH_OPERATORS
static uint32_t spent[ROUNDS][BENCH_OPERATORS];
static size_t turn;

/* The hook that generated code calls before and after each numbered operator. */
void MODEL(profile)(int step, int after)
{
    static int64_t started;
    const int64_t now = nanoseconds();
    if (after == 0) {
        started = nanoseconds();
    } else if (step >= 0 && step < BENCH_OPERATORS) {
        spent[turn][step] += (uint32_t)(now - started);
    }
}
#else
static uint64_t histogram[FINE + OCTAVES * HALF];

static int octave_of(uint64_t duration)
{
    int octave = 0;
    while (duration >> octave >= FINE) {
        ++octave;
    }
    return octave < OCTAVES ? octave : OCTAVES;
}

static void count_step(uint64_t duration)
{
    const int octave = octave_of(duration);
    uint64_t place = duration >> octave;
    if (place >= FINE) {
        place = FINE - 1;
    }
    ++histogram[(uint64_t)octave * HALF + place];
}

static int64_t write_histogram(FILE *file)
{
    int64_t entries = 0;
    for (uint64_t index = 0; index < sizeof histogram / sizeof *histogram; ++index) {
        if (histogram[index] != 0) {
            const uint64_t octave = index < FINE ? 0 : index / HALF - 1;
            const uint64_t pair[2] = {(index - octave * HALF) << octave, histogram[index]};
            put(file, pair, sizeof pair);
            ++entries;
        }
    }
    return entries;
}
#endif

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        stop(STATUS_PIN, "sched_setaffinity");
    }
}

static int64_t frequency_of(int cpu)
{
    char name[80];
    long long frequency = 0;
    snprintf(name, sizeof name, "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", cpu);
    FILE *file = fopen(name, "r");
    if (file != NULL) {
        if (fscanf(file, "%lld", &frequency) != 1) {
            frequency = 0;
        }
        fclose(file);
    }
    return frequency;
}

static int64_t peak_memory(void)
{
    char line[256];
    long long kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "VmHWM: %lld kB", &kilobytes) == 1) {
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kilobytes * 1024;
}

static int file_has(const char *name, const char *text)
{
    char line[4096];
    int found = 0;
    FILE *file = fopen(name, "r");
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        found = strncmp(line, text, strlen(text)) == 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

/* An emulator of one program leaves the files of the kernel, which tell of its own processor. Linux
 * writes vendor_id for x86 alone. */
static int is_emulated(void)
{
    const int x86 = file_has("/proc/cpuinfo", "vendor_id") || file_has("/proc/sys/kernel/arch", "x86");
#if defined(__x86_64__) || defined(__i386__)
    return !x86 && file_has("/proc/cpuinfo", "processor");
#else
    return x86;
#endif
}

static int by_value(const void *left, const void *right)
{
    const int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static int64_t clock_cost(void)
{
    static int64_t pairs[CLOCK_PAIRS];
    for (int index = 0; index < CLOCK_PAIRS; ++index) {
        const int64_t before = nanoseconds();
        pairs[index] = nanoseconds() - before;
    }
    qsort(pairs, CLOCK_PAIRS, sizeof *pairs, by_value);
    return pairs[CLOCK_PAIRS / 2];
}

/* Every frame once; returns how many there are. One frame is in memory at a time, so that the peak
 * is that of the model. */
static int64_t run_golden(FILE *source, FILE *results)
{
    static model_feature frame[FRAME_FEATURES];
    int64_t frames = 0;
    MODEL(init)(&instance);
    while (fread(frame, sizeof frame, 1, source) == 1) {
        MODEL(step)(&instance, frame, mask);
        put(results, mask, sizeof mask);
        ++frames;
    }
    return frames;
}

static model_feature *load_features(FILE *source, int64_t frames)
{
    const size_t size = sizeof(model_feature) * FRAME_FEATURES;
    model_feature *features = malloc((size_t)frames * size);
    if (features == NULL) {
        stop(STATUS_MEMORY, "malloc");
    }
    rewind(source);
    if (fread(features, size, (size_t)frames, source) != (size_t)frames) {
        stop(STATUS_FEATURES, "features.bin");
    }
    return features;
}

/* Steps until `until`, frame after frame; returns how many. */
static int64_t warm_up(const model_feature *features, int64_t frames, int64_t until)
{
    int64_t steps = 0;
    while (nanoseconds() < until || steps < frames) {
        MODEL(step)(&instance, features + steps % frames * FRAME_FEATURES, mask);
        ++steps;
    }
    return steps;
}

/* Whoever started this removes its files when interrupted: it then must not go on here. */
static void stop_if_forgotten(void)
{
    if (access("features.bin", F_OK) != 0) {
        exit(STATUS_GONE);
    }
}

static void time_steps(const model_feature *features, int64_t duration, results_header *header)
{
    const int64_t until = nanoseconds() + duration;
    int64_t now = 0, look = 0;
    header->minimum = INT64_MAX;
    while (now < until) {
        const model_feature *frame = features + header->timed % header->frames * FRAME_FEATURES;
        const int64_t before = nanoseconds();
        MODEL(step)(&instance, frame, mask);
        now = nanoseconds();
        const int64_t taken = now - before;
        header->minimum = taken < header->minimum ? taken : header->minimum;
        header->maximum = taken > header->maximum ? taken : header->maximum;
        ++header->timed;
        if (now > look) {
            stop_if_forgotten();
            look = now + LOOK_NS;
        }
#ifdef BENCH_OPERATORS
        if (++turn == ROUNDS) {
            break;
        }
#else
        count_step((uint64_t)taken);
#endif
    }
}

static int64_t write_timings(FILE *results)
{
#ifdef BENCH_OPERATORS
    put(results, spent, turn * sizeof *spent);
    return (int64_t)turn;
#else
    return write_histogram(results);
#endif
}

static void forget_operators(void)
{
#ifdef BENCH_OPERATORS
    memset(spent, 0, sizeof spent);
#endif
}

int main(int argc, char **argv)
{
    results_header header = {.mask_bytes = sizeof mask};
    if (argc != 3) {
        return STATUS_USAGE;
    }
    header.cpu = atoi(argv[1]);
    const int64_t duration = (int64_t)atoll(argv[2]) * 1000000;
    alarm((unsigned)(duration / 1000000000 * 2 + SPARE_SECONDS)); /* a step that hangs must end */
    pin((int)header.cpu);
    FILE *source = fopen("features.bin", "rb");
    if (source == NULL) {
        stop(STATUS_FEATURES, "features.bin");
    }
    FILE *results = fopen("results.bin", "wb");
    if (results == NULL) {
        stop(STATUS_WRITE, "results.bin");
    }
    put(results, &header, sizeof header);
    header.frames = run_golden(source, results);
    header.memory = peak_memory();
    if (header.frames == 0) {
        stop(STATUS_FEATURES, "features.bin");
    }
    const model_feature *features = load_features(source, header.frames);
    header.clock = clock_cost();
    header.warm_up = warm_up(features, header.frames, nanoseconds() + WARM_UP_NS);
    forget_operators();
    header.before = frequency_of((int)header.cpu);
    time_steps(features, duration, &header);
    header.after = frequency_of((int)header.cpu);
    header.emulated = is_emulated();
    header.entries = write_timings(results);
    memcpy(header.mark, "sordino1", sizeof header.mark);
    rewind(results);
    put(results, &header, sizeof header);
    if (fclose(results) != 0) {
        stop(STATUS_WRITE, "results.bin");
    }
    return 0;
}
