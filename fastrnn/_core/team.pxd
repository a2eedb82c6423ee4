cdef extern from "native/barrier.h":
    enum:
        FR_MAX_TEAM

    ctypedef struct fr_member:
        double work      # what the thread did, in any unit that its team shares
        long long ticks  # how long that took, without waiting

    ctypedef struct fr_team:
        int threads                      # that have a member
        double before[FR_MAX_TEAM + 1]   # sum of the relative speeds of threads 0..i-1
        fr_member members[FR_MAX_TEAM]

    long long fr_ticks(fr_member *member, double work, bint waited) noexcept nogil
    long long fr_barrier(fr_member *members, int count, int me, long stages) noexcept nogil

cdef extern from "native/neighbours.h":
    ctypedef struct Watch "fr_watch":
        double time, ours

# One thread's part of a job: thread `thread` of `threads`. The team is NULL where there is one thread.
ctypedef void (*Task)(void *job, int thread, int threads, const fr_team *team) noexcept nogil

cdef int worthwhile_threads(int num_threads, Py_ssize_t parts, double work) noexcept nogil
cdef int granted_threads(int threads) noexcept nogil
cdef void run_parallel(Task task, void *job, int threads, int team_threads, bint measure) noexcept nogil
cdef Py_ssize_t part_begin(const fr_team *team, Py_ssize_t n, int part, int parts, int first, int each) noexcept nogil
cdef double part_fraction(const fr_team *team, int part, int parts, int first, int each) noexcept nogil
cdef int check_signals() except -1 nogil
cdef Watch watch_begin() noexcept nogil
cdef void watch_end(Watch watch, int threads) noexcept nogil
