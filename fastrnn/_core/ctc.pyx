"""Connectionist temporal classification over a batch: the sequences are shared between threads, each is one lattice.

A thread has memory for one lattice, as large as the largest of its sequences needs.
"""

from libc.math cimport INFINITY, NAN, isfinite
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from fastrnn._core.elementwise cimport Job, fitting, run, table_of
from fastrnn._core.kernels cimport FR_LATTICE_EDGE, FR_LATTICE_STRIDE, fr_lattice, kernels_f64

ctypedef fused real:
    float
    double

cdef struct Batch:
    Py_ssize_t step             # from one row of a sequence to its next
    const int64_t *first        # (B) a sequence's first row
    const int64_t *rows         # (B) rows there, of which
    const int64_t *lengths      # (B) so many are its steps
    const int64_t *labels       # of all sequences, one after the other
    const int64_t *starts       # (B + 1) where the labels of each begin
    int64_t blank
    bint zero_infinity
    const double *scales        # (B) of the gradients
    double *losses              # (B)
    int *failed                 # 1: no memory

cdef struct Memory:
    double *block
    double *normalizers         # (T)
    fr_lattice lattice


cdef inline Py_ssize_t width_of(Py_ssize_t S) noexcept nogil:
    return (S + FR_LATTICE_EDGE) // FR_LATTICE_EDGE * FR_LATTICE_EDGE


cdef inline Py_ssize_t doubles_of(Py_ssize_t T, Py_ssize_t S) noexcept nogil:
    cdef Py_ssize_t width = width_of(S)
    return T * (3 + width + FR_LATTICE_STRIDE(width)) + FR_LATTICE_STRIDE(width) + 3 * (width + FR_LATTICE_EDGE)


