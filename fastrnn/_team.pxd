cdef extern from "team.h":
    enum:
        FR_MAX_TEAM

    ctypedef struct fr_progress:
        pass

    int fr_team_size() noexcept nogil
    void fr_start(fr_progress *team, int count) noexcept nogil
    void fr_meet(fr_progress *team, int count, int me, long stages) noexcept nogil

cdef int team(int num_threads, Py_ssize_t shares, double work) noexcept nogil
