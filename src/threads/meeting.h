/* What the threads that share a time loop need of each other: their number, how the work is cut, and a place to meet after
 * every stage. */
#ifndef FR_MEETING_H
#define FR_MEETING_H

#include <stdatomic.h>
#include <stdint.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#include <sched.h>
#include <time.h>

enum {
    FR_MAX_TEAM = 64,
    /* Looks at the others before the processor is offered to somebody else: some 20 us. A thread that takes longer has
     * most likely lost its core. */
    FR_LOOKS = 1000,
    /* What a wait takes on a test's clock: far more than any work there. */
    FR_TEST_WAIT = 1000000000
};

/* How many stages a thread has finished; at the end what it has done in all, and how many ticks of a clock it took
 * without those it waited. Lines are fetched in pairs: each thread writes to a pair of its own. A test sets `pace`, the
 * ticks that a piece of work takes; its clock then stands at `now` and moves by what the thread says it did. */
typedef struct {
    _Alignas(128) atomic_long stages;
    double work;
    int64_t ticks;
    double pace, now;
} fr_progress;

typedef struct {
    int threads;                     /* those that have a place below */
    const double *paces;             /* of the threads on a test's clock, or NULL for the machine's */
    double before[FR_MAX_TEAM + 1];  /* the speeds of threads 0..i-1 added up */
    fr_progress places[FR_MAX_TEAM];
} fr_team;

static inline int fr_team_size(void)
{
#ifdef _OPENMP
    return omp_get_num_threads();
#else
    return 1;
#endif
}

static inline void fr_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

static inline int64_t fr_machine_ticks(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return (int64_t)__builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    int64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
#endif
}

/* The clock of a thread's place; on a test's clock the thread has done `work` since it looked last, or `waited`. */
static inline int64_t fr_ticks(fr_progress *place, double work, int waited)
{
    if (place->pace == 0) return fr_machine_ticks();
    place->now += work * place->pace + (waited ? FR_TEST_WAIT : 0);
    return (int64_t)place->now;
}

/* Nobody has done anything yet. */
static inline void fr_start(fr_team *team)
{
    for (int i = 0; i < team->threads; i++) {
        fr_progress *place = &team->places[i];
        atomic_init(&place->stages, 0);
        place->work = 0, place->ticks = 0, place->now = 0;
        place->pace = team->paces ? team->paces[i] : 0;
    }
}

/* Says that thread `me` has finished `stages` stages and waits until all have. What they wrote before is then visible
 * here. No thread writes what another one reads: OpenMP's own barrier takes 400 ns for two, this one 30 to 90. Returns the
 * ticks waited. */
static inline int64_t fr_meet(fr_progress *all, int count, int me, long stages)
{
    int64_t since = 0;
    int waiting = 0;
    atomic_store_explicit(&all[me].stages, stages, memory_order_release);
    for (int i = 0; i < count; i++) {
        if (atomic_load_explicit(&all[i].stages, memory_order_acquire) >= stages) continue;
        if (!waiting) since = fr_ticks(&all[me], 0, 0), waiting = 1;
        for (int looks = 0; atomic_load_explicit(&all[i].stages, memory_order_acquire) < stages;) {
            if (looks < FR_LOOKS) fr_pause(), looks++;
            else sched_yield();
        }
    }
    return waiting ? fr_ticks(&all[me], 0, 1) - since : 0;
}

#endif
