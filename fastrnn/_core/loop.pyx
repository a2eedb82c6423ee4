"""The time loop: every recurrent layer, forward, backward and one step at a time, whatever its cell.

Legend: T time, B batch, I input, H hidden units, P the width of h, G gates; Hp and Pp are rounded up to groups of 16.

Design
a) One loop for all cells. What a cell is stands in its row of the kernel table (src/cells): the slots of the gate
   buffer that W x and R h are added to, and the equations. No cell is named here.
b) Forward has two phases. Project: the gate buffer of a block of time steps = bias + x W^T, one product. Recur: per
   step, += h R^T and the equations, a few groups of units at a time so that the gates are still in a cache.
   Backward's loop does the equations and dh = da R only; the sums over time follow in gradients.pyx.
c) A batch is packed: step t has the first rows of step t-1, perhaps fewer. Where every step has all rows nothing else
   is different. The reverse direction walks the same arrays from the last step to the first.
d) An initial state has rows of its own, B of them, in front of or behind the rows of the steps, so no step is special. A
   stream's step and an inference run are the same code with fewer rows: c is updated in place, gates hold one block.
e) A thread owns some rows, or some units of them, and walks time with them. Rows do not depend on each other. Those who
   have the same rows wait for each other after every stage, whose results the next one reads. Faster threads get more
   (team.pyx). Each sum has one order, whatever the number of threads and who does what.
f) Backward writes the gradients of the pre-activations over the activations: the tape is used up, and half the
   memory and traffic saved. From there on the buffer is called `da`.
"""

from libc.string cimport memcpy

from fastrnn._core.kernels cimport (
    FR_GROUP, FR_MAX_STAGES, fr_backward_block, fr_flush_begin, fr_flush_end, fr_forward_block, fr_matrix, fr_panel,
    fr_product, fr_stage
)
from fastrnn._core.plan cimport (
    Batch, Grid, Plan, few_rows, grid_of, groups_at_once, l2_bytes, offset_at, rows_at, steps_at_once
)
from fastrnn._core.team cimport (
    fr_barrier, fr_member, fr_team, fr_ticks, part_begin, part_fraction, run_parallel
)
from fastrnn._core.weights cimport Layer

cdef struct Share:
    # What one thread of a time loop owns, and the members of its team who own the other units of its rows
    Py_ssize_t first, last              # batch rows
    Py_ssize_t begin, end               # groups of units
    Py_ssize_t state_begin, state_end   # groups of columns of h
    Py_ssize_t at_once[FR_MAX_STAGES]   # groups of each stage to take from product to equations
    fr_member *members                  # NULL for one thread, and for those without a place in the team
    int me, count
    long stages
    long long ticks                     # at work so far, less the clock's at the start


# -------------------------------------------------------------------------------------------- where things are


cdef inline char *moved(const Layer *w, const void *at, Py_ssize_t elements) noexcept nogil:
    """The pointer, so many elements on."""
    return <char *> at + elements * w.size


cdef Py_ssize_t row_before(const Walk *walk, Py_ssize_t t) noexcept nogil:
    """The row of h that step t's first row reads.

    h has B rows more than there are packed rows. Forward, the initial state stands in front and step t writes the rows
    B + offset[t]. Reverse is the mirror image: it reads there and writes where forward would read.
    """
    if walk.reverse:
        return walk.batch.B + offset_at(walk.batch, t)
    return walk.batch.B + offset_at(walk.batch, t - 1) if t else 0


cdef Py_ssize_t row_after(const Walk *walk, Py_ssize_t t) noexcept nogil:
    """The row of h that step t's first row writes."""
    if walk.reverse:
        return walk.batch.B + offset_at(walk.batch, t - 1) if t else 0
    return walk.batch.B + offset_at(walk.batch, t)


cdef inline Py_ssize_t rows_of(const Walk *walk, Py_ssize_t t, const Share *share) noexcept nogil:
    """How many of the share's rows step t has."""
    return min(share.last, rows_at(walk.batch, t)) - share.first


cdef inline Py_ssize_t edge_of(Py_ssize_t columns, bint last) noexcept nogil:
    """Columns of the last group of a product."""
    return columns - (columns - 1) // FR_GROUP * FR_GROUP if last else FR_GROUP


# -------------------------------------------------------------------------------------------------------- shares


