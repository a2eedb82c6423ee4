"""The linear layer, in the blocks and pieces of gradients.pyx."""

import numpy as np

cimport numpy as cnp

from fastrnn._core.elementwise cimport fitting
from fastrnn._core.gradients cimport (
    Cut, RowProduct, Sums, add_weight_gradients, multiply_rows, scratch_numbers
)
from fastrnn._core.kernels cimport FR_GROUP
from fastrnn._core.plan cimport Pieces, pieces_of, work_between_looks
from fastrnn._core.team cimport check_signals, fr_team, granted_threads, run_parallel, worthwhile_threads
from fastrnn._core.weights cimport Layer, LinearWeights, padded

from fastrnn._core.memory import empty

cnp.import_array()

ctypedef fused real:
    float
    double

cdef struct Job:
    RowProduct product
    Sums sums           # count 0 where there are none
    Cut cut
    char *scratch
    Py_ssize_t scratch_bytes


cdef void run_part(void *given, int part, int parts, const fr_team *team) noexcept nogil:
    cdef const Job *job = <const Job *> given
    multiply_rows(&job.product, &job.cut, team, part, parts)
    if job.sums.count:
        add_weight_gradients(&job.sums, &job.cut, job.scratch + part * job.scratch_bytes, team, part, parts)


cdef int run_pieces(Job *job, double row_work, int threads) except -1 nogil:
    """All blocks of rows; what a signal's handler raises between pieces is raised."""
    cdef Pieces pieces = pieces_of(job.product.w, job.product.rows, row_work, threads)
    cdef Py_ssize_t turn
    job.cut.blocks, job.cut.turns, job.cut.first = pieces.blocks, pieces.turns, 0
    while job.cut.first < pieces.blocks:
        job.cut.last = min(job.cut.first + pieces.each, pieces.blocks)
        for turn in range(pieces.turns):
            job.cut.turn = turn
            if job.cut.first or turn:
                check_signals()
            run_parallel(run_part, job, threads, threads, False)
        job.cut.first = job.cut.last
    return 0


def linear_forward(LinearWeights weights, const real[:, ::1] x, real[:, ::1] y, int num_threads):
    """y = x @ weight.T + bias;  x IN (rows, inputs), y OUT (rows, outputs)"""
    cdef const Layer *w = &weights.layer
    cdef Py_ssize_t rows = x.shape[0]
    cdef double row_work = <double> w.inputs * w.H
    cdef int threads = granted_threads(worthwhile_threads(num_threads, rows // 4, rows * row_work))
    cdef Job job
    fitting("Linear", w.input.at != NULL and sizeof(real) == w.size and x.shape[1] == w.inputs and y.shape[0] == rows
            and y.shape[1] == w.H)
    job.product = RowProduct(w=w, matrix=&w.input, rows=rows, N=w.H, x_row=w.inputs, init_row=0,
                             x=<const char *> &x[0, 0], init=w.bias, y=<char *> &y[0, 0])
    job.sums.count = 0
    with nogil:
        run_pieces(&job, row_work, threads)


def linear_backward(LinearWeights weights, const real[:, ::1] x, const real[:, ::1] dy, real[:, ::1] dx,
                    real[:, ::1] dweight, real[::1] dbias, int num_threads):
    """dx = dy @ weight, dweight += dy.T @ x, dbias += dy.sum(0)

    x IN (rows, inputs), dy IN (rows, outputs), dx OUT (rows, inputs), dweight IN and OUT, dbias IN and OUT or empty,
    both as before where a signal's handler raises
    """
    cdef const Layer *w = &weights.layer
    cdef Py_ssize_t rows = x.shape[0], need = scratch_numbers(padded(w.inputs))
    cdef double work = <double> rows * w.inputs * w.H
    cdef int threads = granted_threads(worthwhile_threads(num_threads, padded(w.H) // FR_GROUP, work))
    cdef cnp.ndarray scratch = empty((threads, need), np.asarray(dweight).dtype)
    cdef bint may_end = 2 * work > work_between_looks(w)
    cdef Job job
    fitting("Linear.backward", w.input_transposed.at != NULL and sizeof(real) == w.size and x.shape[1] == w.inputs
            and dx.shape[0] == dy.shape[0] == rows and dx.shape[1] == dweight.shape[1] == w.inputs
            and dy.shape[1] == dweight.shape[0] == w.H and dbias.shape[0] in (0, w.H))
    job.product = RowProduct(w=w, matrix=&w.input_transposed, rows=rows, N=w.inputs, x_row=w.H, init_row=w.inputs,
                             x=<const char *> &dy[0, 0], init=NULL, y=<char *> &dx[0, 0])
    job.sums.w, job.sums.da, job.sums.K, job.sums.row = w, <const char *> &dy[0, 0], rows, w.H
    job.sums.units, job.sums.slot_columns, job.sums.first, job.sums.slots, job.sums.count = w.H, 0, 0, 1, 1
    job.sums.operand[0].at, job.sums.operand[0].row, job.sums.operand[0].N = <const char *> &x[0, 0], w.inputs, w.inputs
    job.sums.operand[0].states, job.sums.operand[0].gates[0] = NULL, 0
    job.sums.operand[0].dweight = <char *> &dweight[0, 0]
    job.sums.operand[0].dbias = <char *> &dbias[0] if dbias.shape[0] else NULL
    job.scratch, job.scratch_bytes = cnp.PyArray_BYTES(scratch), need * w.size
    before = [(array, array.copy()) for array in map(np.asarray, (dweight, dbias))] if may_end else []
    try:
        with nogil:
            run_pieces(&job, 2.0 * w.inputs * w.H, threads)
        if may_end:
            check_signals()
    except BaseException:
        for array, values in before:
            array[...] = values
        raise
