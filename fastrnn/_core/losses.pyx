"""Losses and their gradients over rows of outputs, each row or run of elements by one call of a kernel.

Threads split the rows, or blocks of them whose sums are added in order: no number of threads changes a bit.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset

from fastrnn._core.elementwise cimport Job, fitting, run, table_of
from fastrnn._core.kernels cimport fr_class_weights, fr_element_rows

ctypedef fused real:
    float
    double

cdef enum:
    BLOCK = 1024    # elements, about, whose losses are one sum

# The places of the kernels in the table.
KINDS = {
    "binary_cross_entropy": 0, "squared_error": 1, "huber_loss": 2, "gaussian_nll": 3, "negative_binomial_nll": 4,
}

cdef struct Softmax:
    char *losses
    double scale
    bint plain
    fr_class_weights classes

cdef struct Elements:
    int kind
    Py_ssize_t rows, block      # rows in all, and of a block
    const char *targets
    const uint8_t *counted      # (rows), or NULL for all
    double *sums                # (blocks)
    fr_element_rows of_rows


cdef void softmax_rows(const Job *job, Py_ssize_t first, Py_ssize_t last, int part) noexcept nogil:
    cdef const Softmax *own = <const Softmax *> job.more
    cdef Py_ssize_t row, at, size = job.table.size
    cdef double loss
    for row in range(first, last):
        at = row * job.columns * size
        if job.index[row] < 0:
            memset(job.target + at, 0, job.columns * size)
            loss = 0
        elif own.plain:
            loss = job.table.cross_entropy(job.columns, job.source + at, job.index[row], own.scale,
                                           job.target + at)
        else:
            loss = job.table.weighted_cross_entropy(&own.classes, job.source + at, job.index[row], own.scale,
                                                    job.target + at)
        if size == 4:
            (<float *> own.losses)[row] = <float> loss
        else:
            (<double *> own.losses)[row] = loss


def softmax_cross_entropy(const real[:, ::1] logits, const int64_t[::1] targets, double scale, double smoothing,
                          const real[::1] class_weights, real[:, ::1] dlogits, real[::1] losses, int num_threads):
    """Row by row losses = sum(q * (log(sum(exp(logits))) - logits)), dlogits = scale * (sum(q) * softmax(logits) - q).

    q = class_weights * ((1 - smoothing) * onehot(targets) + smoothing / V). A row whose target is -1 is not read: its
    loss and its gradient are 0.

    logits IN (rows, V), targets IN (rows,) all in -1..V-1, class_weights IN (V,) or None for 1, dlogits OUT (rows, V),
    losses OUT (rows,) in nats
    """
    cdef Py_ssize_t rows = logits.shape[0], V = logits.shape[1], c
    cdef Job job
    cdef Softmax own
    fitting("softmax_cross_entropy", targets.shape[0] == losses.shape[0] == dlogits.shape[0] == rows
            and dlogits.shape[1] == V and (class_weights is None or class_weights.shape[0] == V))
    if rows == 0:
        return
    own.scale, own.losses = scale, <char *> &losses[0]
    own.plain = class_weights is None and smoothing == 0
    own.classes.V, own.classes.own, own.classes.rest = V, 1 - smoothing, smoothing / V
    own.classes.weights, own.classes.sum = NULL, V
    if class_weights is not None:
        own.classes.weights, own.classes.sum = &class_weights[0], 0
        for c in range(V):
            own.classes.sum += class_weights[c]
    job.table, job.columns, job.index, job.more = table_of(sizeof(real)), V, &targets[0], &own
    job.source, job.target = <const char *> &logits[0, 0], <char *> &dlogits[0, 0]
    with nogil:
        run(softmax_rows, &job, rows, 20.0 * V, num_threads)


cdef double counted_rows(const Job *job, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """The sum of the losses of some rows. Runs of those that count go to the kernel, the gradient of others is 0."""
    cdef const Elements *own = <const Elements *> job.more
    cdef fr_element_rows rows = own.of_rows
    cdef Py_ssize_t begin = first, end, wanted = rows.columns * job.table.size
    cdef double total = 0
    while begin < last:
        end = last
        if own.counted != NULL:
            end = begin + 1
            while end < last and (own.counted[end] != 0) == (own.counted[begin] != 0):
                end += 1
        if own.counted == NULL or own.counted[begin]:
            rows.count = end - begin
            total += job.table.elements[own.kind](&rows, job.source + begin * job.columns, own.targets + begin * wanted,
                                                  job.target + begin * job.columns)
        else:
            memset(job.target + begin * job.columns, 0, (end - begin) * job.columns)
        begin = end
    return total


cdef void element_blocks(const Job *job, Py_ssize_t first, Py_ssize_t last, int part) noexcept nogil:
    cdef const Elements *own = <const Elements *> job.more
    cdef Py_ssize_t block
    for block in range(first, last):
        own.sums[block] = counted_rows(job, block * own.block, min(own.rows, (block + 1) * own.block))


def block_count(Py_ssize_t rows, Py_ssize_t columns):
    """How many sums a loss of so many rows and columns of targets gives."""
    cdef Py_ssize_t block = max(1, BLOCK // columns)
    return (rows + block - 1) // block


def elements(str who, const real[:, ::1] outputs, const real[:, ::1] targets, const uint8_t[::1] counted, double scale,
             double option, real[:, ::1] doutputs, double[::1] sums, int num_threads):
    """sums = the losses of blocks of rows, doutputs = scale times the gradient of their sum; `who` names the loss

    outputs IN (rows, F), or (rows, 2 F) of a loss of pairs, targets IN (rows, F), counted IN (rows,) or None for all,
    doutputs OUT as outputs, 0 where not counted, sums OUT (block_count,)
    """
    cdef Py_ssize_t rows = targets.shape[0], F = targets.shape[1], each = 2 if KINDS[who] >= 3 else 1
    cdef Job job
    cdef Elements own
    fitting(who, outputs.shape[0] == doutputs.shape[0] == rows and outputs.shape[1] == doutputs.shape[1] == each * F
            and (counted is None or counted.shape[0] == rows) and (not F or sums.shape[0] == block_count(rows, F)))
    if rows == 0 or F == 0:
        return
    own.kind, own.rows, own.block = KINDS[who], rows, max(1, BLOCK // F)
    own.targets, own.counted, own.sums = <const char *> &targets[0, 0], NULL, &sums[0]
    if counted is not None:
        own.counted = &counted[0]
    own.of_rows.columns, own.of_rows.scale, own.of_rows.option = F, scale, option
    job.table, job.columns, job.more = table_of(sizeof(real)), outputs.shape[1] * sizeof(real), &own
    job.source, job.target = <const char *> &outputs[0, 0], <char *> &doutputs[0, 0]
    with nogil:
        run(element_blocks, &job, sums.shape[0], (100.0 if each == 2 else 20.0) * F * own.block, num_threads)
