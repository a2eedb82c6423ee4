#define _GNU_SOURCE  /* the processors that a thread may run on */
#include "native/neighbours.h"

#include <limits.h>

#if defined(__linux__) && defined(_OPENMP)
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Cores. */
#define FR_MISSING 0.4    /* a doubt: our threads missed so much processor time */
#define FR_NEIGHBOUR 0.5  /* a neighbour: others used so much */
/* Seconds. */
#define FR_SHORTEST_WATCH 0.002    /* shorter ones say nothing */
#define FR_STOPWATCH_EVERY 0.0005  /* reading the process's time takes 1 us on a virtual machine */
#define FR_LATELY 0.05             /* the time over which missing processor time is averaged */
#define FR_COUNT_EVERY 0.1         /* the system counts hundredths, often by sampling at a tick */
/* A count takes 30 us and more. Counting may take this part of all time. */
#define FR_COUNTING_SHARE 0.001

/* What the system counts: the processor time of all processes on the cores that we may use. */
typedef struct {
    fr_watch at;
    double everybody;
    cpu_set_t cores;
} fr_count;

static struct {
    atomic_int free_cores;
    atomic_flag busy;      /* guards what follows; a caller that finds it taken goes on without */
    fr_watch stopwatch;    /* the last reading of our processor time */
    double missing;        /* cores, lately */
    int doubt;             /* `missing` was too high at the end of the last watch */
    fr_count last;
    double cost;           /* processor time that a count takes */
} fr_state = {.free_cores = INT_MAX, .busy = ATOMIC_FLAG_INIT};

static struct {
    int set;
    fr_count count;
} fr_simulated;

static double fr_seconds(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double fr_time(void) { return fr_simulated.set ? fr_simulated.count.at.time : fr_seconds(CLOCK_MONOTONIC); }

static double fr_ours(void)
{
    return fr_simulated.set ? fr_simulated.count.at.ours : fr_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

/* Seconds from one count to the next. */
static double fr_interval(void)
{
    double interval = fr_state.cost / FR_COUNTING_SHARE;
    return interval > FR_COUNT_EVERY ? interval : FR_COUNT_EVERY;
}

static fr_count fr_count_now(void)
{
    if (fr_simulated.set) return fr_simulated.count;
    double start = fr_seconds(CLOCK_THREAD_CPUTIME_ID);
    fr_count now = {{fr_time(), fr_ours()}, 0, {{0}}};
    char line[256];
    long long ticks = 0;
    FILE *file = sched_getaffinity(0, sizeof now.cores, &now.cores) == 0 ? fopen("/proc/stat", "re") : NULL;
    while (file && fgets(line, sizeof line, file) && strncmp(line, "cpu", 3) == 0) {
        int cpu;
        long long user, nice, system, idle, wait, irq, soft;
        if (line[3] != ' ' /* the sum of all cores */
            && sscanf(line, "cpu%d %lld %lld %lld %lld %lld %lld %lld", &cpu, &user, &nice, &system, &idle, &wait, &irq,
                      &soft) == 8
            && cpu < CPU_SETSIZE && CPU_ISSET(cpu, &now.cores))
            ticks += user + nice + system + irq + soft;
    }
    if (file) fclose(file);
    now.everybody = (double)ticks / (double)sysconf(_SC_CLK_TCK);
    fr_state.cost = fr_seconds(CLOCK_THREAD_CPUTIME_ID) - start;
    return now;
}

/* Sets the free cores by what others used since the last count. If the affinity changed since, the counts are of
 * different cores and say nothing: then all are free. */
static void fr_judge(void)
{
    fr_count now = fr_count_now(), then = fr_state.last;
    int cores = CPU_COUNT(&now.cores), taken = 0;
    if (CPU_EQUAL(&now.cores, &then.cores)) {
        double all = now.everybody - then.everybody, ours = now.at.ours - then.at.ours;
        taken = (int)((all - ours) / (now.at.time - then.at.time) + 1 - FR_NEIGHBOUR);
    }
    fr_state.last = now;
    atomic_store(&fr_state.free_cores, taken < 1 ? INT_MAX : taken < cores ? cores - taken : 1);
}

int fr_free_cores(void)
{
    if (atomic_load_explicit(&fr_state.free_cores, memory_order_relaxed) < INT_MAX
        && !atomic_flag_test_and_set(&fr_state.busy)) {
        if (fr_time() - fr_state.last.at.time > fr_interval()) fr_judge();
        atomic_flag_clear(&fr_state.busy);
    }
    return atomic_load_explicit(&fr_state.free_cores, memory_order_relaxed);
}

fr_watch fr_watch_begin(void)
{
    fr_watch start = {fr_time(), 0};
    if (!atomic_flag_test_and_set(&fr_state.busy)) {
        if (start.time - fr_state.stopwatch.time > FR_STOPWATCH_EVERY)
            fr_state.stopwatch = (fr_watch){start.time, fr_ours()};
        start.ours = fr_state.stopwatch.ours;
        atomic_flag_clear(&fr_state.busy);
    }
    return start;
}

/* The stopwatch may have been read before the watch began. Work of that time makes our threads look less hindered. */
void fr_watch_end(fr_watch start, int threads)
{
    fr_watch now = {fr_time(), 0};
    double took = now.time - start.time;
    if (took < FR_SHORTEST_WATCH || start.ours == 0 || atomic_flag_test_and_set(&fr_state.busy)) return;
    now.ours = fr_ours();
    fr_state.stopwatch = now;
    double missing = threads - (now.ours - start.ours) / took, weight = took < FR_LATELY ? took / FR_LATELY : 1;
    fr_state.missing += weight * (missing - fr_state.missing);
    int doubt = fr_state.missing > FR_MISSING;
    if (doubt && !fr_state.doubt) fr_state.last = fr_count_now();
    else if (doubt && now.time - fr_state.last.at.time > fr_interval()) fr_judge();
    fr_state.doubt = doubt;
    atomic_flag_clear(&fr_state.busy);
}

void fr_cpu_times(double *time, double *ours, double *everybody, int *cores)
{
    fr_count now = fr_count_now();
    *time = now.at.time, *ours = now.at.ours, *everybody = now.everybody, *cores = CPU_COUNT(&now.cores);
}

void fr_simulate_times(double time, double ours, double everybody, int cores)
{
    if (fr_simulated.set != (cores > 0)) {
        atomic_store(&fr_state.free_cores, INT_MAX);
        fr_state.stopwatch = (fr_watch){0, 0};
        fr_state.missing = fr_state.cost = 0;
        fr_state.doubt = 0;
    }
    fr_simulated.set = cores > 0;
    fr_simulated.count = (fr_count){{time, ours}, everybody, {{0}}};
    for (int cpu = 0; cpu < cores; cpu++) CPU_SET(cpu, &fr_simulated.count.cores);
}

#else

int fr_free_cores(void) { return INT_MAX; }

fr_watch fr_watch_begin(void) { return (fr_watch){0, 0}; }

void fr_watch_end(fr_watch start, int threads) { (void)start, (void)threads; }

void fr_cpu_times(double *time, double *ours, double *everybody, int *cores)
{
    *time = *ours = *everybody = 0, *cores = 0;
}

void fr_simulate_times(double time, double ours, double everybody, int cores)
{
    (void)time, (void)ours, (void)everybody, (void)cores;
}

#endif
