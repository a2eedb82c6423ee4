"""How many threads share a piece of work: a parallel region is entered only when every one gets WORK_PER_THREAD."""

# Multiply-adds. With less a second thread may cost more than it brings: waking it takes 10 us, half of the computing.
cdef double WORK_PER_THREAD = 1e6

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
    return <int> max(n, 1)
