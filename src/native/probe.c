#include "native/probe.h"

void fr_openmp_barriers(ptrdiff_t count)
{
#ifdef _OPENMP
    for (ptrdiff_t i = 0; i < count; i++) {
#pragma omp barrier
    }
#endif
    (void)count;
}

__attribute__((visibility("default"), noinline)) PyObject *fr_bench_counted(PyObject *run)
{
    return PyObject_CallNoArgs(run);
}

const char *fr_compiler(void)
{
#ifdef __VERSION__
    return __VERSION__;
#else
    return "unknown";
#endif
}
