"""What `fastrnn bench` needs compiled: loops that measure the processor, and a frame for counting instructions.

The loops run with the instruction set that this process's kernels use, and last as long as the rounds they are given:
whoever calls them takes the time.
"""

from cython.parallel cimport parallel, threadid

from fastrnn._kernels cimport kernels
from fastrnn._team cimport grant

cdef extern from *:
    """
    #include <string.h>
    #include "inline.h"
    #include "bench/loops.h"

    static const fr_loops *loops_of(const char *isa)
    {
    #if FR_X86
        if (strcmp(isa, "avx2") == 0) return &fr_loops_avx2;
        if (strcmp(isa, "avx512") == 0) return &fr_loops_avx512;
    #endif
        return &fr_loops_baseline;
    }

    static void pass_barriers(ptrdiff_t count, int threads)
    {
    #ifdef _OPENMP
    #pragma omp parallel num_threads(threads)
        for (ptrdiff_t i = 0; i < count; i++) {
    #pragma omp barrier
        }
    #endif
        (void)count, (void)threads;
    }

    /* Exported, so that Callgrind can be told to count inside it alone. */
    __attribute__((visibility("default"), noinline)) PyObject *fr_bench_counted(PyObject *run)
    {
        return PyObject_CallNoArgs(run);
    }

    #ifdef __VERSION__
    static const char *compiler_version = __VERSION__;
    #else
    static const char *compiler_version = "unknown";
    #endif
    """
    ctypedef struct fr_loops:
        double flops
        Py_ssize_t block
        float (*multiply_add)(Py_ssize_t rounds) noexcept nogil
        float (*read)(Py_ssize_t rounds, Py_ssize_t n, const float *data) noexcept nogil

    const fr_loops *loops_of(const char *isa) nogil
    void pass_barriers(Py_ssize_t count, int threads) noexcept nogil
    object fr_bench_counted(object run)
    const char *compiler_version


def compiler():
    """The compiler that built this module, by its own words."""
    return compiler_version.decode()


def multiply_add(Py_ssize_t rounds, int threads):
    """Run chains of multiply-adds on every thread; return how many FLOP they were in all."""
    cdef const fr_loops *loops = loops_of(kernels.name)
    threads = grant(threads)
    with nogil, parallel(num_threads=threads):
        loops.multiply_add(rounds)
    return loops.flops * rounds * threads


def read(Py_ssize_t rounds, const float[:, ::1] buffers):
    """Read row i of `buffers` `rounds` times on thread i, if there is one; return the bytes read in all.

    The rows' length is cut to a multiple of the loop's block: at least 128 floats, or nothing is read.
    """
    cdef const fr_loops *loops = loops_of(kernels.name)
    cdef Py_ssize_t n = buffers.shape[1] // loops.block * loops.block
    cdef int threads = grant(<int> buffers.shape[0])
    with nogil, parallel(num_threads=threads):
        loops.read(rounds, n, &buffers[threadid(), 0])
    return 4 * rounds * n * threads


def barriers(Py_ssize_t count, int threads):
    """Let `threads` threads meet at OpenMP's barrier `count` times."""
    threads = grant(threads)
    with nogil:
        pass_barriers(count, threads)


def counted(run):
    """Call `run` in a C function that a profiler can find by name: fr_bench_counted."""
    return fr_bench_counted(run)