cdef Py_ssize_t row_begin(const Batch *batch, const Span *span, int part, int parts, const fr_team *team, int member,
                          int each) noexcept nogil:
    """The row that a part begins with, so that all parts take as long: sequences that go on longer count more."""
    cdef Py_ssize_t low = span.first, high = span.last, middle
    cdef double target
    if batch.before == NULL:
        return span.first + part_begin(team, span.last - span.first, part, parts, member, each)
    if part == 0 or part == parts:
        return span.last if part else span.first
    target = batch.before[low] + part_fraction(team, part, parts, member, each) * (
        batch.before[high] - batch.before[low])
    while low < high:
        middle = (low + high) // 2
        if batch.before[middle] < target:
            low = middle + 1
        else:
            high = middle
    return low


cdef Share share_of(const Layer *w, const Batch *batch, const Span *span, int thread, int threads, const fr_team *team,
                    int member) noexcept nogil:
    """The share of one of so many threads, the team's from `member` on: no rows if there are none left for it."""
    cdef Grid grid
    cdef Share share
    cdef int units, part, s
    cdef Py_ssize_t groups = w.Hp // FR_GROUP, state_groups = w.Pp // FR_GROUP
    share.members, share.me, share.count, share.stages = NULL, 0, 1, 0
    share.first, share.last, share.begin, share.end = span.first, span.last, 0, groups
    share.state_begin, share.state_end = 0, state_groups
    share.ticks = 0
    if threads > 1:  # the one step of a stream has no time for divisions by 1
        grid = grid_of(w, span.last - span.first, threads)
        units, part = grid.unit_parts, thread // grid.unit_parts
        share.me, share.count = thread % units, units
        if part >= grid.row_parts:
            share.first = span.last
        else:
            if member + thread < team.threads:
                share.members = <fr_member *> &team.members[member + part * units]
            share.first = row_begin(batch, span, part, grid.row_parts, team, member, units)
            share.last = row_begin(batch, span, part + 1, grid.row_parts, team, member, units)
            member += part * units
            share.begin = part_begin(team, groups, share.me, units, member, 1)
            share.end = part_begin(team, groups, share.me + 1, units, member, 1)
            share.state_begin, share.state_end = share.begin, share.end
            if w.projection.K:
                share.state_begin = state_groups * share.me // units
                share.state_end = state_groups * (share.me + 1) // units
    for s in range(w.cell.stages):
        share.at_once[s] = groups_at_once(w, s, share.last - share.first)
    return share


cdef void begin_work(Share *share) noexcept nogil:
    if share.members != NULL:
        share.ticks = -fr_ticks(&share.members[share.me], 0, False)


cdef void end_work(const Layer *w, const Batch *batch, const Share *share) noexcept nogil:
    """Say how much this thread has done in how long."""
    cdef double work
    if share.members != NULL:
        work = max(few_rows(w), share.last - share.first)
        if batch.before != NULL:
            work = <double> (batch.before[share.last] - batch.before[share.first]) / batch.T
        work *= share.end - share.begin
        share.members[share.me].work += work
        share.members[share.me].ticks += share.ticks + fr_ticks(&share.members[share.me], work, False)


cdef void wait_for_others(Share *share) noexcept nogil:
    """A barrier between those who have the same rows."""
    if share.count > 1:
        share.stages += 1
        share.ticks -= fr_barrier(share.members, share.count, share.me, share.stages)


# ------------------------------------------------------------------------------------------------------- forward


cdef struct GateRows:
    # Where the gates of a block of steps stand for a share
    char *at
    Py_ssize_t low      # the block's earliest step
    Py_ssize_t width    # rows from one step to the next, or 0: as many as the batch has
    Py_ssize_t shift    # in that case, the packed row that `at` is of


cdef GateRows gate_rows(const Walk *walk, const Share *share, Py_ssize_t low) noexcept nogil:
    """Taped gates lie as the packed rows do. Others are read by nobody else: a thread has room of its own, away from
    other threads', and its rows lie one behind the other."""
    cdef GateRows rows
    rows.at, rows.low, rows.width, rows.shift = walk.gates, low, 0, -share.first
    if not walk.taped:
        rows.at = moved(walk.w, walk.gates, share.first * walk.gate_steps * walk.w.row)
        rows.shift = offset_at(walk.batch, low)
        if not is_whole(walk, share):
            rows.width = max(<Py_ssize_t> 0, rows_of(walk, low, share))
    return rows


