"""The time loop: every recurrent layer, forward, backward and one step at a time, whatever its cell.

Legend: T time, B batch, I input, H hidden, G gates; Hp is H rounded up to whole groups of 16 units.

Design
a) One loop for all cells. What a cell is stands in its row of the kernel table (src/cells): the slots of the gate
   buffer that W x and R h are added to, and the equations. No cell is named here.
b) Three phases. Project: the gate buffer of a block of time steps = bias + x W^T, one product. Recur: per step, += h
   R^T and the equations, a few groups of units at a time so that the gates are still in a cache. Gradients: for
   blocks of time from the end, the reverse loop does equations and dh = da R only; then dx, dW, dR, db are products
   over the block's steps*B rows, while its da is still in a cache.
c) States have T+1 slots, slot 0 the initial one, so no step is special. A stream's step and an inference run are the
   same code with fewer slots: c is updated in place, gates hold one block of steps.
d) A thread owns some batch rows, or some units of them, and walks time with them, in backward a block of it. Rows do
   not depend on each other; those who have the same rows meet after every stage, whose results the next one reads.
   Weight gradients are split by units too (dense.pyx). Faster threads get more (team.pyx). Each sum has one order,
   whatever the number of threads and who does what.
e) Backward writes the gradients of the pre-activations over the activations: the tape is used up, and half the
   memory and traffic saved. From there on the buffer is called `da`.
f) Long runs are cut in time, and where one step is long by rows, into pieces: each a parallel region of its own, and
   between them signals are looked at, so that Ctrl-C is answered. No cut changes a bit.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport int64_t
from libc.string cimport memcpy

import numpy as np

from fastrnn._core.dense cimport (
    GRADIENT_ROWS, L2_FLOATS, LONGEST_PIECE, Pieces, WeightGradient, gradient_scratch, packed_floats, padded,
    panel_floats, pieces_of, product_rows, weight_gradients, work_between_looks
)
from fastrnn._core.kernels cimport (
    FR_GROUP, FR_MAX_STAGES, fr_backward_block, fr_flush_begin, fr_flush_end, fr_forward_block, fr_product, fr_stage,
    kernels
)
from fastrnn._core.weights cimport Panels
from fastrnn._core.team cimport (
    FR_MAX_TEAM, Watch, check_signals, fr_barrier, fr_member, fr_team, fr_team_size, fr_ticks, granted_threads,
    part_begin, team_start, update_speeds, watch_begin, watch_end, worthwhile_threads
)

from fastrnn._core.memory import empty

cdef float[:, ::1] no_matrix = np.zeros((0, 0), dtype=np.float32)

cdef enum:
    # Floats of gate buffer that one thread projects ahead of the recurrence: 192 KiB, less than half of any L2. Half as
    # many as input panels have, where that is more: with fewer, reading panels again costs more than the gates (CL-38).
    PROJECTED_FLOATS = 49152
    # The most rows for that, which is as many as a product of any ISA takes before it reads its panels again.
    PROJECTED_ROWS = 256
    # Floats of recurrent panels between two turns to the equations when there are few rows: 256 KiB (CL-22).
    SWEEP_FLOATS = 65536
    # Groups of units that one turn takes whatever the rows: a product of several slots at once is faster (CL-21).
    WHOLE_GROUPS = 8
    # Floats of da between two turns to its weight gradients, 4 MiB, in whole blocks of GRADIENT_ROWS rows (Z3-50).
    GRADIENT_FLOATS = 1048576
    # Floats of recurrent panels that one thread reads every step although others have the same rows to spare (Z3-67).
    SHARED_FLOATS = 2 * L2_FLOATS
    # Floats of panels to read between two meetings, for every thread: 1 us. Every FEW_ROWS rows cost as much again.
    STAGE_FLOATS = 24576
    # Up to 3 rows take as long as one, because the panels must be read anyway; up to 12 where the panels of a step
    # exceed L2 (CL-47).
    FEW_ROWS = 3
    # The equations of one gate take as long as so many multiply-adds, at most.
    EQUATIONS = 64


cdef struct Grid:
    # How many threads a layer's batch rows are split over, and the units of each of those parts
    int rows, units


cdef struct Share:
    # What one thread of a time loop owns, and those it meets: the owners of the other units of its rows
    Py_ssize_t first, last  # batch rows
    Py_ssize_t begin, end  # groups of units
    Py_ssize_t most[FR_MAX_STAGES]  # groups of each stage to take from product to equations at once
    fr_member *team  # NULL for one thread, and for those without a place
    int me, count
    long stages
    long long ticks  # at work so far, less the clock's at the start


# ---------------------------------------------------------------------------------------------------- threads


cdef Py_ssize_t few_rows(Panels w) noexcept nogil:
    """As many rows take as long as one, because panels have to be read."""
    return FEW_ROWS if w.input_floats + w.recurrent_floats <= L2_FLOATS else 4 * FEW_ROWS


cdef Grid grid_of(Panels w, Py_ssize_t B, int threads) noexcept nogil:
    """Rows are split first, down to four a thread, or six where the panels fill most of L2 (CL-49): they need no
    barrier. Units are where that does not occupy all threads, or where each would read large recurrent panels as a
    whole."""
    cdef Grid grid
    cdef int fewest = 6 if 4 * w.recurrent_floats > 3 * L2_FLOATS else 4
    grid.rows, grid.units = max(1, min(threads, <int> (B // fewest))), 1
    if threads == 1:
        return grid
    cdef Py_ssize_t shares = (w.recurrent_floats + SHARED_FLOATS - 1) // SHARED_FLOATS
    cdef int wanted = <int> max((threads + grid.rows - 1) // grid.rows, shares)
    # What a step reads of panels, and what its rows add to that in time.
    cdef Py_ssize_t read = w.recurrent_floats * max(<Py_ssize_t> FEW_ROWS, B // grid.rows) // FEW_ROWS
    cdef int most = <int> min(w.Hp // FR_GROUP, read // (w.cell.stages * STAGE_FLOATS))
    if wanted > 1 and most > 1 and grid.rows <= FR_MAX_TEAM:
        threads = min(threads, FR_MAX_TEAM)
        grid.rows = max(1, min(grid.rows, threads // min(wanted, most)))
        grid.units = min(most, threads // grid.rows)
    return grid


cdef Grid grid_for(Panels w, Py_ssize_t B, int num_threads, double row_work) noexcept nogil:
    """The grid of the threads that a row's multiply-adds are worth, without any that would have nothing to do."""
    cdef int threads = worthwhile_threads(num_threads, B * w.Hp // FR_GROUP, max(few_rows(w), B) * row_work)
    cdef Grid grid = grid_of(w, B, threads)
    while grid.rows * grid.units < threads:
        threads = grid.rows * grid.units
        grid = grid_of(w, B, threads)
    return grid


cdef Py_ssize_t block_groups(Panels w, const fr_stage *stage, Py_ssize_t rows) noexcept nogil:
    """Groups of units to take from product to equations at once, for so many rows.

    Four, which fill the widest tile and divide by the others, or all of a small layer. Few rows live off the speed
    at which panels are read: as many as SWEEP_FLOATS of panels hold.
    """
    if rows > FEW_ROWS:
        return WHOLE_GROUPS if w.Hp <= WHOLE_GROUPS * FR_GROUP else 4
    return max(<Py_ssize_t> 4, SWEEP_FLOATS // (stage.count * w.H * FR_GROUP) // 4 * 4)


cdef Share share_of(Panels w, Py_ssize_t first, Py_ssize_t last, int thread, int threads, fr_team *crew) noexcept nogil:
    """The share of rows first..last of one of so many threads of a team: no rows if there are none left for it."""
    cdef Grid grid
    cdef Share share
    cdef int units, part
    cdef Py_ssize_t groups = w.Hp // FR_GROUP, s
    share.team, share.me, share.count, share.stages = NULL, 0, 1, 0
    share.first, share.last, share.begin, share.end = first, last, 0, groups
    share.ticks = 0
    if threads > 1:  # the one step of a stream has no time for divisions by 1
        grid = grid_of(w, last - first, threads)
        units, part = grid.units, thread // grid.units
        share.me, share.count = thread % units, units
        if part >= grid.rows:
            share.first = last
        else:
            if thread < crew.threads:
                share.team = &crew.members[part * units]
            share.first = first + part_begin(crew, last - first, part, grid.rows, 0, units)
            share.last = first + part_begin(crew, last - first, part + 1, grid.rows, 0, units)
            share.begin = part_begin(crew, groups, share.me, units, part * units, 1)
            share.end = part_begin(crew, groups, share.me + 1, units, part * units, 1)
    for s in range(w.cell.stages):
        share.most[s] = block_groups(w, &w.cell.stage[s], share.last - share.first)
    return share


cdef void begin_work(Share *share) noexcept nogil:
    if share.team != NULL:
        share.ticks = -fr_ticks(&share.team[share.me], 0, False)


cdef void end_work(Panels w, const Share *share) noexcept nogil:
    """Say how much this thread has done in how long."""
    cdef double work = <double> max(few_rows(w), share.last - share.first) * (share.end - share.begin)
    if share.team != NULL:
        share.team[share.me].work = work
        share.team[share.me].ticks = share.ticks + fr_ticks(&share.team[share.me], work, False)


cdef void meet(Share *share) noexcept nogil:
    """Wait until the other units of these rows have been through the stage."""
    if share.count > 1:
        share.stages += 1
        share.ticks -= fr_barrier(share.team, share.count, share.me, share.stages)


cdef struct Piece:
    # How much of a time loop lies between two looks at signals
    Py_ssize_t rows, steps


cdef double loop_work(Panels w, Py_ssize_t rows, Py_ssize_t terms) noexcept nogil:
    """How many multiply-adds a step of a time loop takes as long as; terms: those of one gate."""
    return <double> max(few_rows(w), rows) * w.row * (terms + EQUATIONS)


cdef Piece piece_of(Panels w, Py_ssize_t B, Py_ssize_t T, Py_ssize_t terms, int threads) noexcept nogil:
    """All rows at once unless a single step of them would take too long, and whole blocks of projected steps."""
    cdef Piece piece
    cdef double least = threads * work_between_looks(), most = LONGEST_PIECE * least, each
    cdef Py_ssize_t count, span
    piece.rows, piece.steps = B, T
    if T * loop_work(w, B, terms) <= least:
        return piece
    count = max(<Py_ssize_t> 1, <Py_ssize_t> min(<double> B, loop_work(w, B, terms) / most + 0.999))
    piece.rows = (B + count - 1) // count
    each = loop_work(w, piece.rows, terms)
    span = time_block(w, T, max(<Py_ssize_t> 1, piece.rows // threads))
    piece.steps = <Py_ssize_t> max(1, min(<double> T, least / each))
    if span * each <= most:
        piece.steps = (piece.steps + span - 1) // span * span
    return piece


cdef double forward_work(Panels w, Py_ssize_t B, Py_ssize_t T, Py_ssize_t inputs) noexcept nogil:
    return T * loop_work(w, B, w.H + inputs)


# ---------------------------------------------------------------------------------------------------- forward


cdef Py_ssize_t time_block(Panels w, Py_ssize_t T, Py_ssize_t rows) noexcept nogil:
    """Time steps to project at once, which is what inference has gate buffers for."""
    cdef Py_ssize_t floats = max(<Py_ssize_t> PROJECTED_FLOATS, min(w.inputs // 2, PROJECTED_ROWS) * w.row)
    return min(T, max(<Py_ssize_t> 1, floats // (w.row * rows)))


cdef void project(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float *gates,
                  Py_ssize_t gates_step, Py_ssize_t start, Py_ssize_t stop, const Share *share) noexcept nogil:
    """gates[t, b] = bias + x[t, b] @ weight_ih.T  for start <= t < stop and the rows and units of the share

    gates: where row (start, share.first) stands
    """
    cdef Py_ssize_t groups = w.Hp // FR_GROUP, width = share.end - share.begin, slots = w.cell.gates, copied = 0
    cdef Py_ssize_t panel = panel_floats(w.inputs), rows = share.last - share.first, steps = 1
    cdef Py_ssize_t block, slot, column, t, b
    cdef const float *source
    cdef fr_product product
    if not indices.shape[0]:
        if width == groups:  # all slots in one product
            width, slots = slots * groups, 1
        if rows == x.shape[1]:  # whole batches lie one behind the other: one product for the block
            steps, rows = stop - start, rows * (stop - start)
        for block in range((stop - start) // steps):
            t = start + block * steps
            for slot in range(slots):
                column = (slot * groups + share.begin) * FR_GROUP
                product = fr_product(
                    M=rows, groups=width, K=w.inputs, a=&x[t, share.first, 0], a_row=w.inputs,
                    w=&w.input[column // FR_GROUP * panel], w_panel=panel * sizeof(float), far=w.input_floats > L2_FLOATS,
                    init=&w.bias[column], init_row=0, c=gates + block * gates_step + column, c_row=w.row,
                    c_group=FR_GROUP, edge=FR_GROUP,
                )
                kernels.gemm(&product)
        copied = w.cell.gates
    if copied == w.cell.slots:
        return
    width = share.end - share.begin
    for t in range(start, stop):
        for b in range(share.first, share.last):
            source = &w.table[indices[t, b], 0] if indices.shape[0] else &w.bias[0]
            for slot in range(copied, w.cell.slots):  # ready rows; or the slots that only R h is added to
                column = (slot * groups + share.begin) * FR_GROUP
                memcpy(gates + (b - share.first) * w.row + column, source + column, width * FR_GROUP * sizeof(float))
        gates += gates_step


cdef void step(Panels w, Py_ssize_t t, bint at_rest, fr_forward_block *at, Share *share) noexcept nogil:
    """h_next, c_next = cell(gates + h @ weight_hh.T, h, c) for the share's rows and units

    at_rest: h and c are 0, so the product adds nothing
    at: where step t's arrays stand: gates IN projections OUT activations (rows, row), h c h_next c_next aux (rows, H)
    """
    cdef Py_ssize_t groups = w.Hp // FR_GROUP, panel = panel_floats(w.H), done = 0, own = share.end - share.begin
    cdef Py_ssize_t block, blocks, group, most, width, s, i
    cdef const fr_stage *stage
    cdef float *target
    cdef fr_product product
    product.M, product.K, product.a_row = at.rows, w.H, w.H
    product.far = w.recurrent_floats > L2_FLOATS
    product.init_row, product.c_row, product.edge = w.row, w.row, FR_GROUP
    for s in range(w.cell.stages):
        stage = &w.cell.stage[s]
        product.a = at.aux if stage.from_aux else at.h
        most = share.most[s]
        blocks = 1 if own <= most else (own + most - 1) // most
        for block in range(blocks):
            # Back and forth over the panels on even and odd steps: what the last step read last is still in the cache.
            group = share.begin + (blocks - 1 - block if t & 1 else block) * most
            width = min(most, share.end - group)
            target = <float *> at.gates + stage.first * w.Hp + group * FR_GROUP
            at.begin, at.end = group * FR_GROUP, min((group + width) * FR_GROUP, w.H)
            if at_rest:
                pass
            elif width == groups:  # all slots in one product
                product.groups, product.w_panel, product.c_group = stage.count * groups, panel * sizeof(float), FR_GROUP
                product.w, product.c, product.init = &w.recurrent[done], target, target
                kernels.gemm(&product)
            elif width < 4 and stage.count > 1:  # too few groups for the registers: the slots of each one side by side
                product.groups, product.w_panel, product.c_group = stage.count, groups * panel * sizeof(float), w.Hp
                for i in range(width):
                    product.w = &w.recurrent[done + (group + i) * panel]
                    product.c = product.init = target + i * FR_GROUP
                    kernels.gemm(&product)
            else:
                product.groups, product.w_panel, product.c_group = width, panel * sizeof(float), FR_GROUP
                for i in range(stage.count):
                    product.w = &w.recurrent[done + (i * groups + group) * panel]
                    product.c = product.init = target + i * w.Hp
                    kernels.gemm(&product)
            stage.forward(at)
        meet(share)
        done += stage.count * groups * panel


cdef void forward_share(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float[:, :, ::1] gates,
                        float[:, :, ::1] h, float[:, :, ::1] c, float[:, :, ::1] aux, bint at_rest,
                        Py_ssize_t start, Py_ssize_t stop, Share share) noexcept nogil:
    """Steps start..stop for the share's rows and units."""
    cdef Py_ssize_t T = h.shape[0] - 1, first = share.first, block, begin, end, t
    cdef Py_ssize_t gates_step = gates.shape[1] * w.row, state_step = h.shape[1] * w.H
    cdef Py_ssize_t c_step = state_step if c.shape[0] > 1 else 0, aux_step = state_step if aux.shape[0] > 1 else 0
    cdef fr_forward_block at
    if first == share.last:
        return
    at.rows, at.gates_row, at.slot, at.state_row = share.last - first, w.row, w.Hp, w.H
    at.h_row = w.H
    at.h, at.h_next = &h[start, first, 0], &h[start + 1, first, 0]
    at.c = at.c_next = at.aux = NULL
    if c.shape[0]:
        at.c, at.c_next = &c[0, first, 0] + start * c_step, &c[0, first, 0] + (start + 1) * c_step
    if aux.shape[0]:
        at.aux = &aux[0, first, 0] + start * aux_step
    cdef bint taped = gates.shape[0] == T
    if not taped:  # nobody else reads the gates: these rows' steps one behind the other, away from other threads'
        gates_step = at.rows * w.row
    cdef float *own = &gates[0, 0, 0] + first * w.row * (1 if taped else gates.shape[0])
    at.gates = own + (start * gates_step if taped else 0)
    cdef Py_ssize_t span = min(gates.shape[0], time_block(w, T, share.last - first))
    cdef unsigned before = fr_flush_begin()
    begin_work(&share)
    for block in range((stop - start + span - 1) // span):
        begin = start + block * span
        end = min(begin + span, stop)
        if not taped:
            at.gates = own
        project(w, x, indices, <float *> at.gates, gates_step, begin, end, &share)
        for t in range(begin, end):
            step(w, t, at_rest and t == 0, &at, &share)
            at.gates = <float *> at.gates + gates_step
            at.h, at.h_next = at.h_next, <float *> at.h_next + state_step
            at.c, at.c_next, at.aux = at.c_next, <float *> at.c_next + c_step, <float *> at.aux + aux_step
    end_work(w, &share)
    fr_flush_end(before)


cdef void forward_piece(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float[:, :, ::1] gates,
                        float[:, :, ::1] h, float[:, :, ::1] c, float[:, :, ::1] aux, bint at_rest,
                        Py_ssize_t first, Py_ssize_t last, Py_ssize_t start, Py_ssize_t stop,
                        int threads) noexcept nogil:
    """Steps start..stop of rows first..last."""
    cdef fr_team crew
    cdef Watch region
    if threads == 1:
        forward_share(w, x, indices, gates, h, c, aux, at_rest, start, stop, share_of(w, first, last, 0, 1, NULL))
        return
    team_start(&crew, threads)
    region = watch_begin()
    with parallel(num_threads=threads):
        forward_share(w, x, indices, gates, h, c, aux, at_rest, start, stop,
                      share_of(w, first, last, threadid(), min(threads, fr_team_size()), &crew))
    update_speeds(&crew)
    watch_end(region, threads)


cdef int forward_layer(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float[:, :, ::1] gates,
                       float[:, :, ::1] h, float[:, :, ::1] c, float[:, :, ::1] aux, bint at_rest,
                       int num_threads) except -1 nogil:
    """One layer over T steps. Raises what a signal's handler raises meanwhile.

    x IN (T, B, I), or indices IN (T, B) in 0..I-1; the other one empty
    gates OUT (T, B, row), or room for fewer steps when nothing is taped
    h IN slot 0, OUT slots 1..T (T+1, B, H);  c the same, or (1, B, H) updated in place, or empty
    aux OUT (T or 1, B, H) or empty
    at_rest: the initial state is 0
    """
    cdef Py_ssize_t T = h.shape[0] - 1, B = h.shape[1], inputs = 0 if indices.shape[0] else w.inputs
    cdef Py_ssize_t terms = (T - at_rest) * w.H + T * inputs, first = 0, last, start, stop
    cdef Grid grid = grid_for(w, B, num_threads, <double> w.row * terms)
    cdef int threads = grid.rows * grid.units
    if threads > 1:
        threads = granted_threads(threads)
    cdef Piece piece = piece_of(w, B, T, w.H + inputs, threads)
    if threads == 1 and piece.rows == B and piece.steps == T:  # memoryviews are copied for every further call
        forward_share(w, x, indices, gates, h, c, aux, at_rest, 0, T, share_of(w, 0, B, 0, 1, NULL))
        return 0
    while first < B:
        last, start = min(first + piece.rows, B), 0
        while start < T:
            stop = min(start + piece.steps, T)
            if first or start:
                check_signals()
            forward_piece(w, x, indices, gates, h, c, aux, at_rest, first, last, start, stop, threads)
            start = stop
        first = last
    return 0


def forward(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float[:, :, ::1] gates,
            float[:, :, ::1] h, float[:, :, ::1] c, float[:, :, ::1] aux, int num_threads):
    """`forward_layer` for Python, which is to say for tests of it."""
    with nogil:
        forward_layer(w, x, indices, gates, h, c, aux, False, num_threads)


# --------------------------------------------------------------------------------------------------- backward


cdef void step_backward(Panels w, fr_backward_block *at, const float *dy, Share *share) noexcept nogil:
    """da, dh, dc of one step for the share's rows and units

    at: where the step's arrays stand: gates IN activations OUT da (rows, row)
    """
    cdef Py_ssize_t done = w.recurrent_transposed.shape[0], panel, K, s
    cdef const fr_stage *stage
    cdef float *target
    cdef fr_product product
    for s in range(w.cell.stages - 1, -1, -1):
        stage = &w.cell.stage[s]
        at.dy = dy if s == w.cell.stages - 1 else NULL  # it joins dh once
        stage.backward(at)
        meet(share)
        # dh (or daux) += da[stage] @ weight_hh[stage]
        target = <float *> (at.daux if stage.from_aux else at.dh) + at.begin
        K = stage.count * w.Hp
        panel = panel_floats(K)
        done -= packed_floats(K, w.H)
        product = fr_product(
            M=at.rows, groups=share.end - share.begin, K=K, a=<float *> at.gates + stage.first * w.Hp, a_row=w.row,
            w=&w.recurrent_transposed[done + share.begin * panel], w_panel=panel * sizeof(float),
            far=w.recurrent_floats > L2_FLOATS, init=target, init_row=w.Hp, c=target, c_row=w.Hp,
            c_group=FR_GROUP, edge=FR_GROUP,
        )
        kernels.gemm(&product)


cdef void backward_share(Panels w, float[:, :, ::1] gates, const float[:, :, ::1] h, const float[:, :, ::1] c,
                         const float[:, :, ::1] dy, float[:, ::1] dh, float[:, ::1] dc, float[:, ::1] daux,
                         Py_ssize_t start, Py_ssize_t stop, Share share) noexcept nogil:
    """Steps stop-1 .. start for the share's rows and units."""
    cdef Py_ssize_t first = share.first, t
    cdef fr_backward_block at
    if first == share.last:
        return
    at.rows, at.begin, at.end = share.last - first, share.begin * FR_GROUP, min(share.end * FR_GROUP, w.H)
    at.gates_row, at.slot = w.row, w.Hp
    at.gates_next = -(gates.shape[1] + at.rows - 1) * w.row
    at.h_row = at.state_row = at.dy_row = w.H
    at.carry_row = w.Hp
    at.c = at.c_next = at.dc = at.daux = NULL
    at.dh = &dh[first, 0]
    if c.shape[0]:
        at.dc = &dc[first, 0]
    if daux.shape[0]:
        at.daux = &daux[first, 0]
    cdef unsigned before = fr_flush_begin()
    begin_work(&share)
    for t in range(stop - 1, start - 1, -1):
        at.gates, at.h = &gates[t, first, 0], &h[t, first, 0]
        if c.shape[0]:
            at.c, at.c_next = &c[t, first, 0], &c[t + 1, first, 0]
        step_backward(w, &at, &dy[t, first, 0] if dy.shape[0] else NULL, &share)
    end_work(w, &share)
    fr_flush_end(before)


cdef void gradients(Panels w, float[:, :, ::1] da, const float[:, :, ::1] x, const float[:, :, ::1] h,
                    const float[:, :, ::1] aux, float[:, ::1] dweight_ih, float[:, ::1] dweight_hh,
                    float *dbias_ih, float *dbias_hh, Py_ssize_t start, Py_ssize_t stop,
                    Py_ssize_t first, Py_ssize_t last, Py_ssize_t turn, Py_ssize_t turns,
                    float *scratch, const fr_team *crew, int part, int parts) noexcept nogil:
    """dweight_ih += da.T @ x and dweight_hh += da.T @ h[:-1] over the rows of steps start..stop in blocks first..last,
    this part of the units whose turn it is."""
    cdef WeightGradient products[1 + FR_MAX_STAGES]
    cdef WeightGradient *product = products
    cdef const fr_stage *stage
    cdef int slot, s
    cdef unsigned before = fr_flush_begin()
    if x.shape[0]:
        product.operand, product.N = &x[start, 0, 0], w.inputs
        product.dweight, product.dbias = &dweight_ih[0, 0], dbias_ih
        for slot in range(w.cell.slots):
            product.gates[slot] = w.cell.input_gates[slot] if slot < w.cell.gates else -1
        product += 1
    for s in range(w.cell.stages):
        stage = &w.cell.stage[s]
        product.operand = &aux[start, 0, 0] if stage.from_aux else &h[start, 0, 0]
        product.N, product.dweight, product.dbias = w.H, &dweight_hh[0, 0], dbias_hh
        for slot in range(w.cell.slots):
            product.gates[slot] = stage.gates[slot - stage.first] if 0 <= slot - stage.first < stage.count else -1
        product += 1
    weight_gradients(w.H, w.cell.slots, w.Hp, (stop - start) * da.shape[1], &da[start, 0, 0], w.row,
                     products, product - products, first, last, turn, turns, scratch, crew, part, parts)
    fr_flush_end(before)


cdef void index_gradient(Panels w, const float *da, const int64_t *indices, Py_ssize_t rows, float[:, ::1] sums,
                         const fr_team *crew, int part, int parts) noexcept nogil:
    """sums[indices[row]] += da[row] over the input slots, this part's columns"""
    cdef Py_ssize_t groups = w.cell.gates * w.Hp // FR_GROUP, row
    cdef Py_ssize_t begin = part_begin(crew, groups, part, parts, 0, 1) * FR_GROUP
    cdef Py_ssize_t end = part_begin(crew, groups, part + 1, parts, 0, 1) * FR_GROUP
    cdef unsigned before = fr_flush_begin()
    for row in range(rows):
        kernels.add(end - begin, da + row * w.row + begin, &sums[indices[row], begin])
    fr_flush_end(before)


cdef Py_ssize_t gradient_steps(Panels w, Py_ssize_t B) noexcept:
    """Time steps between two turns to the weight gradients, whatever the number of threads: sums depend on it."""
    cdef Py_ssize_t rows = max(<Py_ssize_t> 1, GRADIENT_FLOATS // w.row // GRADIENT_ROWS) * GRADIENT_ROWS
    return max(<Py_ssize_t> 1, rows // B)


cdef void backward_piece(Panels w, float[:, :, ::1] gates, const float[:, :, ::1] h, const float[:, :, ::1] c,
                         const float[:, :, ::1] dy, float[:, ::1] dh, float[:, ::1] dc, float[:, ::1] daux,
                         Py_ssize_t first, Py_ssize_t last, Py_ssize_t start, Py_ssize_t stop,
                         int threads, int parts) noexcept nogil:
    """Steps stop-1 .. start of rows first..last, by so many threads of a team of `parts`."""
    cdef fr_team crew
    if threads == 1:
        backward_share(w, gates, h, c, dy, dh, dc, daux, start, stop, share_of(w, first, last, 0, 1, NULL))
        return
    team_start(&crew, threads)
    with parallel(num_threads=parts):
        if threadid() < threads:
            backward_share(w, gates, h, c, dy, dh, dc, daux, start, stop,
                           share_of(w, first, last, threadid(), min(threads, fr_team_size()), &crew))
    update_speeds(&crew)


cdef double backward_work(Panels w, Py_ssize_t B, Py_ssize_t T, Py_ssize_t inputs) noexcept nogil:
    return T * loop_work(w, B, w.H + w.H + 2 * inputs)


cdef backward_layer(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float[:, :, ::1] gates,
                    const float[:, :, ::1] h, const float[:, :, ::1] c, const float[:, :, ::1] aux,
                    const float[:, :, ::1] dy, float[:, ::1] dh, float[:, ::1] dc, float[:, :, ::1] dx,
                    float[:, ::1] dweight_ih, float[:, ::1] dweight_hh, float[::1] dbias_ih, float[::1] dbias_hh,
                    bint may_end, int num_threads):
    """Backpropagation through time over one layer's T steps; uses up `gates`.

    x or indices, h, c, aux IN as `forward` left them; gates IN activations OUT da
    dy IN (T, B, H) or empty;  dh, dc IN gradient of the final state OUT of the initial one (B, Hp), padding 0
    dx OUT (T, B, I) or empty;  dweight and dbias IN and OUT: added to; biases empty when there are none
    may_end: look at signals and raise what their handlers raise, in the middle, but with indices never after dweight_ih
    and dbias_ih have begun to change
    """
    cdef Py_ssize_t T = gates.shape[0], B = gates.shape[1], steps = min(T, gradient_steps(w, B))
    cdef Py_ssize_t start, stop = T, first, last, begin, end, rows, block, turn
    cdef Py_ssize_t inputs = 0 if indices.shape[0] else w.inputs
    cdef double work = <double> steps * B * w.row
    cdef Grid grid = grid_for(w, B, num_threads, <double> steps * w.row * w.H)
    cdef int threads = grid.rows * grid.units
    # One size of team for both, or OpenMP would end the threads that the smaller leaves over, and start them again.
    cdef int part, parts = granted_threads(
        max(threads, worthwhile_threads(num_threads, w.columns // FR_GROUP, work * (w.H + inputs)))
    )
    cdef fr_team crew
    cdef float *bias_ih = &dbias_ih[0] if dbias_ih.shape[0] else NULL
    cdef float *bias_hh = &dbias_hh[0] if dbias_hh.shape[0] else NULL
    cdef float[:, ::1] daux = no_matrix, sums = no_matrix
    cdef float[:, ::1] scratch = empty((parts, gradient_scratch(padded(inputs) + w.cell.stages * w.Hp)))
    cdef Watch region
    cdef Piece piece
    cdef Pieces pieces
    threads = min(threads, parts)
    piece = piece_of(w, B, steps, w.H, threads)
    if w.cell.aux:
        daux = np.zeros((B, w.Hp), dtype=np.float32)
    if indices.shape[0]:
        sums = np.zeros((w.inputs, w.cell.gates * w.Hp), dtype=np.float32)
    if threads > 1:
        region = watch_begin()
    while stop > 0:
        start = max(<Py_ssize_t> 0, stop - steps)
        first = 0
        while first < B:
            last, end = min(first + piece.rows, B), stop
            while end > start:
                begin = max(start, end - piece.steps)
                if may_end:
                    check_signals()
                with nogil:
                    backward_piece(w, gates, h, c, dy, dh, dc, daux, first, last, begin, end, threads, parts)
                end = begin
            first = last
        rows = (stop - start) * B
        pieces = pieces_of(rows, <double> w.row * (w.H + 2 * inputs), parts)
        team_start(&crew, parts)
        block = 0
        while block < pieces.blocks:
            last = min(block + pieces.each, pieces.blocks)
            begin, end = rows * block // pieces.blocks, rows * last // pieces.blocks
            for turn in range(pieces.turns):
                if may_end:
                    check_signals()
                for part in prange(parts, num_threads=parts, schedule="static", nogil=True):
                    gradients(w, gates, x, h, aux, dweight_ih, dweight_hh, bias_ih, bias_hh, start, stop,
                              block, last, turn, pieces.turns, &scratch[part, 0], &crew, part, parts)
                    if indices.shape[0] and turn == 0:
                        index_gradient(w, &gates[start, 0, 0] + begin * w.row, &indices[start, 0] + begin, end - begin,
                                       sums, &crew, part, parts)
                    if dx.shape[0]:
                        # dx = da[input slots] @ weight_ih
                        product_rows(end - begin, w.cell.gates * w.Hp, &gates[start, 0, 0] + begin * w.row, w.row,
                                     &w.input_transposed[0], NULL, w.inputs, &dx[start, 0, 0] + begin * w.inputs,
                                     turn, pieces.turns, &crew, part, parts)
            block = last
        stop = start
    if threads > 1:
        watch_end(region, threads)
    if may_end:
        check_signals()
    if indices.shape[0]:
        add_index_gradient(w, np.asarray(sums), np.asarray(dweight_ih), np.asarray(dbias_ih))


cdef add_index_gradient(Panels w, sums, dweight, dbias):
    """dweight_ih += sums.T in the public order of gates"""
    for slot in range(w.cell.gates):
        gate = w.cell.input_gates[slot]
        units = sums[:, slot * w.Hp:slot * w.Hp + w.H]
        dweight[gate * w.H:(gate + 1) * w.H] += units.T
        if dbias.size:
            dbias[gate * w.H:(gate + 1) * w.H] += units.sum(axis=0)


def backward(Panels w, const float[:, :, ::1] x, const int64_t[:, ::1] indices, float[:, :, ::1] gates,
             const float[:, :, ::1] h, const float[:, :, ::1] c, const float[:, :, ::1] aux, const float[:, :, ::1] dy,
             float[:, ::1] dh, float[:, ::1] dc, float[:, :, ::1] dx, float[:, ::1] dweight_ih,
             float[:, ::1] dweight_hh, float[::1] dbias_ih, float[::1] dbias_hh, int num_threads):
    """`backward_layer` for Python, which is to say for tests of it."""
    backward_layer(w, x, indices, gates, h, c, aux, dy, dh, dc, dx, dweight_ih, dweight_hh, dbias_ih, dbias_hh,
                   False, num_threads)
