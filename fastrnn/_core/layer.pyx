"""One layer's run over all of its steps: the order of time loops and sums, in pieces, windows and segments.

A piece is what lies between two looks at signals. It changes no bit.
A window is the steps between two turns to the sums of backward. The sums depend on it, and on nothing else.
A segment, where the tape has checkpoints, is some windows. Only the state before it is kept, and backward computes its
gates again, by the same loop and so with the same bits.
"""

from libc.string cimport memcpy

cimport numpy as cnp

from fastrnn._core.gradients cimport Targets, layer_scratch_numbers, shrink_to_window, sum_window
from fastrnn._core.loop cimport Span, run_span
from fastrnn._core.plan cimport Batch, Plan, backward_plan, forward_plan, gradient_rows, offset_at, rows_at
from fastrnn._core.tape cimport LayerTape, copy_rows, new
from fastrnn._core.team cimport Watch, check_signals, watch_begin, watch_end
from fastrnn._core.walk cimport Walk, row_before
from fastrnn._core.weights cimport Layer

from fastrnn._core.memory import empty

cnp.import_array()


cdef struct Steps:
    # What each direction has to do
    Py_ssize_t begin[2]
    Py_ssize_t end[2]


cdef Py_ssize_t longest(const Steps *steps, int directions) noexcept nogil:
    cdef Py_ssize_t most = steps.end[0] - steps.begin[0]
    return max(most, steps.end[1] - steps.begin[1]) if directions == 2 else most


cdef int run_pieces(Walk *walks, int directions, const Plan *plan, const Steps *steps, bint backward,
                    bint may_end) except -1 nogil:
    """These steps of all rows; may_end: raise what a signal's handler raises between pieces."""
    cdef Py_ssize_t B = walks[0].batch.B, most = longest(steps, directions), done, count
    cdef int direction
    cdef Span span
    span.first = 0
    while span.first < B:
        span.last, done = min(span.first + plan.piece_rows, B), 0
        while done < most:
            if may_end and (span.first or done):
                check_signals()
            for direction in range(directions):
                span.begin[direction], span.end[direction] = steps.begin[direction], steps.end[direction]
                count = min(done, span.end[direction] - span.begin[direction])
                if walks[direction].reverse != backward:  # time runs down
                    span.end[direction] -= count
                    span.begin[direction] = max(span.begin[direction], span.end[direction] - plan.piece_steps)
                else:
                    span.begin[direction] += count
                    span.end[direction] = min(span.end[direction], span.begin[direction] + plan.piece_steps)
            run_span(walks, directions, plan, &span, backward)
            done += plan.piece_steps
        span.first = span.last
    return 0


# -------------------------------------------------------------------------------------------------------- forward


cdef int forward_steps(Walk *walks, int directions, const Steps *steps, int num_threads) except -1 nogil:
    cdef Plan plan = forward_plan(walks[0].w, walks[0].batch, directions, walks[0].indices != NULL, walks[0].at_rest,
                                  num_threads)
    cdef Watch watch
    if plan.threads == 1:
        return run_pieces(walks, directions, &plan, steps, False, True)
    watch = watch_begin()
    run_pieces(walks, directions, &plan, steps, False, True)
    watch_end(watch, plan.threads)
    return 0


cdef run_forward(LayerTape record, int num_threads):
    """All steps of a layer whose states have been started."""
    cdef Steps steps
    cdef int direction
    if record.checkpoint:
        run_segments(record, num_threads)
        return
    for direction in range(record.directions):
        steps.begin[direction], steps.end[direction] = 0, record.T
    with nogil:
        forward_steps(record.walks, record.directions, &steps, num_threads)


# ------------------------------------------------------------------------------------------------------- backward


cdef list start_backward(LayerTape record, int direction):
    """Arrays that a walk writes to in backward alone, the walk pointing at them; they are to be kept alive."""
    cdef Walk *walk = &record.walks[direction]
    cdef const Layer *w = walk.w
    cdef cnp.ndarray scratch, projected
    if walk.aux == NULL and walk.m == NULL:
        return []
    scratch = cnp.PyArray_ZEROS(2, [record.B, w.Hp], (<cnp.dtype> record.dtype).type_num, 0)
    if walk.m == NULL:
        walk.daux = cnp.PyArray_BYTES(scratch)
        return [scratch]
    projected = new(record.rows, w.P, 0, record.dtype)
    walk.dm, walk.dprojected = cnp.PyArray_BYTES(scratch), cnp.PyArray_BYTES(projected)
    return [scratch, projected]