cdef inline char *gates_at(const Walk *walk, const GateRows *rows, Py_ssize_t t) noexcept nogil:
    cdef Py_ssize_t row = (t - rows.low) * rows.width if rows.width else offset_at(walk.batch, t) - rows.shift
    return moved(walk.w, rows.at, row * walk.w.row)


cdef inline bint is_whole(const Walk *walk, const Share *share) noexcept nogil:
    """Whether the share has all rows of every step, which then lie one behind the other."""
    return share.first == 0 and share.last == walk.batch.B


cdef void project(const Walk *walk, const GateRows *gates, Py_ssize_t begin, Py_ssize_t end,
                  const Share *share) noexcept nogil:
    """gates[t] = bias + x[t] @ weight_ih.T  for begin <= t < end and the rows and units of the share"""
    cdef Py_ssize_t t
    if is_whole(walk, share):
        project_rows(walk, offset_at(walk.batch, begin), offset_at(walk.batch, end) - offset_at(walk.batch, begin),
                     gates_at(walk, gates, begin), share)
        return
    for t in range(begin, end):
        if rows_of(walk, t, share) > 0:
            project_rows(walk, offset_at(walk.batch, t) + share.first, rows_of(walk, t, share),
                         gates_at(walk, gates, t), share)


cdef void project_rows(const Walk *walk, Py_ssize_t first, Py_ssize_t rows, char *gates,
                       const Share *share) noexcept nogil:
    """The same for packed rows first..first+rows-1; gates: where the first of them stands"""
    cdef const Layer *w = walk.w
    cdef Py_ssize_t groups = w.Hp // FR_GROUP, width = share.end - share.begin, row
    cdef int slots = w.cell.gates, slot
    cdef const char *source
    cdef fr_product product
    if walk.indices == NULL:
        if width == groups:  # all slots in one product
            width, slots = slots * groups, 1
        product.M, product.groups, product.K = rows, width, w.inputs
        product.a, product.a_row = moved(w, walk.x, first * walk.x_row), walk.x_row
        product.w_panel, product.far = w.input.panel, w.input_bytes > l2_bytes
        product.init_row, product.c_row, product.c_group, product.edge = 0, w.row, FR_GROUP, FR_GROUP
        for slot in range(slots):
            product.w = fr_panel(&w.input, 0, slot * groups + share.begin)
            product.init = moved(w, w.bias, slot * w.Hp + share.begin * FR_GROUP)
            product.c = moved(w, gates, slot * w.Hp + share.begin * FR_GROUP)
            w.table.gemm(&product)
        if w.cell.gates == w.cell.slots:
            return
    # Ready rows of indices; or the bias of the slots that only R h is added to.
    width = (share.end - share.begin) * FR_GROUP * w.size
    for row in range(first, first + rows):
        source = w.bias
        if walk.indices != NULL:
            source = moved(w, w.index_rows, walk.indices[row] * w.columns)
        for slot in range(0 if walk.indices != NULL else w.cell.gates, w.cell.slots):
            memcpy(moved(w, gates, slot * w.Hp + share.begin * FR_GROUP),
                   moved(w, source, slot * w.Hp + share.begin * FR_GROUP), width)
        gates = moved(w, gates, w.row)


cdef void recur(const Walk *walk, Py_ssize_t t, char *gates, Py_ssize_t rows, Share *share) noexcept nogil:
    """The states after step t = cell(gates + h @ weight_hh.T, h, c) for the share's units and so many of its rows

    gates: where the step's gates stand, IN projections OUT activations
    """
    cdef const Layer *w = walk.w
    cdef Py_ssize_t before = row_before(walk, t) + share.first, after = row_after(walk, t) + share.first
    cdef Py_ssize_t row = offset_at(walk.batch, t) + share.first if walk.taped else share.first
    cdef const char *h = moved(w, walk.h, before * walk.h_row)
    cdef char *h_next = moved(w, walk.h, after * walk.h_row)
    cdef fr_forward_block at
    at.rows, at.gates, at.gates_row, at.slot = rows, gates, w.row, w.Hp
    at.h, at.h_next, at.h_row, at.state_row = h, h_next, walk.h_row, w.H
    at.c = at.c_next = at.aux = NULL
    if walk.c != NULL:
        at.c = moved(w, walk.c, (before if walk.taped else row) * w.H)
        at.c_next = moved(w, walk.c, (after if walk.taped else row) * w.H)
    if walk.aux != NULL:
        at.aux = moved(w, walk.aux, row * w.H)
    if walk.m != NULL:
        at.h_next, at.h_row = moved(w, walk.m, row * w.H), w.H
    run_stages(walk, t, h, &at, share)
    if walk.m != NULL:
        # h_next = m @ weight_hr.T
        project_state(walk, rows, at.h_next, h_next, share)
        wait_for_others(share)


