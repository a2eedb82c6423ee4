"""The steps of time forward, for the rows and units of one thread.

Two phases. Project: the gate buffer of a block of time steps = bias + x W^T, one product. Recur: per step, += h R^T and
the equations, a few groups of units at a time so that the gates are still in a cache; then the projection of h, if any.
"""

from libc.string cimport memcpy

from fastrnn._core.kernels cimport FR_GROUP, fr_forward_block, fr_matrix, fr_panel, fr_product
from fastrnn._core.plan cimport l2_bytes, offset_at, steps_at_once
from fastrnn._core.share cimport Share, begin_work, end_work, rows_of, wait_for_others
from fastrnn._core.walk cimport Place, Walk, edge_of, moved, place_of
from fastrnn._core.weights cimport FROM_AUX, TO_GATES, Layer, Stage


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


cdef fr_forward_block constants_of(const Walk *walk) noexcept nogil:
    """What is the same for all steps."""
    cdef const Layer *w = walk.w
    cdef fr_forward_block at
    at.gates_row, at.slot, at.state_row = w.row, w.Hp, w.H
    at.h_row = w.H if walk.m != NULL else walk.h_row
    at.c = at.c_next = at.aux = NULL
    return at


cdef void recur(const Walk *walk, Py_ssize_t t, fr_forward_block *at, Share *share) noexcept nogil:
    """The states after step t = cell(gates + h @ weight_hh.T, h, c) for the share's units and so many of its rows

    at: rows and gates are the step's, gates IN projections OUT activations
    """
    cdef const Layer *w = walk.w
    cdef Place place = place_of(walk, t)
    cdef Py_ssize_t row = place.row + share.first if walk.taped else share.first
    cdef char *h_next = moved(w, walk.h, (place.after + share.first) * walk.h_row)
    cdef const Stage *stage
    cdef int s
    at.h, at.h_next = moved(w, walk.h, (place.before + share.first) * walk.h_row), h_next
    if walk.c != NULL:
        at.c = moved(w, walk.c, (place.before + share.first if walk.taped else row) * w.H)
        at.c_next = moved(w, walk.c, (place.after + share.first if walk.taped else row) * w.H)
    if walk.aux != NULL:
        at.aux = moved(w, walk.aux, row * w.H)
    if walk.m != NULL:
        at.h_next = moved(w, walk.m, row * w.H)
    for s in range(w.stages):
        stage = &w.stage[s]
        if stage.target == TO_GATES:
            run_stage(walk, stage, share.at_once[s], t, at, share)
        else:
            project_state(walk, stage, at.rows, at.h_next, h_next, share)
        wait_for_others(share)


cdef void run_stage(const Walk *walk, const Stage *stage, Py_ssize_t most, Py_ssize_t t, fr_forward_block *at,
                    const Share *share) noexcept nogil:
    """A stage's product, added to its slots of the gates, and its equations: `most` groups of units at a time."""
    cdef const Layer *w = walk.w
    cdef Py_ssize_t own = share.end - share.begin, block, group, width
    cdef Py_ssize_t blocks = 1 if own <= most else (own + most - 1) // most
    cdef bint at_rest = walk.at_rest and t == (walk.batch.T - 1 if walk.reverse else 0)
    cdef fr_product product
    product.M, product.K, product.far = at.rows, stage.matrix.K, share.far
    product.a, product.a_row = at.h, walk.h_row
    if stage.source == FROM_AUX:
        product.a, product.a_row = at.aux, w.H
    product.init_row, product.c_row, product.edge = w.row, w.row, FR_GROUP
    for block in range(blocks):
        # Back and forth over the weights on even and odd steps: what the last step read last is still in the cache.
        group = share.begin + (blocks - 1 - block if t & 1 else block) * most
        width = min(most, share.end - group)
        if not at_rest:  # else h is 0 and the product adds nothing
            add_product(w, stage, group, width, at.gates, &product)
        at.begin, at.end = group * FR_GROUP, min((group + width) * FR_GROUP, w.H)
        stage.forward(at)


cdef void add_product(const Layer *w, const Stage *stage, Py_ssize_t group, Py_ssize_t width, void *gates,
                      fr_product *product) noexcept nogil:
    """gates += a @ matrix  for `width` groups of units from `group` on, of all the stage's slots"""
    cdef const fr_matrix *matrix = &stage.matrix
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


cdef void project_state(const Walk *walk, const Stage *stage, Py_ssize_t rows, const void *m, char *h_next,
                        const Share *share) noexcept nogil:
    """h_next = m @ matrix  for the share's columns of h"""
    cdef const Layer *w = walk.w
    if share.state_begin == share.state_end:
        return
    cdef fr_product product = fr_product(
        M=rows, groups=share.state_end - share.state_begin, K=stage.matrix.K, a=m, a_row=w.H,
        w=fr_panel(&stage.matrix, 0, share.state_begin), w_panel=stage.matrix.panel,
        far=share.far, init=NULL, init_row=0,
        c=moved(w, h_next, share.state_begin * FR_GROUP), c_row=walk.h_row, c_group=FR_GROUP,
        edge=edge_of(w.P, share.state_end * FR_GROUP == w.Pp),
    )
    w.table.gemm(&product)


cdef void forward_share(const Walk *walk, Py_ssize_t begin, Py_ssize_t end, Share *share) noexcept nogil:
    """Steps begin..end-1 for the share's rows and units, the last one first where time runs backwards."""
    cdef Py_ssize_t span = min(walk.gate_steps, steps_at_once(walk.w, walk.batch.T, share.last - share.first))
    cdef Py_ssize_t done = 0, count, low, i, t, rows
    cdef GateRows gates
    cdef fr_forward_block at = constants_of(walk)
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
                at.rows, at.gates = rows, gates_at(walk, &gates, t)
                recur(walk, t, &at, share)
        done += count
    end_work(walk.w, walk.batch, share)
