/* How many threads the system grants, and how many the caller's settings leave.
 *
 * OpenMP ends the process when the system refuses it a thread: a limit on processes, on address space, on a control
 * group. So before a caller's team grows, as many threads as it lacks are started here, all alive at once, and ended
 * again; OpenMP is asked for no more than came, and made to start these at once, before other callers of this process
 * take their places. An unchanged or a smaller team costs a comparison. */
#ifndef FR_GRANTED_H
#define FR_GRANTED_H

#include <limits.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#include <sys/syscall.h>
#endif

/* Processors that the calling thread may run on. */
static int fr_processors(void)
{
#ifdef __linux__
    cpu_set_t cores[16];
    if (sched_getaffinity(0, sizeof cores, cores) == 0) return CPU_COUNT_S(sizeof cores, cores);
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : online > INT_MAX ? INT_MAX : (int)online;
}

/* OpenMP is never asked for more: no machine is so large, and some system would refuse. */
enum { FR_MOST_GRANTED = 512 };

#ifdef _OPENMP
#include <ctype.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

enum {
    FR_TRUSTED = 256,        /* times that a refusal is believed before more threads are tried again */
    FR_SPARE_BYTES = 65536,  /* what OpenMP may want besides, in all and for each thread */
    FR_SPARE_EACH = 4096,
};

/* A caller's team. OpenMP keeps one for each calling thread, and ends the threads that a smaller one leaves over. */
static _Thread_local struct {
    int running;  /* threads of the last team, the caller being one */
    int most;     /* that came when more were wanted */
    int trusted;
} fr_granted_team = {1, FR_MOST_GRANTED, 0};

static pthread_mutex_t fr_granting = PTHREAD_MUTEX_INITIALIZER;

/* What OpenMP read before this module came. */
static size_t fr_stack_bytes;   /* of a thread; 0 for the system's own number */
static int fr_openmp_threads;   /* of a region that names no number */

/* As OpenMP reads OMP_STACKSIZE: "size", in KiB, or with a letter of B, K, M and G. */
static size_t fr_read_stack_bytes(void)
{
    static const char *const names[] = {"OMP_STACKSIZE", "GOMP_STACKSIZE"};
    for (int i = 0; i < 2; i++) {
        const char *text = getenv(names[i]);
        char *end;
        if (!text || !*text) continue;
        unsigned long long size = strtoull(text, &end, 10), unit = 1024;
        while (isspace((unsigned char)*end)) end++;
        switch (tolower((unsigned char)*end)) {
        case 'b': unit = 1; break;
        case 'm': unit = 1024 * 1024; break;
        case 'g': unit = 1024 * 1024 * 1024; break;
        }
        if (size > 0 && size < SIZE_MAX / unit) return (size_t)(size * unit);
    }
    return 0;
}

static void fr_read_openmp(void)
{
    fr_stack_bytes = fr_read_stack_bytes();
    fr_openmp_threads = omp_get_max_threads();
}

/* The threads that OpenMP's own setting leaves the caller, where it has been lowered since: threadpoolctl does. */
static int fr_openmp_limit(void)
{
    int now = omp_get_max_threads();
    return now < fr_openmp_threads ? now : INT_MAX;
}

typedef struct {
    pthread_t thread;
    pthread_mutex_t *gate;
    long id;
} fr_trial;

static void *fr_stand_at_gate(void *argument)
{
    fr_trial *trial = argument;
#ifdef __linux__
    trial->id = syscall(SYS_gettid);
#endif
    pthread_mutex_lock(trial->gate);
    pthread_mutex_unlock(trial->gate);
    return NULL;
}

/* A thread that has been joined still counts until the system has buried it. */
static void fr_wait_for_end(const fr_trial *trial)
{
#ifdef __linux__
    for (int looks = 0; looks < 100000 && syscall(SYS_tgkill, (long)getpid(), trial->id, 0) == 0; looks++)
        sched_yield();
#else
    (void)trial;
#endif
}

/* How many of so many threads, beside those there are, can be had at once. */
static int fr_try_threads(int wanted)
{
    fr_trial trials[FR_MOST_GRANTED];
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_attr_t attributes;
    sigset_t all, before;
    int came = 0, enough;
    if (pthread_attr_init(&attributes)) return 0;
    if (fr_stack_bytes) pthread_attr_setstacksize(&attributes, fr_stack_bytes);  /* OpenMP too goes on when that is refused */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  /* they inherit it: no handler runs on them */
    pthread_mutex_lock(&gate);
    while (came < wanted) {
        trials[came].gate = &gate;
        if (pthread_create(&trials[came].thread, &attributes, fr_stand_at_gate, &trials[came])) break;
        came++;
    }
    void *spare = malloc(FR_SPARE_BYTES + (size_t)came * FR_SPARE_EACH);
    enough = spare != NULL;
    free(spare);
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < came; i++) pthread_join(trials[i].thread, NULL);
    for (int i = 0; i < came; i++) fr_wait_for_end(&trials[i]);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    pthread_mutex_destroy(&gate);
    return enough || came == 0 ? came : came - 1;
}

/* How many threads the caller may ask OpenMP for next, at most `wanted`. */
static int fr_grant(int wanted)
{
    int came;
    if (omp_in_parallel()) return 1;  /* teams within others' teams are started and ended each time */
    if (omp_get_dynamic()) fr_granted_team.running = 1;  /* the last team may have been smaller than asked for */
    if (wanted > fr_granted_team.most && fr_granted_team.trusted > 0) {
        fr_granted_team.trusted--;
        wanted = fr_granted_team.most;
    }
    if (wanted <= fr_granted_team.running) {
        if (wanted > 1) fr_granted_team.running = wanted;  /* one thread needs no team, and leaves the last as it is */
        return wanted;
    }
    pthread_mutex_lock(&fr_granting);
    int missing = wanted - fr_granted_team.running;
    came = fr_try_threads(missing);
    if (came < missing) {  /* threads that a smaller team has left over may still be ending */
        nanosleep(&(struct timespec){0, 1000000}, NULL);
        came = fr_try_threads(missing);
    }
    came += fr_granted_team.running;
#pragma omp parallel num_threads(came)
#pragma omp master
    came = omp_get_num_threads();  /* OMP_THREAD_LIMIT may leave fewer */
    pthread_mutex_unlock(&fr_granting);
    fr_granted_team.running = came;
    fr_granted_team.most = came < wanted ? came : FR_MOST_GRANTED;
    fr_granted_team.trusted = came < wanted ? FR_TRUSTED : 0;
    return came;
}

#else

static int fr_grant(int wanted) { return wanted > 1 ? 1 : wanted; }

static void fr_read_openmp(void) {}

static int fr_openmp_limit(void) { return INT_MAX; }

#endif
#endif