cdef void run_stages(const Walk *walk, Py_ssize_t t, const char *h, fr_forward_block *at,
                     Share *share) noexcept nogil:
    """Each stage's product, added to its slots of the gates, and its equations."""
    cdef const Layer *w = walk.w
    cdef const fr_stage *stage
    cdef Py_ssize_t own = share.end - share.begin, most, blocks, block, group, width
    cdef bint at_rest = walk.at_rest and t == (walk.batch.T - 1 if walk.reverse else 0)
    cdef fr_product product
    cdef int s
    product.M, product.far = at.rows, w.recurrent_bytes > l2_bytes
    product.init_row, product.c_row, product.edge = w.row, w.row, FR_GROUP
    for s in range(w.cell.stages):
        stage = &w.cell.stage[s]
        product.K, product.a, product.a_row = w.P, h, walk.h_row
        if stage.from_aux:
            product.K, product.a, product.a_row = w.H, at.aux, w.H
        most = share.at_once[s]
        blocks = 1 if own <= most else (own + most - 1) // most
        for block in range(blocks):
            # Back and forth over the weights on even and odd steps: what the last step read last is still in the cache.
            group = share.begin + (blocks - 1 - block if t & 1 else block) * most
            width = min(most, share.end - group)
            if not at_rest:  # else h is 0 and the product adds nothing
                add_product(w, stage, &w.recurrent[s], group, width, at.gates, &product)
            at.begin, at.end = group * FR_GROUP, min((group + width) * FR_GROUP, w.H)
            stage.forward(at)
        wait_for_others(share)


cdef void add_product(const Layer *w, const fr_stage *stage, const fr_matrix *matrix, Py_ssize_t group,
                      Py_ssize_t width, void *gates, fr_product *product) noexcept nogil:
    """gates += a @ matrix  for `width` groups of units from `group` on, of all the stage's slots"""
    cdef Py_ssize_t groups = w.Hp // FR_GROUP, i
    cdef char *target = moved(w, gates, stage.first * w.Hp + group * FR_GROUP)
    product.w_panel, product.c_group = matrix.panel, FR_GROUP
    if width == groups:  # all slots in one product
        product.groups, product.w, product.c, product.init = stage.count * groups, matrix.at, target, target
        w.table.gemm(product)
    elif width < 4 and stage.count > 1:  # too few groups for the registers: the slots of each one side by side
        product.groups, product.w_panel, product.c_group = stage.count, groups * matrix.panel, w.Hp
        for i in range(width):
            product.w = fr_panel(matrix, 0, group + i)
            product.c = product.init = moved(w, target, i * FR_GROUP)
            w.table.gemm(product)
    else:
        product.groups = width
        for i in range(stage.count):
            product.w = fr_panel(matrix, 0, i * groups + group)
            product.c = product.init = moved(w, target, i * w.Hp)
            w.table.gemm(product)


cdef void project_state(const Walk *walk, Py_ssize_t rows, const void *m, char *h_next,
                        const Share *share) noexcept nogil:
    """h_next = m @ weight_hr.T  for the share's columns of h"""
    cdef const Layer *w = walk.w
    if share.state_begin == share.state_end:
        return
    cdef fr_product product = fr_product(
        M=rows, groups=share.state_end - share.state_begin, K=w.H, a=m, a_row=w.H,
        w=fr_panel(&w.projection, 0, share.state_begin), w_panel=w.projection.panel,
        far=w.recurrent_bytes > l2_bytes, init=NULL, init_row=0,
        c=moved(w, h_next, share.state_begin * FR_GROUP), c_row=walk.h_row, c_group=FR_GROUP,
        edge=edge_of(w.P, share.state_end * FR_GROUP == w.Pp),
    )
    w.table.gemm(&product)


