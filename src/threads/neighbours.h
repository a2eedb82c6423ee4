/* How many threads the other processes leave free cores for.
 *
 * A thread that shares its core with somebody else's is away for milliseconds at a time, and the rest of its team waits
 * for it. So a core is left to whoever uses more than half of one. Who uses less would get no more from that than he has,
 * and a team would lose more: its shares follow the speed of its threads instead.
 *
 * Parallel regions whose threads lately got less processor time than they should raise a doubt; then the system's count of
 * the work on our cores, less our own, tells. Neither would do alone. A virtual machine's cores are taken away without a
 * neighbour, and a neighbour need not be in the way; other libraries' threads that spin in this process count as ours
 * (Z3-84, Z3-87). Linux only; elsewhere all cores are free. */
#ifndef FR_NEIGHBOURS_H
#define FR_NEIGHBOURS_H

#include <limits.h>

#if defined(__linux__) && defined(_OPENMP)
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Cores. */
#define FR_MISSING 0.4    /* the time that our threads did not get */
#define FR_NEIGHBOUR 0.5  /* the time that others got */
/* Seconds. */
#define FR_SHORTEST_REGION 0.002
#define FR_STOPWATCH_EVERY 0.0005  /* reading the process's time takes 1 us on a virtual machine */
#define FR_LATELY 0.05             /* the time over which what is missing is averaged */
#define FR_COUNT_EVERY 0.1         /* the system counts hundredths, and often by looking who is there at a tick */
/* Reading the system's count takes 30 us and more: so much of all time at most. */
#define FR_COUNTING_SHARE 0.001

typedef struct {
    double time, ours;  /* on the clock; of this process on the processors */
} fr_sample;

typedef struct {
    fr_sample at;
    double everybody;   /* of all processes on these cores, which are the ones that we may use */
    cpu_set_t cores;
} fr_count;

static struct {
    atomic_int room;
    atomic_flag busy;     /* one of several calling threads keeps the rest, the others do without */
    fr_sample stopwatch;
    double missing;       /* cores, lately */
    int doubt;            /* whether that is too much, or was at the last count */
    fr_count last;
    double cost;          /* processor time of a count */
} fr_neighbours = {.room = INT_MAX, .busy = ATOMIC_FLAG_INIT};

/* What a test says instead of the system. */
static struct {
    int set;
    fr_count count;
} fr_world;

