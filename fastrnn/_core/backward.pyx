"""The steps of time backward, for the rows and units of one thread: equations and dh = da R.

The gradients of the pre-activations are written over the activations: the tape is used up, and half the memory and
traffic saved. From there on the buffer is called `da`. The sums over time follow in gradients.pyx.
"""

from libc.string cimport memcpy

from fastrnn._core.kernels cimport FR_GROUP, fr_backward_block, fr_panel, fr_product
from fastrnn._core.plan cimport offset_at
from fastrnn._core.share cimport Share, begin_work, end_work, rows_of, wait_for_others
from fastrnn._core.walk cimport Place, Walk, moved, place_of
from fastrnn._core.weights cimport FROM_AUX, TO_H, Layer, Stage


cdef void recur_backward(const Walk *walk, Py_ssize_t t, Py_ssize_t rows, fr_backward_block *at,
                         Share *share) noexcept nogil:
    """da, dh, dc of step t for the share's units and so many of its rows: the stages, the last one first

    at: where the step's arrays stand: gates IN activations OUT da
    """
    cdef const Layer *w = walk.w
    cdef const Stage *stage
    cdef const char *dy = NULL
    cdef char *dh = moved(w, walk.dh, share.first * w.Pp)
    cdef int s
    if walk.dy != NULL:
        dy = moved(w, walk.dy, (offset_at(walk.batch, t) + share.first) * walk.dy_row)
    for s in range(w.stages - 1, -1, -1):
        stage = &w.stage[s]
        if stage.target == TO_H:
            unproject(walk, stage, t, rows, dy, dh, share)
        else:
            at.dy = dy
            stage.backward(at)
            wait_for_others(share)
            carry(w, stage, at, <char *> at.daux if stage.source == FROM_AUX else dh, share)
        dy = NULL  # it joins dh once


cdef void carry(const Layer *w, const Stage *stage, const fr_backward_block *at, char *target,
                const Share *share) noexcept nogil:
    """dh (or daux) += da[stage] @ weight_hh[stage]  for the share's columns; with a projection, dh was used up: ="""
    cdef char *own = moved(w, target, share.state_begin * FR_GROUP)
    cdef char *init = own
    if share.state_begin == share.state_end:
        return
    if w.projected:
        init = NULL
    cdef fr_product product = fr_product(
        M=at.rows, groups=share.state_end - share.state_begin, K=stage.transposed.K,
        a=moved(w, at.gates, stage.first * w.Hp), a_row=w.row,
        w=fr_panel(&stage.transposed, 0, share.state_begin), w_panel=stage.transposed.panel,
        far=share.far, init=init, init_row=w.Pp, c=own, c_row=w.Pp,
        c_group=FR_GROUP, edge=FR_GROUP,
    )
    w.table.gemm(&product)


cdef void unproject(const Walk *walk, const Stage *stage, Py_ssize_t t, Py_ssize_t rows, const char *dy, const char *dh,
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
        w=fr_panel(&stage.transposed, 0, share.begin), w_panel=stage.transposed.panel,
        far=share.far, init=NULL, init_row=0,
        c=moved(w, walk.dm, share.first * w.Hp + share.begin * FR_GROUP), c_row=w.Hp, c_group=FR_GROUP, edge=FR_GROUP,
    )
    w.table.gemm(&product)


cdef void backward_share(const Walk *walk, Py_ssize_t begin, Py_ssize_t end, Share *share) noexcept nogil:
    """Steps begin..end-1 for the share's rows and units, the last one first where time runs forwards."""
    cdef const Layer *w = walk.w
    cdef Py_ssize_t first = share.first, i, t, rows, row
    cdef Place place
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
        place = place_of(walk, t)
        row = place.row + first
        at.rows, at.gates = rows, moved(w, walk.gates, row * w.row)
        at.h = moved(w, walk.h, (place.before + first) * walk.h_row)
        at.gates_next = row_of_next(walk, t) + first - row - (rows - 1)
        at.gates_next *= w.row
        if walk.c != NULL:
            at.c = moved(w, walk.c, (place.before + first) * w.H)
            at.c_next = moved(w, walk.c, (place.after + first) * w.H)
        recur_backward(walk, t, rows, &at, share)
    end_work(w, walk.batch, share)


cdef inline Py_ssize_t row_of_next(const Walk *walk, Py_ssize_t t) noexcept nogil:
    """The packed row that the step after step t, in backward's order, begins with; about that past the last one."""
    if walk.reverse:
        return offset_at(walk.batch, t + 1)
    return offset_at(walk.batch, t - 1) if t else -walk.batch.B