cdef void forward_share(const Walk *walk, Py_ssize_t begin, Py_ssize_t end, Share *share) noexcept nogil:
    """Steps begin..end-1 for the share's rows and units, the last one first where time runs backwards."""
    cdef Py_ssize_t span = min(walk.gate_steps, steps_at_once(walk.w, walk.batch.T, share.last - share.first))
    cdef Py_ssize_t done = 0, count, low, i, t, rows
    cdef GateRows gates
    begin_work(share)
    while done < end - begin:
        count = min(span, end - begin - done)
        low = end - done - count if walk.reverse else begin + done
        gates = gate_rows(walk, share, low)
        project(walk, &gates, low, low + count, share)
        for i in range(count):
            t = low + (count - 1 - i if walk.reverse else i)
            rows = rows_of(walk, t, share)
            if rows > 0:
                recur(walk, t, gates_at(walk, &gates, t), rows, share)
        done += count
    end_work(walk.w, walk.batch, share)


# ------------------------------------------------------------------------------------------------------ backward


cdef void recur_backward(const Walk *walk, Py_ssize_t t, Py_ssize_t rows, fr_backward_block *at,
                         Share *share) noexcept nogil:
    """da, dh, dc of step t for the share's units and so many of its rows

    at: where the step's arrays stand: gates IN activations OUT da
    """
    cdef const Layer *w = walk.w
    cdef const fr_stage *stage
    cdef const char *dy = NULL
    cdef char *dh = moved(w, walk.dh, share.first * w.Pp)
    cdef char *target
    cdef fr_product product
    cdef int s
    if walk.dy != NULL:
        dy = moved(w, walk.dy, (offset_at(walk.batch, t) + share.first) * walk.dy_row)
    if walk.dprojected != NULL:
        unproject(walk, t, rows, dy, dh, share)
        dy = NULL
    product.M, product.far = rows, w.recurrent_bytes > l2_bytes
    product.a_row, product.c_group, product.edge = w.row, FR_GROUP, FR_GROUP
    for s in range(w.cell.stages - 1, -1, -1):
        stage = &w.cell.stage[s]
        at.dy = dy if s == w.cell.stages - 1 else NULL  # it joins dh once
        stage.backward(at)
        wait_for_others(share)
        # dh (or daux) += da[stage] @ weight_hh[stage]
        target = <char *> at.daux if stage.from_aux else dh
        product.K, product.a = stage.count * w.Hp, moved(w, at.gates, stage.first * w.Hp)
        product.groups, product.w_panel = share.state_end - share.state_begin, w.recurrent_transposed[s].panel
        product.w = fr_panel(&w.recurrent_transposed[s], 0, share.state_begin)
        product.c = moved(w, target, share.state_begin * FR_GROUP)
        product.c_row = product.init_row = w.Pp
        product.init = NULL if walk.dprojected != NULL else product.c
        if product.groups > 0:
            w.table.gemm(&product)


cdef void unproject(const Walk *walk, Py_ssize_t t, Py_ssize_t rows, const char *dy, const char *dh,
                    Share *share) noexcept nogil:
    """dprojected[t] = dh + dy[t] for the share's columns of h, then dm = dprojected[t] @ weight_hr for its units"""
    cdef const Layer *w = walk.w
    cdef Py_ssize_t column = share.state_begin * FR_GROUP, row
    cdef Py_ssize_t columns = min(share.state_end * FR_GROUP, w.P) - column
    cdef char *projected = moved(w, walk.dprojected, (offset_at(walk.batch, t) + share.first) * w.P)
    for row in range(rows if columns > 0 else 0):
        memcpy(moved(w, projected, row * w.P + column), moved(w, dh, row * w.Pp + column), columns * w.size)
        if dy != NULL:
            w.table.add(columns, moved(w, dy, row * walk.dy_row + column), moved(w, projected, row * w.P + column))
    wait_for_others(share)
    cdef fr_product product = fr_product(
        M=rows, groups=share.end - share.begin, K=w.P, a=projected, a_row=w.P,
        w=fr_panel(&w.projection_transposed, 0, share.begin), w_panel=w.projection_transposed.panel,
        far=w.recurrent_bytes > l2_bytes, init=NULL, init_row=0,
        c=moved(w, walk.dm, share.first * w.Hp + share.begin * FR_GROUP), c_row=w.Hp, c_group=FR_GROUP, edge=FR_GROUP,
    )
    w.table.gemm(&product)


