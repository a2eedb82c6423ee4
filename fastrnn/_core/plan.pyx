"""How work is cut: threads, their parts, blocks that fit the caches. Every tuned number of the loops is here.

References such as (CL-38) are rows of `docs/internals/log/`. Numbers in bytes are compared with the caches of this
machine, which are read at import. GRADIENT_ROWS and GRADIENT_NUMBERS say how the terms of weight gradients are grouped,
so bits depend on them: they are the same on every machine. Nothing else here changes a bit.
"""

from fastrnn._core.kernels cimport FR_GROUP
from fastrnn._core.probe cimport cache_bytes
from fastrnn._core.team cimport FR_MAX_TEAM, granted_threads, worthwhile_threads
from fastrnn._core.weights cimport Layer

# Packed weights of at most so many bytes are read from L2 for the most part, although they and some lines fill it.
l2_bytes = cache_bytes(2) // 32 * 33

# Bytes of gate buffer that one thread projects ahead of the recurrence. It is half as many rows as the input has
# features where that is more: with fewer, reading the weights again costs more than the gates (CL-38).
cdef Py_ssize_t PROJECTED_BYTES = min(196608, l2_bytes * 3 // 8)
# The most rows for that, which is as many as a product of any ISA takes before it reads its weights again.
cdef Py_ssize_t PROJECTED_ROWS = 256
# Bytes of recurrent weights between two turns to the equations when there are few rows: a quarter of L2 (CL-22).
cdef Py_ssize_t SWEEP_BYTES = cache_bytes(2) // 4
# Bytes of recurrent weights that one thread reads every step although others have the same rows to spare (Z3-67).
cdef Py_ssize_t SHARED_BYTES = 2 * l2_bytes
# Bytes of weights to read between two barriers, for every thread: 1 us. Every FEW_ROWS rows cost as much again.
cdef Py_ssize_t STAGE_BYTES = 98304

cdef enum:
    # Groups of units that one turn takes whatever the rows: a product of several slots at once is faster (CL-21).
    WHOLE_GROUPS = 8
    # Numbers of da between two turns to its weight gradients, in whole blocks of GRADIENT_ROWS rows (Z3-50).
    GRADIENT_NUMBERS = 1048576
    # Up to 3 rows take as long as one, because the weights must be read anyway; up to 12 where the weights of a step
    # exceed L2 (CL-47).
    FEW_ROWS = 3
    # The equations of one gate take as long as so many multiply-adds, at most.
    EQUATIONS = 64
    # One piece of work is at most so many times what is meant to lie between two looks at signals.
    LONGEST_PIECE = 8


# ------------------------------------------------------------------------------------------------ amounts of work


cdef Py_ssize_t few_rows(const Layer *w) noexcept nogil:
    """The most rows that take as long as one: the weights must be read for either."""
    return FEW_ROWS if w.input_bytes + w.recurrent_bytes <= l2_bytes else 4 * FEW_ROWS


cdef Py_ssize_t recurrent_terms(const Layer *w) noexcept nogil:
    """Multiply-adds of a gate column and row with the state, the projection's shared out among the columns."""
    return w.P + (w.H * w.P // w.row if w.projected else 0)


cdef double step_work(const Layer *w, Py_ssize_t rows, Py_ssize_t terms) noexcept nogil:
    """How many multiply-adds a step of a time loop takes as long as; terms: those of one gate column."""
    return <double> max(few_rows(w), rows) * w.row * (terms + EQUATIONS)


cdef double forward_work(const Layer *w, const Batch *batch, bint indices) noexcept nogil:
    return batch.T * step_work(w, batch.B, recurrent_terms(w) + (0 if indices else w.inputs))


cdef double backward_work(const Layer *w, const Batch *batch, bint indices) noexcept nogil:
    return batch.T * step_work(w, batch.B, 2 * recurrent_terms(w) + (0 if indices else 2 * w.inputs))


cdef double work_between_looks(const Layer *w) noexcept nogil:
    """Multiply-adds of one thread between two looks at signals: a tenth of a second of a very slow processor, some
    10 ms of others. Calls with less do not look at all."""
    return 6e7 * w.table.vector


# -------------------------------------------------------------------------------------------------------- threads


cdef Grid grid_of(const Layer *w, Py_ssize_t rows, int threads) noexcept nogil:
    """Rows are split first, down to four a thread, or six where the weights fill most of L2 (CL-49): they need no
    barrier. Units are where that does not occupy all threads, or where each would read large recurrent weights as a
    whole."""
    cdef Grid grid
    cdef int fewest = 6 if 4 * w.recurrent_bytes > 3 * l2_bytes else 4
    grid.row_parts, grid.unit_parts = max(1, min(threads, <int> (rows // fewest))), 1
    if threads == 1:
        return grid
    cdef Py_ssize_t shares = (w.recurrent_bytes + SHARED_BYTES - 1) // SHARED_BYTES
    cdef int wanted = <int> max((threads + grid.row_parts - 1) // grid.row_parts, shares)
    # What a step reads of weights, and what its rows add to that in time.
    cdef Py_ssize_t read = w.recurrent_bytes * max(<Py_ssize_t> FEW_ROWS, rows // grid.row_parts) // FEW_ROWS
    cdef int most = <int> min(w.Hp // FR_GROUP, read // (w.stages * STAGE_BYTES))
    if wanted > 1 and most > 1 and grid.row_parts <= FR_MAX_TEAM:
        threads = min(threads, FR_MAX_TEAM)
        grid.row_parts = max(1, min(grid.row_parts, threads // min(wanted, most)))
        grid.unit_parts = min(most, threads // grid.row_parts)
    return grid


cdef int occupied(const Layer *w, Py_ssize_t rows, int threads) noexcept nogil:
    """How many of so many threads have something to do in one direction's time loop."""
    cdef Grid grid = grid_of(w, rows, threads)
    while grid.row_parts * grid.unit_parts < threads:
        threads = grid.row_parts * grid.unit_parts
        grid = grid_of(w, rows, threads)
    return threads


cdef void plan_threads(Plan *plan, const Layer *w, Py_ssize_t B, int directions, int num_threads,
                       double row_work) noexcept nogil:
    """As many threads as a row's multiply-adds are worth, without any that would have nothing to do.

    Two directions run apart where rows alone do not occupy all threads: they need no barrier between them.
    """
    cdef int threads = worthwhile_threads(
        num_threads, directions * B * w.Hp // FR_GROUP, directions * max(few_rows(w), B) * row_work
    )
    cdef Grid grid
    plan.apart = False
    if directions == 2 and threads > 1:
        grid = grid_of(w, B, threads)
        plan.apart = grid.unit_parts > 1 or grid.row_parts < threads
    if plan.apart:  # members of one team
        plan.threads = 2 * occupied(w, B, min(threads, FR_MAX_TEAM) // 2)
    else:
        plan.threads = occupied(w, B, threads)


# --------------------------------------------------------------------------------------------------------- blocks


cdef Py_ssize_t groups_at_once(const Layer *w, int stage, Py_ssize_t rows) noexcept nogil:
    """Groups of units to take from product to equations at once, for so many rows.

    Four, which fill the widest tile and divide by the others, or all of a small layer. Few rows live off the speed
    at which weights are read: as many as SWEEP_BYTES of them hold.
    """
    if rows > FEW_ROWS:
        return WHOLE_GROUPS if w.Hp <= WHOLE_GROUPS * FR_GROUP else 4
    return max(<Py_ssize_t> 4, SWEEP_BYTES // (w.stage[stage].count * w.P * FR_GROUP * w.size) // 4 * 4)


cdef Py_ssize_t steps_at_once(const Layer *w, Py_ssize_t T, Py_ssize_t rows) noexcept nogil:
    """Time steps to project at once, which is what inference has gate buffers for."""
    cdef Py_ssize_t row = w.row * w.size
    cdef Py_ssize_t bytes = max(PROJECTED_BYTES, min(w.inputs // 2, PROJECTED_ROWS) * row)
    return min(T, max(<Py_ssize_t> 1, bytes // (row * rows)))


cdef Py_ssize_t gradient_rows(const Layer *w) noexcept nogil:
    """Rows of da between two turns to the weight gradients, whatever the number of threads: sums depend on it."""
    return max(<Py_ssize_t> 1, GRADIENT_NUMBERS // w.row // GRADIENT_ROWS) * GRADIENT_ROWS


cdef void plan_pieces(Plan *plan, const Layer *w, Py_ssize_t B, Py_ssize_t T, Py_ssize_t terms) noexcept nogil:
    """All rows at once unless a single step of them would take too long, and whole blocks of projected steps."""
    cdef double least = plan.threads * work_between_looks(w), most = LONGEST_PIECE * least, each
    cdef Py_ssize_t count, span
    plan.piece_rows, plan.piece_steps = B, T
    if T * step_work(w, B, terms) <= least:
        return
    count = max(<Py_ssize_t> 1, <Py_ssize_t> min(<double> B, step_work(w, B, terms) / most + 0.999))
    plan.piece_rows = (B + count - 1) // count
    each = step_work(w, plan.piece_rows, terms)
    span = steps_at_once(w, T, max(<Py_ssize_t> 1, plan.piece_rows // plan.threads))
    plan.piece_steps = <Py_ssize_t> max(1, min(<double> T, least / each))
    if span * each <= most:
        plan.piece_steps = (plan.piece_steps + span - 1) // span * span


cdef Plan forward_plan(const Layer *w, const Batch *batch, int directions, bint indices, bint at_rest,
                       int num_threads) noexcept nogil:
    """For the time loops of a layer forward, whose threads are granted."""
    cdef Py_ssize_t T = batch.T, inputs = 0 if indices else w.inputs
    cdef Plan plan
    plan_threads(&plan, w, batch.B, directions, num_threads,
                 <double> w.row * ((T - at_rest) * recurrent_terms(w) + T * inputs))
    if plan.threads > 1:
        plan.threads = granted_threads(plan.threads)
    plan.team_threads = plan.threads
    plan_pieces(&plan, w, batch.B, T, recurrent_terms(w) + inputs)
    return plan


cdef Plan backward_plan(const Layer *w, const Batch *batch, int directions, bint indices, Py_ssize_t steps,
                        int num_threads) noexcept nogil:
    """For the time loops of a layer backward and the sums after them, `steps` steps at a time."""
    cdef Py_ssize_t inputs = 0 if indices else w.inputs
    cdef double work = <double> steps * batch.B * w.row
    cdef Plan plan
    cdef int sums = worthwhile_threads(num_threads, w.columns // FR_GROUP, work * (recurrent_terms(w) + inputs))
    plan_threads(&plan, w, batch.B, directions, num_threads, <double> steps * w.row * recurrent_terms(w))
    # One size of team for both, or OpenMP would end the threads that the smaller leaves over, and start them again.
    plan.team_threads = granted_threads(max(plan.threads, sums))
    plan.threads = min(plan.threads, plan.team_threads)
    plan_pieces(&plan, w, batch.B, steps, recurrent_terms(w))
    return plan


cdef Pieces pieces_of(const Layer *w, Py_ssize_t rows, double row_work, int parts) noexcept nogil:
    """How a product over rows is cut, so many multiply-adds a row."""
    cdef Pieces pieces
    cdef double least = work_between_looks(w) * parts, most = LONGEST_PIECE * least, block_work
    pieces.blocks = (rows + GRADIENT_ROWS - 1) // GRADIENT_ROWS
    pieces.each, pieces.turns = pieces.blocks, 1
    if rows * row_work > least:
        block_work = rows * row_work / pieces.blocks
        # A block for every thread, else they would read the weights for a few rows each.
        pieces.each = <Py_ssize_t> max(1, max(least / block_work, min(<double> parts, most / block_work)))
        pieces.each = min(pieces.each, pieces.blocks)
        pieces.turns = <Py_ssize_t> max(1, min(1e6, pieces.each * block_work / most + 0.999))
    return pieces
