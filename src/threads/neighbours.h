/* How many threads the other processes leave room for.
 *
 * A thread that shares its core with somebody else's is away for milliseconds at a time, and the rest of its team waits
 * for it: two threads are then slower than one. So a parallel region whose threads got less processor time than they
 * should raises a question, and the system's count of the work on our cores, less our own, answers it: if others are at
 * work there, teams leave them their cores until they have gone.
 *
 * Neither would do alone. A virtual machine's cores are taken away without a neighbour, and a neighbour need not be in
 * the way; other libraries' threads that spin in this process count as ours. Linux only; elsewhere there is always room. */
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
#define FR_MISSING 0.4          /* the time our threads did not get */
#define FR_NEIGHBOUR 0.3        /* the time others got */
/* Seconds. */
#define FR_SHORTEST_REGION 0.002
#define FR_STOPWATCH_EVERY 0.0005  /* reading the process's time takes 1 us on a virtual machine */
#define FR_COUNT_EVERY 0.1
#define FR_SHORTEST_COUNT 0.05  /* the system counts hundredths */
/* Reading the system's count takes 30 us and more: so much of all time at most, and so much while there are questions. */
#define FR_COUNTING_SHARE 0.001
#define FR_ASKING_SHARE 0.02

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
    atomic_flag busy;       /* one of several calling threads keeps the rest, the others do without */
    fr_sample stopwatch;
    fr_count last, before;  /* at least FR_SHORTEST_COUNT apart */
    double cost, asked;     /* processor time of a count; when one was last taken to answer a question */
} fr_neighbours = {.room = INT_MAX, .busy = ATOMIC_FLAG_INIT};

static double fr_seconds(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double fr_interval(void)
{
    double interval = fr_neighbours.cost / FR_COUNTING_SHARE;
    return interval > FR_COUNT_EVERY ? interval : FR_COUNT_EVERY;
}

static fr_count fr_new_count(void)
{
    double start = fr_seconds(CLOCK_THREAD_CPUTIME_ID);
    fr_count now = {{fr_seconds(CLOCK_MONOTONIC), fr_seconds(CLOCK_PROCESS_CPUTIME_ID)}, 0, {{0}}};
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

static void fr_keep(fr_count now)
{
    if (now.at.time - fr_neighbours.last.at.time < FR_SHORTEST_COUNT) return;
    fr_neighbours.before = fr_neighbours.last;
    fr_neighbours.last = now;
}

/* Room is what the others have left since `then`; all, when that was about other cores. */
static void fr_judge(fr_count then)
{
    fr_count now = fr_new_count();
    int cores = CPU_COUNT(&now.cores), taken = 0;
    if (CPU_EQUAL(&now.cores, &then.cores)) {
        double all = now.everybody - then.everybody, ours = now.at.ours - then.at.ours;
        taken = (int)((all - ours) / (now.at.time - then.at.time) + 1 - FR_NEIGHBOUR);
    }
    fr_keep(now);
    atomic_store(&fr_neighbours.room, taken < 1 ? INT_MAX : taken < cores ? cores - taken : 1);
}

static int fr_room(void)
{
    if (atomic_load_explicit(&fr_neighbours.room, memory_order_relaxed) < INT_MAX
        && !atomic_flag_test_and_set(&fr_neighbours.busy)) {
        if (fr_seconds(CLOCK_MONOTONIC) - fr_neighbours.last.at.time > fr_interval()) fr_judge(fr_neighbours.last);
        atomic_flag_clear(&fr_neighbours.busy);
    }
    return atomic_load_explicit(&fr_neighbours.room, memory_order_relaxed);
}

/* Before a parallel region: what fr_left wants to know. */
static fr_sample fr_entered(void)
{
    fr_sample start = {fr_seconds(CLOCK_MONOTONIC), 0};
    if (!atomic_flag_test_and_set(&fr_neighbours.busy)) {
        if (start.time - fr_neighbours.last.at.time > fr_interval()) fr_keep(fr_new_count());
        if (start.time - fr_neighbours.stopwatch.time > FR_STOPWATCH_EVERY)
            fr_neighbours.stopwatch = (fr_sample){start.time, fr_seconds(CLOCK_PROCESS_CPUTIME_ID)};
        start.ours = fr_neighbours.stopwatch.ours;
        atomic_flag_clear(&fr_neighbours.busy);
    }
    return start;
}

/* After it. When the stopwatch was read before its start, what our threads did then counts in its favour. */
static void fr_left(fr_sample start, int threads)
{
    fr_sample now = {fr_seconds(CLOCK_MONOTONIC), 0};
    double took = now.time - start.time;
    if (took < FR_SHORTEST_REGION || start.ours == 0 || atomic_flag_test_and_set(&fr_neighbours.busy)) return;
    now.ours = fr_seconds(CLOCK_PROCESS_CPUTIME_ID);
    fr_neighbours.stopwatch = now;
    if (threads - (now.ours - start.ours) / took > FR_MISSING
        && now.time - fr_neighbours.asked > fr_neighbours.cost / FR_ASKING_SHARE) {
        int old = now.time - fr_neighbours.last.at.time > FR_SHORTEST_COUNT;
        fr_count then = old ? fr_neighbours.last : fr_neighbours.before;
        if (then.at.time > 0) fr_judge(then);
        fr_neighbours.asked = now.time;
    }
    atomic_flag_clear(&fr_neighbours.busy);
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

#endif
#endif