cdef run_backward(LayerTape record, Targets *targets, bint may_end, int num_threads):
    """All steps of a layer, whose dy, dh and dc are set, and the sums over them; uses up the gates, or a copy."""
    cdef char *before[2]
    cdef int direction
    cdef list copies = []
    if (not record.reusable and record.dh is None) or record.checkpoint:
        run_windows(record, targets, may_end, num_threads)
        return
    for direction in range(record.directions):
        before[direction] = record.walks[direction].gates
    try:
        for direction in range(record.directions):
            copies.append(copy_gates(record, direction))
        run_windows(record, targets, may_end, num_threads)
    finally:
        for direction in range(record.directions):
            record.walks[direction].gates = before[direction]


cdef cnp.ndarray copy_gates(LayerTape record, int direction):
    """Let the walk use a copy of its gates up."""
    cdef Walk *walk = &record.walks[direction]
    cdef cnp.ndarray copy = new(record.rows, walk.w.row, 0, record.dtype)
    memcpy(cnp.PyArray_BYTES(copy), walk.gates, cnp.PyArray_NBYTES(copy))
    walk.gates = cnp.PyArray_BYTES(copy)
    return copy


cdef run_windows(LayerTape record, Targets *targets, bint may_end, int num_threads):
    """Window after window: its steps backward, then the sums over them."""
    cdef const Layer *w = record.walks[0].w
    cdef Batch *batch = &record.batch
    cdef Plan plan
    cdef Watch watch
    cdef Steps left, steps, own
    cdef cnp.ndarray scratch
    cdef int direction
    cdef Py_ssize_t most = max(<Py_ssize_t> 1, min(batch.T, gradient_rows(w) // batch.B))
    plan = backward_plan(w, batch, record.directions, record.walks[0].indices != NULL, most, num_threads)
    cdef Py_ssize_t numbers = layer_scratch_numbers(w, record.walks[0].indices != NULL)
    scratch = empty((plan.team_threads, numbers), record.dtype)
    cdef list alive = []  # arrays that the walks point into
    for direction in range(record.directions):
        targets[direction].scratch.at = cnp.PyArray_BYTES(scratch)
        targets[direction].scratch.bytes = numbers * w.size
        alive.append(start_backward(record, direction))
        left.begin[direction], left.end[direction] = 0, batch.T
    if record.checkpoint:
        record.segment = [None] * record.directions
    if plan.threads > 1:
        watch = watch_begin()
    while longest(&left, record.directions) > 0:
        steps = left
        for direction in range(record.directions):
            shrink_to_window(&record.walks[direction], &steps.begin[direction], &steps.end[direction])
            if record.dh is not None:
                watch_step(record, direction, &steps)
            if record.checkpoint and steps.begin[direction] < steps.end[direction]:
                bring_segment(record, direction, steps.begin[direction], num_threads)
        if may_end:
            check_signals()
        with nogil:
            if plan.apart:
                run_pieces(record.walks, record.directions, &plan, &steps, True, may_end)
            for direction in range(record.directions):
                if not plan.apart:  # then da is still in a cache
                    own.begin[0], own.end[0] = steps.begin[direction], steps.end[direction]
                    run_pieces(&record.walks[direction], 1, &plan, &own, True, may_end)
                if steps.begin[direction] < steps.end[direction]:
                    sum_window(&record.walks[direction], steps.begin[direction], steps.end[direction],
                               &targets[direction], plan.team_threads, may_end)
                    targets[direction].weights.fresh = False
                if record.walks[direction].reverse:
                    left.begin[direction] = steps.end[direction]
                else:
                    left.end[direction] = steps.begin[direction]
    if plan.threads > 1:
        watch_end(watch, plan.threads)


cdef watch_step(LayerTape record, int direction, Steps *steps):
    """Make the window one step, and write down the gradient of h after it: dy and what later steps have handed back."""
    cdef Walk *walk = &record.walks[direction]
    cdef const Layer *w = walk.w
    cdef Py_ssize_t t = steps.begin[direction], first, row
    cdef char *dh = cnp.PyArray_BYTES(<cnp.ndarray> record.dh[direction])
    if t >= steps.end[direction]:
        return
    if not walk.reverse:
        t = steps.begin[direction] = steps.end[direction] - 1
    steps.end[direction] = t + 1
    first = offset_at(walk.batch, t)
    dh += first * w.P * w.size
    copy_rows(rows_at(walk.batch, t), w.P * w.size, walk.dh, w.Pp * w.size, dh, w.P * w.size)
    for row in range(rows_at(walk.batch, t) if walk.dy != NULL else 0):
        w.table.add(w.P, walk.dy + (first + row) * walk.dy_row * w.size, dh + row * w.P * w.size)


# ---------------------------------------------------------------------------------------------------- checkpoints


cdef list segments_of(const Walk *walk, Py_ssize_t steps):
    """(begin, end) of each segment, in the order of backward: whole windows, at least so many steps."""
    cdef Py_ssize_t begin = 0, end = walk.batch.T, low, high, first
    cdef list segments = []
    while begin < end:
        first = begin if walk.reverse else end
        while begin < end and abs((begin if walk.reverse else end) - first) < steps:
            low, high = begin, end
            shrink_to_window(walk, &low, &high)
            if walk.reverse:
                begin = high
            else:
                end = low
        segments.append((first, begin) if walk.reverse else (end, first))
    return segments


cdef run_segments(LayerTape record, int num_threads):
    """Forward segment by segment; before each its c is kept. Its h is among the outputs."""
    cdef Walk *walk
    cdef Steps steps
    cdef int direction
    cdef cnp.ndarray c
    record.segments = [
        segments_of(&record.walks[direction], record.checkpoint) for direction in range(record.directions)
    ]
    record.carried = [[] for _ in range(record.directions)]
    for i in range(max([len(own) for own in record.segments])):
        for direction in range(record.directions):
            walk = &record.walks[direction]
            own = record.segments[direction]
            steps.begin[direction], steps.end[direction] = own[len(own) - 1 - i] if i < len(own) else (0, 0)
            if i < len(own) and walk.c != NULL:
                c = new(record.B, walk.w.H, 0, record.dtype)
                memcpy(cnp.PyArray_BYTES(c), walk.c, record.B * walk.w.H * walk.w.size)
                record.carried[direction].append(c)
        with nogil:
            forward_steps(record.walks, record.directions, &steps, num_threads)
        if longest(&steps, record.directions) > 0:
            check_signals()


cdef bring_segment(LayerTape record, int direction, Py_ssize_t t, int num_threads):
    """Compute the gates again of the segment that step t is in, unless they are there."""
    cdef Walk *walk = &record.walks[direction]
    cdef Steps steps
    cdef Py_ssize_t begin, end
    cdef list own = record.segments[direction]
    if record.segment[direction] is not None and record.segment[direction][0] <= t < record.segment[direction][1]:
        return
    record.segment[direction] = None
    number = 0
    for begin, end in own:
        if begin <= t < end:
            break
        number += 1
    carried = record.carried[direction][len(own) - 1 - number] if walk.c != NULL else None
    arrays = point_into_segment(record, walk, begin, end, carried)
    steps.begin[0], steps.end[0] = begin, end
    with nogil:
        forward_steps(walk, 1, &steps, num_threads)
    record.segment[direction] = (begin, end, arrays)


cdef char *room(list arrays, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t first, dtype) except NULL:
    """Where row 0 would stand of a new array that has only the rows from `first` on."""
    cdef cnp.ndarray array = new(rows, columns, 0, dtype)
    arrays.append(array)
    return cnp.PyArray_BYTES(array) - first * cnp.PyArray_STRIDE(array, 0)


cdef list point_into_segment(LayerTape record, Walk *walk, Py_ssize_t begin, Py_ssize_t end, cnp.ndarray carried):
    """Let the walk keep what it computes of these steps; c before them is set. Returns the arrays."""
    cdef const Layer *w = walk.w
    cdef const Batch *batch = &record.batch
    cdef Py_ssize_t first = offset_at(batch, begin), rows = offset_at(batch, end) - first, at, p, length
    cdef list arrays = []
    walk.taped, walk.gate_steps = True, batch.T
    walk.gates = room(arrays, rows, w.row, first, record.dtype)
    if walk.aux != NULL:
        walk.aux = room(arrays, rows, w.H, first, record.dtype)
    if walk.m != NULL:
        walk.m = room(arrays, rows, w.H, first, record.dtype)
    if walk.c == NULL:
        return arrays
    first = batch.B + offset_at(batch, begin - 1) if begin else 0
    walk.c = room(arrays, batch.B + offset_at(batch, end) - first, w.H, first, record.dtype)
    for p in range(rows_at(batch, begin)):
        at = row_before(walk, begin)
        if walk.reverse:  # a sequence may end, and so begin, inside the segment
            length = batch.before[p + 1] - batch.before[p] if batch.before != NULL else batch.T
            at = batch.B + offset_at(batch, min(length, end) - 1)
        memcpy(walk.c + (at + p) * w.H * w.size,
               cnp.PyArray_BYTES(carried) + p * cnp.PyArray_STRIDE(carried, 0), w.H * w.size)
    return arrays
