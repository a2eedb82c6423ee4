from fastrnn._core.weights cimport Layer

cdef struct Batch:
    # Rows packed by time. Step t has `rows[t]` of them, the first ones of step t-1: sequences are sorted by length.
    Py_ssize_t T, B             # steps; rows of the widest step
    Py_ssize_t rows             # of all steps together
    const Py_ssize_t *offset    # (T+1) the packed row that each step begins with; NULL where every step has B rows
    const Py_ssize_t *before    # (B+1) rows of all sequences before each; NULL likewise

cdef struct Grid:
    # How many parts the rows of a time loop are split into, and the units of each of those
    int row_parts, unit_parts

cdef struct Plan:
    int threads                 # of the time loops
    int team_threads            # of the OpenMP team, which is the same for time loops and sums
    bint apart                  # the two directions run at the same time, each on a part of the threads
    Py_ssize_t piece_rows, piece_steps  # of a time loop between two looks at signals

cdef struct Pieces:
    # How a product is cut where it takes so long that signals have to be looked at meanwhile
    Py_ssize_t blocks           # of at most GRADIENT_ROWS rows, nearly equal, in all
    Py_ssize_t each             # blocks of a piece
    Py_ssize_t turns            # over its columns

cdef enum:
    GRADIENT_ROWS = 256         # the most rows of da whose products with the operands are one block

cdef Py_ssize_t l2_bytes

cdef inline Py_ssize_t offset_at(const Batch *batch, Py_ssize_t t) noexcept nogil:
    """The packed row that step t begins with."""
    return batch.offset[t] if batch.offset != NULL else t * batch.B

cdef inline Py_ssize_t rows_at(const Batch *batch, Py_ssize_t t) noexcept nogil:
    """How many rows step t has."""
    return batch.offset[t + 1] - batch.offset[t] if batch.offset != NULL else batch.B

cdef Py_ssize_t few_rows(const Layer *w) noexcept nogil
cdef Grid grid_of(const Layer *w, Py_ssize_t rows, int threads) noexcept nogil
cdef Py_ssize_t groups_at_once(const Layer *w, int stage, Py_ssize_t rows) noexcept nogil
cdef Py_ssize_t steps_at_once(const Layer *w, Py_ssize_t T, Py_ssize_t rows) noexcept nogil
cdef Py_ssize_t gradient_rows(const Layer *w) noexcept nogil
cdef double work_between_looks(const Layer *w) noexcept nogil
cdef double forward_work(const Layer *w, const Batch *batch, bint indices) noexcept nogil
cdef double backward_work(const Layer *w, const Batch *batch, bint indices) noexcept nogil
cdef Plan forward_plan(const Layer *w, const Batch *batch, int directions, bint indices, bint at_rest,
                       int num_threads) noexcept nogil
cdef Plan backward_plan(const Layer *w, const Batch *batch, int directions, bint indices, Py_ssize_t steps,
                        int num_threads) noexcept nogil
cdef Pieces pieces_of(const Layer *w, Py_ssize_t rows, double row_work, int parts) noexcept nogil
