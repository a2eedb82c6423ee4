"""Attention over the sequences of a batch: scores, weights, contexts, and the way back.

Design
a) A sequence is a piece of work of its own: threads split the batch, and nothing of a sequence depends on the others.
b) Its queries, keys and values are rows a constant stride apart, in arrays of any form: see `Layout`. Rows that no
   sequence counts are neither read nor written.
c) Products are the packed ones of every layer. A sequence packs its own operands, which costs a product what one more
   row of queries would.
"""

from libc.stdint cimport int64_t

import numpy as np

cimport numpy as cnp

from fastrnn._core.elementwise cimport Job as Pieces, Work, fitting, run_on
from fastrnn._core.kernels cimport (
    FR_COLUMNS, FR_GROUP, fr_additive, fr_kernels, fr_matrix, fr_product, kernels, kernels_f64
)
from fastrnn._core.team cimport granted_threads, worthwhile_threads

from fastrnn._core.memory import empty

cnp.import_array()

ctypedef fused real:
    float
    double

cdef enum:
    FIELDS = 6      # of a sequence in the array that a caller gives

# Of one sequence: its first query, how many; its first key, how many; the first number of its weights, and how far it
# is from one query's weights to the next one's.
cdef struct Layout:
    int64_t query, queries, key, keys, weights, weights_row

cdef struct Job:
    const fr_kernels *table
    const Layout *layout
    Py_ssize_t query_step, key_step  # rows from one query or key of a sequence to its next
    Py_ssize_t D, K                 # numbers of a query or key, and of a value
    const char *queries
    const char *keys                # NULL: they are the values, and scores are products
    const char *values
    const char *v                   # of the additive scores
    char *weights
    char *context                   # OUT of forward
    const char *dcontext            # IN of backward, and OUT:
    char *dqueries
    char *dkeys
    char *dvalues
    char *dv                        # a row for each sequence
    char *scratch
    Py_ssize_t scratch_bytes, square_bytes   # of a thread; of which panels come last, after two squares


# ----------------------------------------------------------------------------------------------- products


cdef inline Py_ssize_t padded(Py_ssize_t n) noexcept nogil:
    return (n + FR_GROUP - 1) // FR_GROUP * FR_GROUP


# A product that packs its second operand. arguments: two operands, a result and their sizes.
cdef void multiply(const fr_kernels *table, Py_ssize_t M, Py_ssize_t K, Py_ssize_t N, const char *a, Py_ssize_t a_row,
                   const char *w, Py_ssize_t w_k, Py_ssize_t w_n, char *panels, const char *init, char *c,
                   Py_ssize_t c_row) noexcept nogil:
    """c (M, N) = init + a (M, K) @ W (K, N) with W[k, n] = w[k * w_k + n * w_n]; init: NULL for 0, or c"""
    cdef fr_matrix matrix = table.layout(K, N)
    cdef fr_product product
    matrix.at = panels
    table.pack(&matrix, 0, 0, K, N, w, w_k, w_n)
    product = fr_product(
        M=M, groups=matrix.groups, K=K, a=a, a_row=a_row, w=matrix.at, w_panel=matrix.panel, far=False, init=init,
        init_row=c_row, c=c, c_row=c_row, c_group=FR_GROUP, edge=N - padded(N) + FR_GROUP,
    )
    table.gemm(&product)


