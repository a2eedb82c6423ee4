"""How many threads share a piece of work: as many as are worth their while, and as other processes leave cores.

A parallel region is entered only when every thread gets WORK_PER_THREAD; long ones stand between `enter` and `leave`.
"""

from libc.limits cimport INT_MAX

cdef extern from "threads/neighbours.h":
    ctypedef struct fr_sample:
        double time, ours

    int fr_room() noexcept nogil
    fr_sample fr_entered() noexcept nogil
    void fr_left(fr_sample start, int threads) noexcept nogil

# Multiply-adds, 40 to 100 us. With less a second thread may cost more than it brings: waking one that sleeps takes
# 10 us, on a virtual machine 60.
cdef double WORK_PER_THREAD = 2.5e6

# OpenMP ends the process when the system refuses it a thread: more than the largest machines have are never asked for.
cdef int most_threads = 512


def stay_serial():
    """Run everything on one thread from now on."""
    global most_threads
    most_threads = 1


def room():
    """The most threads that other processes leave cores for; None while there are none in the way."""
    cdef int most = fr_room()
    return None if most == INT_MAX else most


cdef int team(int num_threads, Py_ssize_t shares, double work) noexcept nogil:
    """How many threads `work` multiply-adds in `shares` separable parts are worth."""
    cdef double worth = work / WORK_PER_THREAD
    cdef Py_ssize_t n = min(<Py_ssize_t> min(num_threads, most_threads), shares)
    if worth < n:
        n = <Py_ssize_t> worth
    if n > 1:
        n = min(n, <Py_ssize_t> fr_room())
    return <int> max(n, 1)


cdef Region enter() noexcept nogil:
    cdef fr_sample start = fr_entered()
    cdef Region region
    region.time, region.ours = start.time, start.ours
    return region


cdef void leave(Region region, int threads) noexcept nogil:
    cdef fr_sample start
    start.time, start.ours = region.time, region.ours
    fr_left(start, threads)
