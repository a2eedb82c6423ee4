#define _GNU_SOURCE  /* the processors that a thread may run on */
#include "native/granted.h"

#include <limits.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#include <sys/syscall.h>
#endif

int fr_processors(void)
{
#ifdef __linux__
    cpu_set_t cores[16];
    if (sched_getaffinity(0, sizeof cores, cores) == 0) return CPU_COUNT_S(sizeof cores, cores);
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : online > INT_MAX ? INT_MAX : (int)online;
}

#ifdef _OPENMP
#include <ctype.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

enum {
    FR_TRUSTED = 256,        /* requests for which a refusal is believed before more threads are tried again */
    FR_SPARE_BYTES = 65536,  /* memory that OpenMP may need besides its threads' stacks: in all, */
    FR_SPARE_EACH = 4096,    /* and for each thread */
};

/* The caller's team. OpenMP keeps one for each calling thread. Where a team is smaller than the last, OpenMP ends the
 * surplus threads. */
static _Thread_local struct {
    int running;  /* threads of the last team, the caller included */
    int most;     /* threads that came when more were wanted */
    int trusted;  /* requests for which `most` is still believed */
} fr_caller = {1, FR_MOST_GRANTED, 0};

static pthread_mutex_t fr_granting = PTHREAD_MUTEX_INITIALIZER;

static size_t fr_stack_bytes;   /* of OpenMP's threads; 0 for the system's default */
static int fr_openmp_threads;   /* that OpenMP's setting allowed at import */

/* OMP_STACKSIZE, as OpenMP reads it: a size in KiB, or with a letter of B, K, M and G. */
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

void fr_read_openmp(void)
{
    fr_stack_bytes = fr_read_stack_bytes();
    fr_openmp_threads = omp_get_max_threads();
}

int fr_openmp_limit(void)
{
    int now = omp_get_max_threads();
    return now < fr_openmp_threads ? now : INT_MAX;
}

/* A thread that is started to see whether it can be. It waits at the gate until all have been started. */
typedef struct {
    pthread_t thread;
    pthread_mutex_t *gate;
    long id;
} fr_trial;

static void *fr_wait_at_gate(void *argument)
{
    fr_trial *trial = argument;
#ifdef __linux__
    trial->id = syscall(SYS_gettid);
#endif
    pthread_mutex_lock(trial->gate);
    pthread_mutex_unlock(trial->gate);
    return NULL;
}

/* A joined thread counts against the limits until the system has removed it. */
static void fr_wait_for_removal(const fr_trial *trial)
{
#ifdef __linux__
    for (int tries = 0; tries < 100000 && syscall(SYS_tgkill, (long)getpid(), trial->id, 0) == 0; tries++)
        sched_yield();
#else
    (void)trial;
#endif
}

/* How many of `wanted` further threads can be alive at once. */
static int fr_try_threads(int wanted)
{
    fr_trial trials[FR_MOST_GRANTED];
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_attr_t attributes;
    sigset_t all, before;
    int came = 0, enough;
    if (pthread_attr_init(&attributes)) return 0;
    if (fr_stack_bytes) pthread_attr_setstacksize(&attributes, fr_stack_bytes);  /* OpenMP ignores a refusal, too */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  /* inherited: no signal handler runs on a trial thread */
    pthread_mutex_lock(&gate);
    while (came < wanted) {
        trials[came].gate = &gate;
        if (pthread_create(&trials[came].thread, &attributes, fr_wait_at_gate, &trials[came])) break;
        came++;
    }
    void *spare = malloc(FR_SPARE_BYTES + (size_t)came * FR_SPARE_EACH);
    enough = spare != NULL;
    free(spare);
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < came; i++) pthread_join(trials[i].thread, NULL);
    for (int i = 0; i < came; i++) fr_wait_for_removal(&trials[i]);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    pthread_mutex_destroy(&gate);
    return enough || came == 0 ? came : came - 1;
}

int fr_granted_threads(int wanted)
{
    int came;
    if (omp_in_parallel()) return 1;  /* OpenMP starts and ends a nested team each time */
    if (omp_get_dynamic()) fr_caller.running = 1;  /* the last team may have been smaller than asked for */
    if (wanted > fr_caller.most && fr_caller.trusted > 0) {
        fr_caller.trusted--;
        wanted = fr_caller.most;
    }
    if (wanted <= fr_caller.running) {
        if (wanted > 1) fr_caller.running = wanted;  /* one thread needs no region and leaves the team as it is */
        return wanted;
    }
    pthread_mutex_lock(&fr_granting);
    int missing = wanted - fr_caller.running;
    came = fr_try_threads(missing);
    if (came < missing) {  /* surplus threads of a smaller team may still be ending */
        nanosleep(&(struct timespec){0, 1000000}, NULL);
        came = fr_try_threads(missing);
    }
    came += fr_caller.running;
    /* OpenMP starts its threads now, under the lock. OMP_THREAD_LIMIT may leave fewer. */
#pragma omp parallel num_threads(came)
#pragma omp master
    came = omp_get_num_threads();
    pthread_mutex_unlock(&fr_granting);
    fr_caller.running = came;
    fr_caller.most = came < wanted ? came : FR_MOST_GRANTED;
    fr_caller.trusted = came < wanted ? FR_TRUSTED : 0;
    return came;
}

#else

int fr_granted_threads(int wanted) { return wanted > 1 ? 1 : wanted; }

void fr_read_openmp(void) {}

int fr_openmp_limit(void) { return INT_MAX; }

#endif
