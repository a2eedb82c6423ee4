/* For `fastrnn bench`. */
#ifndef FR_PROBE_H
#define FR_PROBE_H

#include <Python.h>
#include <stddef.h>

/* Passes OpenMP's barrier `count` times. To be called by every thread of a parallel region. */
void fr_openmp_barriers(ptrdiff_t count);

/* Calls `run`. The name is exported, so that Callgrind can be told to count inside it alone. */
PyObject *fr_bench_counted(PyObject *run);

/* The compiler of this file, in its own words. */
const char *fr_compiler(void);

#endif
