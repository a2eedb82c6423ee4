cdef extern from "threads/meeting.h":
    enum:
        FR_MAX_TEAM

    ctypedef struct fr_progress:
        pass

    int fr_team_size() noexcept nogil
    void fr_start(fr_progress *team, int count) noexcept nogil
    void fr_meet(fr_progress *team, int count, int me, long stages) noexcept nogil

cdef struct Region:
    # When a parallel region began, and this process's processor time then. Not the header's own struct: every module
    # that included the header would watch the neighbours for itself.
    double time, ours

cdef int team(int num_threads, Py_ssize_t shares, double work) noexcept nogil
cdef Region enter() noexcept nogil
cdef void leave(Region region, int threads) noexcept nogil
