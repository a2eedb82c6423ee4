cdef extern from "threads/meeting.h":
    enum:
        FR_MAX_TEAM

    ctypedef struct fr_progress:
        double work
        long long ticks
        double pace

    ctypedef struct fr_team:
        int threads
        const double *paces
        double before[FR_MAX_TEAM + 1]
        fr_progress places[FR_MAX_TEAM]

    int fr_team_size() noexcept nogil
    void fr_start(fr_team *crew) noexcept nogil
    long long fr_ticks(fr_progress *place, double work, bint waited) noexcept nogil
    long long fr_meet(fr_progress *all, int count, int me, long stages) noexcept nogil

cdef struct Region:
    # When a parallel region began, and this process's processor time then. Not the header's own struct: every module
    # that included the header would watch the neighbours for itself.
    double time, ours

cdef int grant(int threads) noexcept nogil
cdef int look() except -1 nogil
cdef int team(int num_threads, Py_ssize_t shares, double work) noexcept nogil
cdef void gather(fr_team *crew, int threads) noexcept nogil
cdef Py_ssize_t cut(const fr_team *crew, Py_ssize_t n, int part, int parts, int first, int each) noexcept nogil
cdef void learn(const fr_team *crew) noexcept nogil
cdef Region enter() noexcept nogil
cdef void leave(Region region, int threads) noexcept nogil
