"""What `fastrnn bench` needs compiled: loops that measure the processor, and a frame for counting instructions.

The loops run with the instruction set that this process's kernels use, and last as long as the rounds they are given:
whoever calls them takes the time.
"""

from cython.parallel cimport parallel, threadid

from fastrnn._core.kernels cimport kernels
from fastrnn._core.team cimport grant

cdef extern from *:
    """
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
    void pass_barriers(Py_ssize_t count, int threads) noexcept nogil
    object fr_bench_counted(object run)
    const char *compiler_version


def compiler():
    """The compiler that built this module, by its own words."""
    return compiler_version.decode()


def multiply_add(Py_ssize_t rounds, int threads):
    """Run chains of multiply-adds on every thread; return how many FLOP they were in all."""
    threads = grant(threads)
    with nogil, parallel(num_threads=threads):
        kernels.probe_multiply_add(rounds)
    return kernels.probe_flops * rounds * threads


def read(Py_ssize_t rounds, const float[:, ::1] buffers):
    """Read row i of `buffers` `rounds` times on thread i, if there is one; return the bytes read in all.

    The rows' length is cut to a multiple of the loop's block: at least 128 floats, or nothing is read.
    """
    cdef Py_ssize_t n = buffers.shape[1] // kernels.probe_block * kernels.probe_block
    cdef int threads = grant(<int> buffers.shape[0])
    with nogil, parallel(num_threads=threads):
        kernels.probe_read(rounds, n, &buffers[threadid(), 0])
    return 4 * rounds * n * threads


def barriers(Py_ssize_t count, int threads):
    """Let `threads` threads meet at OpenMP's barrier `count` times."""
    threads = grant(threads)
    with nogil:
        pass_barriers(count, threads)


def counted(run):
    """Call `run` in a C function that a profiler can find by name: fr_bench_counted."""
    return fr_bench_counted(run)
