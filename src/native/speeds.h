/* Relative speeds of threads. OpenMP keeps a team for each calling thread, so each of those has speeds of its own. */
#ifndef FR_SPEEDS_H
#define FR_SPEEDS_H

/* How much faster than the mean of its team each of the caller's FR_MAX_TEAM threads was lately: 0.1 is 10 %. */
double *fr_relative_speeds(void);

#endif
