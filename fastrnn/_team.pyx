"""How many threads share a piece of work.

Design
a) A parallel region is entered only when every thread gets at least WORK_PER_THREAD multiply-adds.
b) A thread that lost its core to another process keeps the whole team waiting, for slices of its time. So a region
   sees how long it took beyond what its first thread computed, and whether the system preempted any of its threads (a
   hypervisor's pauses are late, but no preemption). Both, and calls run on one thread, which the system moves to the
   free core: for eight times the delay, twice as long whenever trying again goes wrong. Results do not depend on it.
"""

from libc.stdint cimport int64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    #if defined(__linux__)
    #include <sys/resource.h>
    #endif

    /* Nanoseconds of the world or of this thread's computing; 0 where there are no such clocks. */
    static int64_t fr_time(int computing)
    {
    #if defined(CLOCK_MONOTONIC) && defined(CLOCK_THREAD_CPUTIME_ID)
        struct timespec now;
        clock_gettime(computing ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    #else
        (void)computing;
        return 0;
    #endif
    }

    /* Whether the system took the core from this thread since it last asked; no where it does not tell. */
    static int fr_preempted(void)
    {
    #ifdef RUSAGE_THREAD
        static __thread long before;
        struct rusage usage;
        long last = before;
        getrusage(RUSAGE_THREAD, &usage);
        before = usage.ru_nivcsw;
        return before > last;
    #else
        return 0;
    #endif
    }

    /* Written by whichever thread ends a region: torn values are all that must not happen. */
    static int64_t fr_alone_until, fr_failures;
    #define fr_read(shared) __atomic_load_n(&shared, __ATOMIC_RELAXED)
    #define fr_write(shared, value) __atomic_store_n(&shared, value, __ATOMIC_RELAXED)
    """
    int64_t fr_time(int computing) noexcept nogil
    bint fr_preempted() noexcept nogil
    int64_t fr_alone_until, fr_failures
    int64_t fr_read(int64_t shared) noexcept nogil
    void fr_write(int64_t shared, int64_t value) noexcept nogil

# Below this a second thread may cost more than it brings: waking it takes some 10 us, half of the computing.
cdef double WORK_PER_THREAD = 1e6

cdef enum:
    LATE = 1000000           # nanoseconds beyond twice the first thread's share
    PAUSE = 8                # times the delay
    MOST_FAILURES = 8
    LONGEST_PAUSE = 1000000000

# OpenMP ends the process when the system refuses it a thread: more than the largest machines have are never asked for.
cdef int most_threads = 512


def stay_serial():
    """Run everything on one thread from now on."""
    global most_threads
    most_threads = 1


cdef int team(int num_threads, Py_ssize_t shares, double work) noexcept nogil:
    """How many threads `work` multiply-adds in `shares` separable parts are worth."""
    cdef double worth = work / WORK_PER_THREAD
    cdef Py_ssize_t n = min(<Py_ssize_t> min(num_threads, most_threads), shares)
    if worth < n:
        n = <Py_ssize_t> worth
    if n > 1 and fr_time(False) < fr_read(fr_alone_until):
        return 1
    return <int> max(n, 1)


cdef void begin_region(Region *region, int threads) noexcept nogil:
    region.threads, region.preempted = threads, False
    if threads > 1:
        region.began, region.computing = fr_time(False), fr_time(True)


cdef void end_share(Region *region, Py_ssize_t part) noexcept nogil:
    """This thread has done its part; part 0 is that of the thread that began the region."""
    if region.threads > 1:
        if fr_preempted():
            fr_write(region.preempted, True)
        if part == 0:
            region.computed = fr_time(True) - region.computing


cdef void end_region(Region *region) noexcept nogil:
    if region.threads > 1:
        ended(region.computed, fr_time(False) - region.began, fr_read(region.preempted))


cdef void ended(int64_t computed, int64_t took, bint preempted) noexcept nogil:
    cdef int64_t failures = fr_read(fr_failures)
    if not (preempted and took > 2 * computed + LATE):
        fr_write(fr_failures, 0)
        return
    fr_write(fr_alone_until, fr_time(False) + min(PAUSE * (took - computed) << failures, LONGEST_PAUSE))
    fr_write(fr_failures, min(failures + 1, <int64_t> MOST_FAILURES))


def region_ended(computed, took, preempted):
    """For tests: as if a region had ended whose first thread computed for so many seconds of those it took."""
    ended(<int64_t> (computed * 1e9), <int64_t> (took * 1e9), preempted)


def threads_for(num_threads, work):
    """For tests: the team that so many multiply-adds would get now."""
    return team(num_threads, num_threads, work)


def forget():
    """For tests: no region has ended yet."""
    fr_write(fr_failures, 0)
    fr_write(fr_alone_until, 0)
