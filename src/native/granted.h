/* How many threads the system grants, and how many OpenMP's settings leave.
 *
 * GNU OpenMP ends the process when the system refuses it a thread: a limit on processes, on address space or of a
 * control group. So threads are tried before OpenMP is asked for them. When a caller's team grows, the missing threads
 * are started here, all alive at once, and ended. OpenMP is then asked for no more than came, and starts them at once,
 * before other callers of this process can take their places. A team that does not grow costs one comparison. */
#ifndef FR_GRANTED_H
#define FR_GRANTED_H

/* OpenMP is never asked for more: no machine is so large, and some system would refuse. */
enum { FR_MOST_GRANTED = 512 };

/* Processors that the calling thread may run on. */
int fr_processors(void);

/* Reads OpenMP's settings as they are when the module is imported. To be called once, before the two below. */
void fr_read_openmp(void);

/* The number of threads that OpenMP's setting allows if somebody lowered it since the import, as threadpoolctl does;
 * else INT_MAX. */
int fr_openmp_limit(void);

/* How many threads the caller's next region may ask OpenMP for, at most `wanted`. */
int fr_granted_threads(int wanted);

#endif
