"""The machine: the sizes of its caches, loops that measure the processor, and a frame for counting instructions.

The loops run with the instruction set that this process's kernels use, for as many rounds as they are given. The caller
takes the time.
"""

from fastrnn._core.kernels cimport kernels
from fastrnn._core.team cimport fr_team, granted_threads, run_parallel

cdef extern from "native/caches.h":
    Py_ssize_t fr_cache_bytes(int level) noexcept nogil

cdef extern from "native/probe.h":
    void fr_openmp_barriers(Py_ssize_t count) noexcept nogil
    object fr_bench_counted(object run)
    const char *fr_compiler()


cdef struct Loop:
    Py_ssize_t rounds, n, row
    const float *data  # (threads, row)


cdef void multiply_add_task(void *job, int thread, int threads, const fr_team *team) noexcept nogil:
    kernels.probe_multiply_add((<Loop *> job).rounds)


cdef void read_task(void *job, int thread, int threads, const fr_team *team) noexcept nogil:
    cdef Loop *loop = <Loop *> job
    kernels.probe_read(loop.rounds, loop.n, loop.data + thread * loop.row)


cdef void barriers_task(void *job, int thread, int threads, const fr_team *team) noexcept nogil:
    fr_openmp_barriers((<Loop *> job).rounds)


cdef Py_ssize_t cache_bytes(int level) noexcept nogil:
    return fr_cache_bytes(level)


def cache_sizes():
    """Bytes of the data caches L1, L2 and L3 that one core sees; 0 for none."""
    return [cache_bytes(level) for level in (1, 2, 3)]


def compiler():
    """The compiler that built this module, in its own words."""
    return fr_compiler().decode()


def multiply_add(Py_ssize_t rounds, int threads):
    """Run chains of multiply-adds on every thread; return how many FLOP they were in all."""
    cdef Loop loop = Loop(rounds=rounds, n=0, row=0, data=NULL)
    threads = granted_threads(threads)
    with nogil:
        run_parallel(multiply_add_task, &loop, threads, threads, False)
    return kernels.probe_flops * rounds * threads


def read(Py_ssize_t rounds, const float[:, ::1] buffers):
    """Read row i of `buffers` `rounds` times on thread i, if there is one; return the bytes read in all.

    The rows' length is cut to a multiple of the loop's block: at least 128 floats, or nothing is read.
    """
    cdef Py_ssize_t n = buffers.shape[1] // kernels.probe_block * kernels.probe_block
    cdef int threads = granted_threads(<int> buffers.shape[0])
    cdef Loop loop = Loop(rounds=rounds, n=n, row=buffers.shape[1], data=&buffers[0, 0])
    with nogil:
        run_parallel(read_task, &loop, threads, threads, False)
    return 4 * rounds * n * threads


def barriers(Py_ssize_t count, int threads):
    """Let `threads` threads wait for each other at OpenMP's barrier `count` times."""
    cdef Loop loop = Loop(rounds=count, n=0, row=0, data=NULL)
    threads = granted_threads(threads)
    with nogil:
        run_parallel(barriers_task, &loop, threads, threads, False)


def counted(run):
    """Call `run` in a C function that a profiler can find by name: fr_bench_counted."""
    return fr_bench_counted(run)