static double fr_seconds(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double fr_time(void) { return fr_world.set ? fr_world.count.at.time : fr_seconds(CLOCK_MONOTONIC); }

static double fr_ours(void) { return fr_world.set ? fr_world.count.at.ours : fr_seconds(CLOCK_PROCESS_CPUTIME_ID); }

static double fr_interval(void)
{
    double interval = fr_neighbours.cost / FR_COUNTING_SHARE;
    return interval > FR_COUNT_EVERY ? interval : FR_COUNT_EVERY;
}

static fr_count fr_new_count(void)
{
    if (fr_world.set) return fr_world.count;
    double start = fr_seconds(CLOCK_THREAD_CPUTIME_ID);
    fr_count now = {{fr_time(), fr_ours()}, 0, {{0}}};
    char line[256];
    long long ticks = 0;
    FILE *file = sched_getaffinity(0, sizeof now.cores, &now.cores) == 0 ? fopen("/proc/stat", "re") : NULL;
    while (file && fgets(line, sizeof line, file) && strncmp(line, "cpu", 3) == 0) {
        int cpu;
        long long user, nice, system, idle, wait, irq, soft;
        if (line[3] != ' ' /* the sum of all */
            && sscanf(line, "cpu%d %lld %lld %lld %lld %lld %lld %lld", &cpu, &user, &nice, &system, &idle, &wait, &irq,
                      &soft) == 8
            && cpu < CPU_SETSIZE && CPU_ISSET(cpu, &now.cores))
            ticks += user + nice + system + irq + soft;
    }
    if (file) fclose(file);
    now.everybody = (double)ticks / (double)sysconf(_SC_CLK_TCK);
    fr_neighbours.cost = fr_seconds(CLOCK_THREAD_CPUTIME_ID) - start;
    return now;
}

/* Room is what the others have left since the last count; all, when that was about other cores. */
static void fr_judge(void)
{
    fr_count now = fr_new_count(), then = fr_neighbours.last;
    int cores = CPU_COUNT(&now.cores), taken = 0;
    if (CPU_EQUAL(&now.cores, &then.cores)) {
        double all = now.everybody - then.everybody, ours = now.at.ours - then.at.ours;
        taken = (int)((all - ours) / (now.at.time - then.at.time) + 1 - FR_NEIGHBOUR);
    }
    fr_neighbours.last = now;
    atomic_store(&fr_neighbours.room, taken < 1 ? INT_MAX : taken < cores ? cores - taken : 1);
}

static int fr_room(void)
{
    if (atomic_load_explicit(&fr_neighbours.room, memory_order_relaxed) < INT_MAX
        && !atomic_flag_test_and_set(&fr_neighbours.busy)) {
        if (fr_time() - fr_neighbours.last.at.time > fr_interval()) fr_judge();
        atomic_flag_clear(&fr_neighbours.busy);
    }
    return atomic_load_explicit(&fr_neighbours.room, memory_order_relaxed);
}

/* Before a parallel region: what fr_left wants to know. */
static fr_sample fr_entered(void)
{
    fr_sample start = {fr_time(), 0};
    if (!atomic_flag_test_and_set(&fr_neighbours.busy)) {
        if (start.time - fr_neighbours.stopwatch.time > FR_STOPWATCH_EVERY)
            fr_neighbours.stopwatch = (fr_sample){start.time, fr_ours()};
        start.ours = fr_neighbours.stopwatch.ours;
        atomic_flag_clear(&fr_neighbours.busy);
    }
    return start;
}

/* After it. When the stopwatch was read before its start, what our threads did then counts in its favour. */
static void fr_left(fr_sample start, int threads)
{
    fr_sample now = {fr_time(), 0};
    double took = now.time - start.time;
    if (took < FR_SHORTEST_REGION || start.ours == 0 || atomic_flag_test_and_set(&fr_neighbours.busy)) return;
    now.ours = fr_ours();
    fr_neighbours.stopwatch = now;
    double missing = threads - (now.ours - start.ours) / took, weight = took < FR_LATELY ? took / FR_LATELY : 1;
    fr_neighbours.missing += weight * (missing - fr_neighbours.missing);
    int doubt = fr_neighbours.missing > FR_MISSING;
    if (doubt && !fr_neighbours.doubt) fr_neighbours.last = fr_new_count();
    else if (doubt && now.time - fr_neighbours.last.at.time > fr_interval()) fr_judge();
    fr_neighbours.doubt = doubt;
    atomic_flag_clear(&fr_neighbours.busy);
}

/* The time, this process's and everybody's processor time, and the cores. For tests. */
static void fr_told(double *time, double *ours, double *everybody, int *cores)
{
    fr_count now = fr_new_count();
    *time = now.at.time, *ours = now.at.ours, *everybody = now.everybody, *cores = CPU_COUNT(&now.cores);
}

/* A test's clock, our processor time, everybody's on so many cores; no cores for the system's own. Nothing is known yet when
 * one takes the place of the other. */
static void fr_pretend(double time, double ours, double everybody, int cores)
{
    if (fr_world.set != (cores > 0)) {
        atomic_store(&fr_neighbours.room, INT_MAX);
        fr_neighbours.stopwatch = (fr_sample){0, 0};
        fr_neighbours.missing = fr_neighbours.cost = 0;
        fr_neighbours.doubt = 0;
    }
    fr_world.set = cores > 0;
    fr_world.count = (fr_count){{time, ours}, everybody, {{0}}};
    for (int cpu = 0; cpu < cores; cpu++) CPU_SET(cpu, &fr_world.count.cores);
}

#else

typedef struct {
    double time, ours;
} fr_sample;

static int fr_room(void) { return INT_MAX; }

static fr_sample fr_entered(void)
{
    fr_sample start = {0, 0};
    return start;
}

static void fr_left(fr_sample start, int threads) { (void)start, (void)threads; }

static void fr_told(double *time, double *ours, double *everybody, int *cores)
{
    *time = *ours = *everybody = 0, *cores = 0;
}

static void fr_pretend(double time, double ours, double everybody, int cores)
{
    (void)time, (void)ours, (void)everybody, (void)cores;
}

#endif
#endif
