/* How many cores other processes leave free.
 *
 * A thread that shares its core with another process is away for milliseconds at a time, and its team waits for it. So
 * a core is left to others while they use more than half of it. Leaving it for less would cost a team more than it
 * gains: the partition follows the speed of the threads instead.
 *
 * It takes two signs. First, regions whose threads lately got less processor time than they should. Then the system is
 * asked how much the cores worked, less our own work. Each sign alone misleads (Z3-84, Z3-87): a virtual machine's
 * cores pause without a neighbour, a neighbour may be on a core that we do not need, and other libraries' spinning
 * threads in this process count as ours. Linux only: elsewhere all cores count as free. */
#ifndef FR_NEIGHBOURS_H
#define FR_NEIGHBOURS_H

/* When a watch began: the time, and this process's processor time. Seconds. */
typedef struct {
    double time, ours;
} fr_watch;

/* Cores that other processes leave us; INT_MAX while none is in the way. */
int fr_free_cores(void);

/* Around parallel regions of `threads` threads. */
fr_watch fr_watch_begin(void);
void fr_watch_end(fr_watch start, int threads);

/* For tests: the time, the processor time of this process and of all processes, and the number of cores. */
void fr_cpu_times(double *time, double *ours, double *everybody, int *cores);

/* For tests: these times take the place of the system's. No cores: the system's again. Each change between the two
 * forgets what was known. */
void fr_simulate_times(double time, double ours, double everybody, int cores);

#endif