cdef void backward_share(const Walk *walk, Py_ssize_t begin, Py_ssize_t end, Share *share) noexcept nogil:
    """Steps begin..end-1 for the share's rows and units, the last one first where time runs forwards."""
    cdef const Layer *w = walk.w
    cdef Py_ssize_t first = share.first, i, t, rows, row, before
    cdef fr_backward_block at
    at.begin, at.end = share.begin * FR_GROUP, min(share.end * FR_GROUP, w.H)
    at.gates_row, at.slot = w.row, w.Hp
    at.h_row, at.state_row, at.dy_row, at.carry_row = walk.h_row, w.H, walk.dy_row, w.Hp
    at.c = at.c_next = at.dc = at.daux = NULL
    at.dh = moved(w, walk.dm if walk.dm != NULL else walk.dh, first * w.Hp)
    if walk.c != NULL:
        at.dc = moved(w, walk.dc, first * w.Hp)
    if walk.aux != NULL:
        at.daux = moved(w, walk.daux, first * w.Hp)
    begin_work(share)
    for i in range(end - begin):
        t = begin + i if walk.reverse else end - 1 - i
        rows = rows_of(walk, t, share)
        if rows <= 0:
            continue
        row, before = offset_at(walk.batch, t) + first, row_before(walk, t) + first
        at.rows, at.gates, at.h = rows, moved(w, walk.gates, row * w.row), moved(w, walk.h, before * walk.h_row)
        at.gates_next = row_of_next(walk, t) + first - row - (rows - 1)
        at.gates_next *= w.row
        if walk.c != NULL:
            at.c = moved(w, walk.c, before * w.H)
            at.c_next = moved(w, walk.c, (row_after(walk, t) + first) * w.H)
        recur_backward(walk, t, rows, &at, share)
    end_work(w, walk.batch, share)


cdef inline Py_ssize_t row_of_next(const Walk *walk, Py_ssize_t t) noexcept nogil:
    """The packed row that the step after step t, in backward's order, begins with; about that past the last one."""
    if walk.reverse:
        return offset_at(walk.batch, t + 1)
    return offset_at(walk.batch, t - 1) if t else -walk.batch.B


# ------------------------------------------------------------------------------------------------------- threads


cdef struct Job:
    Walk *walks
    int directions
    bint apart, backward
    Span span


cdef void run_direction(const Job *job, int direction, int thread, int threads, const fr_team *team,
                        int member, long *stages) noexcept nogil:
    cdef const Walk *walk = &job.walks[direction]
    cdef Share share
    if job.span.begin[direction] >= job.span.end[direction]:
        return
    share = share_of(walk.w, walk.batch, &job.span, thread, threads, team, member)
    if share.first >= share.last:
        return
    share.stages = stages[0]
    if job.backward:
        backward_share(walk, job.span.begin[direction], job.span.end[direction], &share)
    else:
        forward_share(walk, job.span.begin[direction], job.span.end[direction], &share)
    stages[0] = share.stages


cdef void run_share(void *given, int thread, int threads, const fr_team *team) noexcept nogil:
    """A thread's part of a span: of one direction after the other, or of one alone where they run apart."""
    cdef const Job *job = <const Job *> given
    cdef int half = threads // 2, direction
    cdef long stages = 0  # barriers so far: a team counts them from its start to its end
    if job.apart and threads > 1:
        if thread < half:
            run_direction(job, 0, thread, half, team, 0, &stages)
        else:
            run_direction(job, 1, thread - half, threads - half, team, half, &stages)
        return
    for direction in range(job.directions):
        run_direction(job, direction, thread, threads, team, 0, &stages)


cdef void run_span(Walk *walks, int directions, const Plan *plan, const Span *span, bint backward) noexcept nogil:
    """Some rows and steps of a layer, by the threads of the plan."""
    cdef Job job
    job.walks, job.directions, job.apart, job.backward, job.span = walks, directions, plan.apart, backward, span[0]
    run_parallel(run_share, &job, plan.threads, plan.team_threads, True)


cdef void run_alone(Walk *walk) noexcept nogil:
    """All steps of one direction forward on the calling thread, for who has no time to plan."""
    cdef Span span
    cdef Share share
    cdef unsigned before = fr_flush_begin()
    span.first, span.last = 0, walk.batch.B
    share = share_of(walk.w, walk.batch, &span, 0, 1, NULL, 0)
    forward_share(walk, 0, walk.batch.T, &share)
    fr_flush_end(before)
