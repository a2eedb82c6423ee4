#include "native/speeds.h"

#include "native/barrier.h"

double *fr_relative_speeds(void)
{
    static _Thread_local double speeds[FR_MAX_TEAM];
    return speeds;
}
