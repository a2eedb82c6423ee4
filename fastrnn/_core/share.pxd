from fastrnn._core.plan cimport Batch, rows_at
from fastrnn._core.team cimport fr_member, fr_team
from fastrnn._core.walk cimport Walk
from fastrnn._core.weights cimport MAX_STAGES, Layer

cdef struct Share:
    # What one thread of a time loop owns, and the members of its team who own the other units of its rows
    Py_ssize_t first, last              # batch rows
    Py_ssize_t begin, end               # groups of units
    Py_ssize_t state_begin, state_end   # groups of columns of h
    Py_ssize_t at_once[MAX_STAGES]   # groups of each stage to take from product to equations
    fr_member *members                  # NULL for one thread, and for those without a place in the team
    int me, count
    bint far                            # recurrent weights come from beyond L2
    long stages
    long long ticks                     # at work so far, less the clock's at the start

cdef inline Py_ssize_t rows_of(const Walk *walk, Py_ssize_t t, const Share *share) noexcept nogil:
    """How many of the share's rows step t has."""
    return min(share.last, rows_at(walk.batch, t)) - share.first

cdef Share share_of(const Layer *w, const Batch *batch, Py_ssize_t first, Py_ssize_t last, int thread, int threads,
                    const fr_team *team, int member) noexcept nogil
cdef void begin_work(Share *share) noexcept nogil
cdef void end_work(const Layer *w, const Batch *batch, const Share *share) noexcept nogil
cdef void wait(Share *share) noexcept nogil

cdef inline void wait_for_others(Share *share) noexcept nogil:
    """A barrier between those who have the same rows."""
    if share.count > 1:
        wait(share)