cdef bint allocate(Memory *memory, const Batch *batch, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    cdef Py_ssize_t most = 1, b
    for b in range(first, last):
        most = max(most, doubles_of(batch.lengths[b], batch.starts[b + 1] - batch.starts[b]))
    memory.block = <double *> malloc(most * sizeof(double))
    return memory.block != NULL


cdef void lay_out(Memory *memory, Py_ssize_t T, Py_ssize_t S) noexcept nogil:
    """The parts of the memory for one sequence."""
    cdef fr_lattice *lattice = &memory.lattice
    cdef Py_ssize_t width = width_of(S)
    cdef double *at = memory.block
    lattice.T, lattice.S, lattice.width = T, S, width
    lattice.labels, at = at, at + T * width
    lattice.a, at = at, at + T * FR_LATTICE_STRIDE(width)
    lattice.carry, at = at, at + FR_LATTICE_STRIDE(width)
    lattice.joins, at = at, at + width + FR_LATTICE_EDGE
    lattice.log_joins, at = at, at + width + FR_LATTICE_EDGE
    lattice.lives, at = at, at + width + FR_LATTICE_EDGE
    lattice.blanks, memory.normalizers = at, at + T
    lattice.exponents = <int64_t *> (at + 2 * T)


cdef Py_ssize_t write_joins(const fr_lattice *lattice, const int64_t *labels) noexcept nogil:
    """Where a path may go from a label to the next one without a blank; the number of labels where it may not."""
    cdef double *joins = <double *> lattice.joins
    cdef double *log_joins = <double *> lattice.log_joins
    cdef double *lives = <double *> lattice.lives
    cdef Py_ssize_t i, repeats = 0
    cdef bint joined
    for i in range(lattice.width + FR_LATTICE_EDGE):
        joined = 0 < i < lattice.S and labels[i] != labels[i - 1]
        repeats += 0 < i < lattice.S and not joined
        joins[i], log_joins[i], lives[i] = joined, 0 if joined else -1e300, i < lattice.S
    return repeats


cdef void gather(const Job *job, Memory *memory, const Batch *batch, Py_ssize_t b) noexcept nogil:
    """Logarithms of the probabilities of a sequence's symbols."""
    cdef fr_lattice *lattice = &memory.lattice
    cdef const int64_t *labels = batch.labels + batch.starts[b]
    cdef const char *row
    cdef Py_ssize_t t
    for t in range(lattice.T):
        row = job.source + (batch.first[b] + t * batch.step) * job.columns * job.table.size
        job.table.ctc_gather(lattice.S, lattice.width, labels, row, memory.normalizers[t],
                             lattice.labels + t * lattice.width)
        job.table.ctc_gather(1, 1, &batch.blank, row, memory.normalizers[t], lattice.blanks + t)


cdef void fill(const Job *job, const Batch *batch, Py_ssize_t b, Py_ssize_t begin, double value) noexcept nogil:
    """The gradient of a sequence from row `begin` on: 0 or NaN in every element."""
    cdef Py_ssize_t t, j
    cdef char *row
    for t in range(begin, batch.rows[b]):
        row = job.target + (batch.first[b] + t * batch.step) * job.columns * job.table.size
        if value == 0:
            memset(row, 0, job.columns * job.table.size)
        elif job.table.size == 4:
            for j in range(job.columns):
                (<float *> row)[j] = <float> value
        else:
            for j in range(job.columns):
                (<double *> row)[j] = value


cdef bint softmax(const Job *job, Memory *memory, const Batch *batch, Py_ssize_t b) noexcept nogil:
    """dlogits = scale * softmax(logits) for every step; whether there is such a thing."""
    cdef Py_ssize_t t, at
    cdef bint finite = True
    for t in range(memory.lattice.T):
        at = (batch.first[b] + t * batch.step) * job.columns * job.table.size
        memory.normalizers[t] = job.table.softmax(job.columns, job.source + at, batch.scales[b], job.target + at)
        finite = finite and isfinite(memory.normalizers[t])
    return finite


cdef double sequence(const Job *job, Memory *memory, const Batch *batch, Py_ssize_t b) noexcept nogil:
    """The loss of one sequence, and its gradient."""
    cdef fr_lattice *lattice = &memory.lattice
    cdef const int64_t *labels = batch.labels + batch.starts[b]
    cdef Py_ssize_t T = batch.lengths[b], S = batch.starts[b + 1] - batch.starts[b], t
    cdef double loss = 0 if S == 0 else INFINITY
    cdef char *row
    fill(job, batch, b, T, 0)
    if T == 0:
        return loss
    lay_out(memory, T, S)
    if S + write_joins(lattice, labels) <= T:
        if not softmax(job, memory, batch, b):
            fill(job, batch, b, 0, NAN)
            return NAN
        gather(job, memory, batch, b)
        if not kernels_f64.ctc_lattice(lattice, False, &loss):
            gather(job, memory, batch, b)
            kernels_f64.ctc_lattice(lattice, True, &loss)
    else:
        loss = INFINITY
    if loss == INFINITY:
        fill(job, batch, b, 0, 0)
        return loss
    for t in range(T):
        row = job.target + (batch.first[b] + t * batch.step) * job.columns * job.table.size
        job.table.ctc_scatter(S, labels, lattice.labels + t * lattice.width, batch.scales[b], row)
        job.table.ctc_scatter(1, &batch.blank, lattice.blanks + t, batch.scales[b], row)
    return loss


cdef void sequences(const Job *job, Py_ssize_t first, Py_ssize_t last, int part) noexcept nogil:
    cdef const Batch *batch = <const Batch *> job.more
    cdef Memory memory
    cdef Py_ssize_t b
    cdef double loss
    if not allocate(&memory, batch, first, last):
        batch.failed[0] = 1
        return
    for b in range(first, last):
        loss = sequence(job, &memory, batch, b)
        batch.losses[b] = 0 if loss == INFINITY and batch.zero_infinity else loss
    free(memory.block)


cdef class Sequences:
    """Where the rows and the labels of a batch's sequences are.

    Parameters
    ----------
    step : int
        From one row of a sequence to its next.
    first, rows, lengths : (B,) int64
        Of each sequence its first row, its rows, and how many of them are its steps.
    labels : (all labels,) int64 in 0..V-1, none of them the blank
    starts : (B + 1,) int64
        Where the labels of each sequence begin.
    """
    cdef Py_ssize_t step
    cdef const int64_t[::1] first, rows, lengths, labels, starts

    def __init__(self, Py_ssize_t step, const int64_t[::1] first, const int64_t[::1] rows,
                 const int64_t[::1] lengths, const int64_t[::1] labels, const int64_t[::1] starts):
        self.step, self.first, self.rows, self.lengths, self.labels, self.starts = (
            step, first, rows, lengths, labels, starts)

    cdef bint fits(self, Py_ssize_t rows, Py_ssize_t V, int64_t blank):
        cdef Py_ssize_t B = self.first.shape[0], b, i
        if not (self.rows.shape[0] == self.lengths.shape[0] == B and self.starts.shape[0] == B + 1 and self.step >= 1
                and 0 <= blank < V and self.starts[0] == 0 and self.starts[B] == self.labels.shape[0]):
            return False
        for b in range(B):
            if not (0 <= self.lengths[b] <= self.rows[b] and self.starts[b] <= self.starts[b + 1]
                    and self.first[b] >= 0):
                return False
            if self.rows[b] and self.first[b] + (self.rows[b] - 1) * self.step >= rows:
                return False
        for i in range(self.labels.shape[0]):
            if not 0 <= self.labels[i] < V:
                return False
        return True

    cdef double work(self, Py_ssize_t V):
        """Multiply-adds of all sequences, about."""
        cdef double total = 0
        cdef Py_ssize_t b
        for b in range(self.first.shape[0]):
            total += self.lengths[b] * (20.0 * V + 60.0 * (1 + self.starts[b + 1] - self.starts[b]))
        return total


def ctc_loss(const real[:, ::1] logits, Sequences given, int64_t blank, bint zero_infinity, const double[::1] scales,
             real[:, ::1] dlogits, double[::1] losses, int num_threads):
    """losses = -log p(labels | softmax(logits)) of each sequence, dlogits = scales times its gradient

    logits IN (rows, V), scales IN (B,), dlogits OUT (rows, V), all rows of the sequences, losses OUT (B,)
    """
    cdef Py_ssize_t B = losses.shape[0]
    cdef int64_t none = 0
    cdef int failed = 0
    cdef Batch batch
    cdef Job job
    fitting("ctc_loss", dlogits.shape[0] == logits.shape[0] and dlogits.shape[1] == logits.shape[1]
            and scales.shape[0] == given.first.shape[0] == B and given.fits(logits.shape[0], logits.shape[1], blank))
    if B == 0 or logits.shape[0] == 0:
        return
    batch.step, batch.first, batch.rows, batch.lengths = given.step, &given.first[0], &given.rows[0], &given.lengths[0]
    batch.labels, batch.starts = &given.labels[0] if given.labels.shape[0] else &none, &given.starts[0]
    batch.blank, batch.zero_infinity, batch.failed = blank, zero_infinity, &failed
    batch.scales, batch.losses = &scales[0], &losses[0]
    job.table, job.columns, job.more = table_of(sizeof(real)), logits.shape[1], &batch
    job.source, job.target = <const char *> &logits[0, 0], <char *> &dlogits[0, 0]
    cdef double each = max(1.0, given.work(logits.shape[1]) / B)
    with nogil:
        run(sequences, &job, B, each, num_threads)
    if failed:
        raise MemoryError("ctc_loss: no memory for the lattice of one sequence on each thread")
