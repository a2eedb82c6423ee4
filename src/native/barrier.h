/* A team of threads: what each member did and how fast, and the barrier where members wait for each other.
 *
 * The barrier only reads and writes memory: 30 to 90 ns for two threads, where OpenMP's takes 400 because it makes a
 * system call. No member writes what another one writes, and each has cache lines of its own. */
#ifndef FR_BARRIER_H
#define FR_BARRIER_H

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum {
    FR_MAX_TEAM = 64,
    /* Spins before a waiting thread offers its core to others: some 20 us. A member that takes longer has most likely
     * lost its own core. */
    FR_SPINS = 1000,
    /* Ticks of a wait on a test's clock: far more than any work takes there. */
    FR_TEST_WAIT = 1000000000
};

/* One thread of a team. Processors fetch cache lines in pairs, so each member has a pair.
 *
 * work and ticks are what the thread records at the end: what it did, and how long it took without waiting. They give
 * its relative speed. A test can set the ticks that a unit of work takes; `test_now` is then the time. */
typedef struct {
    _Alignas(128) atomic_long stages;  /* finished so far */
    double work;
    int64_t ticks;
    double test_pace, test_now;
} fr_member;

typedef struct {
    int threads;                     /* that have a member below */
    double before[FR_MAX_TEAM + 1];  /* sum of the relative speeds of threads 0..i-1 */
    fr_member members[FR_MAX_TEAM];
} fr_team;

/* Threads that run the current parallel region. */
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

/* The time for a member. Only a test's clock needs the other two: `work` is what the member did since it last asked,
 * `waited` whether it waited at a barrier. */
static inline int64_t fr_ticks(fr_member *member, double work, int waited)
{
    if (member->test_pace == 0) return fr_machine_ticks();
    member->test_now += work * member->test_pace + (waited ? FR_TEST_WAIT : 0);
    return (int64_t)member->test_now;
}

/* Makes thread i of a team ready for a region. test_pace 0: the machine's clock. */
static inline void fr_member_start(fr_member *member, double test_pace)
{
    atomic_init(&member->stages, 0);
    member->work = 0, member->ticks = 0;
    member->test_pace = test_pace, member->test_now = 0;
}

/* Records that member `me` of the `count` members has finished `stages` stages, and waits until all have. What they
 * wrote before is then visible. Returns the ticks spent waiting. */
static inline int64_t fr_barrier(fr_member *members, int count, int me, long stages)
{
    int64_t since = 0;
    int waiting = 0;
    atomic_store_explicit(&members[me].stages, stages, memory_order_release);
    for (int i = 0; i < count; i++) {
        if (atomic_load_explicit(&members[i].stages, memory_order_acquire) >= stages) continue;
        if (!waiting) since = fr_ticks(&members[me], 0, 0), waiting = 1;
        for (int spins = 0; atomic_load_explicit(&members[i].stages, memory_order_acquire) < stages;) {
            if (spins < FR_SPINS) fr_pause(), spins++;
            else sched_yield();
        }
    }
    return waiting ? fr_ticks(&members[me], 0, 1) - since : 0;
}

#endif