cdef void transposed(const fr_kernels *table, Py_ssize_t rows, Py_ssize_t columns, const char *source,
                     Py_ssize_t source_row, char *target, Py_ssize_t target_row) noexcept nogil:
    """target[m * target_row + k] = source[k * source_row + m]"""
    cdef double sums[FR_COLUMNS]  # room for either type
    cdef Py_ssize_t block, m, i
    for block in range((columns + FR_COLUMNS - 1) // FR_COLUMNS):
        m = block * FR_COLUMNS
        for i in range(FR_COLUMNS):
            sums[i] = 0
        table.transpose(rows, min(columns - m, <Py_ssize_t> FR_COLUMNS), source + m * table.size, source_row,
                        target + m * target_row * table.size, target_row, sums)


cdef Py_ssize_t panel_bytes(const fr_kernels *table, Py_ssize_t K, Py_ssize_t N) noexcept nogil:
    cdef fr_matrix matrix = table.layout(K, N)
    return matrix.groups * matrix.panel


# --------------------------------------------------------------------------------------------- one sequence


cdef void forward_sequence(const Job *job, Py_ssize_t b, char *scratch) noexcept nogil:
    cdef const fr_kernels *table = job.table
    cdef const Layout *at = &job.layout[b]
    cdef Py_ssize_t size = table.size, t, query_row = job.query_step * job.D, context_row = job.query_step * job.K
    cdef const char *values = job.values + at.key * job.K * size
    cdef const char *queries = job.queries + at.query * job.D * size
    cdef char *weights = job.weights + at.weights * size
    cdef char *context = job.context + at.query * job.K * size
    cdef char *panels = scratch + 2 * job.square_bytes
    cdef fr_additive scored
    if at.queries == 0 or at.keys == 0:
        return
    if job.v == NULL:
        multiply(table, at.queries, job.D, at.keys, queries, query_row, values, 1, job.key_step * job.K, panels, NULL,
                 weights, at.weights_row)
    for t in range(at.queries):
        if job.v != NULL:
            scored = additive_of(job, at, t)
            table.additive_scores(&scored, weights + t * at.weights_row * size)
        table.softmax(at.keys, weights + t * at.weights_row * size, 1.0, weights + t * at.weights_row * size)
    multiply(table, at.queries, at.keys, job.K, weights, at.weights_row, values, job.key_step * job.K, 1, panels, NULL,
             context, context_row)


cdef fr_additive additive_of(const Job *job, const Layout *at, Py_ssize_t t) noexcept nogil:
    """Query t of a sequence with the sequence's keys."""
    cdef Py_ssize_t number = job.D * job.table.size
    return fr_additive(
        A=job.D, count=at.keys, key_row=job.key_step * job.D, v=job.v, keys=job.keys + at.key * number,
        query=job.queries + (at.query + t * job.query_step) * number,
    )


cdef void backward_sequence(const Job *job, Py_ssize_t b, char *scratch) noexcept nogil:
    cdef const fr_kernels *table = job.table
    cdef const Layout *at = &job.layout[b]
    cdef Py_ssize_t size = table.size, t, S = at.keys, row = (at.queries + 3) // 4 * 4
    cdef Py_ssize_t value_row = job.key_step * job.K, context_row = job.query_step * job.K
    cdef const char *values = job.values + at.key * job.K * size
    cdef const char *dcontext = job.dcontext + at.query * job.K * size
    cdef const char *weights = job.weights + at.weights * size
    cdef char *dvalues = job.dvalues + at.key * job.K * size
    cdef char *dscores = scratch
    cdef char *turned = scratch + job.square_bytes
    cdef char *panels = scratch + 2 * job.square_bytes
    if at.queries == 0 or S == 0:
        return
    multiply(table, at.queries, job.K, S, dcontext, context_row, values, 1, value_row, panels, NULL, dscores, S)
    for t in range(at.queries):
        table.softmax_backward(S, weights + t * at.weights_row * size, dscores + t * S * size, dscores + t * S * size)
    transposed(table, at.queries, S, weights, at.weights_row, turned, row)
    multiply(table, S, at.queries, job.K, turned, row, dcontext, context_row, 1, panels, NULL, dvalues, value_row)
    if job.v == NULL:
        product_backward(job, at, scratch)
    else:
        additive_backward(job, at, b, dscores)


cdef void product_backward(const Job *job, const Layout *at, char *scratch) noexcept nogil:
    """dqueries = dscores @ values, dvalues += dscores.T @ queries"""
    cdef const fr_kernels *table = job.table
    cdef Py_ssize_t size = table.size, S = at.keys, row = (at.queries + 3) // 4 * 4
    cdef Py_ssize_t query_row = job.query_step * job.D, value_row = job.key_step * job.K
    cdef char *dvalues = job.dvalues + at.key * job.K * size
    cdef char *turned = scratch + job.square_bytes
    cdef char *panels = scratch + 2 * job.square_bytes
    multiply(table, at.queries, S, job.D, scratch, S, job.values + at.key * job.K * size, value_row, 1, panels, NULL,
             job.dqueries + at.query * job.D * size, query_row)
    transposed(table, at.queries, S, scratch, S, turned, row)
    multiply(table, S, at.queries, job.K, turned, row, job.queries + at.query * job.D * size, query_row, 1, panels,
             dvalues, dvalues, value_row)


cdef void additive_backward(const Job *job, const Layout *at, Py_ssize_t b, const char *dscores) noexcept nogil:
    """What the scores' gradients add to dqueries, dkeys and the sequence's row of dv, all 0 before."""
    cdef Py_ssize_t size = job.table.size, number = job.D * size, t
    cdef fr_additive scored
    for t in range(at.queries):
        scored = additive_of(job, at, t)
        job.table.additive_backward(
            &scored, dscores + t * at.keys * size, job.dqueries + (at.query + t * job.query_step) * number,
            job.dkeys + at.key * number, job.dv + b * number,
        )


# ------------------------------------------------------------------------------------------------- a batch


cdef void forward_sequences(const Pieces *pieces, Py_ssize_t first, Py_ssize_t last, int part) noexcept nogil:
    cdef const Job *job = <const Job *> pieces.more
    cdef Py_ssize_t b
    for b in range(first, last):
        forward_sequence(job, b, job.scratch + part * job.scratch_bytes)


cdef void backward_sequences(const Pieces *pieces, Py_ssize_t first, Py_ssize_t last, int part) noexcept nogil:
    cdef const Job *job = <const Job *> pieces.more
    cdef Py_ssize_t b
    for b in range(first, last):
        backward_sequence(job, b, job.scratch + part * job.scratch_bytes)


cdef class Sequences:
    """Where the sequences of a batch lie, checked against the arrays that are then handed to C."""

    cdef const int64_t[:, ::1] layout
    cdef Py_ssize_t query_step, key_step, query_rows, key_rows, numbers, most_queries, most_keys
    cdef double pairs

    def __init__(self, const int64_t[:, ::1] layout, Py_ssize_t query_step, Py_ssize_t key_step):
        """layout IN (B, 6): first query, queries, first key, keys, first weight, weights from a query to the next

        steps: rows from a query or key of a sequence to its next
        """
        cdef const Layout *at
        cdef Py_ssize_t b
        fitting("Attention", layout.shape[1] == FIELDS and query_step >= 1 and key_step >= 1)
        self.layout, self.query_step, self.key_step = layout, query_step, key_step
        for b in range(layout.shape[0]):
            at = <const Layout *> &layout[b, 0]
            fitting("Attention", min(at.query, at.queries, at.key, at.keys, at.weights) >= 0
                    and at.weights_row >= at.keys)
            self.pairs += <double> at.queries * at.keys
            if at.queries and at.keys:
                self.query_rows = max(self.query_rows, at.query + (at.queries - 1) * query_step + 1)
                self.key_rows = max(self.key_rows, at.key + (at.keys - 1) * key_step + 1)
                self.numbers = max(self.numbers, at.weights + (at.queries - 1) * at.weights_row + at.keys)
                self.most_queries = max(self.most_queries, at.queries)
                self.most_keys = max(self.most_keys, at.keys)

    cdef fits(self, str who, Py_ssize_t queries, Py_ssize_t keys, Py_ssize_t weights, bint also):
        fitting(who, also and queries >= self.query_rows and keys >= self.key_rows and weights >= self.numbers)

    cdef run(self, Work work, Job *job, dtype, double each, int num_threads):
        """work on every sequence, each as long as so many multiply-adds in the mean"""
        cdef Py_ssize_t B = self.layout.shape[0], size = job.table.size, Q = self.most_queries, S = self.most_keys
        cdef int threads = granted_threads(worthwhile_threads(num_threads, B, each * B))
        cdef Pieces pieces
        # dscores, and what transpose writes of whole fours in whole vectors
        job.square_bytes = padded(Q) * padded(S) * size
        job.scratch_bytes = 2 * job.square_bytes + max(
            panel_bytes(job.table, job.K, S), panel_bytes(job.table, S, max(job.K, job.D)),
            panel_bytes(job.table, Q, max(job.K, job.D)),
        )
        memory = empty((threads, job.scratch_bytes // size), dtype)
        job.scratch = cnp.PyArray_BYTES(<cnp.ndarray> memory)
        pieces.table, pieces.more = job.table, job
        with nogil:
            run_on(threads, work, &pieces, B, each)

    cdef Job job_of(self, Py_ssize_t size, Py_ssize_t D, Py_ssize_t K):
        cdef Job job
        job.table = kernels if size == 4 else kernels_f64
        job.layout = <const Layout *> &self.layout[0, 0]
        job.query_step, job.key_step, job.D, job.K = self.query_step, self.key_step, D, K
        return job

    def forward(self, const real[:, ::1] queries, const real[:, ::1] keys, const real[:, ::1] values,
                const real[::1] v, real[::1] weights, real[:, ::1] context, int num_threads):
        """weights = softmax of the scores, context = weights @ values, query by query

        queries IN (rows, D), keys IN (rows, D), values IN (rows, K), v IN (D,); for products keys and v have no rows
        and D is K. weights OUT (numbers,), context OUT (rows, K)
        """
        cdef Py_ssize_t D = queries.shape[1], K = values.shape[1]
        cdef bint additive = v.shape[0] > 0
        cdef double each
        cdef Job job
        if self.pairs == 0:
            return
        self.fits("Attention", min(queries.shape[0], context.shape[0]), values.shape[0], weights.shape[0],
                  context.shape[1] == K and (keys.shape[0] == values.shape[0] and v.shape[0] == D == keys.shape[1]
                                             if additive else D == K))
        job = self.job_of(sizeof(real), D, K)
        job.queries, job.values, job.context = <char *> &queries[0, 0], <char *> &values[0, 0], <char *> &context[0, 0]
        job.weights = <char *> &weights[0]
        job.keys, job.v = <char *> &keys[0, 0] if additive else NULL, <char *> &v[0] if additive else NULL
        each = self.pairs / self.layout.shape[0] * (K + (10 * D if additive else D))
        self.run(forward_sequences, &job, np.asarray(weights).dtype, each, num_threads)

    # The arguments: what forward had, and where the gradients go.
    def backward(self, const real[:, ::1] queries, const real[:, ::1] keys, const real[:, ::1] values,
                 const real[::1] v, real[::1] weights, const real[:, ::1] dcontext, real[:, ::1] dqueries,
                 real[:, ::1] dkeys, real[:, ::1] dvalues, real[:, ::1] dv, int num_threads):
        """The gradients of forward's queries, keys, values and v by that of the context.

        As in forward, and dcontext IN (rows, K); dqueries, dkeys, dvalues, all 0 before, OUT as the arrays without d;
        dv, 0 before, OUT (B, D), what each sequence adds; dkeys and dv without rows for products
        """
        cdef Py_ssize_t D = queries.shape[1], K = values.shape[1]
        cdef bint additive = v.shape[0] > 0
        cdef double each
        cdef Job job
        if self.pairs == 0:
            return
        self.fits("Attention.backward", min(queries.shape[0], dcontext.shape[0], dqueries.shape[0]),
                  min(values.shape[0], dvalues.shape[0]), weights.shape[0],
                  dcontext.shape[1] == dvalues.shape[1] == K and dqueries.shape[1] == D and (
                      keys.shape[0] == dkeys.shape[0] == values.shape[0] and dv.shape[0] == self.layout.shape[0]
                      and v.shape[0] == D == keys.shape[1] == dkeys.shape[1] == dv.shape[1] if additive else D == K))
        job = self.job_of(sizeof(real), D, K)
        job.queries, job.values, job.weights = <char *> &queries[0, 0], <char *> &values[0, 0], <char *> &weights[0]
        job.dcontext, job.dqueries = <char *> &dcontext[0, 0], <char *> &dqueries[0, 0]
        job.dvalues = <char *> &dvalues[0, 0]
        job.keys = job.v = job.dkeys = job.dv = NULL
        if additive:
            job.keys, job.v, job.dkeys, job.dv = (
                <char *> &keys[0, 0], <char *> &v[0], <char *> &dkeys[0, 0], <char *> &dv[0, 0])
        each = self.pairs / self.layout.shape[0] * (2 * K + (20 * D if additive else 2 * D))
        self.run(backward_sequences, &job, np.asarray(weights).dtype, each, num_threads)
